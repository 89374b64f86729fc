"""Messages between core and worker: whole or not at all, and the core never waits."""

import socket
import struct
import threading
import time
from select import EPOLLIN, EPOLLOUT, epoll

import pytest

from reidd.daemon.pipes import MAX_ANSWER_BYTES, CoreEnd, WorkerEnd
from reidd.errors import BackendError


@pytest.fixture
def watch():
    with epoll() as made:
        yield made


@pytest.fixture
def ends(watch):
    """A pipe's core end, and a plain socket in the worker's place."""
    ours, theirs = socket.socketpair()
    core = CoreEnd(ours, watch)
    yield core, theirs
    core.close()
    theirs.close()


@pytest.fixture
def pipe(ends):
    core, theirs = ends
    worker = WorkerEnd(theirs.detach())
    yield core, worker
    worker.close()


def received(core, watch, count=1):
    messages = []
    while len(messages) < count:
        assert watch.poll(5)
        messages += core.receive()
    return messages


def test_messages_come_as_they_were_sent(pipe, watch):
    core, worker = pipe
    worker.send([b"answer", b"", b"x" * 1000])
    worker.send([b"ready"])
    assert received(core, watch, 2) == [[b"answer", b"", b"x" * 1000], [b"ready"]]
    core.send([b"header", memoryview(b"frame")])
    assert next(worker.receive()) == [b"header", b"frame"]


def test_the_largest_frames_pass_both_ways_and_the_core_does_not_wait(pipe, watch):
    core, worker = pipe
    large, messages = bytes(range(256)) * 100_000, []

    def echo():
        for message in worker.receive():
            worker.send(message)

    thread = threading.Thread(target=echo, daemon=True)
    start = time.monotonic()
    core.send([b"header", large, b"tail"])
    assert time.monotonic() - start < 0.5  # nobody has read yet
    thread.start()
    while not messages:
        for _, event in watch.poll(5):
            if event & EPOLLOUT:
                core.flush()
            if event & EPOLLIN:
                messages += core.receive()
    assert messages == [[b"header", large, b"tail"]]
    assert watch.poll(0) == []  # once all is sent nobody asks for room any more
    core.close()
    thread.join(5)


def test_a_worker_that_sends_half_a_message_keeps_nobody_waiting(ends, watch):
    core, theirs = ends
    whole = struct.pack("<IQQ", 2, 3, 4) + b"abcdefg"
    for at in range(len(whole) - 1):
        theirs.send(whole[at : at + 1])
        assert watch.poll(5)
        assert core.receive() == []
    assert core.receive() == []
    theirs.send(whole[-1:] + whole)
    assert received(core, watch, 2) == [[b"abc", b"defg"]] * 2


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (struct.pack("<I", 0), "no message"),
        (b"\xff" * 8, "no message"),
        (b"GET / HTTP/1.1", "no message"),
        (struct.pack("<IQ", 1, MAX_ANSWER_BYTES + 1), "expected at most"),
        (struct.pack("<IQQ", 2, 2**64 - 1, 1), "expected at most"),
    ],
)
def test_what_is_no_message_is_refused_before_any_memory_is_given_to_it(ends, sent, words):
    core, theirs = ends
    theirs.send(sent)
    with pytest.raises(BackendError, match=words):
        core.receive()


def test_a_worker_that_is_gone_is_noticed_once(ends, watch):
    core, theirs = ends
    theirs.close()
    assert watch.poll(5)
    with pytest.raises(EOFError):
        core.receive()
    assert not core.open
    assert watch.poll(0) == []
    core.send([b"to nobody"])


def test_the_core_is_gone_and_the_worker_ends_its_loop(pipe):
    core, worker = pipe
    core.close()
    assert list(worker.receive()) == []
