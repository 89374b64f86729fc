"""Messages of a socket that strangers write to."""

import pytest
import zmq

from reidd.daemon import intake
from reidd.daemon.envelope import MAX_FRAMES
from reidd.daemon.intake import Intake


@pytest.fixture
def ends():
    """A ROUTER and a DEALER that are connected."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as dealer:
        for end in (router, dealer):
            end.setsockopt(zmq.LINGER, 0)
        router.bind("inproc://intake")
        dealer.connect("inproc://intake")
        yield router, dealer


def sizes(reading, at_most=64):
    return [len(frames) for frames in reading.messages(at_most)]


def test_messages_come_whole_and_no_more_than_a_turn_takes(ends):
    router, dealer = ends
    for _ in range(5):
        dealer.send_multipart([b"", b"header", b"image"])
    reading = Intake(router)
    assert [len(sizes(reading, at_most=3)), len(sizes(reading))] == [3, 2]


def test_the_largest_request_passes_and_a_larger_one_is_told_apart(ends):
    router, dealer = ends
    for count in (MAX_FRAMES - 1, MAX_FRAMES, MAX_FRAMES + 1, 1000):
        dealer.send_multipart([b""] * count)
    # The frame that names the connection comes first.
    assert sizes(Intake(router)) == [MAX_FRAMES, MAX_FRAMES + 1, MAX_FRAMES + 1, MAX_FRAMES + 1]


def test_too_many_frames_are_let_go_of_bit_by_bit_and_the_next_message_comes(ends, monkeypatch):
    monkeypatch.setattr(intake, "FRAMES_LET_GO_PER_TURN", 100)
    router, dealer = ends
    dealer.send_multipart([b""] * 1000)
    dealer.send_multipart([b"", b"header"])
    reading, turns = Intake(router), []
    while sum(map(len, turns)) < 2:
        assert router.poll(1000)
        turns.append(sizes(reading))
    assert turns[0] == [MAX_FRAMES + 1]
    assert turns[-1] == [3]
    assert 8 <= len(turns) <= 12
