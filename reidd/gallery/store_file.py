"""The file of a store, and what lies beside it: its log, its reserve, and what is left of damaged ones."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

RESERVE_BYTES = 4 << 20
_MEMORY = Path("/dev/shm")  # noqa: S108  the disk cannot be written; a copy in memory can


class Reserve:
    """Space that a full disk can be given back, so that what must be forgotten can be."""

    def __init__(self, path: Path):
        self._path = path.with_name(f"{path.name}.reserve")

    def take(self) -> None:
        """Take up the space; on a disk without room for it, none."""
        with suppress(OSError):
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, RESERVE_BYTES)
            except OSError:
                self._path.unlink()
            finally:
                os.close(handle)

    def give_back(self) -> None:
        """Let somebody else have the space."""
        self._path.unlink(missing_ok=True)


def beside(path: Path) -> list[Path]:
    """Name what SQLite keeps beside a file, and would apply to any other file of its name."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]


def remains(path: Path) -> list[str]:
    """Name, in sentences, the files beside a store that may hold what was removed from it."""
    log_file = beside(path)[0]
    unemptied = log_file.exists() and log_file.stat().st_size > 0
    left = [f"{log_file} could not be emptied; stopping the daemon empties it"] if unemptied else []
    for pattern in ("damaged-*", "salvage-unfinished"):
        for file in sorted(path.parent.glob(f"{path.name}.{pattern}")):
            left.append(f"{file}, a damaged store that was kept; delete it")
    return left


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """Copy a store and its log into memory for a while: from a disk that cannot be written SQLite reads no log."""
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        copy = Path(folder) / path.name
        for file in (path, *beside(path)):
            if file.exists():
                shutil.copyfile(file, copy.with_name(file.name))
        yield copy
