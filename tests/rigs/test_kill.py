"""kill -9 at random moments: what was acknowledged is there, and soon."""

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest
from figures import note
from workload import Oracle, change_key, copied, forked, lines, number, opened, state, work

from reidd.gallery import ledger


def killed(folder: Path, first: int, after_s: float, *, at_work: bool) -> int:
    """Have a child work until it is killed; returns how many transactions were acknowledged."""
    pid, pipe = forked(lambda pipe: work(folder, first, lambda n: os.write(pipe, b"%d\n" % n)))
    # Wait for a sign of life, so that the moment is one under load.
    begun = os.read(pipe, 1) if at_work else b""
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return number(begun.decode() + "".join(lines(pipe)), first)


def kill_often(folder: Path, kills: int, *, encrypted: bool) -> tuple[int, int, float]:
    """Returns how many transactions were acknowledged, how many kills lost something, and the slowest start."""
    random, oracle, done, lost, slowest_s = Random(1), Oracle(), 0, 0, 0.0
    store = folder / "live"
    store.mkdir()
    for n in range(kills):
        # Every second time the kill may come while the store is written with its new key. The time between ends that,
        # for a third key finds only what the second one was used for.
        new_key = encrypted and n % 2 == 0
        if new_key:
            change_key(store)
        acknowledged = killed(store, done, random.uniform(0, 0.1), at_work=not new_key)
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
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_no_acknowledged_mutation_is_lost_to_kill_9(tmp_path, kills, encrypted):
    done, lost, slowest_s = kill_often(tmp_path, kills, encrypted=encrypted)
    note(
        f"kill -9 of the {'encrypted ' if encrypted else ''}gallery, {kills} times",
        f"{done} transactions, {lost} lost, ready in {slowest_s:.2f} s",
        "0 lost, 2 s",
    )
    assert lost == 0
    assert done > kills / 2
    assert slowest_s < 2


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_the_rig_notices_an_acknowledgement_before_the_commit(tmp_path, monkeypatch, encrypted):
    monkeypatch.setattr(ledger.Ledger, "write", late_write(ledger.Ledger.write))
    _, lost, _ = kill_often(tmp_path, 10, encrypted=encrypted)
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
