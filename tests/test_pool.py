"""Real workers on a stand-in for an Edge TPU: whatever happens to them, each request is answered or refused in time."""

import os
import select
import signal
import socket
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from fake_edgetpu import FakeEdgeTPU

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.daemon.jobs import Job
from reidd.daemon.ladder import Rung
from reidd.daemon.orders import Orders
from reidd.daemon.patience import Patience
from reidd.daemon.pipes import CoreEnd, WorkerEnd
from reidd.daemon.pool import Pool
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError, BackendUnavailableError, BusyError, DeadlineError, ReiddError
from reidd.gallery import Gallery

STICK = (Engine.TFLITE, Accelerator.EDGE_TPU)
LITE = (Engine.TFLITE, Accelerator.CPU)
HANG_S = 0.4


@pytest.fixture
def stick(tmp_path, monkeypatch):
    made = FakeEdgeTPU(tmp_path)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    return made


class Rig:
    """A pool and what the server does for it: a loop."""

    def __init__(self, stick, folder, pairs, size=1, **options):
        self.stick = stick
        ring = folder / "ring"
        self.gallery = Gallery.open(dim=96, space=bytes(32), capacity=10, ring_path=ring)

        def orders(identity, offered, pipe):
            return Orders(identity, os.getpid(), pipe, str(ring), str(stick.model), list(offered), 1)

        options = {"patience": Patience(HANG_S), "max_pause_s": 0.5, **options}
        self.pool = Pool(orders, size, [Rung(pair) for pair in pairs], **options)
        self.outcomes = []
        self.idle_pipes = []
        self.moves = []

    def turn(self):
        if select.select([self.pool], [], [], 0.005)[0]:
            self.outcomes += self.pool.receive()
        self.outcomes += self.pool.tick()
        self.moves += [((m.ready.engine, m.ready.accelerator), m.degraded) for m in self.pool.moves()]

    def until(self, condition, within_s=20.0):
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, f"not so within {within_s} s; {self.pool.records()}"
            self.turn()
        return self

    def pids(self, pair=None):
        return [w.process.pid for w in self.pool._crew.working() if pair in (None, w.pair)]

    def on(self, pair, workers=1):
        return lambda: len(self.pids(pair)) >= workers

    def job(self, image=None, within_s=2.0, client="c", images=1):
        frame = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8))[1].tobytes()
        request = protocol.ExtractFeatures(request="r", parts=[protocol.Encoded()] * images)
        frames = [frame if image is None else image] * images
        return Job(Caller((client.encode(),)), request, protocol.encode(request), frames, time.monotonic() + within_s)

    def ask(self, **options):
        """Have one request answered: its outcome, and how long it took."""
        start = time.monotonic()
        self.pool.submit(self.job(**options))
        self.until(lambda: self.outcomes)
        return self.outcomes.pop(), time.monotonic() - start

    def in_place_of(self, worker):
        """The worker's end of a pipe that the core takes for this worker's."""
        ours, theirs = socket.socketpair()
        crew = self.pool._crew
        del crew._workers[worker.pipe.fileno()]
        self.idle_pipes.append(worker.pipe)  # closed, the real worker would end
        worker.pipe = CoreEnd(ours, crew.watch)
        crew._workers[worker.pipe.fileno()] = worker
        self.idle_pipes.append(WorkerEnd(theirs.detach()))
        return self.idle_pipes[-1]

    def close(self):
        self.pool.stop()
        for pipe in self.idle_pipes:
            pipe.close()
        self.gallery.close()


@pytest.fixture
def rig(stick, short_folder):
    made = []

    def build(pairs=(STICK, LITE), **options):
        made.append(Rig(stick, short_folder, pairs, **options))
        return made[-1]

    yield build
    for one in made:
        one.close()


def pair_of(outcome):
    assert not isinstance(outcome.reply, ReiddError), outcome.reply
    return outcome.served.engine, outcome.served.accelerator


def with_reserve(built):
    """Wait until the stick is at work and its reserve has loaded."""
    return built.until(lambda: built.on(STICK)() and built.on(LITE)())


def test_the_most_wanted_pair_answers_and_a_reserve_waits(rig):
    built = with_reserve(rig())
    outcome, _ = built.ask()
    assert pair_of(outcome) == STICK
    assert not outcome.degraded


@pytest.mark.parametrize("mode", ["hang", "abort", "fails", "constant"])
def test_whatever_happens_to_the_stick_the_request_is_answered_by_the_next_pair(rig, stick, mode):
    built = with_reserve(rig())
    stick.behave(mode)
    outcome, took_s = built.ask()
    assert pair_of(outcome) == LITE
    assert outcome.degraded
    assert took_s < HANG_S + 0.5
    assert built.moves == [(LITE, True)]


def test_a_request_is_tried_again_on_another_pair_though_the_same_one_is_free(rig, stick):
    built = rig(size=2)
    built.until(lambda: built.on(STICK, 2)() and built.on(LITE)())
    stick.behave("abort")
    assert pair_of(built.ask()[0]) == LITE


def test_the_reserve_takes_no_request_while_the_stick_works(rig, stick):
    built = with_reserve(rig())
    stick.behave("slow 50")
    for _ in range(3):
        built.pool.submit(built.job())
    built.until(lambda: len(built.outcomes) == 3)
    assert {pair_of(outcome) for outcome in built.outcomes} == {STICK}


def test_it_moves_back_when_the_stick_works_again(rig, stick):
    built = with_reserve(rig())
    stick.behave("abort")
    built.ask()
    stick.behave("works")
    built.until(built.on(STICK))
    assert pair_of(built.ask()[0]) == STICK
    assert built.moves == [(LITE, True), (STICK, False)]


def test_a_worker_has_imported_all_it_needs_before_its_first_request(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    maps = Path(f"/proc/{built.pids()[0]}/maps").read_text()
    assert "/cv2" in maps


def test_a_worker_that_is_killed_at_its_work_costs_no_request(rig, stick):
    built = with_reserve(rig())
    stick.behave("slow 300")
    built.pool.submit(built.job())
    os.kill(built.pids(STICK)[0], signal.SIGKILL)
    built.until(lambda: built.outcomes)
    assert pair_of(built.outcomes[0]) == LITE


def test_a_worker_at_its_work_has_its_next_request_already(rig, stick):
    built = rig([STICK])
    built.until(built.on(STICK))
    stick.behave("slow 100")
    for _ in range(3):
        built.pool.submit(built.job())
    (worker,) = built.pool._crew.working()
    assert worker.ahead is not None
    assert built.pool.waiting == 1
    built.until(lambda: len(built.outcomes) == 3)
    assert {pair_of(outcome) for outcome in built.outcomes} == {STICK}
    assert (worker.job, worker.ahead) == (None, None)


def test_a_worker_that_is_killed_costs_neither_its_request_nor_its_next_one(rig, stick):
    built = with_reserve(rig())
    stick.behave("slow 300")
    first, following = built.job(), built.job()
    for job in (first, following):
        built.pool.submit(job)
    os.kill(built.pids(STICK)[0], signal.SIGKILL)
    built.until(lambda: len(built.outcomes) == 2)
    assert not any(isinstance(outcome.reply, ReiddError) for outcome in built.outcomes)
    # The one that had not begun is not to blame, and neither is the pair for it.
    assert (first.failed_on, following.failed_on) == ([STICK], [])


def test_a_worker_that_fails_at_both_its_requests_is_lost_once_and_neither_is_answered_twice(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    rogue = built.in_place_of(next(iter(built.pool._crew)))
    first, following = built.job(within_s=20), built.job(within_s=20)
    for job in (first, following):
        built.pool.submit(job)
    for _ in range(2):
        rogue.send([b"fault", b"gave nonsense"])
    built.until(lambda: len(built.outcomes) >= 2)
    built.until(lambda: all(worker.idle for worker in built.pool._crew) and not built.pool.waiting)
    assert [outcome.job for outcome in built.outcomes] == [first, following]
    assert not any(isinstance(outcome.reply, ReiddError) for outcome in built.outcomes)
    assert (first.failed_on, following.failed_on) == ([LITE], [])
    assert built.pool.ladder[LITE].failures == 1


@pytest.mark.parametrize("options", [{"within_s": 1.2 * HANG_S}, {"images": 2}])
def test_what_is_large_or_urgent_waits_for_whoever_is_free_first(rig, stick, options):
    built = rig([STICK])
    built.until(built.on(STICK))
    stick.behave("slow 50")
    built.pool.submit(built.job())
    built.pool.submit(built.job(**options))
    assert built.pool._crew.working()[0].ahead is None
    built.until(lambda: len(built.outcomes) == 2)
    assert {pair_of(outcome) for outcome in built.outcomes} == {STICK}


def test_a_stick_that_serves_one_process_leaves_the_other_workers_to_the_next_pair(rig):
    built = rig(size=2)
    built.until(lambda: len(built.pids()) == 2)
    assert built.on(STICK)()


def test_without_the_stick_the_others_serve_and_say_why(rig, stick):
    stick.unplug()
    built = rig()
    outcome, _ = built.ask(within_s=10)
    assert pair_of(outcome) == LITE
    assert outcome.degraded
    record = built.pool.records()[0]
    assert (record.workers, record.accelerator) == (0, Accelerator.EDGE_TPU)
    assert "no Edge TPU on USB or PCIe" in record.reason


def test_when_no_pair_can_run_it_says_all_reasons(rig, stick):
    stick.unplug()
    built = rig([STICK, (Engine.HAILO_RT, Accelerator.HAILO)])
    built.until(lambda: built.pool.failure)
    assert isinstance(built.pool.failure, BackendUnavailableError)
    assert "no Edge TPU" in str(built.pool.failure)
    assert "HAILO_RT/HAILO" in str(built.pool.failure)


def test_a_request_that_kills_every_worker_is_refused_and_no_pair_suffers(rig, stick):
    # Each process makes nine inferences before its first request, which is one too many.
    stick.behave("dies after 9")
    built = rig([STICK])
    built.until(built.on(STICK))
    outcome, _ = built.ask(within_s=10)
    assert isinstance(outcome.reply, BackendError)
    assert "2 workers were lost over this request; the last one died (SIGABRT)" in str(outcome.reply)
    assert built.pool.ladder[STICK].failures == 0


def test_a_request_whose_time_is_up_is_refused_and_not_computed(rig):
    built = rig([LITE])
    outcome, took_s = built.ask(within_s=0.05)  # while the worker still starts
    assert isinstance(outcome.reply, DeadlineError)
    assert "they are starting" in str(outcome.reply)
    assert took_s < 0.5
    built.until(built.on(LITE))
    assert built.pool._crew.working()[0].job is None


def test_a_full_line_is_busy_and_says_when_to_come_back(rig):
    built = rig([LITE], max_waiting=3)
    for _ in range(3):
        built.pool.submit(built.job())
    with pytest.raises(BusyError) as caught:
        built.pool.submit(built.job())
    assert caught.value.retry_after_s >= 0.1


def test_a_broken_image_is_the_clients_error_and_costs_no_worker(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    before = built.pids()
    outcome, _ = built.ask(image=b"no image")
    assert msgspec.json.decode(outcome.reply[0])["code"] == "bad-image"
    assert built.pids() == before


def test_another_pair_can_be_asked_for(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    built.pool.switch(built.job(), STICK)
    built.until(lambda: built.outcomes)
    built.outcomes.clear()
    assert pair_of(built.ask()[0]) == STICK
    assert [record.accelerator for record in built.pool.records()] == [Accelerator.EDGE_TPU, Accelerator.CPU]


def test_a_pair_that_cannot_be_had_changes_nothing(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    built.pool.switch(built.job(), (Engine.HAILO_RT, Accelerator.HAILO))
    built.until(lambda: built.outcomes)
    assert "no installed plugin brings HAILO_RT/HAILO" in str(built.outcomes.pop().reply)
    assert pair_of(built.ask()[0]) == LITE


def test_a_pair_that_is_not_ready_in_time_is_given_up_and_all_is_as_before(rig, stick):
    built = rig([LITE])
    built.until(built.on(LITE))
    stick.behave("hang")
    built.pool.switch(built.job(within_s=0.3), STICK)
    built.until(lambda: built.outcomes)
    assert isinstance(built.outcomes.pop().reply, DeadlineError)
    assert pair_of(built.ask()[0]) == LITE
    assert len(list(built.pool._crew)) == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        [b"answer", b"nobody asked"],
        [b"ready", b"{}"],
        [b"what?"],
        [b"trying", b'["DNN", "CPU"]'],
    ],
)
def test_a_worker_that_talks_nonsense_is_replaced(rig, nonsense):
    built = rig([LITE])
    built.until(built.on(LITE))
    before = built.pids()
    rogue = built.in_place_of(next(iter(built.pool._crew)))
    rogue.send(nonsense)
    built.until(lambda: built.on(LITE)() and built.pids() != before)
    assert pair_of(built.ask()[0]) == LITE


@pytest.mark.parametrize("nonsense", [[b"ready", b"{}"], [b"ready", b'{"x": ' + b"[" * 100_000]])
def test_a_worker_that_talks_nonsense_before_it_is_ready_is_replaced(rig, nonsense):
    built = rig([LITE])
    built.turn()
    built.in_place_of(next(iter(built.pool._crew))).send(nonsense)
    built.until(built.on(LITE))
    assert pair_of(built.ask()[0]) == LITE


def test_a_worker_that_closes_its_pipe_is_replaced_and_its_request_answered(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    rogue = built.in_place_of(next(iter(built.pool._crew)))
    built.pool.submit(built.job(within_s=20))
    rogue.close()
    built.until(lambda: built.outcomes)
    assert pair_of(built.outcomes.pop()) == LITE


def test_a_pair_that_dies_again_and_again_is_tried_ever_more_rarely(rig, stick):
    built = with_reserve(rig(max_pause_s=3600))
    stick.behave("abort at start")
    os.kill(built.pids(STICK)[0], signal.SIGKILL)
    built.until(lambda: built.pool.ladder[STICK].failures >= 4)
    assert built.pool.ladder[STICK].rests_until - built.pool.ladder[STICK].failed_at == pytest.approx(0.8)
    assert pair_of(built.ask()[0]) == LITE


def test_the_workers_end_with_the_pool(rig):
    built = with_reserve(rig())
    pids = built.pids()
    built.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
