"""Clients on tcp, who hold keys: served a few steps at a time, and none at the cost of another."""

import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import pytest
from curve import GREETING, Client, Session, framed
from nacl.bindings import crypto_box_keypair
from served import LIMITS, ROOM, come, serve
from zmtp import COMMAND, LONG

from reidd.daemon import served_socket
from reidd.daemon.curve import Curve, KeyPair
from reidd.daemon.hearing import Hearing
from reidd.daemon.served_socket import ServedSocket
from reidd.daemon.zmtp import Kind

SERVER = KeyPair(*crypto_box_keypair())


@pytest.fixture
def afar():
    """What is served on tcp, to everybody who has a key."""
    listener = socket.create_server(("127.0.0.1", 0))
    with closing(ServedSocket(listener, lambda: Curve(Kind.ROUTER, SERVER, lambda _: True), LIMITS, ROOM)) as served:
        yield served


@contextmanager
def session(served, pair=None):
    """A client by hand that has said nothing."""
    host, port = served._entrance.listener.getsockname()
    with Session(f"tcp://{host}:{port}", Client(SERVER.public, pair)) as opened:
        yield opened


@contextmanager
def shaken(served, pair=None):
    """A client by hand that has come in."""
    with session(served, pair) as opened, ThreadPoolExecutor(1) as pool:
        coming = pool.submit(opened.shake)
        serve(served, coming.done)
        coming.result()
        yield opened


def test_on_tcp_a_message_has_the_key_of_who_sent_it(afar):
    with shaken(afar) as asking:
        asking.send(b"", b"question")
        [(frames, uid, key)] = come(afar, 1)
        assert (frames[1:], uid, key) == ([b"", b"question"], None, asking.client.public)
        afar.send(frames[0], [b"", b"answer"])
        assert asking.receive() == [b"", b"answer"]


def test_who_is_gone_without_a_word_is_noticed_by_the_kernel(afar):
    with shaken(afar):
        [talk] = [one.talk for one in afar._connections.values()]
        options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]
        assert [talk.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [5, 5, 2, 15_000]
        assert talk.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def greet_all(served, sessions):
    """Have so many come in and say HELLO, and be heard no further."""
    for one in sessions:
        one.talk.sendall(GREETING + framed(one.client.hello(), COMMAND))
    while len(served._shaking) < len(sessions):
        for fd, _ in served._epoll.poll(0.01):
            served._serve(served._by_fd[fd]) if fd in served._by_fd else served._accept()


def test_a_turn_takes_a_few_steps_of_handshakes_and_messages_go_first(afar):
    with shaken(afar) as asking, ExitStack() as stack:
        greet_all(afar, [stack.enter_context(session(afar)) for _ in range(30)])
        asking.send(b"question")
        select.select([afar], [], [], 5)
        assert [len(afar._shaking) for _ in afar.messages(1)] == [30]
        left = []
        while afar._shaking:
            left.append(len(afar._shaking))
            list(afar.messages(1))
        assert left == list(range(30 - served_socket.SHAKEN_PER_TURN, 0, -served_socket.SHAKEN_PER_TURN))


def test_of_too_many_that_say_nothing_the_longest_silent_goes(afar, monkeypatch):
    monkeypatch.setattr(served_socket, "MAX_SILENT", 5)
    with shaken(afar) as asking, ExitStack() as stack:
        for count in range(1, 9):
            stack.enter_context(session(afar))
            serve(afar, lambda: len(afar.names) == 1 + min(count, 5))  # noqa: B023
        newest = max(afar.names)
        assert afar._silent.keys() == afar.names - {min(afar.names)}
        assert newest in afar._silent
        asking.send(b"question")
        assert come(afar, 1)


def test_one_key_takes_no_more_than_its_part_of_the_connections(afar, monkeypatch):
    monkeypatch.setattr(served_socket, "MAX_OF_ONE_KEY", 2)
    pair = crypto_box_keypair()
    with shaken(afar) as other, shaken(afar, pair), shaken(afar, pair), shaken(afar, pair) as newest:
        assert len(afar.names) == 3
        assert [one.key for one in afar._connections.values()] == [other.client.public, pair[0], pair[0]]
        newest.send(b"question")
        assert come(afar, 1)[0].frames[0] == max(afar.names)


def announce(one, size):
    """Begin a frame of that size."""
    one.talk.sendall(bytes([LONG]) + size.to_bytes(8, "big") + b"\x07MESSAGE" + bytes(100))


def test_of_what_clients_hold_the_connections_of_a_key_cost_together(afar):
    pair = crypto_box_keypair()
    with shaken(afar) as honest, shaken(afar, pair) as first, shaken(afar, pair) as second, shaken(afar, pair) as third:
        for one, size in ((honest, 14 << 20), (first, 9 << 20), (second, 9 << 20)):
            announce(one, size)
        serve(afar, lambda: afar._held_bytes >= 32 << 20)
        for one in afar._connections.values():
            one.since = 0
        announce(third, 9 << 20)
        serve(afar, lambda: len(afar.names) == 3)
        assert [one.key for one in afar._connections.values()] == [honest.client.public, pair[0], pair[0]]


def test_for_a_newcomer_the_silent_make_room_and_nobody_else_does(afar, monkeypatch):
    monkeypatch.setattr(served_socket.resource, "getrlimit", lambda _: (served_socket.SPARE_FILES + 4, 0))
    with shaken(afar) as first, session(afar), shaken(afar) as second:
        assert len(afar.names) == 2
        with session(afar) as third:
            serve(afar, lambda: select.select([third.talk], [], [], 0)[0])
            assert third.talk.recv(100) == b""
        for here in (first, second):
            here.send(b"question")
            assert come(afar, 1)


def test_who_is_not_wanted_any_more_is_sent_away_and_nobody_else(afar):
    with shaken(afar) as revoked, shaken(afar) as other, session(afar) as coming:
        serve(afar, lambda: len(afar.names) == 3)
        afar.send_away(lambda key: key == revoked.client.public)
        assert len(afar.names) == 2
        other.send(b"question")
        assert come(afar, 1)[0].key == other.client.public
        coming.greet()


def test_while_a_large_frame_is_opened_others_are_heard(afar, monkeypatch):
    open_it, opened = threading.Event(), Hearing.open_aside
    monkeypatch.setattr(Hearing, "open_aside", lambda hearing: open_it.wait(5) and opened(hearing))
    with shaken(afar) as large, shaken(afar) as small, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(large.send, bytes(8 << 20), b"last")
        serve(afar, lambda: any(one.hearing.stuck for one in afar._connections.values()))
        small.send(b"question")
        assert [frames[1:] for frames, _, _ in come(afar, 1)] == [[b"question"]]
        assert list(afar.messages(10)) == []
        # Nor is the loop kept busy by what nobody takes in.
        assert not afar._epoll.poll(0.05)
        open_it.set()
        assert [list(map(len, frames[1:])) for frames, _, _ in come(afar, 1)] == [[8 << 20, 4]]
        sending.result()


def test_who_left_while_its_frame_was_opened_is_forgotten(afar, monkeypatch):
    open_it, opened = threading.Event(), Hearing.open_aside
    monkeypatch.setattr(Hearing, "open_aside", lambda hearing: open_it.wait(5) and opened(hearing))
    with shaken(afar) as large, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(large.send, bytes(8 << 20))
        serve(afar, lambda: any(one.hearing.stuck for one in afar._connections.values()))
        sending.result()
        afar.send_away(lambda _: True)
        open_it.set()
        assert come(afar, 1, seconds=0.3) == []
        assert (afar._held_bytes, afar.waiting) == (0, False)


def test_who_left_while_its_frame_waited_to_be_opened_takes_no_memory(afar, monkeypatch):
    open_it, opened = threading.Event(), Hearing.open_aside
    monkeypatch.setattr(Hearing, "open_aside", lambda hearing: open_it.wait(5) and opened(hearing))
    with shaken(afar) as first, shaken(afar) as second, ThreadPoolExecutor(1) as pool:
        hearings = [one.hearing for one in afar._connections.values()]
        for large, hearing in zip((first, second), hearings, strict=True):
            sending = pool.submit(large.send, bytes(8 << 20))
            serve(afar, lambda hearing=hearing: hearing.stuck)
            sending.result()
        afar.send_away(lambda _: True)
        assert [hearing.held_bytes for hearing in hearings] == [0, 0]
        open_it.set()
        assert come(afar, 1, seconds=0.3) == []
