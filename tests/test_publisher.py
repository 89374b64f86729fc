"""Events are numbered, and the latest are kept for those who missed them, within bounds."""

import socket
import time
from contextlib import closing
from functools import partial

import msgspec
import pytest

from reidd.daemon.feed import Feed
from reidd.daemon.publisher import KEPT_BYTES, KEPT_EVENTS, Publisher
from reidd.daemon.zmtp import Kind, Null
from reidd.protocol import Event, Events, PredictionRecord, ResultRecord


@pytest.fixture
def publisher():
    with socket.socket(socket.AF_UNIX) as listener, closing(Feed(listener, partial(Null, Kind.PUB))) as feed:
        yield Publisher(feed, "acme/net")


def numbers(answer):
    return [msgspec.json.decode(event)["seq"] for event in answer.events]


def test_what_came_after_a_number_is_told_in_order(publisher):
    for _ in range(5):
        publisher.publish(Event(type="cleared", count=1))
    assert numbers(publisher.since(Events(after=2))) == [3, 4, 5]
    assert publisher.since(Events(after=2)).complete
    assert numbers(publisher.since(Events(after=5))) == []
    assert publisher.since(Events(after=5)).complete


def test_who_goes_on_from_a_number_of_a_run_before_is_told_that_events_are_missing(publisher):
    publisher.publish(Event(type="cleared", count=1))
    answer = publisher.since(Events(after=2))
    assert (answer.complete, numbers(answer)) == (False, [])


def test_events_that_are_no_longer_kept_are_told_to_be_missing(publisher):
    for _ in range(KEPT_EVENTS + 10):
        publisher.publish(Event(type="cleared", count=1))
    answer = publisher.since(Events(after=9))
    assert (answer.complete, numbers(answer)[0], len(answer.events)) == (False, 11, KEPT_EVENTS)
    assert publisher.since(Events(after=10)).complete


def test_large_events_are_kept_only_as_far_as_they_fit(publisher):
    for _ in range(20):
        publisher.publish(Event(type="published", tag="x" * (KEPT_BYTES // 10)))
    answer = publisher.since(Events(after=0))
    assert not answer.complete
    assert 8 <= len(answer.events) < 10
    assert sum(map(len, answer.events)) <= KEPT_BYTES


def test_an_answer_that_was_asked_for_before_an_id_was_forgotten_is_not_kept_under_that_id(publisher):
    asked = time.monotonic()
    publisher.publish(Event(type="renamed", id=6, into_id=7))
    publisher.forget(7)
    for id in (6, 7, 8):
        found = ResultRecord(predictions=[PredictionRecord(id=id, rank=1, distance=0.1)], duration=0.01)
        publisher.publish(Event(type="identified", results=[found]), asked=asked)
    publisher.publish(Event(type="added", id=7, count=1), asked=time.monotonic())
    kept = [msgspec.json.decode(event) for event in publisher.since(Events()).events]
    assert [event["type"] for event in kept] == ["redacted", "identified", "added"]
    assert kept[1]["results"][0]["predictions"][0]["id"] == 8
