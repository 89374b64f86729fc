"""A client's bytes become messages, within limits, however they are cut."""

import random

import pytest
import zmtp as client

from reidd.daemon import hearing as hearings
from reidd.daemon.hearing import FRAMES_AT_ONCE, Hearing
from reidd.daemon.zmtp import COMMAND, MORE, Kind, Limits, Null, OutOfLineError, command, frame

LIMITS = Limits(frames=4, hang_up_frames=20, frame_bytes=200_000, message_bytes=300_000)
HANDSHAKE = client.GREETING + client.ready()


def heard(said, at_a_time=1 << 20, kind=Kind.ROUTER):
    """What comes of these bytes when a read gives so many of them, as from a socket."""
    hearing, messages, at = Hearing(Null(kind), LIMITS), [], 0
    while at < len(said):
        room = hearing.room
        size = min(len(said) - at, at_a_time, *([] if room is None else [len(room)]))
        if room is None:
            hearing.hear(memoryview(said)[at : at + size])
        else:
            room[:size] = said[at : at + size]
            hearing.filled(size)
        at += size
        while (whole := hearing.message()) is not None or hearing.at_hand:
            messages += [whole] if whole else []
    return hearing, messages


def wire(*frames):
    pieces = [
        frame(MORE if left else 0, body) for left, body in zip(range(len(frames) - 1, -1, -1), frames, strict=True)
    ]
    return b"".join(piece for pair in pieces for piece in pair)


def commanded(name, body):
    return b"".join(frame(COMMAND, command(name, body)))


@pytest.mark.parametrize("at_a_time", [1, 2, 9, 100, 300, 1000, 10_000])
def test_messages_are_the_same_however_the_bytes_are_cut(at_a_time, monkeypatch):
    monkeypatch.setattr(hearings, "LARGE_BYTES", 256)
    body = random.Random(0).randbytes(1000)
    said = HANDSHAKE + wire(b"", b"header", bytes(255), body) + wire(b"", body, b"") + wire(b"next")
    hearing, messages = heard(said, at_a_time)
    assert messages == [[b"", b"header", bytes(255), body], [b"", body, b""], [b"next"]]
    assert hearing.held_bytes == 0


def test_of_a_message_with_too_many_frames_one_more_than_allowed_is_given():
    _, messages = heard(HANDSHAKE + wire(*[b"x"] * 4) + wire(*[b"x"] * 5) + wire(*[b"x"] * 20) + wire(b"next"))
    assert list(map(len, messages)) == [4, 5, 5, 1]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "no ZMTP"),
        (b"\xff" + bytes(8) + b"\x7e", "no ZMTP"),
        (b"\xff" + bytes(8) + b"\x7f\x01", "older than 3.0"),
        (client.GREETING.replace(b"NULL", b"CURVE")[:64], "another mechanism"),
        (client.GREETING + wire(b"x"), "before the handshake"),
        (client.GREETING + client.ready(kind=b"PUB"), "no handshake of a client"),
        (client.GREETING + commanded(b"", b""), "no handshake of a client"),
        (client.GREETING + commanded(b"READY", b"\x0bSocket-Type"), "no handshake of a client"),
        (HANDSHAKE + b"\x08\x00", "no ZMTP frame"),
        (HANDSHAKE + b"\x05\x00", "no ZMTP frame"),
        (HANDSHAKE + client.frame(b"", claims=2**64 - 1), "a frame that is too large"),
        (HANDSHAKE + b"\x06" + (5000).to_bytes(8, "big"), "a frame that is too large"),
        (HANDSHAKE + wire(bytes(200_000), bytes(100_001)), "a message that is too large"),
        (HANDSHAKE + wire(*[b""] * 21), "too many frames"),
    ],
)
def test_who_is_out_of_line_is_found_out(said, why):
    with pytest.raises(OutOfLineError, match=why):
        heard(said)


def test_a_ping_is_answered_with_its_context():
    hearing, messages = heard(HANDSHAKE + commanded(b"PING", b"\0\x0acontext"))
    assert (hearing.answer, messages) == (commanded(b"PONG", b"context"), [])


def test_a_subscriber_speaks_in_commands_or_in_messages():
    handshake = client.GREETING + client.ready(kind=b"SUB")
    said = handshake + commanded(b"SUBSCRIBE", b"added") + commanded(b"CANCEL", b"added") + wire(b"\1removed")
    assert heard(said, kind=Kind.PUB)[1] == [[b"\1added"], [b"\0added"], [b"\1removed"]]


def test_others_have_their_turn_before_many_frames_are_looked_at():
    hearing = Hearing(Null(Kind.ROUTER), LIMITS)
    hearing.hear(memoryview(HANDSHAKE + commanded(b"PING", bytes(2)) * 2 * FRAMES_AT_ONCE))
    assert hearing.message() is None
    said = 0
    while hearing.at_hand:
        assert hearing.message() is None
        assert len(hearing.answer) - said <= FRAMES_AT_ONCE * len(commanded(b"PONG", b""))
        said = len(hearing.answer)
    assert said == 2 * FRAMES_AT_ONCE * len(commanded(b"PONG", b""))
