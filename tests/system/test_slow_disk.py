"""A daemon whose disk takes 400 ms for every sync, as an SD card does on a bad day."""

import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from subjects import Daemon

SYNC_MS = 400
FEATURE = np.random.default_rng(0).standard_normal((1, 256)).astype(np.float32)


@pytest.fixture(scope="module")
def slow_disk(tmp_path_factory):
    library = tmp_path_factory.mktemp("slow") / "slow_disk.so"
    source = Path(__file__).with_name("slow_disk.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "SLOW_DISK_MS": str(SYNC_MS)}


@pytest.fixture
def slow(short_folder, slow_disk):
    with Daemon(short_folder, env=slow_disk) as daemon:
        yield daemon.wait_until_ready()


def enrolling(daemon):
    """Enrol one feature in a thread, and note when it was acknowledged."""
    acknowledged = []

    def enrol():
        with daemon.client() as client:
            client.add_features_to_gallery(FEATURE, 1)
            acknowledged.append(time.monotonic())

    thread = threading.Thread(target=enrol)
    thread.start()
    return thread, acknowledged


def test_questions_do_not_wait_for_the_disk(slow, image):
    with slow.client() as client:
        client.re_id_image(image)
        answered = []
        began = time.monotonic()
        thread, acknowledged = enrolling(slow)
        while thread.is_alive():
            client.re_id_image(image)
            answered.append(time.monotonic())
        assert acknowledged[0] - began > SYNC_MS / 1000
        # One that the disk held up would have been answered at its end at the earliest, and the next one then too.
        assert len([at for at in answered if at < acknowledged[0]]) > 3
        assert client.count() == 1


def test_whoever_sees_a_change_may_rely_on_it(slow):
    with slow.client() as client:
        thread, acknowledged = enrolling(slow)
        while not client.count(1):
            pass
        slow.end(signal.SIGKILL)
        slow.start()
        slow.wait_until_ready()
        assert client.count(1) == 1
        thread.join()
        assert acknowledged


def test_a_change_that_the_disk_has_begun_is_finished_and_answered_before_the_end(slow):
    log = slow.state / "gallery.sqlite-wal"
    with slow.client() as client:
        client.status()
        before = log.stat().st_size
        thread, acknowledged = enrolling(slow)
        while log.stat().st_size == before:
            pass
        slow.end()
        thread.join()
        assert acknowledged
        slow.start()
        slow.wait_until_ready()
        assert client.count(1) == 1
