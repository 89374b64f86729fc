"""Clients of a socket of ours: ZeroMQ's own ones, and such that are up to no good."""

import mmap
import os
import re
import resource
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import zmq
import zmtp as client
from curve import Client, Session, framed
from nacl.bindings import crypto_box_keypair

from reidd.daemon import connection, served_socket
from reidd.daemon.curve import Curve, Pair
from reidd.daemon.hearing import Hearing
from reidd.daemon.served_socket import Room, ServedSocket
from reidd.daemon.zmtp import Kind, Limits, Null

LIMITS = Limits(frames=10, hang_up_frames=100, frame_bytes=32 << 20, message_bytes=48 << 20)
ROOM = Room(held_bytes=40 << 20, share=0.5)


@pytest.fixture
def path(listener):
    return listener.getsockname()


@pytest.fixture
def served(listener):
    with closing(ServedSocket(listener, partial(Null, Kind.ROUTER), LIMITS, ROOM)) as served:
        yield served


@pytest.fixture
def dealer(path):
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{path}")
        yield socket


def come(served, count, seconds=5.0):
    """So many messages, waited for."""
    messages, ends = [], time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < ends:
        messages += served.messages(count - len(messages))
    return messages


def greeted(served, path):
    """A connection that has shaken hands, by hand."""
    session, before = client.connected(path), len(served.names)
    session.sendall(client.GREETING + client.ready())
    serve(served, lambda: len(served.names) > before and not served._silent)
    return session


def serve(served, until):
    ends = time.monotonic() + 5
    while not until():
        assert time.monotonic() < ends
        list(served.messages(10))


def test_a_message_and_its_reply_pass_whatever_their_size(served, dealer):
    for size in (0, 255, 256, 9000, 20 << 20):
        dealer.send_multipart([b"", os.urandom(8), bytes(size)])
        [(frames, uid, _)] = come(served, 1)
        assert [uid, *map(len, frames[1:])] == [os.getuid(), 0, 8, size]
        served.send(frames[0], [b"", bytes(size)])
        while not dealer.poll(0):
            list(served.messages(1))
        assert list(map(len, dealer.recv_multipart())) == [0, size]


def test_a_req_that_reconnects_and_one_with_heartbeats_are_served(served, path):
    with zmq.Context() as context, context.socket(zmq.REQ) as asking:
        for option in (zmq.REQ_RELAXED, zmq.REQ_CORRELATE):
            asking.setsockopt(option, 1)
        asking.setsockopt(zmq.HEARTBEAT_IVL, 50)
        asking.setsockopt(zmq.HEARTBEAT_TIMEOUT, 500)
        asking.connect(f"ipc://{path}")
        for _ in range(3):
            asking.send(b"who is this?")
            [(frames, _, _)] = come(served, 1)
            # Longer than a heartbeat may be late.
            ends = time.monotonic() + 0.7
            serve(served, lambda: time.monotonic() > ends)  # noqa: B023
            served.send(frames[0], [*frames[1:3], b"a person"])
            assert asking.poll(2000)
            assert asking.recv() == b"a person"
        assert len(served.names) == 1


def test_clients_take_turns(served, path):
    with greeted(served, path) as loud, greeted(served, path) as quiet:
        loud.sendall(client.short_frame(b"loud") * 1000)
        come(served, 1)
        quiet.sendall(client.short_frame(b"quiet"))
        assert b"quiet" in [message.frames[1] for message in come(served, 3)]
        assert served.waiting


def test_what_a_client_said_before_it_left_is_heard(served, path):
    with greeted(served, path) as leaving:
        leaving.sendall(client.short_frame(b"add me") * 3)
    assert [message.frames[1] for message in come(served, 3)] == [b"add me"] * 3
    serve(served, lambda: not served.names)


def test_who_never_says_who_it_is_is_sent_away(served, path, monkeypatch):
    monkeypatch.setattr(connection, "HANDSHAKE_S", 0.1)
    with client.connected(path) as silent:
        serve(served, lambda: served.names)
        serve(served, lambda: not served.names)
        while silent.recv(4096):
            pass


def test_who_holds_most_memory_is_cut_off_and_no_other(served, path, dealer):
    with greeted(served, path) as greedy:
        greedy.setblocking(False)
        left = memoryview(client.frame(bytes(30 << 20), more=True))[: 30 << 20]
        while left:
            with suppress(BlockingIOError):
                left = left[greedy.send(left) :]
            list(served.messages(1))
        assert len(served.names) == 2
        dealer.send_multipart([b"", bytes(20 << 20)])
        assert len(come(served, 1)) == 1
        assert len(served.names) == 1


def test_who_reads_no_reply_loses_some_and_holds_up_nobody(served, path, dealer):
    with greeted(served, path) as deaf:
        deaf.sendall(client.short_frame(b"question"))
        [(frames, _, _)] = come(served, 1)
        for _ in range(60):
            served.send(frames[0], [bytes(1 << 20)])
        assert served._held_bytes <= connection.MAX_UNREAD_BYTES + (2 << 20)
        dealer.send_multipart([b"", b"question"])
        assert come(served, 1)


def test_a_client_that_is_gone_misses_its_reply(served, path):
    with greeted(served, path) as leaving:
        leaving.sendall(client.short_frame(b"question"))
        [(frames, _, _)] = come(served, 1)
    for _ in range(3):
        served.send(frames[0], [b"answer"])
    serve(served, lambda: not served.names)
    served.send(frames[0], [b"answer"])


@contextmanager
def little_memory(spare_bytes):
    """This process can have so much more, and no more than that."""
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    [taken_kb] = re.findall(r"VmData:\s*(\d+) kB", Path("/proc/self/status").read_text())
    resource.setrlimit(resource.RLIMIT_DATA, (int(taken_kb) * 1024 + spare_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def test_behind_half_a_reply_that_there_was_no_memory_for_comes_no_other(served, path, tmp_path):
    with (tmp_path / "reply").open("w+b") as file:
        file.truncate(256 << 20)
        reply = mmap.mmap(file.fileno(), 0)
    with greeted(served, path) as session:
        [name] = served.names
        with little_memory(16 << 20):
            served.send(name, [reply])
        served.send(name, [b"another"])
        session.settimeout(5)
        heard = b"".join(iter(partial(session.recv, 1 << 20), b""))
    assert 0 < len(heard) < 1 << 20
    assert b"another" not in heard


SERVER = Pair(*crypto_box_keypair())


@pytest.fixture
def afar():
    """What is served on tcp, to everybody who has a key."""
    listener = socket.create_server(("127.0.0.1", 0))
    with closing(ServedSocket(listener, lambda: Curve(Kind.ROUTER, SERVER, lambda _: True), LIMITS, ROOM)) as served:
        yield served


@contextmanager
def session(served, pair=None):
    """A client by hand that has said nothing."""
    host, port = served._listener.getsockname()
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
        one.talk.sendall(client.GREETING.replace(b"NULL\0", b"CURVE") + framed(one.client.hello(), client.COMMAND))
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


def test_pings_of_many_leave_others_their_turn(served, path):
    with ExitStack() as stack:
        for _ in range(10):
            pinging = stack.enter_context(greeted(served, path))
            pinging.sendall((bytes([client.COMMAND, 7]) + b"\x04PING\0\0") * 20_000)
        asking = stack.enter_context(greeted(served, path))
        asking.sendall(client.short_frame(b"question"))
        began, turns = time.monotonic(), 0
        while not list(served.messages(10)):
            turns += 1
            assert turns < 20
        assert time.monotonic() - began < 0.5
