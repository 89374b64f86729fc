"""What it means that a disk refuses: what the error of a file was, and what to do, in sentences."""

import sqlite3
from pathlib import Path

from reidd.errors import GalleryError, StorageUnavailableError


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
