"""A daemon whose disk is full says so to whoever asks how it is."""

import contextlib
import os
import subprocess

import numpy as np
import pytest
from subjects import Daemon

from reidd.errors import StorageUnavailableError

FEATURES = np.random.default_rng(0).standard_normal((1000, 256)).astype(np.float32)


@pytest.fixture
def on_a_small_disk(short_folder):
    """A daemon whose store is on a file system of 12 MiB."""
    disk = short_folder / "state"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0750", "reidd-test", disk]
    if os.geteuid() or subprocess.run(command, check=False).returncode:
        pytest.skip("needs root, to mount")
    try:
        with Daemon(short_folder) as daemon:
            yield daemon.wait_until_ready()
    finally:
        subprocess.run(["umount", disk], check=True)


def said(commands, daemon, command):
    """What a command says of that daemon, and its exit status."""
    done = commands.run(command, "--endpoint", daemon.endpoint, env={**os.environ, "COLUMNS": "400"})
    # A table breaks lines where it likes.
    return "".join(done.stdout.split()), done.returncode


def test_a_full_disk_is_told_until_an_addition_is_written_again(on_a_small_disk, commands):
    with on_a_small_disk.client() as client:
        assert client.status().storage_failure is None
        with pytest.raises(StorageUnavailableError):
            for id in range(100):
                client.add_features_to_gallery(FEATURES, id)
        failure = client.status().storage_failure
        assert "changes are refused: database or disk is full; make room on its disk" in failure
        for command, status in (("status", 0), ("doctor", 1)):
            words, ended = said(commands, on_a_small_disk, command)
            assert ("".join(failure.split()) in words, ended) == (True, status)
        client.clear()
        client.add_features_to_gallery(FEATURES[:1], 1)
        assert client.status().storage_failure is None


def test_a_daemon_that_starts_on_a_full_disk_serves_what_is_stored(on_a_small_disk):
    with on_a_small_disk.client() as client:
        client.add_features_to_gallery(FEATURES[:10], 7)
    on_a_small_disk.end()
    # As after the state was copied from another board: what is rewritten in place would find room.
    (on_a_small_disk.state / "reidd.lock").unlink()
    with (on_a_small_disk.state / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    on_a_small_disk.start()
    with on_a_small_disk.wait_until_ready().client() as client:
        assert client.ids() == [7]


def test_a_daemon_that_starts_on_a_read_only_disk_serves_what_is_stored_until_it_can_be_written_again(on_a_small_disk):
    with on_a_small_disk.client() as client:
        client.add_features_to_gallery(FEATURES[:10], 7)
    on_a_small_disk.end()
    subprocess.run(["mount", "-o", "remount,ro", on_a_small_disk.state], check=True)
    on_a_small_disk.start()
    with on_a_small_disk.wait_until_ready().client() as client:
        assert client.ids() == [7]
        assert "Read-only file system" in client.status().storage_failure
        with pytest.raises(StorageUnavailableError):
            client.add_features_to_gallery(FEATURES[:1], 8)
        subprocess.run(["mount", "-o", "remount,rw", on_a_small_disk.state], check=True)
        client.add_features_to_gallery(FEATURES[:1], 8)
        assert client.status().storage_failure is None


def test_a_read_only_disk_without_a_store_is_the_operators_to_mend(on_a_small_disk):
    on_a_small_disk.end()
    for file in on_a_small_disk.state.iterdir():
        file.unlink()
    subprocess.run(["mount", "-o", "remount,ro", on_a_small_disk.state], check=True)
    on_a_small_disk.start()
    assert on_a_small_disk.process.wait(30) == 78
    assert "mounted read-only" in on_a_small_disk.log.read_text()
