"""Stores that are written with a key, and what lies in their files."""

import sqlite3
from pathlib import Path

from galleries import features, opened

KEY, OTHER_KEY = bytes(range(100, 132)), bytes(range(32, 64))


def encrypted_store(folder: Path) -> Path:
    """A store of three instances of id 1 and two of id 2, which has a label and a pin; its gallery is closed."""
    with opened(folder, key=KEY) as gallery:
        gallery.add(1, features(3))
        gallery.add(2, features(5)[3:])
        gallery.set_label(2, "Annabelle")
        gallery.pin(2)
    return folder / "gallery.sqlite"


def stored(store: Path, what: str) -> tuple:
    """The first row that a question to a store's file gives."""
    connection = sqlite3.connect(store)
    found = connection.execute(what).fetchone()
    connection.close()
    return found


def written(folder: Path) -> bytes:
    """All files of a gallery but the ring, which is for memory."""
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.name != "gallery" and file.is_file())


def units(count: int) -> list[bytes]:
    """The features as they are served, and so as a plain store would hold them."""
    with opened(capacity=1000) as gallery:
        gallery.add(1, features(count))
        return [row.tobytes() for row in gallery.reader.rows(limit=1000).features]
