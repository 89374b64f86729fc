"""The table of the audit log, in the file of the store, so that an entry is on the disk together with its change."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator

from reidd.gallery.audit import Head, head_of
from reidd.gallery.contents import decoded_head, encoded_head

TABLE = "CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY, line TEXT NOT NULL);"
# As bytes, for one flipped bit may leave a line that is no text, and the other lines have to be read all the same.
_LINES = "SELECT seq, CAST(line AS BLOB) FROM audit"


def write(connection: sqlite3.Connection, head: Head, line: str) -> None:
    """Write the latest entry; without a line, take back those after it."""
    if line:
        connection.execute("INSERT OR REPLACE INTO audit VALUES (?, ?)", (head.seq, line))
    else:
        connection.execute("DELETE FROM audit WHERE seq > ?", (head.seq,))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('audit', ?)", (encoded_head(head),))


def write_all(connection: sqlite3.Connection, head: Head, lines: Iterable[tuple[int, str]]) -> None:
    """Write a log that another file held."""
    connection.executemany("INSERT INTO audit VALUES (?, ?)", lines)
    connection.execute("INSERT INTO meta VALUES ('audit', ?)", (encoded_head(head),))


def head(connection: sqlite3.Connection) -> Head:
    """Tell the latest entry: as noted beside the log, for its end may have been cut off."""
    noted = connection.execute("SELECT value FROM meta WHERE key = 'audit'").fetchone()
    if noted and (known := decoded_head(noted[0])) is not None:
        return known
    latest = connection.execute(
        "SELECT line FROM audit WHERE typeof(line) = 'text' ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    try:
        return head_of(latest[0]) if latest else Head()
    except ValueError:
        return Head()


def lines(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, str]]:
    """Give numbered entries after a number, oldest first, also those that are damaged."""
    return list(_as_text(connection.execute(f"{_LINES} WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))))


def reach_end(connection: sqlite3.Connection) -> None:
    """Go to where the next entry will be written. Raises sqlite3.DatabaseError when damage lies on the way."""
    connection.execute("SELECT max(seq) FROM audit").fetchone()


def readable(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """Give what can be read of a damaged log, from both of its ends, oldest first."""
    found: list[tuple[int, str]] = []
    latest: list[tuple[int, str]] = []
    with contextlib.suppress(sqlite3.Error):
        found.extend(_as_text(connection.execute(f"{_LINES} ORDER BY seq")))
    last = found[-1][0] if found else 0
    with contextlib.suppress(sqlite3.Error):
        latest.extend(_as_text(connection.execute(f"{_LINES} WHERE seq > ? ORDER BY seq DESC", (last,))))
    return found + latest[::-1]


def prune(connection: sqlite3.Connection, through: int) -> None:
    """Let go of entries up to a number."""
    connection.execute("DELETE FROM audit WHERE seq <= ?", (through,))


def _as_text(rows: Iterable[tuple[int, bytes | None]]) -> Iterator[tuple[int, str]]:
    return ((seq, (line or b"").decode(errors="replace")) for seq, line in rows)
