"""The table of answers to the latest changes: written with the change, so that a repeat after a crash finds it."""

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from zlib import crc32

from reidd.gallery.cipher import Cipher

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


def write(connection: sqlite3.Connection, answers: Mapping[bytes, bytes | None], cipher: Cipher | None) -> None:
    """Add answers by the keys of their requests, and let old ones go; None takes one back."""
    if not answers:
        return
    if cipher is not None:
        answers = {cipher.sealed_digest(key): answer for key, answer in answers.items()}
    now_ns = time.time_ns()
    rows = [_row(key, now_ns, answer) for key, answer in answers.items() if answer is not None]
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


def rewritten(rows: Iterable[Row], *, was: Cipher | None, now: Cipher | None) -> Iterator[Row]:
    """Give whole rows as they lie there under another cipher."""
    for key, time_ns, answer in _opened(rows, was):
        yield _row(key if now is None else now.sealed_digest(key), time_ns, answer)


def rekey(connection: sqlite3.Connection, *, was: Cipher | None, now: Cipher) -> None:
    """Write all of them anew, in the open transaction."""
    rows = list(rewritten(readable(connection), was=was, now=now))
    connection.execute("DELETE FROM answers")
    write_all(connection, rows)


def recent(connection: sqlite3.Connection, within_s: float, cipher: Cipher | None) -> dict[bytes, bytes]:
    """Read the whole ones of the last seconds. By the wall clock, as nothing else outlives a process.

    After a power cut a board without a battery for its clock may be an hour behind: what is of later is of just now.
    """
    now_ns = time.time_ns()
    return {
        key: answer
        for key, time_ns, answer in _opened(connection.execute(_WHOLE), cipher)
        if now_ns - time_ns < within_s * 1e9
    }


def _row(key: bytes, time_ns: int, answer: bytes) -> Row:
    return key, time_ns, crc32(answer, crc32(key)), answer


def _opened(rows: Iterable[Row], cipher: Cipher | None) -> Iterator[tuple[bytes, int, bytes]]:
    """Give key, time and answer of the rows that are what was written."""
    for stored, time_ns, crc, answer in rows:
        key = stored if cipher is None else cipher.digest(stored)
        if key is not None and crc == crc32(answer, crc32(stored)):
            yield key, time_ns, answer
