"""What is forgotten is gone, and no backup brings it back by itself."""

import shutil
import sqlite3
from zlib import crc32

import numpy as np
import pytest
from galleries import SPACE, change, feature, features, held, labels_of, opened, pinned_of, retention_of

from reidd.errors import RequestError
from reidd.gallery import Gallery, archive, without_forgotten
from reidd.gallery.archive import Archive


@pytest.fixture
def gallery(tmp_path):
    with opened(tmp_path, capacity=100) as gallery:
        gallery.add(1, features(3))
        gallery.add(2, features(6)[3:])
        gallery.set_label(1, "eve")
        gallery.set_label(2, "bob")
        gallery.pin(1)
        yield gallery


def saved(gallery: Gallery) -> Archive:
    return Archive(gallery.reader.rows(), labels_of(gallery), SPACE, retention_of(gallery), gallery.origin)


def brought_back(saved: Archive, gallery: Gallery) -> list[int]:
    """Put a backup back; the ids that were left out."""
    kept, left_out = without_forgotten(saved, gallery.origin, gallery.forgotten())
    gallery.restore(kept.rows, kept.labels, kept.retention)
    return left_out


def test_an_id_is_gone_with_all_that_was_known_about_it(gallery):
    assert gallery.forget(1) == (1, 2, 3)
    assert (gallery.ids(), labels_of(gallery), pinned_of(gallery)) == ([2], {2: "bob"}, [])


def test_nothing_is_left_to_undo(gallery):
    gallery.remove(1)
    gallery.forget(1)
    with pytest.raises(RequestError, match="nothing to undo"):
        gallery.undo()


def test_a_feature_is_nowhere_in_the_files_even_when_others_are_added_in_the_same_transaction(gallery, tmp_path):
    gone = [row.tobytes() for row in gallery.reader.rows().features[:3]]
    stays = gallery.reader.rows().features[3].tobytes()
    with gallery.transaction():
        gallery.add(3, feature(50))
        gallery.forget(1)
        gallery.add(4, feature(51))
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert stays in content
    assert [row for row in gone if row in content] == []


def test_whoever_becomes_another_is_written_once_and_only_who_is_forgotten_empties_the_log(gallery, tmp_path):
    log_file = tmp_path / "gallery.sqlite-wal"
    gallery.rename(1, 9)
    gallery.merge(9, 2)
    gallery.undo()
    assert log_file.stat().st_size > 0
    gallery.forget(2)
    assert log_file.stat().st_size == 0


def test_nor_is_it_in_those_of_the_next_process_when_this_one_is_killed_right_after(gallery, tmp_path, monkeypatch):
    def killed(connection):
        raise sqlite3.OperationalError("the log could not be written back")

    gone = [row.tobytes() for row in gallery.reader.rows().features[:3]]
    after = tmp_path / "after"
    after.mkdir()
    with monkeypatch.context() as killing:
        killing.setattr("reidd.gallery.tables.empty_log", killed)
        gallery.forget(1)
        for file in tmp_path.glob("gallery.sqlite*"):
            shutil.copy(file, after)
    assert [row for row in gone if row in (after / "gallery.sqlite-wal").read_bytes()] == gone
    with opened(after, capacity=100):
        content = b"".join(file.read_bytes() for file in after.iterdir())
    assert [row for row in gone if row in content] == []


def test_a_failure_takes_all_of_it_back(gallery):
    before = held(gallery)
    with pytest.raises(ZeroDivisionError), gallery.transaction():
        gallery.forget(1)
        raise ZeroDivisionError
    assert (held(gallery), labels_of(gallery)[1], gallery.forgotten()) == (before, "eve", {})
    gallery.undo()
    assert pinned_of(gallery) == []


def test_a_backup_from_before_comes_back_without_it(gallery):
    backup = saved(gallery)
    gallery.forget(1)
    assert brought_back(backup, gallery) == [1]
    assert (gallery.ids(), labels_of(gallery)) == ([2], {2: "bob"})


def test_it_is_kept_in_mind_through_restarts(gallery, tmp_path):
    backup = saved(gallery)
    gallery.forget(1)
    gallery.close()
    with opened(tmp_path, capacity=100) as again:
        assert brought_back(backup, again) == [1]


def test_a_new_id_of_that_number_is_in_backups_from_after(gallery):
    before = saved(gallery)
    gallery.forget(1)
    gallery.add(1, feature(60))
    after = saved(gallery)
    assert brought_back(after, gallery) == []
    assert gallery.count(1) == 1
    assert brought_back(before, gallery) == [1]


def test_an_id_that_had_another_number_in_the_backup_stays_away_too(gallery):
    backup = saved(gallery)
    gallery.rename(1, 9)
    gallery.forget(9)
    assert brought_back(backup, gallery) == [1]
    assert gallery.ids() == [2]


def test_nor_do_those_of_its_instances_come_back_that_were_gone_by_then(gallery):
    backup = saved(gallery)
    gallery.set_limit(3, "drop_oldest")
    gallery.merge(1, 2)
    assert [number for number, _ in held(gallery)] == [4, 5, 6]
    gallery.forget(2)
    assert brought_back(backup, gallery) == [1, 2]
    assert gallery.ids() == []


def test_nor_after_a_restart_nor_by_any_number_it_had(gallery, tmp_path):
    first = saved(gallery)
    gallery.rename(1, 7)
    second = saved(gallery)
    gallery.rename(7, 8)
    gallery.set_limit(1, "drop_oldest")
    gallery.close()
    with opened(tmp_path, capacity=100) as again:
        assert again.forgotten() == {}
        again.forget(8)
        assert brought_back(first, again) == [1]
        assert brought_back(second, again) == [7]
        assert again.ids() == [2]


def test_nor_when_the_way_from_number_to_number_was_gone_twice(gallery):
    gallery.set_limit(1, "drop_latest")
    gallery.rename(1, 9)
    gallery.forget(9)
    gallery.add(1, feature(63))
    backup = saved(gallery)
    gallery.rename(1, 8)
    gallery.rename(8, 9)
    gallery.merge(9, 2)
    gallery.forget(2)
    assert brought_back(backup, gallery) == [1, 2]


def test_nor_by_a_number_that_undo_took_back(gallery):
    gallery.rename(1, 9)
    backup = saved(gallery)
    gallery.undo()
    gallery.set_limit(1, "drop_oldest")
    gallery.forget(1)
    assert brought_back(backup, gallery) == [9]
    assert gallery.ids() == [2]


def test_nor_when_somebody_else_went_that_way_since(gallery):
    gallery.set_limit(1, "drop_oldest")
    backup = saved(gallery)
    gallery.rename(1, 9)
    gallery.merge(9, 2)
    gallery.add(1, feature(63))
    gallery.rename(1, 9)
    gallery.forget(2)
    assert brought_back(backup, gallery) == [1, 2]
    assert gallery.ids() == []


def test_whoever_has_one_of_these_numbers_now_is_somebody_else(gallery):
    gallery.rename(1, 9)
    gallery.add(1, feature(61))
    after = saved(gallery)
    gallery.forget(9)
    assert gallery.count(1) == 1
    assert brought_back(after, gallery) == [9]
    assert gallery.ids() == [1, 2]


def test_nor_is_whoever_got_its_old_number_later_nor_whoever_was_parted_from_it_by_undo(gallery):
    gallery.rename(1, 9)
    gallery.rename(9, 10)
    gallery.add(3, feature(62))
    gallery.rename(3, 9)
    gallery.merge(2, 10)
    gallery.undo()
    after = saved(gallery)
    gallery.forget(10)
    assert brought_back(after, gallery) == [10]
    assert gallery.ids() == [2, 9]


def test_a_backup_of_another_gallery_comes_without_the_id(gallery):
    with opened(capacity=100) as other:
        other.add(1, features(2))
        other.add(3, features(2))
        backup = saved(other)
    gallery.add(5, feature(1))
    gallery.forget(1)
    assert brought_back(backup, gallery) == [1]
    # Its numbers 1 and 2 were ours of id 1, and mean nothing.
    assert gallery.ids() == [3]


def test_an_id_that_is_not_in_the_gallery_can_be_forgotten_for_a_backup_may_hold_it(gallery):
    backup = saved(gallery)
    gallery.remove(1)
    assert gallery.forget(1) == ()
    assert brought_back(backup, gallery) == [1]


def test_forgotten_twice_is_still_forgotten(gallery):
    first = saved(gallery)
    gallery.forget(1)
    gallery.add(1, feature(70))
    second = saved(gallery)
    gallery.forget(1)
    assert brought_back(first, gallery) == brought_back(second, gallery) == [1]


def test_an_archive_keeps_where_it_is_from(gallery, tmp_path):
    backup = saved(gallery)
    archive.save(tmp_path / "a", backup.rows, labels=backup.labels, space=SPACE, origin=backup.origin)
    assert archive.load(tmp_path / "a").origin == gallery.origin


def test_a_note_of_old_that_knows_no_other_numbers_is_read(gallery, tmp_path):
    backup = saved(gallery)
    gallery.forget(1)
    gallery.close()
    note = b"[1,5,7,[1,2,3]]"
    change(tmp_path, "UPDATE forgotten SET what = ?", f"{crc32(note):08x} {note.decode()}")
    with opened(tmp_path, capacity=100) as again:
        assert again.forgotten()[1] == (5, 7, (1, 2, 3), ())
        assert brought_back(backup, again) == [1]


@pytest.mark.parametrize("note", [lambda gallery: gallery.forget(1), lambda gallery: gallery.rename(1, 9)])
def test_a_damaged_note_is_told(gallery, tmp_path, note):
    note(gallery)
    gallery.close()
    change(tmp_path, "UPDATE forgotten SET what = replace(what, '[1,', '[2,')")
    with opened(tmp_path, capacity=100) as again:
        assert "was forgotten, or became another, does not match its checksum; `reidd audit`" in again.damage[0]


def test_files_that_may_still_hold_it_are_named(gallery, tmp_path):
    gallery.forget(1)
    assert gallery.remains() == []
    (tmp_path / "gallery.sqlite.damaged-1").write_bytes(b"features")
    assert [sentence.split(",")[0] for sentence in gallery.remains()] == [str(tmp_path / "gallery.sqlite.damaged-1")]


def test_whatever_was_done_before_no_piece_of_a_feature_stays_in_the_files(tmp_path):
    random = np.random.default_rng(0)
    with opened(tmp_path, dim=300, capacity=500) as gallery:
        for _ in range(12):
            for _ in range(8):
                gallery.add(int(random.integers(9)), random.normal(size=(3, 300)).astype(np.float32))
            gallery.merge(*random.permutation(gallery.ids())[:2].tolist())
            gallery.set_label(gallery.ids()[0], "x" * int(random.integers(200)))
            id = int(random.choice(gallery.ids()))
            rows = gallery.reader.rows()
            gone = [row.tobytes() for row in rows.features[rows.ids == id]]
            gallery.forget(id)
            content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
            pieces = [row[at : at + 32] for row in gone[:4] for at in range(0, 1200 - 32, 128)]
            assert not [piece for piece in pieces if piece in content]
