"""Users whom a closed file stops; root, as whom tests often run, reads everything."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = 65534
AS_ORDINARY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""What a command begins with that is to be stopped."""


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Be one for the block."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)
