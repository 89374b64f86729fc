"""The audit log: a chain in which no entry can be changed, lost or moved unseen."""

import json
import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest
from galleries import change, features, opened

from reidd.daemon.auditing import Unwritten
from reidd.daemon.housekeeping import Housekeeping
from reidd.daemon.recorder import Recorder
from reidd.errors import GalleryError, StorageUnavailableError
from reidd.gallery import Act, Check, Head, audit_pages
from reidd.gallery.audit import written

FORGET = Act(who="uid 1000", what="forget", id=7, removed=3)


def chain(count: int) -> tuple[list[str], Head]:
    head, lines = Head(), []
    for number in range(count):
        head, line = written(head, [Act(who="local", what="add_to_gallery", id=number, added=1)], 1000.0 + number)
        lines.append(line)
    return lines, head


def flaw(lines: list[str], head: Head) -> str | None:
    check = Check()
    for line in lines:
        check.take(line)
    return check.end(head)


def stored(folder) -> tuple[list[str], Head]:
    pages = list(audit_pages.pages(folder / "gallery.sqlite"))
    return [line for page, _ in pages for line in page], pages[-1][1]


def note_daily(gallery, monkeypatch, since_s: float, *, days: int) -> None:
    for day in range(days):
        monkeypatch.setattr("time.time", lambda day=day: since_s + 86_400.0 * day)
        with gallery.transaction():
            gallery.note([FORGET])


def test_a_whole_chain_has_no_flaw():
    assert flaw(*chain(50)) is None
    assert flaw([], Head()) is None


@pytest.mark.parametrize("at", [0, 1, 6, 8])
def test_an_entry_that_was_edited_is_named(at):
    lines, head = chain(10)
    lines[at] = lines[at].replace('"added":1', '"added":2')
    assert flaw(lines, head) == f"entry {at + 1} is not what was written: entry {at + 2} holds another hash of it"


def test_the_latest_entry_is_guarded_by_what_is_noted_beside_the_log():
    lines, head = chain(10)
    lines[9] = lines[9].replace('"added":1', '"added":2')
    assert flaw(lines, head) == "entry 10 is not what was written, and is the latest"


@pytest.mark.parametrize("at", [0, 4, 8])
def test_an_entry_that_was_taken_out_is_named(at):
    lines, head = chain(10)
    del lines[at]
    assert f"entry {at + 1} is missing" in flaw(lines, head)


def test_entries_that_were_cut_off_at_the_end_are_named():
    lines, head = chain(10)
    assert flaw(lines[:7], head) == "entry 8 is missing: the log ends before it, at 7"
    assert flaw([], head) == "entry 1 is missing: the log ends before it, at 0"


@pytest.mark.parametrize("at", [1, 5])
def test_entries_that_changed_places_are_named(at):
    lines, head = chain(10)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    assert flaw(lines, head) == f"entry {at + 1} is missing: entry {at + 2} is in its place"


def test_a_chain_made_anew_from_some_entry_on_is_noticed():
    lines, head = chain(10)
    forged, line = written(Head(5, json.loads(lines[5])["before"]), [FORGET], 0)
    assert "entry 6 is not what was written" in flaw([*lines[:5], line, *lines[6:]], head)
    assert forged.seq == 6


@pytest.mark.parametrize("nonsense", ["", "{}", "null", "\x00", '{"seq":"x"}'])
def test_a_line_that_is_no_entry_is_named(nonsense):
    lines, head = chain(5)
    lines[2] = nonsense
    assert flaw(lines, head) == "entry 3 cannot be read"


class TestInTheStore:
    def test_an_entry_is_there_with_its_change_or_not_at_all(self, tmp_path):
        with opened(tmp_path) as gallery:
            with gallery.transaction():
                gallery.add(1, features(2))
                gallery.note([FORGET])
            with pytest.raises(ZeroDivisionError), gallery.transaction():
                gallery.add(2, features(2))
                gallery.note([FORGET])
                raise ZeroDivisionError
            with gallery.transaction():
                gallery.note([FORGET])
            assert gallery.audit.seq == 2
        lines, head = stored(tmp_path)
        assert (len(lines), head.seq, flaw(lines, head)) == (2, 2, None)

    def test_the_chain_goes_on_after_a_restart(self, tmp_path):
        for _ in range(3):
            with opened(tmp_path) as gallery, gallery.transaction():
                gallery.note([FORGET])
        assert flaw(*stored(tmp_path)) is None
        assert len(stored(tmp_path)[0]) == 3

    @pytest.mark.parametrize(
        ("statement", "says"),
        [
            ("UPDATE audit SET line = replace(line, 'uid 1000', 'uid 1001') WHERE seq = 3", "entry 3 is not what"),
            ("DELETE FROM audit WHERE seq = 2", "entry 2 is missing"),
            ("DELETE FROM audit WHERE seq > 3", "entry 4 is missing"),
            ("DELETE FROM audit WHERE seq < 3", "entry 2 is missing"),
            ("UPDATE audit SET seq = seq + 10 WHERE seq = 2", "entry 2 is missing"),
        ],
    )
    def test_what_is_done_to_the_file_is_named_even_after_the_daemon_has_gone_on(self, tmp_path, statement, says):
        with opened(tmp_path) as gallery:
            for _ in range(5):
                with gallery.transaction():
                    gallery.note([FORGET])
        change(tmp_path, statement)
        assert says in flaw(*stored(tmp_path))
        with opened(tmp_path) as gallery, gallery.transaction():
            gallery.note([FORGET])
        assert says in flaw(*stored(tmp_path))

    def test_old_entries_go_and_the_chain_still_holds(self, tmp_path, monkeypatch):
        with opened(tmp_path) as gallery:
            note_daily(gallery, monkeypatch, 1.75e9, days=10)
            gallery.prune_audit(older_than_s=1.75e9 + 86_400)
            assert len(gallery.audit_lines(0, 100)) == 10
            gallery.prune_audit(older_than_s=1.75e9 + 86_400 * 4.5)
            lines, head = [line for _, line in gallery.audit_lines(0, 100)], gallery.audit
        assert head.seq == 11
        assert flaw(lines, head) is None
        assert json.loads(lines[-1])["acts"][0]["through"] == 5
        assert len(lines) == 6

    def test_entries_of_a_board_without_a_clock_are_not_taken_for_old(self, tmp_path, monkeypatch):
        with opened(tmp_path) as gallery:
            note_daily(gallery, monkeypatch, 0.0, days=3)
            note_daily(gallery, monkeypatch, 1.75e9, days=3)
            gallery.prune_audit(older_than_s=1.75e9)
            assert len(gallery.audit_lines(0, 100)) == 6
            gallery.prune_audit(older_than_s=1.75e9 + 86_400 * 1.5)
            assert [seq for seq, _ in gallery.audit_lines(0, 100)] == [6, 7]
        assert flaw(*stored(tmp_path)) is None

    def test_what_was_written_before_the_clock_was_set_is_as_young_as_the_process(self, tmp_path, monkeypatch):
        with opened(tmp_path) as gallery, closing(Recorder(gallery, service=None, unwritten=Unwritten())) as recorder:
            note_daily(gallery, monkeypatch, 1.75e9, days=1)
            housekeeping = Housekeeping(gallery, publisher=None, recorder=recorder, audit_days=30)
            note_daily(gallery, monkeypatch, 1.75e9, days=1)
            monkeypatch.setattr("time.time", lambda: 1.75e9 + 40 * 86_400)
            housekeeping.tick(time.monotonic())
            assert [seq for seq, _ in gallery.audit_lines(0, 100)] == [2, 3]
            housekeeping.tick(time.monotonic() + 30 * 86_400)
            assert [seq for seq, _ in gallery.audit_lines(0, 100)] == [3, 4]
        assert flaw(*stored(tmp_path)) is None

    @pytest.mark.parametrize(
        "damaged", ["'x' || line", "CAST(x'ff' || line AS TEXT)", "5"], ids=["no entry", "no text", "a number"]
    )
    def test_a_damaged_entry_is_named_keeps_no_other_back_and_goes_with_the_next(self, tmp_path, damaged):
        with opened(tmp_path) as gallery:
            for _ in range(3):
                with gallery.transaction():
                    gallery.note([FORGET])
        change(tmp_path, f"UPDATE audit SET line = {damaged} WHERE seq = 1")
        assert flaw(*stored(tmp_path)) == "entry 1 cannot be read"
        with opened(tmp_path) as gallery:
            gallery.prune_audit(older_than_s=2e12)
            assert [seq for seq, _ in gallery.audit_lines(0, 100)] == [4]
        assert flaw(*stored(tmp_path)) is None

    def test_however_many_come_no_more_are_kept_than_there_may_be(self, tmp_path, monkeypatch):
        monkeypatch.setattr("reidd.gallery.gallery.MAX_ENTRIES", 5)
        monkeypatch.setattr("reidd.gallery.gallery._PRUNED_AT_ONCE", 3)
        with opened(tmp_path) as gallery:
            for _ in range(13):
                with gallery.transaction():
                    gallery.note([FORGET])
            with closing(Recorder(gallery, service=None, unwritten=Unwritten())) as recorder:
                housekeeping = Housekeeping(gallery, publisher=None, recorder=recorder, audit_days=1e6)
                for second in range(5):
                    housekeeping.tick(float(second))
            assert len(gallery.audit_lines(0, 100)) <= 5 + 2
        assert flaw(*stored(tmp_path)) is None

    def test_after_a_failure_to_let_entries_go_the_store_is_opened_anew(self, tmp_path, monkeypatch):
        with opened(tmp_path) as gallery:
            for _ in range(3):
                with gallery.transaction():
                    gallery.note([FORGET])

            def fails(*_):
                raise sqlite3.OperationalError("disk I/O error")

            with monkeypatch.context() as failing:
                failing.setattr("reidd.gallery.audit_table.prune", fails)
                gallery.prune_audit(older_than_s=2e12)
            assert gallery._store._connection is None
            gallery.add(1, features(1))
        lines, head = stored(tmp_path)
        assert (len(lines), flaw(lines, head)) == (4, None)

    def test_a_note_of_what_was_pruned_is_needed(self):
        lines, head = chain(10)
        pruned, line = written(head, [Act(who="daemon", what="pruned", through=4, hash="00" * 32)], 0)
        assert "entry 4 is missing" in flaw([*lines[4:], line], pruned)

    def test_a_damaged_store_keeps_its_log(self, tmp_path):
        with opened(tmp_path) as gallery:
            with gallery.transaction():
                gallery.add(1, features(3))
                gallery.note([FORGET])
            gallery.forget(9)
        change(tmp_path, "UPDATE instances SET id = 8 WHERE instance = 2")
        with opened(tmp_path) as gallery:
            assert gallery.damage
            assert list(gallery.forgotten()) == [9]
            with gallery.transaction():
                gallery.note([FORGET])
        assert flaw(*stored(tmp_path)) is None
        assert len(stored(tmp_path)[0]) == 2

    def test_a_store_from_before_there_was_a_log_gets_one(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(1))
        connection = sqlite3.connect(tmp_path / "gallery.sqlite")
        connection.executescript(
            "DROP TABLE audit; DROP TABLE forgotten; DELETE FROM meta WHERE key IN ('origin', 'audit')"
        )
        connection.close()
        (tmp_path / "gallery.sqlite.seal").unlink()
        with opened(tmp_path) as gallery:
            assert (gallery.damage, gallery.count(), gallery.audit) == ((), 1, Head())
            gallery.forget(1)
        with opened(tmp_path) as gallery:
            assert list(gallery.forgotten()) == [1]

    def test_a_write_that_failed_leaves_no_entry(self, tmp_path, monkeypatch):
        with opened(tmp_path) as gallery:
            with gallery.transaction():
                gallery.note([FORGET])

            def fails(*_, **__):
                raise OSError(5, "Input/output error")

            monkeypatch.setattr("reidd.gallery.audit_table.write", fails)
            with pytest.raises(StorageUnavailableError), gallery.transaction():
                gallery.add(1, features(1))
                gallery.note([FORGET])
            monkeypatch.undo()
            assert (gallery.audit.seq, gallery.count()) == (1, 0)
            with gallery.transaction():
                gallery.add(2, np.ones((1, 8), np.float32))
                gallery.note([FORGET])
        assert flaw(*stored(tmp_path)) is None

    def test_a_store_that_is_not_there_or_in_use_is_said(self, tmp_path):
        with pytest.raises(GalleryError, match="there is no gallery store"):
            stored(tmp_path)
        with opened(tmp_path), pytest.raises(GalleryError, match="in use"):
            stored(tmp_path)
