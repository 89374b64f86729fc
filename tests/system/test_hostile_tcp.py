"""Whoever speaks nonsense to the door on tcp, with or without a key, disturbs no honest client. Prints its figures."""

import time
from contextlib import ExitStack

import pytest
import zmtp
from curve import framed
from figures import note
from siege import CORE_MIB, HALF_OPEN, P99_S, attack, honest_client, resident_mib

from reidd.keys import Role
from reidd.protocol import MAX_FRAME_BYTES

REQUEST = b'{"op":"ids"}'


@pytest.fixture(scope="module")
def house(house):
    house.key("honest", Role.ENROL)
    house.key("evil", Role.SUBSCRIBE)
    return house


def with_a_bit_changed(text, chance):
    changed = bytearray(text)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def garbage(house, chance):
    with house.by_hand() as session:
        session.talk.sendall(chance.randbytes(chance.randrange(1, 5000)))


def garbage_after_the_greeting(house, chance):
    with house.by_hand() as session:
        session.greet()
        session.talk.sendall(chance.randbytes(chance.randrange(1, 5000)))


def a_hello_with_a_bit_changed(house, chance):
    with house.by_hand() as session:
        session.greet()
        session.say(with_a_bit_changed(session.client.hello(), chance), zmtp.COMMAND)
        session.heard(1)


def hello_after_hello(house, chance):
    with house.by_hand() as session:
        session.greet()
        session.talk.sendall(framed(session.client.hello(), zmtp.COMMAND) * chance.randrange(2, 500))


def an_initiate_with_a_bit_changed(house, chance):
    with house.by_hand("evil") as session:
        session.greet()
        session.say(session.client.hello(), zmtp.COMMAND)
        session.client.welcome(session.frame())
        session.say(with_a_bit_changed(session.client.initiate(), chance), zmtp.COMMAND)
        session.heard(1)


def a_random_key(house, chance):
    with house.by_hand() as session:
        session.shake()


def messages_in_the_clear(house, chance):
    with house.by_hand("evil").shake() as session:
        session.say(REQUEST)
        session.heard(1)


def a_box_with_a_bit_changed(house, chance):
    with house.by_hand("evil").shake() as session:
        session.say(with_a_bit_changed(session.client.message(REQUEST), chance))
        session.heard(1)


def a_frame_that_claims_too_much(house, chance):
    with house.by_hand("evil").shake() as session:
        session.talk.sendall(zmtp.frame(b"x", claims=chance.choice([2**64 - 1, 1 << 40, MAX_FRAME_BYTES + 34])))


def an_endless_message(house, chance):
    with house.by_hand("evil").shake() as session:
        for _ in range(40 if chance.random() < 0.05 else 2):
            session.say(session.client.message(bytes(1 << 20), flags=1))


def very_many_frames(house, chance):
    with house.by_hand("evil").shake() as session:
        session.send(*[b""] * 1000)


def a_flood_of_requests(house, chance):
    with house.by_hand("evil").shake() as session:
        for _ in range(50):
            session.send(b"", REQUEST)


def pings(house, chance):
    with house.by_hand("evil").shake() as session:
        session.talk.sendall(b"".join(framed(session.client.message(b"\4PING\0\0", flags=2)) for _ in range(1000)))


SESSIONS = [
    garbage,
    garbage_after_the_greeting,
    a_hello_with_a_bit_changed,
    hello_after_hello,
    an_initiate_with_a_bit_changed,
    a_random_key,
    messages_in_the_clear,
    a_box_with_a_bit_changed,
    a_frame_that_claims_too_much,
    an_endless_message,
    very_many_frames,
    a_flood_of_requests,
    pings,
]


def besieged(house, sessions):
    with honest_client(house.address, house.path("honest")) as seen, ExitStack() as stack:
        started = time.monotonic()
        for _ in range(HALF_OPEN):
            stack.enter_context(house.by_hand())
        counted = attack(house.daemon, SESSIONS, house, sessions)
        lasted = time.monotonic() - started
        honest = seen()
    print(f"\n{sum(counted.values())} hostile sessions over tcp in {lasted:.1f} s: {dict(counted)}")
    print(f"honest client over tcp: {honest}; core {resident_mib(house.daemon):.0f} MiB")
    # What is cut off was cut off by the daemon, and what is fine was not.
    assert counted["a_random_key", "ran"] == counted["a_box_with_a_bit_changed", "ran"] == 0
    assert counted["a_flood_of_requests", "cut off"] == 0
    assert (honest.wrong, house.daemon.process.poll()) == ([], None)
    assert resident_mib(house.daemon) < CORE_MIB
    return honest


def test_a_siege_of_the_door_disturbs_no_honest_client(house):
    besieged(house, 130)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_thousand_hostile_sessions_over_tcp_leave_the_honest_p99_under_100_ms(house):
    honest = besieged(house, 2000 - HALF_OPEN)
    note("hostile sessions over tcp, before and after the handshake", 2000)
    note("honest client over tcp meanwhile, p99", f"{honest.p99 * 1000:.1f} ms of {len(honest.seconds)}", "100 ms")
    assert honest.p99 < P99_S
