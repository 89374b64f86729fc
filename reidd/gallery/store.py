"""The gallery's durable copy: what is written is on the disk, and a disk that fails loses nothing that was."""

import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from reidd.errors import StorageUnavailableError
from reidd.gallery import answers_table, audit_table, disk, store_file, tables
from reidd.gallery.answers_table import Row
from reidd.gallery.changes import Delta
from reidd.gallery.cipher import Cipher
from reidd.gallery.contents import Contents
from reidd.gallery.rekeying import cipher_of, meta_of, rekey
from reidd.gallery.salvage import finish_salvage, replace_damaged
from reidd.gallery.seal import CHANGED_MEANWHILE, seal, unseal

log = logging.getLogger(__name__)

_ROWS_AT_ONCE, _NOTES_AT_ONCE = 64, 256  # their pages fit into the reserve several times


class Store:
    """One SQLite file, held by one process. A write that returns is on the disk."""

    def __init__(self, path: Path, *, dim: int, space: bytes, key: bytes | None = None, old_key: bytes | None = None):
        """Open or create the store at `path`; with a key of 32 bytes, features and labels in it are encrypted.

        What is plain, or encrypted with an old key, is encrypted with the key once it was found whole.

        Raises FeatureSpaceError when it holds features of another space, GalleryKeyError when it takes another key,
        GalleryError when another process holds it or it cannot be read as a store, StorageUnavailableError when the
        disk does not let us.
        """
        self._path, self._dim = path, dim
        self._reserve = store_file.Reserve(path)
        keys = (key, old_key) if key is not None else ()
        self._ciphers = [Cipher(each, space) for each in keys if each is not None]
        self._configured = self._ciphers[0] if self._ciphers else None
        # What the file is written with now.
        self._cipher: Cipher | None = None
        self._ours = {"dim": str(dim), "space": space.hex(), **meta_of(self._configured)}
        # A write of which we cannot know whether it happened, to be taken back as soon as the disk is there.
        self._unsure: Delta | None = None
        self._connection: sqlite3.Connection | None = None
        # The file is not what it was when it was closed.
        self._changed_meanwhile = False
        self.failure: str | None = None
        """Why changes are refused, and what to do, as of the latest that was asked for."""
        try:
            finish_salvage(path)
            self._connection = self._connect()
            disk.sync(path.parent)
        except tables.Error as error:
            self._disconnect()
            if not (disk.is_unwritable(error) and path.exists()):
                raise disk.explained(error, path) from error
            self._refuse(error)
        self._reserve.take()

    def load(self, room: np.ndarray | None = None) -> Contents:
        """Read and check everything. Damage is reported, and what is whole moves to a new file.

        With `room`, `(n, dim)`, the features are read right into it, if they fit.
        """
        try:
            if self._connection is None:
                return self._load_copy(room)
            contents = tables.read(self._open_connection(), self._dim, self._cipher, room)
            if contents.damage:
                lines = audit_table.readable(self._open_connection())
                answers = answers_table.readable(self._open_connection())
                self._disconnect()
                kept = replace_damaged(self._path, lambda path: self._write_new(path, contents, lines, answers))
                self._connection = self._connect()
                contents = contents._replace(damage=(*contents.damage, f"the damaged store is kept as {str(kept)!r}"))
            elif self._changed_meanwhile:
                contents = contents._replace(damage=(CHANGED_MEANWHILE.format(str(self._path)),))
        except tables.Error as error:
            raise disk.explained(error, self._path) from error
        try:
            self._encrypt(self._open_connection())
        except tables.Error as error:
            # No room, mostly. What is there serves, and nothing is written until there is.
            self._disconnect()
            self._refuse(error)
        return contents

    def write(self, delta: Delta, *, next_instance: int) -> None:
        """Write one change. Returns when it is on the disk; raises StorageUnavailableError when it is not."""
        try:
            connection = self._open_connection()
            self._write(connection, delta, next_instance)
        except tables.Error as error:
            # A full disk is the one failure after which SQLite knows that nothing happened.
            if not disk.is_full(error):
                self._disconnect()
            self._refuse(error)
            raise StorageUnavailableError(
                f"nothing was changed: cannot write the gallery store {str(self._path)!r}: {disk.reason(error)}; "
                f"{disk.advice(error)}"
            ) from error
        # A removal proves nothing: it has the reserve.
        if self.failure and delta.added:
            self.failure = None
            log.info("the gallery store %s can be written again", self._path)
        if delta.makes_room or delta.forgets:
            # The removed features are zeros in the file now; in the log they still are what they were.
            with suppress(sqlite3.Error):
                tables.empty_log(connection)
            self._reserve.take()

    @property
    def encrypted(self) -> bool:
        """Whether the features and labels in the file are encrypted."""
        return self._cipher is not None

    def answers(self, within_s: float) -> dict[bytes, bytes]:
        """What clients were told in the last seconds; nothing when it cannot be read."""
        try:
            return answers_table.recent(self._open_connection(), within_s, self._cipher)
        except tables.Error as error:
            log.warning("the gallery store %s does not tell its latest answers: %s", self._path, error)
            return {}

    def close(self) -> None:
        """Let go of the file, and seal it. Twice is fine."""
        if self._connection is not None:
            self._disconnect()
            seal(self._path)

    def audit_lines(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Give entries of the audit log after a number, oldest first. Raises GalleryError, which says why it cannot."""
        try:
            return audit_table.lines(self._open_connection(), after, limit)
        except tables.Error as error:
            raise disk.explained(error, self._path) from error

    def prune_audit(self, through: int) -> None:
        """Let go of entries of the audit log up to a number; on a failing disk they stay."""
        try:
            audit_table.prune(self._open_connection(), through)
        except tables.Error:
            # After a failed sync nothing may be written behind what is lost, perhaps: opening anew syncs all of it.
            self._disconnect()

    def remains(self) -> list[str]:
        """Name, in sentences, the files beside the store that may hold what was removed from it."""
        return store_file.remains(self._path)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _refuse(self, error: Exception) -> None:
        # Once, not for each request: the log is on a disk too.
        if not self.failure:
            log.warning(
                "the gallery store %s cannot be written, so changes are refused: %s", self._path, disk.reason(error)
            )
        self.failure = (
            f"the gallery store {str(self._path)!r} cannot be written, so changes are refused: {disk.reason(error)}; "
            f"{disk.advice(error)}; the next addition tries again"
        )

    def _write(self, connection: sqlite3.Connection, delta: Delta, next_instance: int) -> None:
        try:
            tables.write(connection, delta, next_instance=next_instance, cipher=self._cipher)
        except sqlite3.Error as error:
            if not disk.is_full(error):
                # Its sync may have failed: then it may be on the disk or not, now or after the next power cut.
                self._unsure = delta.inverse()
                raise
            if not delta.makes_room:
                raise
            self._write_into_reserve(connection, delta, next_instance)

    def _write_into_reserve(self, connection: sqlite3.Connection, removal: Delta, next_instance: int) -> None:
        self._reserve.give_back()
        try:
            for part in removal.parts(_ROWS_AT_ONCE, _NOTES_AT_ONCE):
                tables.write(connection, part, next_instance=next_instance, cipher=self._cipher)
                with suppress(sqlite3.Error):
                    tables.empty_log(connection)
        except tables.Error:
            # Some parts are written, and the removal as a whole was refused.
            self._unsure = removal.inverse()
            self._disconnect()
            raise

    def _open_connection(self) -> sqlite3.Connection:
        """Give the connection; after a failure a new one, once what is on the disk is certain again."""
        if self._connection is None:
            connection = self._connect()
            try:
                # A failed sync leaves pages that look written and are not. This writes and syncs them all again.
                tables.empty_log(connection)
                if self._unsure is not None:
                    tables.write(connection, self._unsure, cipher=self._cipher)
                self._encrypt(connection)
            except BaseException:
                # Else its lock would keep the next attempt out for as long as the error's traceback lives.
                connection.close()
                raise
            self._connection, self._unsure = connection, None
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        self._changed_meanwhile |= unseal(self._path)
        connection = tables.connect(self._path)
        try:
            self._claim(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _claim(self, connection: sqlite3.Connection) -> None:
        meta = tables.claim(connection, self._ours)
        self._cipher = cipher_of(self._path, meta, self._ours, self._ciphers)

    def _encrypt(self, connection: sqlite3.Connection) -> None:
        """Have the file written with the configured key, if there is one, and nothing of before left in the log."""
        if self._configured is not None and self._cipher is not self._configured:
            log.info("the gallery store %s is being encrypted with the configured key", self._path)
            rekey(connection, self._dim, was=self._cipher, now=self._configured)
            self._cipher = self._configured
        # Until then what was there before is in the file, and what was forgotten in the log; a crash may have come in
        # between. A full disk may forbid it.
        with suppress(sqlite3.Error):
            tables.empty_log(connection)

    def _load_copy(self, room: np.ndarray | None) -> Contents:
        """Read a store on a disk that cannot be written."""
        with store_file.copied(self._path) as copy, closing(tables.connect(copy)) as connection:
            self._claim(connection)
            return tables.read(connection, self._dim, self._cipher, room)

    def _write_new(self, path: Path, contents: Contents, lines: list[tuple[int, str]], answers: list[Row]) -> None:
        with closing(tables.connect(path)) as connection:
            tables.write_new(connection, contents, self._ours, lines, self._configured)
            rows = answers_table.rewritten(answers, was=self._cipher, now=self._configured)
            with tables.transaction(connection):
                answers_table.write_all(connection, rows)
            tables.empty_log(connection)
