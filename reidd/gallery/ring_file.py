"""Memory for a ring: a file that appears when it is whole, or this process's own."""

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reidd.errors import GalleryError


@contextmanager
def new_mapping(path: Path | None, size_bytes: int) -> Iterator[mmap.mmap]:
    """Map new zeroed bytes, which appear at `path` when the block ends well: readers never map a half-made file.

    Raises GalleryError when there is too little room.
    """
    if path is None:
        with _explained(path, size_bytes):
            # Private, for a forked child's changes are its own.
            mapping = mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        yield mapping
        return
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with _explained(path, size_bytes):
            # What a start that was killed left behind takes as much memory again.
            unfinished.unlink(missing_ok=True)
            mapping = _allocated(unfinished, size_bytes)
        yield mapping
        with _explained(path, size_bytes):
            unfinished.rename(path)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _allocated(path: Path, size_bytes: int) -> mmap.mmap:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        os.fchmod(file, 0o640)
        # ftruncate succeeds on a full tmpfs and the first touch is SIGBUS; this says ENOSPC.
        os.posix_fallocate(file, 0, size_bytes)
        # The pages are there now; mapping each at its first touch would take as long as writing the rows in it.
        return mmap.mmap(file, size_bytes, mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(file)


@contextmanager
def _explained(path: Path | None, size_bytes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = "in memory" if path is None else f"at {str(path)!r}"
        advice = "; lower the capacity" if error.errno in (errno.ENOSPC, errno.ENOMEM) else ""
        raise GalleryError(
            f"cannot make a gallery of {size_bytes >> 20} MiB {place}: {error.strerror or error}{advice}"
        ) from None
