"""The store's tables: beside `rekeying` and the files of single tables the only one that knows SQL."""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from reidd.gallery import answers_table, audit_table, forgotten_table
from reidd.gallery.aging import Ages
from reidd.gallery.audit import Head
from reidd.gallery.changes import Delta, Forgotten, Identity
from reidd.gallery.cipher import Cipher
from reidd.gallery.columns import Columns, audited
from reidd.gallery.contents import (
    Contents,
    State,
    decoded_ages,
    encoded_ages,
    identity_crc,
    read_identity,
    stored_identity,
    stored_instance,
)

Error = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What a file may raise. The last when SQLite's own message quotes a damaged name."""

_ROWS_AT_ONCE = 256  # which the processor's caches hold

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identities (
    id INTEGER PRIMARY KEY, label TEXT, pinned INTEGER NOT NULL, ttl_s REAL, crc INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS instances (
    instance INTEGER PRIMARY KEY, id INTEGER NOT NULL, time_ns INTEGER NOT NULL, crc INTEGER NOT NULL,
    feature BLOB NOT NULL
);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open or create a store's file, for this process alone, with every commit synced."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
    # One flipped bit may leave a text that is none: by its checksum it is found then, and the others are read.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    try:
        # Three rows of 512 values a page; of 4 KiB only one would fit, and half of the disk would be gaps.
        connection.execute("PRAGMA page_size=8192")
        # 2 MiB, so that a full disk has room to write the log back once it is given the reserve.
        connection.execute("PRAGMA wal_autocheckpoint=256")
        # As much of it, after a change that took more: it would lie there, with features that were removed since.
        connection.execute("PRAGMA journal_size_limit=2097152")
        # Exclusive, so that two daemons cannot write one store, and the log's index needs no shared memory.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.executescript(_TABLES + answers_table.TABLE + audit_table.TABLE + forgotten_table.TABLE)
    except BaseException:
        connection.close()
        raise
    return connection


def claim(connection: sqlite3.Connection, ours: dict[str, str]) -> dict[str, str]:
    """Read whose store this is; a new one becomes ours."""
    with transaction(connection):
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        if not meta:
            meta = ours | {"state": State().encode(), "ages": encoded_ages(Ages())}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        if "origin" not in meta:
            meta["origin"] = secrets.token_hex(8)
            connection.execute("INSERT INTO meta VALUES ('origin', ?)", (meta["origin"],))
    return meta


def write(
    connection: sqlite3.Connection, delta: Delta, *, next_instance: int | None = None, cipher: Cipher | None
) -> None:
    """Write one change in one transaction; again is harmless. Without `next_instance` the counter stays."""
    with transaction(connection):
        state = State.decode(stored(connection, "state")) or State()
        digest, instances = state.digest, state.instances
        for number in delta.removed.keys() | (delta.added.keys() if next_instance is None else set()):
            found = connection.execute("SELECT crc FROM instances WHERE instance = ?", (number,)).fetchone()
            if found is not None:
                connection.execute("DELETE FROM instances WHERE instance = ?", (number,))
                digest, instances = digest ^ found[0], instances - 1
        rows = [stored_instance(row, cipher) for row in delta.added.values()]
        connection.executemany("INSERT INTO instances VALUES (?, ?, ?, ?, ?)", rows)
        for row in rows:
            digest ^= row[3]
        for id, (_, identity) in delta.identities.items():
            digest ^= write_identity(connection, id, identity, cipher)
        state = State(
            state.next_instance if next_instance is None else next_instance,
            delta.limit[1] if delta.limit else state.limit,
            instances + len(rows),
            digest,
        )
        connection.execute("UPDATE meta SET value = ? WHERE key = 'state'", (state.encode(),))
        if delta.ages:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'ages'", (encoded_ages(delta.ages[1]),))
        answers_table.write(connection, delta.answers, cipher)
        forgotten_table.write(connection, {id: after for id, (_, after) in delta.forgotten.items()})
        if delta.audit:
            audit_table.write(connection, delta.audit[1], delta.audit[2])


def read(connection: sqlite3.Connection, dim: int, cipher: Cipher | None, room: np.ndarray | None = None) -> Contents:
    """Read and check everything; what cannot be read or is not what was written is told in `damage`.

    The features of the rows lie in `room`, if that is large enough.
    """
    damage: list[str] = []
    state = ages = None
    with _noting(damage):
        state = State.decode(stored(connection, "state"))
        ages = decoded_ages(stored(connection, "ages"))
    columns, rows = Columns(dim, cipher, room), _rows_from_both_ends(connection, damage)
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        columns.take(some)
    identities = _identities(connection, damage)
    forgotten: dict[int, Forgotten] = {}
    with _noting(damage):
        forgotten.update(forgotten_table.read(connection, damage))
    head, origin = Head(), ""
    with _noting(damage):
        head, origin = audit_table.head(connection), str(stored(connection, "origin"))
    for table in (audit_table, answers_table):
        # Neither is read here; but each change is written with both, and would be refused for ever.
        with _noting(damage):
            table.reach_end(connection)
    contents = audited(columns, identities, state, ages, damage)
    opened = {id: read_identity(id, written, cipher) for id, written in contents.identities.items()}
    moved = tuple(f"the label of id {id} was not written for that id" for id in opened if opened[id] is None)
    return contents._replace(
        identities={id: identity for id, identity in opened.items() if identity is not None},
        damage=contents.damage + moved,
        forgotten=forgotten,
        audit=head,
        origin=origin,
    )


def write_new(
    connection: sqlite3.Connection,
    contents: Contents,
    ours: dict[str, str],
    lines: Iterable[tuple[int, str]],
    cipher: Cipher | None,
) -> None:
    """Write everything into a new store, the lines of the audit log too."""
    claim(connection, ours | ({"origin": contents.origin} if contents.origin else {}))
    audit_table.write_all(connection, contents.audit, lines)
    added = {row.number: row for row in contents.rows.instances()}
    identities = {id: (Identity(), identity) for id, identity in contents.identities.items()}
    delta = Delta(added=added, identities=identities, limit=(None, contents.limit), ages=(Ages(), contents.ages))
    delta.forgotten = {id: (None, known) for id, known in contents.forgotten.items()}
    write(connection, delta, next_instance=contents.next_instance, cipher=cipher)


def empty_log(connection: sqlite3.Connection) -> None:
    """Write the log back into the file, sync it, and cut the log to nothing."""
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise sqlite3.OperationalError("the log could not be written back")


def stored(connection: sqlite3.Connection, key: str) -> object:
    """Give what is noted under a key, or None."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return found[0] if found else None


def write_identity(connection: sqlite3.Connection, id: int, identity: Identity, cipher: Cipher | None) -> int:
    """Write what is known about an id; returns what that does to the digest."""
    found = connection.execute("SELECT crc FROM identities WHERE id = ?", (id,)).fetchone()
    digest: int = found[0] if found else 0
    connection.execute("DELETE FROM identities WHERE id = ?", (id,))
    if identity:
        written = stored_identity(id, identity, cipher)
        crc = identity_crc(id, written)
        values = (id, written.label, written.pinned, written.ttl_s, crc)
        connection.execute("INSERT INTO identities VALUES (?, ?, ?, ?, ?)", values)
        digest ^= crc
    return digest


def _rows_from_both_ends(connection: sqlite3.Connection, damage: list[str]) -> Iterator[tuple[object, ...]]:
    """Give every row that SQLite can reach: oldest first, and from the newest back to where that failed."""
    select = "SELECT instance, id, time_ns, crc, feature FROM instances ORDER BY instance"
    newest = 0
    before = len(damage)
    with _noting(damage):
        for row in connection.execute(select):
            newest = row[0]
            yield row
    if len(damage) > before:
        with _noting(damage):
            for row in connection.execute(f"{select} DESC"):
                if row[0] <= newest:
                    break
                yield row


def _identities(connection: sqlite3.Connection, damage: list[str]) -> dict[int, Identity]:
    identities: dict[int, Identity] = {}
    with _noting(damage):
        for id, label, pinned, ttl_s, crc in connection.execute("SELECT id, label, pinned, ttl_s, crc FROM identities"):
            identity = Identity(label, bool(pinned), ttl_s)
            if crc == identity_crc(id, identity):
                identities[id] = identity
            else:
                damage.append(f"what was known about id {id!r} does not match its checksum")
    return identities


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Have what is done inside happen as a whole or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _noting(damage: list[str]) -> Iterator[None]:
    try:
        yield
    except Error as error:
        damage.append(f"a part of the store cannot be read: {error}")
