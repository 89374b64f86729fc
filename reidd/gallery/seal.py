"""The seal of a closed store: a checksum of its file, byte for byte, so that whatever changes one of them shows.

Rows have checksums of their own; but most bytes of a small SQLite file hold nothing, and a medium that changes those
will change others next.
"""

import time
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from reidd.gallery.disk import sync

CHANGED_MEANWHILE = (
    "bytes of the gallery store {!r} changed while no daemon held it; they hold nothing, so nothing is lost, but look "
    "at its disk, with `dmesg`"
)
WITHIN_S = 0.5
"""A store that takes longer to read, from a slow card, is left unsealed: a stop must not wait for it."""
_PIECE_BYTES = 1 << 20


def seal(path: Path) -> None:
    """Note what the file of a closed store is. Without room or time for it there is no seal."""
    new = _seal_of(path).with_suffix(".new")
    with suppress(OSError, TimeoutError):
        written = _checksum(path, until=time.monotonic() + WITHIN_S)
        try:
            new.write_text(written)
            sync(new)
            new.rename(_seal_of(path))
        except OSError:
            new.unlink(missing_ok=True)


def unseal(path: Path) -> bool:
    """Take the seal away, before the file may change; returns whether it was there and fits no more. Raises OSError."""
    try:
        written = _seal_of(path).read_bytes()
    except FileNotFoundError:
        return False
    fits = not path.exists() or written == _checksum(path).encode()
    _seal_of(path).unlink()
    sync(path.parent)
    return not fits


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def _checksum(path: Path, *, until: float = float("inf")) -> str:
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            checksum = crc32(piece, checksum)
            if time.monotonic() > until:
                raise TimeoutError
        return f"{checksum:08x} {file.tell()}\n"
