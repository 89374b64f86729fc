"""What ids became is kept in mind for the latest of them, so that months of merging fill no memory."""

import sqlite3
import time
from contextlib import closing
from statistics import median

import pytest
from galleries import SPACE, feature, opened

from reidd.gallery import editor, without_forgotten
from reidd.gallery.archive import Archive
from reidd.gallery.gallery import Gallery


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    monkeypatch.setattr(editor, "MOVED_KEPT", 3)
    monkeypatch.setattr(editor, "MOVES_KEPT_OF_ONE", 2)
    monkeypatch.setattr(editor, "LOOKED_EVERY", 1)
    with opened(tmp_path, capacity=100) as gallery:
        gallery.set_limit(1, "drop_oldest")
        yield gallery


def left_out(backup: Archive, gallery: Gallery) -> list[int]:
    return without_forgotten(backup, gallery.origin, gallery.forgotten())[1]


def backup_of(gallery: Gallery) -> Archive:
    return Archive(gallery.reader.rows(), {}, SPACE, None, gallery.origin)


def merge_each(gallery: Gallery, ids: list[int], into_id: int) -> None:
    """Merge ids whose instances go, for the limit is one: then only what they became tells who they were."""
    for id in ids:
        gallery.merge(id, into_id)
    gallery.add(into_id, feature(100))


def test_the_ids_that_moved_last_are_left_out_of_a_backup_of_before(gallery):
    for id in (1, 2, 3, 4, 5):
        gallery.add(id, feature(id))
    backup = backup_of(gallery)
    merge_each(gallery, [5, 4, 3, 2], into_id=1)
    gallery.forget(1)
    assert left_out(backup, gallery) == [1, 2, 3, 4]


def test_ids_that_were_forgotten_take_no_room_from_those_that_moved_and_are_kept_all(gallery):
    for id in (11, 12, 13, 14, 1, 2, 3, 4):
        gallery.add(id, feature(id))
    backup = backup_of(gallery)
    for id in (11, 12, 13, 14):
        gallery.forget(id)
    merge_each(gallery, [2, 3, 4], into_id=1)
    gallery.forget(1)
    assert left_out(backup, gallery) == [1, 2, 3, 4, 11, 12, 13, 14]


def test_an_id_that_moves_again_and_again_is_left_out_by_its_latest_ways(gallery):
    gallery.add(2, feature(2))
    backup = backup_of(gallery)
    for into_id in (11, 12, 13):
        gallery.add(into_id, feature(into_id))
        gallery.merge(2, into_id)
        gallery.add(2, feature(2))
        gallery.add(into_id, feature(100))
    gallery.forget(11)
    assert left_out(backup, gallery) == []
    gallery.forget(12)
    assert left_out(backup, gallery) == [2]


def test_undo_brings_back_the_note_that_a_move_pushed_out(gallery):
    for id in (1, 2, 3, 4, 5):
        gallery.add(id, feature(id))
    backup = backup_of(gallery)
    merge_each(gallery, [5, 4, 3], into_id=1)
    gallery.merge(2, 1)
    gallery.undo()
    gallery.add(1, feature(101))
    gallery.forget(1)
    assert left_out(backup, gallery) == [1, 3, 4, 5]


def test_what_was_pushed_out_is_off_the_disk(gallery, tmp_path):
    for id in (1, 2, 3, 4, 5):
        gallery.add(id, feature(id))
    merge_each(gallery, [5, 4, 3, 2], into_id=1)
    gallery.close()
    with closing(sqlite3.connect(tmp_path / "gallery.sqlite")) as store:
        assert [id for (id,) in store.execute("SELECT id FROM forgotten ORDER BY id")] == [2, 3, 4]


def test_a_merge_takes_no_longer_once_others_are_pushed_out(gallery, monkeypatch):
    monkeypatch.setattr(editor, "MOVED_KEPT", 5_000)
    monkeypatch.setattr(editor, "LOOKED_EVERY", 100)
    taken_s = []
    gallery.add(0, feature(0))
    with gallery.transaction():
        for id in range(1, 6_000):
            gallery.add(id, feature(0))
            began = time.perf_counter()
            gallery.merge(id, 0)
            taken_s.append(time.perf_counter() - began)
    assert median(taken_s[-800:]) < 5 * median(taken_s[:800])
    gallery.forget(0)
    assert 5_000 < len(gallery.forgotten()) <= 5_101
