"""The numbers of the contract: version, limits, and the types of fields that messages share."""

from typing import Annotated

from msgspec import Meta

VERSION = 1
MAX_ID = 2**63 - 1
MAX_PARTS = 64
"""Images of one request, whether each has a frame of its own or several are boxes within one."""
MAX_ROWS = 1000
"""Feature rows of one request or reply."""
MAX_PREDICTIONS = 20_000
"""Predictions of one reply, all probes together: the core passes so many on in some 50 ms, and a board in 0.2 s."""
MAX_TOP_K = 100_000
"""Predictions for one probe: more than a reply holds of all."""
MAX_HEADER_BYTES = 1 << 20
MAX_FRAME_BYTES = 128 << 20
DEFAULT_DEADLINE_MS = 2000
"""For those who do not say how long they wait; a client of ours says nine tenths of its time-out."""
MAX_DEADLINE_MS = 600_000
MAX_REQUEST_ID = 128
"""Characters of a request id."""
MAX_TEXT = 256
"""Characters of a label, or of a drop method's name."""

Id = Annotated[int, Meta(ge=0, le=MAX_ID)]
TopK = Annotated[int, Meta(ge=1, le=MAX_TOP_K)]
Positive = Annotated[int, Meta(ge=1, le=MAX_ID)]
Natural = Annotated[int, Meta(ge=0, le=MAX_ID)]
RequestId = Annotated[str, Meta(max_length=MAX_REQUEST_ID)]
DeadlineMs = Annotated[int, Meta(ge=1, le=MAX_DEADLINE_MS)]
Version = Annotated[int, Meta(ge=VERSION, le=VERSION)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
