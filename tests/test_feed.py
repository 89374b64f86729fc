"""Subscribers hear what they asked for."""

import time
from contextlib import closing
from functools import partial

import pytest
import zmq

from reidd.daemon.feed import MAX_TOPICS, Feed
from reidd.daemon.zmtp import Kind, Null


@pytest.fixture
def path(listener):
    return listener.getsockname()


@pytest.fixture
def feed(listener):
    with closing(Feed(listener, partial(Null, Kind.PUB))) as feed:
        yield feed


@pytest.fixture
def subscriber(path):
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{path}")
        yield socket


def wanted(feed):
    return sorted(topic for topics in feed._topics.values() for topic in topics)


def serve(feed, until):
    ends = time.monotonic() + 5
    while not until():
        assert time.monotonic() < ends
        feed.turn()


def test_a_subscriber_hears_what_begins_like_its_topic(feed, subscriber):
    subscriber.subscribe("re")
    serve(feed, lambda: wanted(feed) == [b"re"])
    for topic in (b"removed", b"added", b"renamed"):
        feed.publish(topic, b"{}")
    assert [subscriber.recv_multipart()[0] for _ in range(2)] == [b"removed", b"renamed"]


def test_a_subscription_can_be_cancelled(feed, subscriber):
    for topic in ("added", "removed"):
        subscriber.subscribe(topic)
    serve(feed, lambda: len(wanted(feed)) == 2)
    subscriber.unsubscribe("removed")
    serve(feed, lambda: wanted(feed) == [b"added"])


def test_very_many_topics_are_passed_over(feed, subscriber):
    for number in range(2 * MAX_TOPICS):
        subscriber.subscribe(f"topic {number}")
    serve(feed, lambda: len(wanted(feed)) == MAX_TOPICS and not feed.waiting)


def test_who_comes_and_goes_leaves_nothing_behind_though_nothing_is_published(feed, path):
    with zmq.Context() as context:
        for _ in range(5):
            with context.socket(zmq.SUB) as passer_by:
                passer_by.connect(f"ipc://{path}")
                passer_by.subscribe("")
                serve(feed, lambda: feed._served.names)
                serve(feed, lambda: set(feed._topics) >= set(feed._served.names))
            serve(feed, lambda: not feed._served.names)
    assert len(feed._topics) <= 1


def test_who_left_is_forgotten(feed, subscriber):
    subscriber.subscribe("")
    serve(feed, lambda: wanted(feed) == [b""])
    subscriber.close()
    serve(feed, lambda: not feed._served.names)
    feed.publish(b"added", b"{}")
    assert wanted(feed) == []
