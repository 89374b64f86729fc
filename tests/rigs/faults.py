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
from typing import NamedTuple

from workload import Oracle, change_key, copied, forked, lines, opened, state, transact, work

from reidd.errors import ReiddError
from reidd.gallery import Gallery, rekeying, store, tables
from reidd.gallery.cipher import Cipher

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


class Life(NamedTuple):
    """What a store is found as, what is done then, and in how many of its operations the fault is tried: one in n."""

    prepared: tuple[Callable[[Path], object], ...]
    lived: Callable[..., None]
    one_in: int


class Rig:
    """One way of living, with states that it may leave behind."""

    def __init__(self, folder: Path, life: Life):
        self._folder, self._life = folder, life
        self._begun = 0 if life.lived is working else TRANSACTIONS
        oracle = Oracle()
        self._states = [oracle.advance(n) for n in range(TRANSACTIONS + 1)]

    def count(self) -> int:
        """Live without a fault; returns how many operations that takes."""
        folder = self._fresh()
        self._armed(folder, "none", 0, 1)
        self._life.lived(folder, os.open(os.devnull, os.O_WRONLY), in_good_order=True)
        return int(shim.fault_count())

    def lost(self, mode: str, at: int, count: int, *, in_good_order: bool) -> str | None:
        """Live with a fault; returns what is wrong then, or None."""
        folder = self._fresh()

        def live(pipe: int) -> None:
            signal.alarm(10)
            self._armed(folder, mode.partition("-")[0], at, count)
            self._life.lived(folder, pipe, in_good_order=in_good_order)

        pid, pipe = forked(live)
        acknowledged = max((int(line) for line in lines(pipe)), default=self._begun)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            return f"hangs after {acknowledged} transactions"
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            return f"the process failed after {acknowledged} transactions"
        with opened(copied(folder, self._folder / "copy")) as gallery:
            return self._compared(gallery, acknowledged)

    def _compared(self, gallery: Gallery, acknowledged: int) -> str | None:
        if damage in self._life.prepared:
            whole = len(self._states[-1][0]) - 1
            return f"{gallery.count()} of {whole} whole instances" if gallery.count() != whole else None
        if gallery.damage:
            return f"damage after {acknowledged} transactions: {gallery.damage}"
        if state(gallery) not in self._states[acknowledged : acknowledged + 2]:
            return f"another state than after {acknowledged} transactions"
        return None

    def _fresh(self) -> Path:
        folder = self._folder / "live"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for prepare in self._life.prepared:
            prepare(folder)
        return folder

    @staticmethod
    def _armed(folder: Path, mode: str, at: int, count: int) -> None:
        shim.fault_arm(str(folder).encode(), mode.encode(), ctypes.c_long(at), ctypes.c_long(count))


def fill(folder: Path) -> None:
    """Make a store after all transactions."""
    with opened(folder) as gallery:
        for n in range(TRANSACTIONS):
            transact(gallery, n)


def damage(folder: Path) -> None:
    """Damage one row of a store."""
    connection = sqlite3.connect(folder / "store")
    connection.execute("UPDATE instances SET crc = crc + 1 WHERE instance = (SELECT min(instance) FROM instances)")
    connection.commit()
    connection.close()


LIVES = {
    "work": Life((), working, 1),
    "salvage": Life((fill, damage), restarting, 1),
    # What a key changes is what is written, not when: fewer of the same operations do. A transaction has five.
    "encrypted work": Life((change_key,), working, 4),
    "encrypted salvage": Life((change_key, fill, damage), restarting, 4),
    "first key": Life((fill, change_key), restarting, 1),
    "next key": Life((change_key, fill, change_key), restarting, 1),
}


def results(folder: Path, modes: Collection[str], names: Collection[str]) -> Iterator[dict[str, object]]:
    for name in names:
        rig = Rig(folder, LIVES[name])
        operations = rig.count()
        for mode in modes:
            wrong = {}
            for order, at in enumerate(range(1, operations + 1, LIVES[name].one_in)):
                if lost := rig.lost(mode, at, MODES[mode], in_good_order=bool(order % 2)):
                    wrong[at] = lost
            yield {"life": name, "mode": mode, "operations": operations, "tried": order + 1, "wrong": wrong}


def note_key_first(connection: sqlite3.Connection, dim: int, *, was: Cipher | None, now: Cipher) -> None:
    """Write anew in two transactions instead of one."""
    with tables.transaction(connection):
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rekeying.meta_of(now).items())
    rekeying.rekey(connection, dim, was=was, now=now)


if __name__ == "__main__":
    # To show that the rig can find something.
    if "--note-key-first" in sys.argv:
        store.rekey = note_key_first
    if "--keep-unsure-writes" in sys.argv:
        store.Store._unsure = property(lambda self: None, lambda self, delta: None)  # type: ignore[assignment]
    chosen = [[name for name in names if name in sys.argv] or names for names in (MODES, LIVES)]
    for result in results(Path(sys.argv[1]), *chosen):
        print(json.dumps(result), flush=True)
