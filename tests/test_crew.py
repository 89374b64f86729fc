"""Which workers there are, and on which pair: the most wanted that works, and a reserve."""

import os
import signal
import sys
from pathlib import Path

import pytest
from pools import LITE, STICK, pair_of, with_reserve

from reidd.daemon import crew
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError, BackendUnavailableError


def test_the_most_wanted_pair_answers_and_a_reserve_waits(rig):
    built = with_reserve(rig())
    outcome, _ = built.ask()
    assert pair_of(outcome) == STICK
    assert not outcome.degraded


def test_it_shifts_back_when_the_stick_works_again(rig, stick):
    built = with_reserve(rig())
    stick.behave("abort")
    built.ask()
    stick.behave("works")
    built.until(built.on(STICK))
    assert pair_of(built.ask()[0]) == STICK
    assert built.shifts == [(LITE, True), (STICK, False)]


def test_a_stick_that_serves_one_process_leaves_the_other_workers_to_the_next_pair(rig):
    built = rig(size=2)
    built.until(lambda: len(built.pids()) == 2)
    assert built.on(STICK)()


def test_while_the_stick_hangs_as_it_is_opened_the_others_serve(rig, stick, monkeypatch):
    monkeypatch.setattr(crew, "SLOW_LOAD_S", 0.3)
    monkeypatch.setenv("REIDD_EDGETPU_PROBE_S", "20")
    stick.behave("hang at start")
    built = rig(size=2)
    built.until(built.on(LITE, workers=2), within_s=10)
    outcome, _ = built.ask()
    assert (pair_of(outcome), outcome.degraded) == (LITE, True)
    # Its two attempts go on, and none is added.
    assert [worker.trying for worker in built.pool._crew if worker.ready is None] == [STICK, STICK]


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


def test_a_pair_that_dies_again_and_again_is_tried_ever_more_rarely(rig, stick):
    built = with_reserve(rig(max_pause_s=3600))
    stick.behave("abort at start")
    os.kill(built.pids(STICK)[0], signal.SIGKILL)
    built.until(lambda: built.pool.ladder[STICK].failures >= 4)
    assert built.pool.ladder[STICK].rests_until - built.pool.ladder[STICK].failed_at == pytest.approx(0.8)
    assert pair_of(built.ask()[0]) == LITE


def test_a_worker_that_cannot_be_started_is_tried_again_later(rig, monkeypatch):
    built = rig([LITE])
    with monkeypatch.context() as upgrade:
        upgrade.setattr(sys, "executable", "/nowhere/python")
        built.turn()
        with pytest.raises(BackendError, match="no worker can be started: No such file"):
            built.pool.switch(built.job(), LITE)
    assert built.pool.records()[0].failures == 0
    built.until(built.on(LITE))
    assert pair_of(built.ask()[0]) == LITE


def test_a_worker_has_imported_all_it_needs_before_its_first_request(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    maps = Path(f"/proc/{built.pids()[0]}/maps").read_text()
    assert "/cv2" in maps


def test_the_workers_end_with_the_pool(rig):
    built = with_reserve(rig())
    pids = built.pids()
    built.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
