"""Every byte of a small store is flipped in turn: none of it is believed, none of it stops reidd with a traceback."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from figures import note
from galleries import retention_of
from workload import CAPACITY, change_key, opened, state, transact

from reidd.errors import GalleryKeyError, ReiddError, StorageUnavailableError
from reidd.gallery import Act, Gallery, columns


@pytest.fixture
def store() -> Iterator[Path]:
    with filled() as store:
        yield store


@contextmanager
def filled(*, encrypted: bool = False) -> Iterator[Path]:
    # In memory: tens of thousands of syncs, none of which means anything here.
    with TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name) / "whole"
        folder.mkdir()
        if encrypted:
            change_key(folder)
        with opened(folder) as gallery:
            for n in range(4):
                transact(gallery, n)
            with gallery.transaction():
                gallery.set_label(gallery.ids()[0], "eve")
                gallery.keep_answer(b"key", b"reply")
                gallery.note([Act(who="local", what="set_label", id=gallery.ids()[0])])
        yield folder / "store"


def outcomes(store: Path, stride: int) -> Iterator[str]:
    """Flip whole bytes and single bits in turn and open the store each time; gives what that led to."""
    whole, folder = store.read_bytes(), store.parent.parent / "flipped"
    seal = store.with_name("store.seal").read_bytes()
    with opened(store.parent) as gallery:
        expected = everything(gallery)
    for at, bits in zip(range(0, len(whole), stride), cycle((0xFF, 0x01)), strict=False):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if (store.parent / "key").exists():
            shutil.copy(store.parent / "key", folder)
        (folder / "store").write_bytes(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])
        (folder / "store.seal").write_bytes(seal)
        yield outcome(folder, expected)


def everything(gallery: Gallery) -> tuple:
    """All that a store holds, so that a flip that leaves it equal was in a byte that holds nothing."""
    rows = gallery.reader.rows(limit=CAPACITY)
    return *state(gallery), rows.numbers.tolist(), rows.times_ns.tolist(), retention_of(gallery), gallery._index.ages


def outcome(folder: Path, expected: tuple) -> str:
    try:
        with opened(folder) as gallery:
            # Neither has its damage told at the start; whoever asks for them later wants no traceback either.
            gallery.answers(60)
            with suppress(StorageUnavailableError):
                gallery.prune_audit(older_than_s=0)
            if any("no daemon held it" not in sentence for sentence in gallery.damage):
                return "reported"
            if everything(gallery) != expected:
                return "believed"
            # In bytes that SQLite does not use: gaps in its pages, and what its header keeps for others.
            return "reported by the seal" if gallery.damage else "unnoticed"
    except GalleryKeyError:
        return "taken for another key's"
    except ReiddError:
        return "refused"


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("stride", "encrypted"),
    [
        (41, False),
        (67, True),
        pytest.param(1, False, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
    ],
    ids=["41", "67 encrypted", "1", "1 encrypted"],
)
def test_no_flipped_byte_is_believed(stride, encrypted):
    with filled(encrypted=encrypted) as store:
        found = Counter(outcomes(store, stride))
    noticed = found["reported"] + found["refused"]
    which = "encrypted store" if encrypted else "store"
    note(
        f"flipped bytes of the {which}, one in {stride}",
        f"{noticed + found['reported by the seal']} of {found.total()} noticed",
        "all",
    )
    note(f"of these, noticed without the seal too, for they hold something, {which}", str(noticed), "")
    assert found["believed"] == found["unnoticed"] == found["taken for another key's"] == 0
    assert found["reported"] > 10


def test_the_rig_notices_a_checksum_that_is_not_compared(store, monkeypatch):
    def trusting(self, rows) -> list[bytes | None]:
        """Take what is there for what was written."""
        return [
            feature if all(isinstance(value, int) for value in row) and len(feature) == 4 * self._dim else None
            for *row, feature in rows
        ]

    monkeypatch.setattr(columns.Columns, "_opened", trusting)
    assert "believed" in outcomes(store, 29)


def test_a_store_that_sqlite_finds_sound_is_still_checked(store):
    connection = sqlite3.connect(store)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.execute("UPDATE instances SET id = id + 1")
    connection.commit()
    connection.close()
    assert outcome(store.parent, ()) == "reported"
