"""Real workers on a stand-in for an Edge TPU: whatever happens to them, each request is answered or refused in time."""

import os
import resource
import signal
import time
from pathlib import Path

import cv2
import msgspec
import pytest
from pools import HANG_S, LITE, STICK, pair_of, with_reserve

from reidd.daemon.patience import Patience
from reidd.errors import BackendError, BusyError, DeadlineError, ReiddError


@pytest.mark.parametrize("mode", ["hang", "abort", "fails", "constant"])
def test_whatever_happens_to_the_stick_the_request_is_answered_by_the_next_pair(rig, stick, mode):
    built = with_reserve(rig())
    stick.behave(mode)
    outcome, took_s = built.ask()
    assert pair_of(outcome) == LITE
    assert outcome.degraded
    assert took_s < HANG_S + 0.5
    assert built.shifts == [(LITE, True)]


def test_a_worker_that_is_killed_at_its_work_costs_no_request(rig, stick):
    built = with_reserve(rig())
    stick.behave("slow 300")
    built.pool.submit(built.job())
    os.kill(built.pids(STICK)[0], signal.SIGKILL)
    built.until(lambda: built.outcomes)
    assert pair_of(built.outcomes[0]) == LITE


def test_a_worker_is_not_blamed_for_time_in_which_the_core_stood_still(rig, stick, monkeypatch):
    built = with_reserve(rig(patience=Patience(1.0)))
    stick.behave("slow 100")
    built.pool.submit(built.job(within_s=100))
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 60)
    built.until(lambda: built.outcomes)
    assert (pair_of(built.outcomes[0]), built.shifts) == (STICK, [])


def test_a_signal_that_has_no_name_ends_a_worker_and_nobody_else(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    before = built.pids()
    os.kill(before[0], signal.SIGRTMIN + 6)
    built.until(lambda: built.on(LITE)() and built.pids() != before)
    assert built.pool.ladder[LITE].reason == f"died (signal {signal.SIGRTMIN + 6})"


def test_a_worker_that_ends_itself_is_not_said_to_have_been_killed(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    before = built.pids()
    next(iter(built.pool._crew)).pipe.send([])  # which nobody foresaw
    built.until(lambda: built.on(LITE)() and built.pids() != before)
    assert built.pool.ladder[LITE].reason == "died (status 1)"


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


def test_a_worker_that_has_run_out_of_memory_is_replaced_and_the_image_not_blamed(rig, image):
    built = rig([LITE])
    built.until(built.on(LITE))
    (pid,) = built.pids()
    held = int(Path(f"/proc/{pid}/statm").read_text().split()[5]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_DATA, (held + (16 << 20), resource.RLIM_INFINITY))
    large = cv2.imencode(".jpg", cv2.resize(image, (3000, 4000)))[1].tobytes()
    outcome, _ = built.ask(image=large, within_s=20)
    assert msgspec.json.decode(outcome.reply[0])["reply"] == "array"
    assert built.pids() != [pid]
    assert "ran out of memory" in built.pool.ladder[LITE].reason


def test_a_broken_image_is_the_clients_error_and_costs_no_worker(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    before = built.pids()
    outcome, _ = built.ask(image=b"no image")
    assert msgspec.json.decode(outcome.reply[0])["code"] == "bad-image"
    assert built.pids() == before


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
