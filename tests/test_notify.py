"""The service manager is told, if it listens; nobody waits for it."""

import logging
import resource
import socket
import time
from contextlib import suppress

import pytest

from reidd.daemon.notify import notify


@pytest.fixture
def manager(short_folder, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(short_folder / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", listening.getsockname())
        yield listening


def test_it_is_told(manager):
    notify("READY=1")
    assert manager.recv(100) == b"READY=1"


def test_one_that_takes_nothing_any_more_holds_up_nobody(manager, caplog):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"x", manager.getsockname())
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        notify("WATCHDOG=1")
    assert time.monotonic() - start < 3
    assert "was not told WATCHDOG=1: timed out" in caplog.text


def test_without_a_file_left_to_tell_it_by_the_daemon_goes_on(manager, caplog):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        notify("WATCHDOG=1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "was not told WATCHDOG=1: Too many open files" in caplog.text
