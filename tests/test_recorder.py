"""Changes go to the disk batch by batch, in a thread, and are answered when they are there."""

import json
import select
import sqlite3
import time

import pytest
from galleries import feature, opened

from reidd import protocol
from reidd.daemon.auditing import Unwritten
from reidd.daemon.batch import Errand
from reidd.daemon.envelope import Caller
from reidd.daemon.recorder import MAX_WAITING, Recorder
from reidd.errors import BusyError, DeadlineError, StorageUnavailableError, UnknownIdError
from reidd.gallery import Act, tables
from reidd.service.gallery import GalleryService

SOMEBODY = Caller((b"somebody", b""), False, uid=1000)
# The module is read long before its last test runs.
LATER = time.monotonic() + 24 * 3600


@pytest.fixture
def gallery(tmp_path):
    with opened(tmp_path) as opened_gallery:
        yield opened_gallery


@pytest.fixture
def recorder(gallery):
    recorder = Recorder(gallery, GalleryService(gallery), Unwritten())
    yield recorder
    recorder.close()


def addition(id, until=LATER):
    request = protocol.AddToGallery(id=id, parts=[protocol.Feature(shape=(1, 8))])
    return Errand(SOMEBODY, request, until, feature(id))


def removal(id):
    return Errand(SOMEBODY, protocol.RemoveFromGallery(id=id), LATER)


def question():
    return Errand(SOMEBODY, protocol.Ids(), LATER)


def answers(settled):
    return [answer if isinstance(answer, Exception) else answer.reply for _, answer in settled]


def wait_for(recorder):
    assert select.select([recorder], [], [], 10)[0]
    return answers(recorder.ended())


def test_what_came_together_is_written_together_and_then_answered(recorder, gallery):
    recorder.ask(addition(1))
    recorder.ask(addition(2))
    assert (recorder.begin(), recorder.idle, gallery.reader.count()) == ([], False, 0)
    assert [reply.added for reply in wait_for(recorder)] == [[1], [2]]
    assert (recorder.idle, gallery.reader.count(), gallery.audit.seq) == (True, 2, 1)


def test_what_comes_meanwhile_is_the_next_batch(recorder, gallery):
    recorder.ask(addition(1))
    recorder.begin()
    recorder.ask(addition(2))
    assert recorder.begin() == []
    assert [reply.added for reply in wait_for(recorder)] == [[1]]
    recorder.begin()
    assert [reply.added for reply in wait_for(recorder)] == [[2]]


def test_questions_are_answered_in_their_turn_and_alone_need_no_disk(recorder):
    recorder.ask(addition(1))
    recorder.ask(question())
    recorder.ask(addition(2))
    recorder.begin()
    _, between, _ = wait_for(recorder)
    assert [record.id for record in between.ids] == [1]
    recorder.ask(question())
    assert [record.id for record in answers(recorder.begin())[0].ids] == [1, 2]
    assert recorder.idle


def test_when_the_disk_refuses_nothing_has_changed_and_questions_are_answered(recorder, gallery, tmp_path):
    gallery.add(1, feature(1))
    # A folder in the place of its log: no write succeeds any more.
    gallery._store.close()
    for file in tmp_path.glob("gallery.sqlite*"):
        file.unlink()
    (tmp_path / "gallery.sqlite").mkdir()
    recorder.ask(addition(2))
    recorder.ask(question())
    recorder.begin()
    refusal, reply = wait_for(recorder)
    assert isinstance(refusal, StorageUnavailableError)
    assert [record.id for record in reply.ids] == [1]
    assert gallery.ids() == [1]


def test_on_a_full_disk_what_makes_room_is_done_although_others_add(recorder, gallery, monkeypatch):
    write = tables.write

    def written_to_a_full_disk(connection, delta, **options):
        if delta.added:
            raise sqlite3.OperationalError("database or disk is full")
        write(connection, delta, **options)

    gallery.add(1, feature(1))
    monkeypatch.setattr(tables, "write", written_to_a_full_disk)
    recorder.ask(addition(2))
    recorder.begin()
    refused = [type(answer) for answer in wait_for(recorder)]
    assert refused == [StorageUnavailableError]
    for errand in (addition(3), removal(1), addition(4)):
        recorder.ask(errand)
    told = []
    while len(told) < 3:
        recorder.begin()
        told += [type(answer) for answer in wait_for(recorder)]
    assert told == [*refused, protocol.Changed, *refused]
    assert gallery.ids() == []


def test_what_waits_until_its_deadline_is_not_done(recorder, gallery):
    recorder.ask(addition(1, until=time.monotonic() - 1))
    assert [type(answer) for answer in answers(recorder.overdue())] == [DeadlineError]
    recorder.ask(addition(2, until=time.monotonic() - 1))
    recorder.ask(addition(3))
    assert [type(answer) for answer in answers(recorder.begin())] == [DeadlineError]
    wait_for(recorder)
    assert gallery.ids() == [3]


def asked(request, at):
    """What was asked for at a time."""
    features = feature(7) if isinstance(request, protocol.AddToGallery) else None
    return Errand(SOMEBODY._replace(asked=at), request, LATER, features)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two batches"])
@pytest.mark.parametrize(("before_s", "held"), [(0.1, []), (-0.1, [7])])
def test_what_was_asked_before_a_forget_enrols_nobody_after_it(recorder, gallery, before_s, held, together):
    now = time.monotonic()
    # A worker had to look at the image first, so the addition comes behind.
    recorder.ask(asked(protocol.Forget(id=7), now))
    if not together:
        recorder.begin()
    recorder.ask(asked(protocol.AddToGallery(id=7, parts=[protocol.Encoded()]), now - before_s))
    settled = answers(recorder.begin())
    while not recorder.idle:
        settled += wait_for(recorder) + answers(recorder.begin())
    assert gallery.ids() == held
    assert any(isinstance(answer, UnknownIdError) for answer in settled) is not bool(held)


@pytest.mark.parametrize("op", [protocol.Merge, protocol.Rename])
@pytest.mark.parametrize(("after_s", "held"), [(-0.1, []), (0.1, [7])], ids=["by her old number", "somebody new"])
def test_what_was_asked_before_an_id_became_the_forgotten_one_enrols_nobody_either(
    recorder, gallery, op, after_s, held
):
    gallery.add(7, feature(1))
    if op is protocol.Merge:
        gallery.add(9, feature(2))
    now = time.monotonic()
    recorder.ask(asked(op(id=7, into_id=9), now))
    recorder.ask(asked(protocol.Forget(id=9), now + 0.2))
    recorder.ask(asked(protocol.AddToGallery(id=7, parts=[protocol.Encoded()]), now + after_s))
    recorder.begin()
    wait_for(recorder)
    assert gallery.ids() == held


def test_no_more_wait_than_there_is_room_for(recorder):
    for id in range(MAX_WAITING):
        recorder.ask(addition(id))
    with pytest.raises(BusyError, match="wait for the disk"):
        recorder.ask(addition(1))


def test_entries_of_the_log_that_a_failing_disk_refused_are_written_with_the_next_batch():
    unwritten = Unwritten()
    unwritten.note(Act(who="daemon", what="started"))
    assert [act.what for act in unwritten.take()] == ["started"]
    unwritten.note(Act(who="daemon", what="expired"))
    unwritten.refused()
    assert [act.what for act in unwritten.take()] == ["started", "expired"]
    unwritten.written()
    assert unwritten.take() == []


def test_where_nothing_has_lived_its_time_the_disk_is_left_alone(recorder, gallery):
    gallery.add(1, feature(1))
    recorder.expire(publisher=None)
    assert recorder.idle


class TestExpiry:
    class Publisher:
        def __init__(self):
            self.events = []
            self.publish = self.events.append

    @pytest.fixture
    def gallery(self, tmp_path):
        """A gallery with one instance, which has lived its time."""
        now_s = [0.0]
        with opened(tmp_path, clock_s=lambda: now_s[0]) as gallery:
            gallery.set_ttl(1.0)
            gallery.add(1, feature(1))
            now_s[0] = 10.0
            gallery.expire()
            now_s[0] = 20.0
            yield gallery

    def test_what_has_lived_its_time_goes_when_the_disk_has_it_and_is_told(self, recorder, gallery):
        publisher = self.Publisher()
        recorder.expire(publisher)
        assert (recorder.idle, gallery.reader.count(), publisher.events) == (False, 1, [])
        assert wait_for(recorder) == []
        assert (gallery.reader.count(), publisher.events[0].dropped) == (0, [1])

    def test_that_it_went_is_noted_in_the_transaction_it_went_in(self, recorder, gallery):
        recorder.expire(self.Publisher())
        wait_for(recorder)
        ((_, line),) = gallery.audit_lines(0, 10)
        assert json.loads(line)["acts"] == [{"who": "daemon", "what": "expired", "id": 1, "dropped": 1}]

    def test_what_the_disk_does_not_let_go_stays_until_the_next_attempt(self, recorder, gallery, monkeypatch):
        def fails(*_, **__):
            raise sqlite3.OperationalError("disk I/O error")

        publisher = self.Publisher()
        with monkeypatch.context() as failing:
            failing.setattr(tables, "write", fails)
            recorder.expire(publisher)
            assert wait_for(recorder) == []
        assert (recorder.idle, gallery.count(), publisher.events) == (True, 1, [])
        recorder.expire(publisher)
        wait_for(recorder)
        assert gallery.count() == 0
