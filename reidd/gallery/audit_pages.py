"""The audit log of a store that no daemon holds, page by page."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from reidd.errors import GalleryError
from reidd.gallery import audit_table, disk, tables
from reidd.gallery.audit import Head

_ENTRIES_AT_ONCE = 1000


def pages(path: Path) -> Iterator[tuple[list[str], Head]]:
    """Give the audit log of a store that nobody holds, oldest first, and with each page the latest entry there is.

    Raises GalleryError when there is no store, a daemon holds it, or it cannot be read.
    """
    if not path.exists():
        raise GalleryError(f"there is no gallery store {str(path)!r}")
    try:
        with closing(tables.connect(path)) as connection:
            after, head = 0, audit_table.head(connection)
            while numbered := audit_table.lines(connection, after, _ENTRIES_AT_ONCE):
                yield [line for _, line in numbered], head
                after = numbered[-1][0]
            yield [], head
    except tables.Error as error:
        raise disk.explained(error, path) from error
