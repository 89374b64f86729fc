"""The table of who was forgotten, or became another, in the file of the store: no old backup brings anybody back."""

import sqlite3
from collections.abc import Iterator, Mapping

from reidd.gallery.changes import Forgotten
from reidd.gallery.contents import decoded_forgotten, encoded_forgotten

TABLE = "CREATE TABLE IF NOT EXISTS forgotten (id INTEGER PRIMARY KEY, what TEXT NOT NULL);"


def write(connection: sqlite3.Connection, forgotten: Mapping[int, Forgotten | None]) -> None:
    """Note that ids were forgotten, or became others; None takes a note back."""
    for id, known in forgotten.items():
        connection.execute("DELETE FROM forgotten WHERE id = ?", (id,))
        if known is not None:
            connection.execute("INSERT INTO forgotten VALUES (?, ?)", (id, encoded_forgotten(id, known)))


def read(connection: sqlite3.Connection, damage: list[str]) -> Iterator[tuple[int, Forgotten]]:
    """Give the notes that are whole, and say of the others in `damage` that they are not."""
    for (what,) in connection.execute("SELECT what FROM forgotten"):
        if (known := decoded_forgotten(what)) is not None:
            yield known
        else:
            damage.append(
                "a note that an id was forgotten, or became another, does not match its checksum; `reidd audit` says "
                "who was forgotten: forget them again"
            )
