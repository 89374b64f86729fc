"""A disk: how to have something on it for certain, and what it means that it refuses, in sentences."""

import os
import sqlite3
from pathlib import Path

from reidd.errors import GalleryError, StorageUnavailableError


def sync(path: Path) -> None:
    """Have a file, or what a folder lists, on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(error: Exception) -> bool:
    """Whether there is no room."""
    # Its code is an attribute only since Python 3.11; the text has been the same for ever.
    return isinstance(error, sqlite3.OperationalError) and str(error) == "database or disk is full"


def advice(error: Exception) -> str:
    """Say what to do."""
    return "make room on its disk" if is_full(error) else "look at its disk, with `mount` and `dmesg`"


def is_unwritable(error: Exception) -> bool:
    """Whether the disk is what refuses, and nobody else."""
    return isinstance(error, sqlite3.OperationalError | OSError) and "locked" not in str(error)


def explained(error: Exception, path: Path) -> GalleryError:
    """Give the error that says why a store cannot be opened or read."""
    if "locked" in str(error):
        return GalleryError(f"the gallery store {str(path)!r} is in use by another process; stop the daemon first")
    if type(error) is sqlite3.DatabaseError or not isinstance(error, sqlite3.Error | OSError):
        return GalleryError(
            f"the gallery store {str(path)!r} is too damaged to read: {error}; restore a backup, or move it away "
            "to begin with an empty gallery"
        )
    return StorageUnavailableError(f"cannot open the gallery store {str(path)!r}: {reason(error)}")


def reason(error: Exception) -> object:
    """Give what went wrong without the names of files that an OSError quotes: the one that matters is named already."""
    return getattr(error, "strerror", None) or error
