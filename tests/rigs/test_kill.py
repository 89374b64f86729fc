"""kill -9 at random moments: what was acknowledged is there, and soon."""

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest
from figures import note
from workload import Oracle, copied, forked, lines, opened, state, work

from reidd.gallery import ledger


def killed(folder: Path, first: int, after_s: float) -> int:
    """Have a child work until it is killed; returns how many transactions were acknowledged."""
    pid, pipe = forked(lambda pipe: work(folder, first, lambda n: os.write(pipe, b"%d\n" % n)))
    # Wait for a sign of life, so that the moment is one under load.
    first_line = os.read(pipe, 1)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    acknowledged = (first_line.decode() + "".join(lines(pipe))).split("\n")[:-1]
    return int(acknowledged[-1])


def kill_often(folder: Path, kills: int) -> tuple[int, int, float]:
    """Returns how many transactions were acknowledged, how many kills lost something, and the slowest start."""
    random, oracle, done, lost, slowest_s = Random(1), Oracle(), 0, 0, 0.0
    store = folder / "live"
    store.mkdir()
    for _ in range(kills):
        acknowledged = killed(store, done, random.uniform(0, 0.1))
        began = time.monotonic()
        with opened(copied(store, folder / "copy")) as gallery:
            slowest_s = max(slowest_s, time.monotonic() - began)
            found = state(gallery)
            if gallery.damage or not oracle.agrees(found, acknowledged=acknowledged):
                lost += 1
                break
        done = oracle.done
    return done, lost, slowest_s


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_no_acknowledged_mutation_is_lost_to_kill_9(tmp_path, kills):
    done, lost, slowest_s = kill_often(tmp_path, kills)
    note(
        f"kill -9 of the gallery, {kills} times",
        f"{done} transactions, {lost} lost, ready in {slowest_s:.2f} s",
        "0 lost, 2 s",
    )
    assert lost == 0
    assert done > kills
    assert slowest_s < 2


def test_the_rig_notices_an_acknowledgement_before_the_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger.Ledger, "write", late_write(ledger.Ledger.write))
    _, lost, _ = kill_often(tmp_path, 10)
    assert lost


def late_write(write):
    """Write each transaction only when the third after it ends."""
    waiting = []

    def late(self, delta) -> None:
        if self._store is None:
            return
        waiting.append(delta)
        if len(waiting) > 3:
            write(self, waiting.pop(0))

    return late
