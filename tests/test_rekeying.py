"""An encrypted store: nothing of it can be read or moved without its key, and no key is ever taken for damage."""

import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from galleries import DIM, SPACE, change, features, held, labels_of, opened, retention_of

from reidd.errors import GalleryError, GalleryKeyError
from reidd.gallery import Gallery, rekeying, tables
from reidd.gallery.changes import Identity
from reidd.gallery.cipher import Cipher
from reidd.gallery.contents import identity_crc, instance_crc

KEY, OTHER_KEY = bytes(range(100, 132)), bytes(range(32, 64))
WIDE = {"dim": 1024, "capacity": 1000}


@pytest.fixture
def store(tmp_path) -> Path:
    """An encrypted store of three instances of id 1 and two of id 2, which has a label and a pin."""
    with opened(tmp_path, key=KEY) as gallery:
        gallery.add(1, features(3))
        gallery.add(2, features(5)[3:])
        gallery.set_label(2, "Annabelle")
        gallery.pin(2)
    return tmp_path / "gallery.sqlite"


def stored(store: Path, what: str):
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


def everything(gallery: Gallery) -> tuple:
    rows = gallery.reader.rows(limit=1000)
    return held(gallery), rows.features.tobytes(), rows.times_ns.tolist(), labels_of(gallery), retention_of(gallery)


class TestEncryptedStore:
    def test_it_holds_no_feature_and_no_label_in_any_file(self, tmp_path):
        with opened(tmp_path, key=KEY) as gallery:
            gallery.add(1, features(5))
            gallery.set_label(1, "Annabelle")
            gallery.rename(1, 2)
            gallery.undo()
            while_open = written(tmp_path)
        closed = written(tmp_path)
        assert (tmp_path / "gallery.sqlite.reserve").exists()
        for row in units(5):
            # Half of one, too: rows lie in pages in any order.
            assert not [part for part in (row, row[:16], row[16:]) if part in while_open or part in closed]
        assert b"Annabelle" not in while_open + closed

    def test_the_same_search_finds_them_in_a_plain_one(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(5))
            gallery.set_label(1, "Annabelle")
            assert all(row in written(tmp_path) for row in (*units(5), b"Annabelle"))

    def test_a_restart_finds_everything(self, store, tmp_path):
        with opened(tmp_path, key=KEY) as gallery:
            assert gallery.encrypted
            assert (gallery.damage, labels_of(gallery), retention_of(gallery).pinned) == ((), {2: "Annabelle"}, (2,))
            assert held(gallery) == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]
            assert [row.tobytes() for row in gallery.reader.rows().features] == units(5)

    def test_everything_that_changes_a_gallery_goes_on_to_work(self, store, tmp_path):
        with opened(tmp_path, key=KEY) as gallery:
            gallery.remove(1)
            gallery.undo()
            gallery.merge(2, 1)
            gallery.move(4, 3)
            gallery.forget(1)
            before = everything(gallery)
        with opened(tmp_path, key=KEY) as gallery:
            assert gallery.damage == ()
            assert everything(gallery) == before
            assert held(gallery) == [(4, 3)]

    def test_what_was_forgotten_is_in_no_file(self, store, tmp_path):
        gone = [stored(store, f"SELECT feature FROM instances WHERE instance = {number}")[0] for number in (4, 5)]
        assert all(row in written(tmp_path) for row in gone)
        with opened(tmp_path, key=KEY) as gallery:
            gallery.forget(2)
            assert not [row for row in gone if row in written(tmp_path)]


class TestDamage:
    @pytest.mark.parametrize("swapped", ["id", "instance"])
    def test_a_row_that_was_moved_is_noticed_though_its_checksum_is_right(self, store, tmp_path, swapped):
        number, id, time_ns, sealed = stored(store, "SELECT instance, id, time_ns, feature FROM instances LIMIT 1")
        number, id = (number, 2) if swapped == "id" else (9, id)
        crc = instance_crc(number, id, time_ns, sealed)
        change(tmp_path, "UPDATE instances SET instance = ?, id = ?, crc = ? WHERE instance = 1", number, id, crc)
        with opened(tmp_path, key=KEY) as gallery:
            assert f"instance {number} does not match its checksum" in gallery.damage
            assert [number for number, _ in held(gallery)] == [2, 3, 4, 5]

    def test_a_row_of_a_plain_store_is_not_believed(self, store, tmp_path):
        plain = units(1)[0]
        change(tmp_path, "INSERT INTO instances VALUES (9, 9, 0, ?, ?)", instance_crc(9, 9, 0, plain), plain)
        with opened(tmp_path, key=KEY) as gallery:
            assert "instance 9 does not match its checksum" in gallery.damage
            assert 9 not in gallery.ids()

    def test_a_label_that_was_moved_is_noticed(self, store, tmp_path):
        (sealed,) = stored(store, "SELECT label FROM identities")
        crc = identity_crc(1, Identity(sealed, True, None))
        change(tmp_path, "UPDATE identities SET id = 1, crc = ?", crc)
        with opened(tmp_path, key=KEY) as gallery:
            assert "the label of id 1 was not written for that id" in gallery.damage
            assert labels_of(gallery) == {}

    def test_what_is_whole_of_a_damaged_store_moves_to_an_encrypted_one(self, store, tmp_path):
        change(tmp_path, "UPDATE instances SET feature = zeroblob(60) WHERE instance = 2")
        with opened(tmp_path, key=KEY) as gallery:
            assert "instance 2 does not match its checksum" in gallery.damage
        assert store.with_name("gallery.sqlite.damaged-1").exists()
        assert not [row for row in units(5) if row in written(tmp_path)]
        with opened(tmp_path, key=KEY) as gallery:
            assert (gallery.damage, gallery.count(), labels_of(gallery)) == ((), 4, {2: "Annabelle"})


class TestKey:
    @pytest.mark.parametrize(
        ("key", "said"), [(None, "no key is configured"), (OTHER_KEY, "another key")], ids=["none", "another"]
    )
    def test_without_its_key_nothing_is_served_and_nothing_is_touched(self, store, tmp_path, key, said):
        before = store.read_bytes()
        with pytest.raises(GalleryKeyError, match=said) as refusal:
            opened(tmp_path, key=key)
        assert refusal.value.code == "wrong-gallery-key"
        assert store.read_bytes() == before
        assert not list(tmp_path.glob("*damaged*"))
        with opened(tmp_path, key=KEY) as gallery:
            assert (gallery.damage, gallery.count()) == ((), 5)

    @pytest.mark.parametrize("statement", ["UPDATE meta SET value = 'x'", "DELETE FROM meta"])
    def test_a_damaged_note_of_the_key_sets_no_row_aside(self, store, tmp_path, statement):
        change(tmp_path, f"{statement} WHERE key = 'key'")
        for key in (KEY, OTHER_KEY):
            with pytest.raises(GalleryError, match="notes its key"):
                opened(tmp_path, key=key)
        assert not list(tmp_path.glob("*damaged*"))

    def test_an_error_tells_nothing_of_a_key(self, store, tmp_path):
        with pytest.raises(GalleryKeyError) as refusal:
            opened(tmp_path, key=OTHER_KEY)
        assert OTHER_KEY.hex() not in str(refusal.value)
        assert KEY not in written(tmp_path)
        assert KEY.hex().encode() not in written(tmp_path)


class TestConversion:
    def test_a_plain_store_is_encrypted_when_it_is_opened_with_a_key(self, tmp_path, caplog):
        caplog.set_level("INFO")
        plain(tmp_path, 100)
        with opened(tmp_path, capacity=1000) as gallery:
            assert not gallery.encrypted
            before = everything(gallery)
        with opened(tmp_path, capacity=1000, key=KEY) as gallery:
            assert gallery.encrypted
            assert (gallery.damage, everything(gallery)) == ((), before)
            files = written(tmp_path)
        files += written(tmp_path)
        assert not [row for row in (*units(100), b"Annabelle") if row in files]
        with opened(tmp_path, capacity=1000, key=KEY) as gallery:
            assert (gallery.damage, everything(gallery)) == ((), before)
        assert [record.message for record in caplog.records] == [
            f"the gallery store {tmp_path / 'gallery.sqlite'} is being encrypted with the configured key"
        ]

    def test_a_damaged_plain_store_is_salvaged_into_an_encrypted_one(self, tmp_path):
        plain(tmp_path, 5)
        change(tmp_path, "UPDATE instances SET feature = zeroblob(32) WHERE instance = 2")
        with opened(tmp_path, key=KEY) as gallery:
            assert "instance 2 does not match its checksum" in gallery.damage
            assert gallery.encrypted
        with opened(tmp_path, key=KEY) as gallery:
            assert (gallery.damage, gallery.count(), labels_of(gallery)) == ((), 4, {1: "Annabelle"})

    @pytest.mark.parametrize("after_rows", [1, 300, 600, 890])
    def test_a_kill_in_the_middle_of_it_loses_nothing(self, tmp_path, after_rows):
        # More than SQLite keeps in memory, so that half of it is in the log before the commit.
        wide = np.random.default_rng(0).normal(size=(900, WIDE["dim"])).astype(np.float32)
        with opened(tmp_path, **WIDE) as gallery:
            gallery.add(1, wide)
            gallery.set_label(1, "Annabelle")
            before, rows = everything(gallery), [row.tobytes() for row in gallery.reader.rows(limit=900).features]
        killed_while_it_encrypts(tmp_path, after_rows)
        assert stored_layout(tmp_path) == "1"
        with opened(tmp_path, **WIDE, key=KEY) as gallery:
            assert (gallery.damage, everything(gallery)) == ((), before)
            files = written(tmp_path)
        files += written(tmp_path)
        assert not [row for row in rows[::50] if row[:64] in files or row[-64:] in files]

    def test_a_commit_that_was_not_written_back_is_written_back_at_the_next_start(self, tmp_path, monkeypatch):
        plain(tmp_path, 50)
        pid = os.fork()
        if not pid:
            monkeypatch.setattr("reidd.gallery.tables.empty_log", lambda connection: os._exit(0))
            opened(tmp_path, capacity=1000, key=KEY)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert [row for row in units(50) if row in written(tmp_path)]
        with opened(tmp_path, capacity=1000, key=KEY) as gallery:
            assert (gallery.damage, gallery.count()) == ((), 50)
            assert not [row for row in units(50) if row in written(tmp_path)]


class TestChangeOfTheKey:
    def test_what_was_encrypted_with_the_old_key_is_encrypted_with_the_new_one(self, store, tmp_path):
        with opened(tmp_path, key=KEY) as gallery:
            before = everything(gallery)
        old = stored(store, "SELECT feature FROM instances")[0]
        with opened(tmp_path, key=OTHER_KEY, old_key=KEY) as gallery:
            assert (gallery.damage, everything(gallery)) == ((), before)
            assert old not in written(tmp_path)
        with pytest.raises(GalleryKeyError):
            opened(tmp_path, key=KEY)
        with opened(tmp_path, key=OTHER_KEY) as gallery:
            assert (gallery.damage, everything(gallery)) == ((), before)

    def test_an_old_key_that_stays_configured_changes_nothing(self, store, tmp_path):
        before = stored(store, "SELECT feature FROM instances")
        opened(tmp_path, key=KEY, old_key=OTHER_KEY).close()
        opened(tmp_path, key=KEY, old_key=KEY).close()
        assert stored(store, "SELECT feature FROM instances") == before

    def test_what_is_damaged_stays_damaged(self, store, tmp_path):
        change(tmp_path, "UPDATE instances SET feature = zeroblob(60) WHERE instance = 2")
        with opened(tmp_path, key=OTHER_KEY, old_key=KEY) as gallery:
            assert "instance 2 does not match its checksum" in gallery.damage
            assert [number for number, _ in held(gallery)] == [1, 3, 4, 5]
        with opened(tmp_path, key=OTHER_KEY) as gallery:
            assert (gallery.damage, gallery.count(), labels_of(gallery)) == ((), 4, {2: "Annabelle"})

    def test_a_damaged_row_is_not_made_whole_by_writing_it_anew(self, store, tmp_path):
        change(tmp_path, "UPDATE instances SET time_ns = 1 WHERE instance = 2")
        change(tmp_path, "UPDATE identities SET pinned = 0")
        with closing(tables.connect(store)) as connection:
            rekeying.rekey(connection, DIM, was=Cipher(KEY, SPACE), now=Cipher(OTHER_KEY, SPACE))
        with opened(tmp_path, key=OTHER_KEY) as gallery:
            assert "instance 2 does not match its checksum" in gallery.damage
            assert "what was known about id 2 does not match its checksum" in gallery.damage
            assert [number for number, _ in held(gallery)] == [1, 3, 4, 5]


def plain(folder: Path, count: int) -> None:
    with opened(folder, capacity=1000) as gallery:
        gallery.add(1, features(count))
        gallery.set_label(1, "Annabelle")
        gallery.set_limit(1000, "drop_oldest")


def killed_while_it_encrypts(folder: Path, after_rows: int) -> None:
    """Have a process encrypt a store, and kill it when it has written so many rows anew."""
    readable, writable = os.pipe()
    pid = os.fork()
    if not pid:
        encrypted = rekeying.stored_instance

        def telling(*arguments):
            os.write(writable, b"x")
            time.sleep(0.0001)
            return encrypted(*arguments)

        rekeying.stored_instance = telling
        opened(folder, **WIDE, key=KEY)
        os._exit(0)
    told = 0
    while told < after_rows:
        told += len(os.read(readable, after_rows - told))
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    os.close(readable)
    os.close(writable)


def stored_layout(folder: Path) -> str:
    """What a copy of the store says, so that looking at it writes nothing back."""
    copy = folder / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("gallery"))
    (layout,) = stored(copy / "gallery.sqlite", "SELECT value FROM meta WHERE key = 'layout'")
    shutil.rmtree(copy)
    return layout
