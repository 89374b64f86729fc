"""Clients of a socket of ours: ZeroMQ's own ones, and such that are up to no good."""

import mmap
import os
import re
import resource
import select
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import zmq
import zmtp as client
from served import LIMITS, ROOM, come, serve

from reidd.daemon import connection, entrance
from reidd.daemon.served_socket import ServedSocket
from reidd.daemon.zmtp import Kind, Null


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


def greeted(served, path):
    """A connection that has shaken hands, by hand."""
    session, before = client.connected(path), len(served.names)
    session.sendall(client.GREETING + client.ready())
    serve(served, lambda: len(served.names) > before and not served._silent)
    return session


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


def test_while_there_is_no_room_for_another_the_loop_rests(served, path, dealer, monkeypatch, caplog):
    monkeypatch.setattr(entrance, "REST_S", 0.3)
    with monkeypatch.context() as full:
        full.setattr(resource, "getrlimit", lambda _: (0, 0))
        with client.connected(path):
            serve(served, lambda: caplog.text)
    dealer.send(b"question")
    for _ in range(10):
        assert not select.select([served], [], [], 0.01)[0]
        list(served.messages(1))
    assert len(caplog.records) == 1
    assert come(served, 1)


def test_however_often_there_is_no_room_it_is_said_now_and_then(served, path, monkeypatch, caplog):
    monkeypatch.setattr(entrance, "REST_S", 0.0)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 0))
    for _ in range(3):
        with client.connected(path) as refused:
            serve(served, lambda refused=refused: select.select([refused], [], [], 0.01)[0])
            assert not refused.recv(1)
    assert len(caplog.records) == 1


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


def test_however_often_somebody_is_cut_off_it_is_said_now_and_then(served, path, caplog):
    for _ in range(2):
        with ExitStack() as stack:
            for _ in range(15):
                stack.enter_context(greeted(served, path)).sendall(client.frame(b"", claims=2900 << 10) + bytes(100))
            serve(served, lambda: len(served.names) < 15)
        serve(served, lambda: not served.names)
    assert [record.message for record in caplog.records] == [
        "a client was cut off that had 2 MiB of messages under way"
    ]


def test_who_announces_much_and_says_no_more_of_it_costs_nobody_a_larger_message(served, path, dealer):
    with ExitStack() as stack:
        for _ in range(14):
            stack.enter_context(greeted(served, path)).sendall(client.frame(b"", claims=2900 << 10) + bytes(100))
        serve(served, lambda: served._held_bytes > 13 * (2900 << 10))
        for one in served._connections.values():
            one.since -= 60
        dealer.send_multipart([b"", bytes(20 << 20)])
        assert len(come(served, 1)) == 1
        assert len(served.names) < 14


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
