"""Whose a store is, which key it is written with, and how it is written anew: with its first key, or the next."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from reidd.errors import FeatureSpaceError, GalleryError, GalleryKeyError
from reidd.gallery import answers_table, tables
from reidd.gallery.changes import Identity
from reidd.gallery.cipher import Cipher
from reidd.gallery.contents import (
    State,
    decoded_check,
    encoded_check,
    identity_crc,
    read_identity,
    stored_feature,
    stored_instance,
)
from reidd.gallery.instance import Instance

LAYOUT = "1"
# Another one, so that a reidd that knows no keys refuses the store and does not take its rows for damaged.
ENCRYPTED_LAYOUT = "1 encrypted"
_ROWS_AT_ONCE = 1000


def meta_of(cipher: Cipher | None) -> dict[str, str]:
    """What a store notes about how it is written; of the key no more than tells it from another."""
    if cipher is None:
        return {"layout": LAYOUT}
    return {"layout": ENCRYPTED_LAYOUT, "key": encoded_check(cipher.check_value())}


def noted_space(path: Path) -> object:
    """Whose features a store holds, by its file as it lies there; None when it does not say.

    Nothing is locked, written or replayed, so a daemon may be at work on it, and its seal stays good.
    """
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            return tables.stored(connection, "space")
    except tables.Error:
        return None


def cipher_of(
    path: Path, meta: Mapping[str, str], ours: Mapping[str, str], configured: Sequence[Cipher]
) -> Cipher | None:
    """Give which of the configured ciphers a store is written with; None for one that is plain.

    Raises FeatureSpaceError when it holds features of another space than ours, GalleryKeyError when it is encrypted
    with another key, or none is configured.
    """
    if meta.get("layout") not in {LAYOUT, ENCRYPTED_LAYOUT}:
        raise GalleryError(
            f"the gallery store {str(path)!r} has layout {meta.get('layout')!r}, this reidd knows "
            f"{LAYOUT} and {ENCRYPTED_LAYOUT}; use the reidd it was made with, or restore a backup"
        )
    if (meta.get("dim"), meta.get("space")) != (ours["dim"], ours["space"]):
        raise FeatureSpaceError(
            f"the gallery store {str(path)!r} holds features of another space ({meta.get('dim')} values, "
            f"{str(meta.get('space'))[:12]}), not ({ours['dim']}, {ours['space'][:12]}); go back to "
            "the model and preprocessing it was made with, or move the file away, or choose another state folder, and "
            "enrol anew"
        )
    if meta["layout"] == LAYOUT:
        return None
    if not configured:
        raise GalleryKeyError(
            f"the gallery store {str(path)!r} is encrypted and no key is configured; set gallery_key in reidd.toml, or "
            "load the systemd credential gallery-key"
        )
    value = decoded_check(meta.get("key"))
    if value is None:
        raise GalleryError(
            f"the gallery store {str(path)!r} is damaged where it notes its key; restore a backup, or move it away to "
            "begin with an empty gallery"
        )
    for cipher in configured:
        if cipher.made(value):
            return cipher
    raise GalleryKeyError(
        f"the gallery store {str(path)!r} is encrypted with another key than the configured one, and was left as "
        "it is; configure the key it was encrypted with, or move it away to begin with an empty gallery"
    )


def rekey(connection: sqlite3.Connection, dim: int, *, was: Cipher | None, now: Cipher) -> None:
    """Write everything anew, in one transaction, and over what was there. What is damaged stays so."""
    with tables.transaction(connection):
        state = State.decode(tables.stored(connection, "state"))
        digest = 0
        for row in _rows(connection):
            feature = stored_feature(*row, dim=dim, cipher=was)
            if feature is not None:
                instance = Instance(*row[:3], feature)
                *_, crc, stored = stored_instance(instance, now)
                connection.execute(
                    "UPDATE instances SET crc = ?, feature = ? WHERE instance = ?", (crc, stored, instance.number)
                )
                digest ^= row[3] ^ crc
        for id, label, pinned, ttl_s, crc in connection.execute("SELECT * FROM identities").fetchall():
            written = Identity(label, bool(pinned), ttl_s)
            identity = read_identity(id, written, was) if crc == identity_crc(id, written) else None
            if identity is not None:
                digest ^= tables.write_identity(connection, id, identity, now)
        answers_table.rekey(connection, was=was, now=now)
        meta = meta_of(now)
        if state is not None:
            meta["state"] = state._replace(digest=state.digest ^ digest).encode()
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[int, int, int, int, bytes]]:
    select = "SELECT instance, id, time_ns, crc, feature FROM instances WHERE instance > ? ORDER BY instance LIMIT ?"
    # By pages, for what a running SELECT gives of rows that are changed meanwhile is not defined.
    last = -(2**63)
    while rows := connection.execute(select, (last, _ROWS_AT_ONCE)).fetchall():
        yield from rows
        last = rows[-1][0]
