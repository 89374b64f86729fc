"""What the doctor found."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at; `fine` None means worth knowing, but no fault."""

    what: str
    fine: bool | None
    words: str
