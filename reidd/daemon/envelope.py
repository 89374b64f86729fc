"""Who a request came from and where its reply goes: the frames in front of the header."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from reidd import protocol
from reidd.errors import RequestError
from reidd.keys import User

MAX_HOPS = 8
"""Frames before the delimiter: the connection, a correlated REQ's number, and one for each proxy between."""
MAX_HOP_BYTES = 255
"""Of each of them, as of a routing id: they are kept until the reply goes out."""
MAX_FRAMES = MAX_HOPS + 2 + protocol.MAX_PARTS
"""Of a request: what leads back, the empty one, the header, the parts."""

Envelope: TypeAlias = tuple[bytes, ...]
"""The frames that lead a reply back, the empty one at the end included."""


class Caller(NamedTuple):
    """Who asked, and when: the way back, who holds the key, what a repeat of the very request has in common with it."""

    envelope: Envelope
    remote: bool = False
    """Whether it came in over tcp."""
    user: User | None = None
    """Whoever holds the key it came in with; None for somebody on this machine."""
    retry: bytes = b""
    uid: int | None = None
    """The local user, where the kernel tells."""
    asked: float = 0.0
    """When the request came in, on the monotonic clock."""

    @property
    def connection(self) -> bytes:
        """What ZeroMQ names the caller's connection by."""
        return self.envelope[0]

    @property
    def name(self) -> str:
        """Who that is, for the audit log."""
        if self.user is not None:
            return f"key {self.user.name}"
        return "local" if self.uid is None else f"uid {self.uid}"


class Letter(NamedTuple):
    """One request as it came."""

    envelope: Envelope
    header: bytes
    frames: list[bytes]


def opened(message: Sequence[bytes]) -> Letter:
    """Split a ROUTER's message at its first empty frame.

    Raises:
        RequestError: there is none, or nothing behind it, or too much in front of it.
    """
    for at, frame in enumerate(message[1 : MAX_HOPS + 1], 1):
        if len(frame) > MAX_HOP_BYTES:
            break
        if not frame and at + 1 < len(message):
            return Letter(tuple(message[: at + 1]), message[at + 1], list(message[at + 2 :]))
    raise RequestError(
        f"no header behind an empty frame, and at most {MAX_HOP_BYTES} bytes in each before it; a DEALER sends an "
        "empty frame first, then header and parts"
    )
