"""How long a worker may be silent: a table."""

import pytest

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.daemon.jobs import Job
from reidd.daemon.orders import Ready
from reidd.daemon.patience import Patience
from reidd.daemon.process import Worker
from reidd.engines import Accelerator, Engine

PAIR = (Engine.TFLITE, Accelerator.CPU)


class Process:
    """A process that has ended so, or runs."""

    def __init__(self, status=None):
        self.poll = lambda: status


def worker(*, image_s=None, images=0, features=0, trying=PAIR, status=None) -> Worker:
    made = Worker(Process(status), None, "worker-1", since=100.0, trying=trying)
    made.ready = None if image_s is None else Ready(PAIR, *PAIR, 96, image_s)
    if images or features:
        given = [protocol.Feature(shape=(features, 96))] if features else []
        request = protocol.ReIdImage(parts=[*[protocol.Encoded()] * images, *given])
        made.job = Job(Caller((b"c",)), request, b"", [], 0)
    return made


@pytest.mark.parametrize(
    ("options", "limit_s", "words"),
    [
        ({"trying": None}, 60, "was not ready within 60 s"),
        ({}, 30, "was not ready within 30 s"),
        ({"image_s": 0.005, "images": 1}, 1.0, "hung for more than 1 s"),
        ({"image_s": 0.005, "images": 5}, 2.0, "hung for more than 2 s"),
        ({"image_s": 0.005, "images": 1, "features": 3}, 1.75, "hung for more than 1.75 s"),
        ({"image_s": 0.005, "features": 5}, 2.0, "hung for more than 2 s"),
        ({"image_s": 0.5, "images": 1}, 10.0, "hung for more than 10 s"),
    ],
)
def test_silence_is_borne_so_long_and_no_longer(options, limit_s, words):
    assert Patience(hang_s=1.0).complaint(worker(**options), 100 + limit_s - 0.01) is None
    assert Patience(hang_s=1.0).complaint(worker(**options), 100 + limit_s + 0.01) == words


def test_an_idle_worker_may_be_silent_for_ever():
    assert Patience(hang_s=1.0).complaint(worker(image_s=0.005), 1e9) is None


@pytest.mark.parametrize(("status", "words"), [(-9, "died (SIGKILL)"), (1, "died (status 1)")])
def test_a_death_is_told_by_its_signal(status, words):
    assert Patience(hang_s=1.0).complaint(worker(status=status), 100) == words
