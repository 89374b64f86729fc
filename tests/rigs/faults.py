"""Runs under faultshim.c: makes every disk operation of a gallery's life go wrong in turn, and counts what was lost."""

import ctypes
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from workload import Oracle, copied, forked, lines, opened, state, transact, work

from reidd.errors import ReiddError
from reidd.gallery import Gallery
from reidd.gallery.store import Store

TRANSACTIONS = 8
MODES = {
    "kill": 1, "torn": 1, "eio": 1, "enospc": 1, "readonly": 1, "short": 1,
    # Ten operations in a row: the attempts to recover fail too.
    "eio-10": 10, "enospc-10": 10, "readonly-10": 10,
}  # fmt: skip
shim = ctypes.CDLL(None)


def persistent(job: Callable[[], object]) -> None:
    """Start again whenever a start fails with an error that says why, as a supervisor does."""
    for _ in range(50):
        try:
            job()
            return
        except ReiddError:
            continue
    raise RuntimeError("does not recover")


def working(folder: Path, pipe: int, *, in_good_order: bool) -> None:
    done = 0

    def acknowledge(n: int) -> None:
        nonlocal done
        done = n
        os.write(pipe, b"%d\n" % n)
        if n == TRANSACTIONS and not in_good_order:
            os._exit(0)

    persistent(lambda: work(folder, done, acknowledge, until=TRANSACTIONS))


def restarting(folder: Path, pipe: int, *, in_good_order: bool) -> None:
    def start() -> None:
        opened(folder).close() if in_good_order else opened(folder)
        os.write(pipe, b"%d\n" % TRANSACTIONS)

    persistent(start)


class Rig:
    """One way of living, with states that it may leave behind."""

    def __init__(self, folder: Path, life: Callable[..., None], prepare: Callable[[Path], None]):
        self._folder, self._life, self._prepare = folder, life, prepare
        oracle = Oracle()
        self._states = [oracle.advance(n) for n in range(TRANSACTIONS + 1)]

    def count(self) -> int:
        """Live without a fault; returns how many operations that takes."""
        folder = self._fresh()
        self._armed(folder, "none", 0, 1)
        self._life(folder, os.open(os.devnull, os.O_WRONLY), in_good_order=True)
        return int(shim.fault_count())

    def lost(self, mode: str, at: int, count: int) -> str | None:
        """Live with a fault; returns what is wrong then, or None."""
        folder = self._fresh()

        def live(pipe: int) -> None:
            signal.alarm(10)
            self._armed(folder, mode.partition("-")[0], at, count)
            self._life(folder, pipe, in_good_order=bool(at % 2))

        pid, pipe = forked(live)
        acknowledged = max((int(line) for line in lines(pipe)), default=0)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            return f"hangs after {acknowledged} transactions"
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            return f"the process failed after {acknowledged} transactions"
        with opened(copied(folder, self._folder / "copy")) as gallery:
            return self._compared(gallery, acknowledged)

    def _compared(self, gallery: Gallery, acknowledged: int) -> str | None:
        if gallery.damage and self._life is working:
            return f"damage after {acknowledged} transactions: {gallery.damage}"
        if state(gallery) not in self._states[acknowledged : acknowledged + 2] and self._life is working:
            return f"another state than after {acknowledged} transactions"
        if self._life is restarting and gallery.count() != len(self._states[-1][0]) - 1:
            return f"{gallery.count()} of {len(self._states[-1][0]) - 1} whole instances"
        return None

    def _fresh(self) -> Path:
        folder = self._folder / "live"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._prepare(folder)
        return folder

    @staticmethod
    def _armed(folder: Path, mode: str, at: int, count: int) -> None:
        shim.fault_arm(str(folder).encode(), mode.encode(), ctypes.c_long(at), ctypes.c_long(count))


def damaged(folder: Path) -> None:
    """Make a store with one damaged row."""
    with opened(folder) as gallery:
        for n in range(TRANSACTIONS):
            transact(gallery, n)
    connection = sqlite3.connect(folder / "store")
    connection.execute("UPDATE instances SET crc = crc + 1 WHERE instance = (SELECT min(instance) FROM instances)")
    connection.commit()
    connection.close()


def results(folder: Path, modes: Collection[str]) -> Iterator[dict[str, object]]:
    lives = {"work": (working, lambda _: None), "salvage": (restarting, damaged)}
    for name, (life, prepare) in lives.items():
        rig = Rig(folder, life, prepare)
        operations = rig.count()
        for mode in modes:
            count = MODES[mode]
            wrong = {at: lost for at in range(1, operations + 1) if (lost := rig.lost(mode, at, count))}
            yield {"life": name, "mode": mode, "operations": operations, "wrong": wrong}


if __name__ == "__main__":
    if "--keep-unsure-writes" in sys.argv:  # to show that the rig can find something
        Store._unsure = property(lambda self: None, lambda self, delta: None)  # type: ignore[assignment]
    for result in results(Path(sys.argv[1]), [mode for mode in MODES if mode in sys.argv] or MODES):
        print(json.dumps(result), flush=True)
