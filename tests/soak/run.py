"""One soak, from the first start to the last stop."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from subjects import Daemon

from soak.load import Load, prepare
from soak.observer import Observer, Sample, descriptors, workers

WORKERS = 3
WARM_UP_S = 75.0
"""A minute until the daemon's memory of repeats is full, and some more."""
WARM_UP_SHARE = 0.5
FAULT_EVERY_S = 5.0
SETTLE_S = 30.0
OPTIONS = ("--workers", str(WORKERS))


@dataclass
class Seen:
    """What became of a soak."""

    seconds: float
    """Of the measured window."""
    samples: list[Sample]
    counts: Counter
    injected: Counter
    surprises: list[str]
    slowest_s: float
    quiet: list[int]
    """Descriptors of the core with nobody connected: before the window and after it."""
    log: list[str] = field(default_factory=list)
    """Lines that no healthy daemon writes."""


def soaked(folder: Path, total_s: float) -> Seen:
    """Run a daemon under load so long. Restarts come before and after the window in which one core is measured."""
    daemon = Daemon(folder, *OPTIONS).wait_until_ready()
    load = Load(daemon)
    injected: Counter = Counter()
    try:
        prepare(load)
        load.start()
        warm_up_s = min(WARM_UP_S, WARM_UP_SHARE * total_s)
        _restart(daemon, signal.SIGKILL, injected)
        _restart(daemon, signal.SIGTERM, injected)
        _spoil(daemon, time.monotonic() + warm_up_s, injected)
        quiet = [_quiet_descriptors(load)]
        load.start()
        observer, began = Observer(daemon.process.pid), time.monotonic()
        _spoil(daemon, began + total_s - warm_up_s, injected)
        seconds, samples = time.monotonic() - began, observer.stop()
        quiet.append(_quiet_descriptors(load))
        load.start()
        _restart(daemon, signal.SIGKILL, injected)
        _wait_until_settled(daemon)
        load.stop()
        end_s = daemon.end()
        injected["stop"] += 1
        if end_s > 5:
            load.surprises.append((time.monotonic(), f"it took {end_s:.1f} s to stop"))
    finally:
        load.stop()
        daemon.end(signal.SIGKILL)
    return Seen(
        seconds, samples, load.counts, injected, [what for _, what in load.surprises], load.slowest_s, quiet,
        _unhealthy(daemon),
    )  # fmt: skip


def _spoil(daemon: Daemon, until: float, injected: Counter) -> None:
    """Do something to the youngest worker now and then; the oldest is left alone, for it is measured."""
    faults: list[tuple[str, Callable[[int], None]]] = [
        ("kill -9 of a worker", lambda pid: os.kill(pid, signal.SIGKILL)),
        ("hang of a worker", lambda pid: os.kill(pid, signal.SIGSTOP)),
    ]
    chance = random.Random(1)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, FAULT_EVERY_S))
        living = workers(daemon.process.pid)
        if len(living) == WORKERS:
            name, fault = chance.choice(faults)
            fault(living[-1])
            injected[name] += 1


def _restart(daemon: Daemon, how: signal.Signals, injected: Counter) -> None:
    daemon.end(how)
    daemon.start()
    daemon.wait_until_ready()
    injected["kill -9 of the daemon" if how == signal.SIGKILL else "restart"] += 1
    _wait_until_settled(daemon)


def _quiet_descriptors(load: Load) -> int:
    load.stop()
    # ZeroMQ closes what clients left in its own time: wait until nothing changes for a while.
    core, seen = load.daemon.process.pid, [-1]
    until = time.monotonic() + SETTLE_S
    while len(seen) < 4 or len(set(seen[-4:])) > 1:
        if time.monotonic() > until:
            break
        # Each time, for the last fault may not have been noticed yet.
        _wait_until_settled(load.daemon)
        time.sleep(0.5)
        seen.append(descriptors(core))
    return seen[-1]


def _wait_until_settled(daemon: Daemon) -> None:
    """Wait until all workers are there and ready again."""
    until = time.monotonic() + SETTLE_S
    with daemon.client() as client:
        while client.status().workers != WORKERS or len(workers(daemon.process.pid)) != WORKERS:
            if time.monotonic() > until:
                raise TimeoutError("the workers did not come back")
            time.sleep(0.1)


def _unhealthy(daemon: Daemon) -> list[str]:
    lines = daemon.log.read_text(errors="replace").splitlines()
    return [line for line in lines if "did not foresee" in line or "Traceback" in line or line.startswith("CRITICAL")]
