"""The client's side of one request: it waits as long as it said, and misses nothing that has come."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import zmq

import reidd
from reidd import protocol
from reidd.channel import Channel, _monitor

ASKING = """
import sys
from reidd import protocol
from reidd.channel import Channel
print(type(Channel(sys.argv[1], 0.4).ask(protocol.Status())[0]).__name__)
"""


@pytest.fixture
def core(short_folder):
    """What a daemon listens on, answered by the test."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 200)
        router.bind(f"ipc://{short_folder}/core.sock")
        router.setsockopt(zmq.RCVTIMEO, 10_000)
        yield router


@pytest.fixture
def endpoint(short_folder, core):
    return f"ipc://{short_folder}/core.sock"


@pytest.fixture
def channel(endpoint):
    with contextlib.closing(Channel(endpoint, 2.0)) as opened:
        yield opened


@pytest.fixture
def full(short_folder):
    """A socket file of a process that hangs, where no more can wait."""
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waiting:
        listening.bind(f"{short_folder}/full.sock")
        listening.listen(0)
        waiting.connect(f"{short_folder}/full.sock")
        yield f"ipc://{short_folder}/full.sock"


def answer(core, message):
    client, _, header = message
    core.send_multipart([client, b"", protocol.encode(protocol.Done(request=protocol.request_id(header)))])


def asking(channel):
    thread = threading.Thread(target=channel.ask, args=(protocol.Status(),))
    thread.start()
    return thread


def test_a_reply_that_came_while_the_client_stood_still_is_taken(core, endpoint):
    with subprocess.Popen([sys.executable, "-c", ASKING, endpoint], stdout=subprocess.PIPE, text=True) as client:
        message = core.recv_multipart()
        client.send_signal(signal.SIGSTOP)
        answer(core, message)
        time.sleep(0.6)  # longer than the client would wait
        client.send_signal(signal.SIGCONT)
        assert client.communicate(timeout=10)[0] == "Done\n"


def test_it_waits_no_longer_than_it_said_though_the_daemon_accepts_nobody(full):
    start = time.monotonic()
    with reidd.Client(full, timeout=0.3) as client, pytest.raises(reidd.ConnectionError, match="accepts nobody"):
        client.ids()
    assert time.monotonic() - start < 3


def test_the_time_that_is_left_is_the_deadline(core, channel):
    first = asking(channel)
    message = core.recv_multipart()
    second = asking(channel)
    time.sleep(0.5)  # the second waits for the first
    answer(core, message)
    message = core.recv_multipart()
    answer(core, message)
    first.join()
    second.join()
    assert 0 < protocol.decode_request(message[2]).deadline_ms < 0.9 * 1600


def test_a_client_may_wait_longer_than_a_deadline_can_be(client):
    client.timeout = 3600
    assert client.ids() == []


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # of Python 3.12
def test_a_forked_child_waits_for_no_thread_of_its_parent(client):
    with client._channel._turns.mine:
        child = os.fork()
        if not child:
            signal.alarm(5)
            os._exit(client.count())
    assert os.waitpid(child, 0)[1] == 0


def test_a_daemon_that_was_lost_before_is_asked_once(core, endpoint, channel):
    first = asking(channel)
    answer(core, core.recv_multipart())
    first.join()
    core.close()
    assert channel._lost.poll(5000)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as restarted:
        restarted.setsockopt(zmq.RCVTIMEO, 10_000)
        restarted.bind(endpoint)
        second = asking(channel)
        answer(restarted, restarted.recv_multipart())
        second.join()
        assert not restarted.poll(100)


def test_a_daemon_that_comes_and_goes_thousands_of_times_does_not_hold_up_the_process(short_folder):
    """What a client that asks nothing hears of its daemon piles up somewhere."""
    path = f"{short_folder}/loop.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        idle = zmq.Context.instance().socket(zmq.DEALER)
        idle.setsockopt(zmq.RECONNECT_IVL, 1)
        lost = _monitor(idle)
        idle.connect(f"ipc://{path}")
        listening.settimeout(5)
        for _ in range(2500):  # libzmq's own limit is 2,000 events
            listening.accept()[0].close()
        # In this order: an event that nobody can receive any more would hold up the process too.
        idle.monitor(None, 0)
        lost.close(linger=0)
        idle.close(linger=0)


@pytest.mark.parametrize("seconds", [0, -1, "5", None, True, float("nan"), float("inf")])
def test_a_time_out_is_seconds(seconds):
    with pytest.raises(reidd.RequestError, match="expected seconds, more than 0"):
        reidd.Client(timeout=seconds)


def test_an_endpoint_is_an_address():
    with pytest.raises(reidd.ConfigError, match=r"expected ipc:///path/of/reidd\.sock"):
        reidd.Client(Path("/run/reidd/reidd.sock"))
