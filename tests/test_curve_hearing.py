"""What comes in boxes becomes messages, within the same limits as what comes in the clear."""

import pytest
from curve import GREETING, Client, framed, unframed
from nacl.bindings import crypto_box_keypair

from reidd.daemon.curve import Curve, KeyPair
from reidd.daemon.hearing import Hearing
from reidd.daemon.zmtp import COMMAND, LONG, Kind, Limits, OutOfLineError

SERVER = KeyPair(*crypto_box_keypair())
LIMITS = Limits(frames=4, hang_up_frames=20, frame_bytes=2 << 20, message_bytes=3 << 20)


def unheard():
    """The hearing of somebody who has said nothing."""
    return Hearing(Curve(Kind.ROUTER, SERVER, lambda _: True), LIMITS)


def hearing(client):
    """A hearing that the client has come in to."""
    heard = unheard()
    heard.hear(memoryview(GREETING + framed(client.hello(), COMMAND)))
    assert heard.message() is None
    client.welcome(unframed(heard.answer))
    heard.answer = b""
    heard.hear(memoryview(framed(client.initiate(), COMMAND)))
    assert heard.message() is None
    client.ready(unframed(heard.answer))
    heard.answer = b""
    return heard


def said(heard, *texts):
    """What comes of such texts, each in a frame."""
    heard.hear(memoryview(b"".join(map(framed, texts))))
    messages = []
    while (whole := heard.message()) is not None or heard.at_hand:
        messages += [whole] if whole else []
    return messages


def test_a_message_of_many_boxes_is_whole_with_its_last():
    client = Client(SERVER.public)
    heard = hearing(client)
    assert said(heard, client.message(b"", flags=1), client.message(b"header", flags=1)) == []
    assert said(heard, client.message(b"image"), client.message(b"next")) == [[b"", b"header", b"image"], [b"next"]]


def test_subscriptions_and_heartbeats_travel_in_boxes():
    client = Client(SERVER.public)
    heard = hearing(client)
    commands = (b"\x09SUBSCRIBEadded", b"\x06CANCELadded", b"\x04PING\0\x0acontext")
    assert said(heard, *(client.message(text, flags=2) for text in commands)) == [[b"\1added"], [b"\0added"]]
    assert client.opened(unframed(heard.answer)) == (2, b"\x04PONGcontext")


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (lambda client: [client.message(b"x", flags=3)], "no ZMTP frame"),
        (lambda client: [client.message(b"\x04PING" + bytes(5000), flags=2)], "too large"),
        (
            lambda client: [client.message(bytes(2 << 20), flags=1), client.message(bytes((1 << 20) + 1))],
            "message that",
        ),
        (lambda client: [client.message(b"", flags=1) for _ in range(21)], "many"),
    ],
)
def test_limits_hold_within_the_boxes(texts, why):
    client = Client(SERVER.public)
    heard = hearing(client)
    with pytest.raises(OutOfLineError, match=why):
        said(heard, *texts(client))


def test_a_box_that_is_too_large_is_refused_before_it_is_held():
    heard = hearing(Client(SERVER.public))
    heard.hear(memoryview(bytes([LONG]) + (LIMITS.frame_bytes + 34).to_bytes(8, "big")))
    with pytest.raises(OutOfLineError, match="a frame that is too large"):
        heard.message()
    assert heard.held_bytes < 100


def test_before_hands_are_shaken_a_client_is_allowed_a_few_bytes():
    heard = unheard()
    heard.hear(memoryview(GREETING + bytes([COMMAND | LONG]) + (5000).to_bytes(8, "big")))
    with pytest.raises(OutOfLineError, match="a frame that is too large"):
        heard.message()


def test_a_message_before_the_handshake_ends_the_connection():
    client = Client(SERVER.public)
    heard = unheard()
    heard.hear(memoryview(GREETING + framed(client.hello())))
    with pytest.raises(OutOfLineError, match="before the handshake"):
        heard.message()


def test_each_step_of_a_handshake_is_a_turn_of_its_own():
    heard, client = unheard(), Client(SERVER.public)
    heard.hear(memoryview(GREETING + framed(client.hello(), COMMAND) * 2))
    assert heard.message() is None
    assert (heard.at_hand, len(unframed(heard.answer))) == (True, 168)
    with pytest.raises(OutOfLineError, match="no INITIATE"):
        heard.message()


def large(client, heard, spoil=False):
    """Have a large box come, in pieces."""
    wire = bytearray(framed(client.message(bytes(2 << 20))))
    wire[-1] ^= spoil
    heard.hear(memoryview(wire)[:70_000])
    assert heard.message() is None
    heard.room[:] = wire[70_000:]
    heard.filled(len(wire) - 70_000)
    assert heard.message() is None
    assert heard.stuck
    assert heard.held_bytes == (2 << 20) + 33


def test_a_large_box_is_opened_aside_and_what_follows_waits():
    client = Client(SERVER.public)
    heard = hearing(client)
    large(client, heard)
    heard.hear(memoryview(framed(client.message(b"next"))))
    assert heard.message() is None
    heard.open_aside()
    assert [heard.message(), heard.message()] == [[bytes(2 << 20)], [b"next"]]
    assert not heard.stuck


def test_a_large_box_that_does_not_open_ends_the_connection():
    client = Client(SERVER.public)
    heard = hearing(client)
    large(client, heard, spoil=True)
    heard.open_aside()
    with pytest.raises(OutOfLineError, match="does not open"):
        heard.message()
