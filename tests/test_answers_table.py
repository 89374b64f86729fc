"""What clients were told outlives a crash with the change it is about, and only with it."""

import sqlite3
from contextlib import contextmanager

import pytest
from encrypted import KEY, OTHER_KEY, written
from galleries import change, feature, opened

from reidd.errors import StorageUnavailableError
from reidd.gallery import answers_table, tables


def add(gallery, key, reply=b"reply"):
    with gallery.transaction():
        gallery.add(1, feature(1))
        gallery.keep_answer(key, reply)


def test_an_answer_is_found_by_the_next_process(tmp_path):
    with opened(tmp_path) as gallery:
        add(gallery, b"a")
    with opened(tmp_path) as gallery:
        assert gallery.answers(60) == {b"a": b"reply"}


@pytest.mark.parametrize(("later_s", "found"), [(59, 1), (61, 0), (-3600, 1)])
def test_an_old_answer_is_not_and_one_from_before_the_clock_fell_back_is(tmp_path, monkeypatch, later_s, found):
    with opened(tmp_path) as gallery:
        add(gallery, b"a")
        now_ns = answers_table.time.time_ns()
        monkeypatch.setattr(answers_table.time, "time_ns", lambda: now_ns + later_s * 10**9)
        assert len(gallery.answers(60)) == found


def test_an_answer_is_found_in_what_is_salvaged_of_a_damaged_store(tmp_path):
    with opened(tmp_path) as gallery:
        add(gallery, b"a")
        add(gallery, b"b", b"other")
    change(tmp_path, "UPDATE instances SET feature = zeroblob(32) WHERE instance = 1")
    for damage in (True, False):
        with opened(tmp_path) as gallery:
            assert (bool(gallery.damage), gallery.answers(60)) == (damage, {b"a": b"reply", b"b": b"other"})


@contextmanager
def writes_fail_at_the_end(monkeypatch):
    write = tables.write

    def fails_afterwards(*arguments, **options):
        write(*arguments, **options)
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as failing:
        failing.setattr(tables, "write", fails_afterwards)
        yield


def test_an_answer_goes_with_a_change_that_is_taken_back(tmp_path, monkeypatch):
    with opened(tmp_path) as gallery:
        add(gallery, b"a")
        with writes_fail_at_the_end(monkeypatch), pytest.raises(StorageUnavailableError):
            add(gallery, b"b")
        add(gallery, b"c")
        assert gallery.answers(60).keys() == {b"a", b"c"}
        assert gallery.count() == 2


@pytest.mark.parametrize("damage", ["answer = x'00'", "answer = 'reply'", "key = 'b'", "time_ns = 'now'"])
def test_a_damaged_one_is_not_told(tmp_path, damage):
    with opened(tmp_path) as gallery:
        add(gallery, b"a")
        add(gallery, b"b")
    connection = tables.connect(tmp_path / "gallery.sqlite")
    connection.execute(f"UPDATE answers SET {damage} WHERE key = x'62'")
    connection.close()
    with opened(tmp_path) as gallery:
        assert gallery.answers(60).keys() == {b"a"}


def test_only_the_latest_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(answers_table, "KEPT", 3)
    with opened(tmp_path) as gallery:
        for key in (b"a", b"b", b"c", b"d", b"e", b"f"):
            add(gallery, key)
        assert gallery.answers(60).keys() == {b"d", b"e", b"f"}


class TestEncrypted:
    """The key of an answer is a digest of its request: in the open, a label could be tried out against it."""

    DIGEST = bytes(range(200, 216))

    def test_a_digest_is_in_no_file_and_found_by_the_next_process(self, tmp_path):
        with opened(tmp_path, key=KEY) as gallery:
            add(gallery, self.DIGEST)
            assert self.DIGEST not in written(tmp_path)
        with opened(tmp_path, key=KEY) as gallery:
            assert gallery.answers(60) == {self.DIGEST: b"reply"}

    @pytest.mark.parametrize("before", [None, KEY], ids=["plain", "other key"])
    @pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
    def test_another_key_finds_it_and_nothing_of_before_is_left(self, tmp_path, before, damaged):
        with opened(tmp_path, key=before) as gallery:
            add(gallery, self.DIGEST)
        if damaged:
            change(tmp_path, "UPDATE instances SET feature = zeroblob(32)")
        opened(tmp_path, key=OTHER_KEY, old_key=before).close()
        for left in tmp_path.glob("*damaged*"):
            left.unlink()
        assert self.DIGEST not in written(tmp_path)
        with opened(tmp_path, key=OTHER_KEY) as gallery:
            assert gallery.answers(60) == {self.DIGEST: b"reply"}

    def test_one_that_is_taken_back_goes(self, tmp_path, monkeypatch):
        with opened(tmp_path, key=KEY) as gallery:
            with writes_fail_at_the_end(monkeypatch), pytest.raises(StorageUnavailableError):
                add(gallery, self.DIGEST)
            add(gallery, b"c")
            assert gallery.answers(60).keys() == {b"c"}
