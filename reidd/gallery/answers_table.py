"""The table of answers to the latest changes: written with the change, so that a repeat after a crash finds it."""

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Mapping
from zlib import crc32

TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL, time_ns INTEGER NOT NULL, crc INTEGER NOT NULL, answer BLOB NOT NULL
);
"""
# One flipped bit makes a text of bytes, which has no checksum.
_WHOLE = """
SELECT key, time_ns, crc, answer FROM answers
WHERE typeof(key) = 'blob' AND typeof(time_ns) = 'integer' AND typeof(answer) = 'blob' ORDER BY number
"""
_INSERT = "INSERT INTO answers (key, time_ns, crc, answer) VALUES (?, ?, ?, ?)"
Row = tuple[bytes, int, int, bytes]
"""Key, time, checksum and answer, as they lie there."""
KEPT = 1000
"""Up to twice as many lie there. More than can be under way: only what a client heard no answer to is asked again."""


def write(connection: sqlite3.Connection, answers: Mapping[bytes, bytes | None]) -> None:
    """Add answers by the keys of their requests, and let old ones go; None takes one back."""
    if not answers:
        return
    now_ns = time.time_ns()
    rows = [(key, now_ns, crc32(answer, crc32(key)), answer) for key, answer in answers.items() if answer is not None]
    connection.executemany(_INSERT, rows)
    latest = connection.execute("SELECT max(number) FROM answers").fetchone()[0] or 0
    # Now and then, for it takes longer than to write them.
    if latest // KEPT > (latest - len(rows)) // KEPT:
        connection.execute("DELETE FROM answers WHERE number <= ?", (latest - KEPT,))
    taken_back = [(key,) for key, answer in answers.items() if answer is None]
    connection.executemany("DELETE FROM answers WHERE key = ?", taken_back)


def reach_end(connection: sqlite3.Connection) -> None:
    """Go to where the next answer will be written. Raises sqlite3.DatabaseError when damage lies on the way."""
    connection.execute("SELECT max(number) FROM answers").fetchone()


def write_all(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write what another file held."""
    connection.executemany(_INSERT, rows)


def readable(connection: sqlite3.Connection) -> list[Row]:
    """Give what can be read of a damaged table, oldest first."""
    found: list[Row] = []
    with contextlib.suppress(sqlite3.Error):
        found.extend(connection.execute(_WHOLE))
    return found


def recent(connection: sqlite3.Connection, within_s: float) -> dict[bytes, bytes]:
    """Read the whole ones of the last seconds. By the wall clock, as nothing else outlives a process.

    After a power cut a board without a battery for its clock may be an hour behind: what is of later is of just now.
    """
    now_ns = time.time_ns()
    return {
        key: answer
        for key, time_ns, crc, answer in connection.execute(_WHOLE)
        if now_ns - time_ns < within_s * 1e9 and crc == crc32(answer, crc32(key))
    }
