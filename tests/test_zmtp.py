"""A client's bytes become messages, within limits, however they are cut."""

import random

import pytest
import zmtp as client

from reidd.daemon import zmtp
from reidd.daemon.zmtp import GREETING, Hearing, Kind, Limits, OutOfLineError, command, message, ready

LIMITS = Limits(frames=4, hang_up_frames=20, frame_bytes=200_000, message_bytes=300_000)
HANDSHAKE = client.GREETING + client.ready()


def heard(said, at_a_time=1 << 20, kind=Kind.ROUTER):
    """What comes of these bytes when a read gives so many of them, as from a socket."""
    hearing, messages, at = Hearing(kind, LIMITS), [], 0
    while at < len(said):
        room = hearing.room
        size = min(len(said) - at, at_a_time, *([] if room is None else [len(room)]))
        if room is None:
            hearing.hear(memoryview(said)[at : at + size])
        else:
            room[:size] = said[at : at + size]
            hearing.filled(size)
        at += size
        while (whole := hearing.message()) is not None:
            messages.append(whole)
    return hearing, messages


def wire(*frames):
    return b"".join(message(frames))


@pytest.mark.parametrize("at_a_time", [1, 2, 9, 100, 300, 1000, 10_000])
def test_messages_are_the_same_however_the_bytes_are_cut(at_a_time, monkeypatch):
    monkeypatch.setattr(zmtp, "LARGE_BYTES", 256)
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
        (GREETING.replace(b"NULL", b"CURVE")[:64], "another mechanism"),
        (client.GREETING + wire(b"x"), "before the handshake"),
        (client.GREETING + ready(Kind.PUB), "no handshake of a client"),
        (client.GREETING + command(b"", b""), "no handshake of a client"),
        (client.GREETING + command(b"READY", b"\x0bSocket-Type"), "no handshake of a client"),
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
    hearing, messages = heard(HANDSHAKE + command(b"PING", b"\0\x0acontext"))
    assert (hearing.answer, messages) == (command(b"PONG", b"context"), [])


def test_a_subscriber_speaks_in_commands_or_in_messages():
    handshake = client.GREETING + client.ready(kind=b"SUB")
    said = handshake + command(b"SUBSCRIBE", b"added") + command(b"CANCEL", b"added") + wire(b"\1removed")
    assert heard(said, kind=Kind.PUB)[1] == [[b"\1added"], [b"\0added"], [b"\1removed"]]
