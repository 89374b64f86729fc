"""A damaged store is noticed, and what is whole serves."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from galleries import DIM, change, feature, features, held, labels_of, opened

from reidd.errors import GalleryError
from reidd.gallery import Act
from reidd.gallery.contents import instance_crc

PAGE_BYTES = 8192


def fill_and_note(folder):
    """Three instances of id 1, and an entry about them in the audit log."""
    with opened(folder) as gallery:
        gallery.add(1, features(3))
        with gallery.transaction():
            gallery.note([Act(who="local", what="add_to_gallery", id=1)])


def wipe(store, table):
    """Make zeros of the page that a table begins with."""
    with closing(sqlite3.connect(store)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with store.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))


class TestDamage:
    def test_a_damaged_row_is_set_aside_and_the_rest_serves(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(3))
        change(tmp_path, "UPDATE instances SET feature = zeroblob(32) WHERE instance = 2")
        with opened(tmp_path) as gallery:
            assert [number for number, _ in held(gallery)] == [1, 3]
            assert "instance 2 does not match its checksum" in gallery.damage
            assert (tmp_path / "gallery.sqlite.damaged-1").exists()
        with opened(tmp_path) as gallery:
            assert gallery.damage == ()
            assert gallery.count() == 2

    def test_a_row_that_was_written_wrong_is_set_aside_too(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(2))
        endless = np.full(DIM, np.inf, np.float32).tobytes()
        change(
            tmp_path,
            f"UPDATE instances SET time_ns = 0, crc = {instance_crc(2, 1, 0, endless)}, feature = x'{endless.hex()}' "
            "WHERE instance = 2",
        )
        with opened(tmp_path) as gallery:
            assert "instance 2 is not a unit vector" in gallery.damage
            assert [number for number, _ in held(gallery)] == [1]

    @pytest.mark.parametrize("table", ["audit", "answers"])
    def test_damage_where_each_change_is_noted_does_not_have_all_of_them_refused(self, tmp_path, table):
        def enrol(gallery, id):
            with gallery.transaction():
                gallery.add(id, feature(id))
                gallery.keep_answer(b"key", b"answer")
                gallery.note([Act(who="local", what="add_to_gallery", id=id)])

        with opened(tmp_path) as gallery:
            enrol(gallery, 1)
        wipe(tmp_path / "gallery.sqlite", table)
        with opened(tmp_path) as gallery:
            assert "malformed" in gallery.damage[0]
            enrol(gallery, 2)
            assert gallery.ids() == [1, 2]

    def test_of_a_damaged_log_both_ends_are_kept(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(2))
            for id in range(400):
                with gallery.transaction():
                    gallery.note([Act(who="local", what="set_label", id=id)])
        store = tmp_path / "gallery.sqlite"
        page = store.read_bytes().index(b'"seq":200,') // PAGE_BYTES
        with store.open("r+b") as file:
            file.seek(page * PAGE_BYTES)
            file.write(bytes(PAGE_BYTES))
        change(tmp_path, "UPDATE instances SET feature = zeroblob(32) WHERE instance = 2")
        with opened(tmp_path) as gallery:
            kept = [number for number, _ in gallery.audit_lines(0, 1000)]
        assert (kept[0], kept[-1]) == (1, 400)
        assert 300 < len(kept) < 400

    def test_a_missing_row_is_noticed(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(3))
        change(tmp_path, "DELETE FROM instances WHERE instance = 2")
        with opened(tmp_path) as gallery:
            assert "2 of 3 instances could be read" in gallery.damage

    # The second is one flipped bit of the file: the type of the label.
    @pytest.mark.parametrize("label", ["'adam'", "CAST(label AS BLOB)"])
    def test_a_changed_label_is_noticed(self, tmp_path, label):
        with opened(tmp_path) as gallery:
            gallery.add(1, feature(1))
            gallery.set_label(1, "eve")
        change(tmp_path, f"UPDATE identities SET label = {label}")
        with opened(tmp_path) as gallery:
            assert gallery.damage
            assert labels_of(gallery) == {}

    # One flipped bit of the file makes such a text of most that there are.
    def test_a_label_that_is_no_text_any_more_takes_no_other_along(self, tmp_path):
        with opened(tmp_path) as gallery:
            for id in (1, 2, 3):
                gallery.add(id, feature(id))
                gallery.set_label(id, f"eve {id}")
        change(tmp_path, "UPDATE identities SET label = CAST(x'e5' || label AS TEXT) WHERE id = 2")
        with opened(tmp_path) as gallery:
            assert labels_of(gallery) == {1: "eve 1", 3: "eve 3"}
            assert gallery.damage and "eve" not in str(gallery.damage)

    def test_neither_does_a_note_of_who_was_forgotten(self, tmp_path):
        with opened(tmp_path) as gallery:
            for id in (1, 2, 3):
                gallery.forget(id)
        change(tmp_path, "UPDATE forgotten SET what = CAST(x'e5' || what AS TEXT) WHERE id = 2")
        with opened(tmp_path) as gallery:
            assert list(gallery.forgotten()) == [1, 3]

    @pytest.mark.parametrize("key", ["state", "ages", "audit"])
    def test_a_note_that_is_no_text_any_more_keeps_no_gallery_closed(self, tmp_path, key):
        fill_and_note(tmp_path)
        change(tmp_path, f"UPDATE meta SET value = CAST(x'e5' || value AS TEXT) WHERE key = '{key}'")
        with opened(tmp_path) as gallery:
            assert gallery.count() == 3

    def test_a_lost_counter_never_gives_a_number_twice(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(3))
        change(tmp_path, "UPDATE meta SET value = 'x' WHERE key = 'state'")
        with opened(tmp_path) as gallery:
            assert gallery.count() == 3
            assert gallery.add(1, feature(1)).added[0] > 1000

    @pytest.mark.parametrize("key", ["state", "ages", "audit"])
    def test_a_note_in_the_place_of_another_is_noticed(self, tmp_path, key):
        fill_and_note(tmp_path)
        for other in {"state", "ages", "audit"} - {key}:
            change(
                tmp_path, f"UPDATE meta SET value = (SELECT value FROM meta WHERE key = '{other}') WHERE key = '{key}'"
            )
            with opened(tmp_path) as gallery:
                assert (gallery.count(), gallery.audit.seq) == (3, 1)
                assert gallery.damage

    def test_a_file_that_is_no_store_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "gallery.sqlite").write_bytes(b"not a database" * 500)
        with pytest.raises(GalleryError, match="restore a backup"):
            opened(tmp_path)
        assert (tmp_path / "gallery.sqlite").read_bytes() == b"not a database" * 500
