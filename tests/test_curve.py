"""The server's side of CurveZMQ, against a client that was written from RFC 26 alone."""

import logging

import curve as by_hand
import pytest
from curve import Client, unframed
from nacl.bindings import crypto_box, crypto_box_keypair, crypto_scalarmult_base

from reidd.daemon.curve import Curve, KeyPair
from reidd.daemon.zmtp import COMMAND, MORE, Kind, OutOfLineError

SERVER = KeyPair(*crypto_box_keypair())
LOW_ORDER = [bytes(32), b"\1" + bytes(31), bytes([0xEC]) + b"\xff" * 30 + b"\x7f"]


def server(kind=Kind.ROUTER, allows=lambda _: True):
    return Curve(kind, SERVER, allows)


def flipped(text):
    """The same but for its last bit."""
    return text[:-1] + bytes([text[-1] ^ 1])


def welcomed(client=None):
    """A server and a client after WELCOME."""
    ours, client = server(), client or Client(SERVER.public)
    client.welcome(unframed(ours.shake(client.hello())))
    return ours, client


def come_in(client=None):
    """A server and a client after READY."""
    ours, client = welcomed(client)
    client.ready(unframed(ours.shake(client.initiate())))
    return ours, client


def test_hands_are_shaken_and_messages_pass_both_ways():
    asked = []
    ours, client = server(allows=lambda key: asked.append(key) or True), Client(SERVER.public)
    client.welcome(unframed(ours.shake(client.hello())))
    assert not ours.ready
    assert asked == []
    assert b"\x0bSocket-Type\0\0\0\x06ROUTER" in client.ready(unframed(ours.shake(client.initiate())))
    assert (ours.ready, ours.key, asked) == (True, client.public, [client.public])
    assert ours.opened(0, client.message(b"question", flags=1)) == (MORE, b"question")
    assert ours.opened(COMMAND, client.message(b"", flags=2)) == (COMMAND, b"")
    for flags, boxed in ((0, 0), (MORE, 1), (COMMAND, 2)):
        assert client.opened(unframed(b"".join(ours.sealed(flags, memoryview(b"answer"))))) == (boxed, b"answer")


def test_a_greeting_says_that_we_are_the_server():
    assert Curve.first_words == by_hand.GREETING[:32] + b"\1" + bytes(31)


def test_short_term_keys_and_cookies_are_of_one_connection():
    (_, one), (_, other) = welcomed(), welcomed()
    assert one.server_short != other.server_short
    assert one.cookie != other.cookie


def test_no_nonce_of_ours_is_used_twice():
    ours, _ = come_in()
    nonces = [unframed(b"".join(ours.sealed(0, b"")))[8:16] for _ in range(5)]
    assert nonces == sorted(set(nonces))
    assert int.from_bytes(nonces[0], "big") == 2  # behind READY


def test_a_key_that_is_not_allowed_is_told_so_and_nothing_else():
    ours, client = server(allows=lambda _: False), Client(SERVER.public)
    client.welcome(unframed(ours.shake(client.hello())))
    with pytest.raises(OutOfLineError, match="not let in") as refusal:
        ours.shake(client.initiate())
    assert unframed(refusal.value.last_words) == b"\x05ERROR\x03400"
    assert (ours.ready, ours.key) == (False, None)


HELLOS = {
    "nothing": lambda client: b"",
    "another command": lambda client: b"\x05READY" + client.hello()[6:],
    "INITIATE first": lambda client: b"\x08INITIATE" + bytes(248),
    "MESSAGE first": lambda client: b"\x07MESSAGE" + bytes(25),
    "a byte too short": lambda client: client.hello()[:-1],
    "a byte too long": lambda client: client.hello() + b"\0",
    "version 2.0": lambda client: client.hello(version=b"\2\0"),
    "no padding": lambda client: client.hello(padding=bytes(71) + b"\1"),
    "another signature": lambda client: client.hello(signature=bytes(63) + b"\1"),
    "to another server": lambda client: Client(crypto_box_keypair()[0]).hello(),
    "another's short-term key": lambda client: client.hello()[:80] + Client(SERVER.public).short_public
    + client.hello()[112:],
    "another nonce than its box": lambda client: client.hello()[:112] + bytes(7) + b"\x09" + client.hello()[120:],
    **{
        f"a point of low order {at}": lambda client, point=point: client.hello()[:80] + point + client.hello()[112:]
        for at, point in enumerate(LOW_ORDER)
    },
}  # fmt: skip


@pytest.mark.parametrize("said", HELLOS.values(), ids=HELLOS)
def test_a_hello_that_is_none_ends_the_connection(said):
    ours = server()
    with pytest.raises(OutOfLineError) as refusal:
        ours.shake(said(Client(SERVER.public)))
    assert (refusal.value.last_words, ours.ready) == (b"", False)


def cookie_of_another_connection(client):
    return client.initiate(cookie=welcomed()[1].cookie)


def all_of_another_connection(client):
    """What an eavesdropper can replay: every byte of an INITIATE that was welcome elsewhere."""
    return welcomed()[1].initiate()


def stolen_vouch(client):
    """A server that the victim talks to, and that holds on to its vouch, cannot come in with it here."""
    victim = welcomed()[1]
    return client.initiate(vouch=victim.vouch(), public=victim.public)


def vouch_made_for_us_by_a_victim_of_ours(client):
    """The victim vouches for its own short-term key, to our short-term key: not for that of who passes it on."""
    victim = Client(SERVER.public)
    victim.server_short = client.server_short
    return client.initiate(vouch=victim.vouch(), public=victim.public)


def vouch_for_another_server(client):
    return client.initiate(vouch=client.vouch(server=crypto_box_keypair()[0]))


def somebody_elses_public_key(client):
    return client.initiate(public=Client(SERVER.public).public)


INITIATES = {
    "HELLO again": lambda client: client.hello(),
    "nothing": lambda client: b"",
    "a byte too short": lambda client: client.initiate(properties=b"")[:-1],
    "a byte too long": lambda client: client.initiate() + b"\0",
    "another name": lambda client: b"\x08INITIATe" + client.initiate()[9:],
    "MESSAGE before it": lambda client: client.message(b"question"),
    "no cookie": lambda client: client.initiate(cookie=bytes(96)),
    "a cookie with a wrong bit": lambda client: client.initiate(cookie=flipped(client.cookie)),
    "a nonce that does not rise": lambda client: client.initiate(nonce=(1).to_bytes(8, "big")),
    "another nonce than its box": lambda client: client.initiate()[:112] + b"\x77" + client.initiate()[113:],
    "a vouch by another key": lambda client: client.initiate(vouch=client.vouch(secret=crypto_box_keypair()[1])),
    "a vouch to another short-term key": lambda client: client.initiate(vouch=client.vouch(server_short=client.server)),
    "a long-term key of low order": lambda client: client.initiate(public=LOW_ORDER[0]),
    "no metadata": lambda client: client.initiate(properties=b""),
    "metadata cut short": lambda client: client.initiate(properties=b"\x0bSocket-Type\0\0\0\x06DEA"),
    "a socket that asks nothing": lambda client: client.initiate(properties=by_hand.metadata(b"PUB")),
    **{
        made.__name__: made
        for made in (
            cookie_of_another_connection, all_of_another_connection, stolen_vouch,
            vouch_made_for_us_by_a_victim_of_ours, vouch_for_another_server, somebody_elses_public_key,
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("said", INITIATES.values(), ids=INITIATES)
def test_an_initiate_that_is_none_ends_the_connection(said):
    ours, client = welcomed()
    with pytest.raises(OutOfLineError) as refusal:
        ours.shake(said(client))
    assert (refusal.value.last_words, ours.ready, ours.key) == (b"", False, None)


def box_of_nothing(client):
    nonce = client.next_nonce()
    return (
        b"\x07MESSAGE" + nonce + crypto_box(b"", b"CurveZMQMESSAGEC" + nonce, client.server_short, client.short_secret)
    )


MESSAGES = {
    "nothing": lambda client: b"",
    "in the clear": lambda client: b"question",
    "HELLO again": lambda client: client.hello(),
    "INITIATE again": lambda client: client.initiate(),
    "READY in the clear": lambda client: b"\x05READY" + by_hand.metadata(b"DEALER"),
    "another name": lambda client: b"\x07MESSAGe" + client.message(b"question")[8:],
    "no flags": box_of_nothing,
    "no box": lambda client: client.message(b"question")[:16],
    "a bit wrong": lambda client: flipped(client.message(b"question")),
    "cut short": lambda client: client.message(b"question")[:-1],
    "of another connection": lambda client: come_in()[1].message(b"question", nonce=(99).to_bytes(8, "big")),
    "a nonce of INITIATE": lambda client: client.message(b"question", nonce=(2).to_bytes(8, "big")),
    "nonce 0": lambda client: client.message(b"question", nonce=bytes(8)),
    "another nonce than its box": lambda client: client.message(b"")[:8] + b"\x77" * 8 + client.message(b"")[16:],
    "unknown flags": lambda client: client.message(b"question", flags=4),
}


@pytest.mark.parametrize("said", MESSAGES.values(), ids=MESSAGES)
def test_a_message_that_is_none_ends_the_connection(said):
    ours, client = come_in()
    with pytest.raises(OutOfLineError):
        ours.opened(0, said(client))


def test_a_message_that_comes_again_or_late_ends_the_connection():
    ours, client = come_in()
    first, second, third = (client.message(body) for body in (b"1", b"2", b"3"))
    assert ours.opened(0, second) == (0, b"2")
    for late in (first, second):
        with pytest.raises(OutOfLineError, match="rise"):
            ours.opened(0, late)
    # A gap is none of the client's faults by itself, and the connection is closed at the first fault.
    assert ours.opened(0, third) == (0, b"3")


def test_what_we_said_does_not_open_as_the_clients():
    ours, _ = come_in()
    with pytest.raises(OutOfLineError):
        ours.opened(0, unframed(b"".join(ours.sealed(0, b"x"))))


def test_the_frame_around_a_message_has_no_more():
    ours, client = come_in()
    with pytest.raises(OutOfLineError, match="no MESSAGE"):
        ours.opened(MORE, client.message(b"question"))


def test_no_secret_is_in_what_is_said_of_it(caplog):
    caplog.set_level(logging.DEBUG)
    words = [repr(SERVER), str(SERVER), repr(come_in()[0])]
    for said in INITIATES.values():
        ours, client = welcomed()
        with pytest.raises(OutOfLineError) as refusal:
            ours.shake(said(client))
        words += [str(refusal.value), caplog.text]
        assert not [word for word in words if repr(ours._secret)[2:-1] in word or repr(ours._shared)[2:-1] in word]
    assert not [word for word in words if repr(SERVER.secret)[2:-1] in word or len(word) > 80]


def test_the_pair_is_one():
    assert crypto_scalarmult_base(SERVER.secret) == SERVER.public
