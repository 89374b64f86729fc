"""A store is written anew with its first key, or with the next: whole, or as if nobody had begun."""

import os
import shutil
import signal
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from encrypted import KEY, OTHER_KEY, encrypted_store, stored, units, written
from galleries import DIM, SPACE, change, everything, features, held, labels_of, opened

from reidd.errors import GalleryKeyError
from reidd.gallery import rekeying, tables
from reidd.gallery.cipher import Cipher

WIDE = {"dim": 1024, "capacity": 1000}


@pytest.fixture
def store(tmp_path) -> Path:
    return encrypted_store(tmp_path)


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
