"""The accelerator is killed, hangs, lies and is pulled out fifty times under load; nobody is kept waiting for it."""

import itertools
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_edgetpu import FakeEdgeTPU
from stalls import Stalls
from subjects import Daemon

from reidd import Accelerator, ReiddError

FAULTS = ("kill", "hang", "abort", "unplug", "constant")
CYCLES = 50
CLIENTS = 8
DEADLINE_S = 2.0
GRACE_S = 0.5
CONFIG = """
workers = 1
hang_s = 0.5
max_pause_s = 0.5
capacity = 200_000
engines = [{engine = "TFLITE", accelerator = "EDGE_TPU"}, {engine = "TFLITE", accelerator = "CPU"}]
"""


@dataclass
class Load:
    """Eight clients that ask and enrol without a break, and what became of it."""

    daemon: Daemon
    stalls: Stalls
    stop: threading.Event = field(default_factory=threading.Event)
    seconds: list[float] = field(default_factory=list)
    """What each request took, less the time at which this process stood still: that is not the daemon's."""
    excused_s: float = 0.0
    codes: Counter = field(default_factory=Counter)
    acknowledged: set[int] = field(default_factory=set)
    removed: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def run(self, number: int) -> None:
        image = cv2.imencode(".png", np.random.default_rng(number).integers(0, 256, (64, 32, 3), np.uint8))[1].tobytes()
        ids = itertools.count(1_000_000 * (number + 1))
        # A client asks for an answer within nine tenths of its own time-out.
        with self.daemon.client(timeout=DEADLINE_S / 0.9) as client:
            while not self.stop.is_set():
                self._ask(self._identify, client, image)
                self._change(client, image, next(ids))

    def _change(self, client, image, id: int) -> None:
        """Enrol an id, and let every other one go again; what was refused may have been done or not."""
        added = self._ask(client.add_to_gallery, image, id)
        (self.acknowledged if added else self.unsure).add(id)
        if added and id % 2:
            removed = self._ask(client.remove_from_gallery, id)
            self.acknowledged.discard(id)
            (self.removed if removed else self.unsure).add(id)

    def _identify(self, client, image) -> None:
        found = client.re_id_image(image, top_k=3)
        if not any(p.distance < 1e-3 for p in found.predictions):
            self.wrong.append(str(found.predictions))

    def _ask(self, request, *arguments) -> bool:
        start = time.monotonic()
        try:
            request(*arguments)
            code = "answered"
        except ReiddError as error:
            code = error.code
        end = time.monotonic()
        # Whoever sleeps here after each request is no load, so only a slow one is looked at.
        excused_s = self.stalls.between(start, end) if end - start > DEADLINE_S else 0.0
        self.seconds.append(end - start - excused_s)
        self.excused_s = max(self.excused_s, excused_s)
        self.codes[code] += 1
        return code == "answered"


class Stick:
    """The stand-in, seen from outside the daemon."""

    def __init__(self, fake: FakeEdgeTPU, daemon: Daemon):
        self.fake, self.daemon = fake, daemon

    def fail(self, fault: str) -> None:
        match fault:
            case "kill":
                for pid in self.users():
                    os.kill(pid, signal.SIGKILL)
            case "unplug":
                self.fake.unplug()
                self.fake.behave("fails")
            case _:
                self.fake.behave(fault)

    def heal(self) -> None:
        self.fake.plug()
        self.fake.behave("works")

    def users(self) -> list[int]:
        """The daemon's workers that have the library loaded."""
        return [pid for pid in self.daemon.workers() if "fakeedgetpu" in Path(f"/proc/{pid}/maps").read_text()]


def wait_for_shift(client, after: int, *, degraded: bool) -> int:
    """Wait until the daemon has said that it shifted to another pair; the number of that event."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for event in client.events(after).events:
            if event["type"] == "loaded" and event["degraded"] is degraded:
                return event["seq"]
        time.sleep(0.02)
    raise AssertionError(f"no shift with degraded={degraded} within 30 s: {client.status().pairs}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nobody_waits_for_an_accelerator_that_fails_and_it_is_used_again_when_it_works(short_folder, capsys):
    fake = FakeEdgeTPU(short_folder)
    (short_folder / "reidd.toml").write_text(CONFIG)
    options = ["--config", str(short_folder / "reidd.toml"), "--model", "test/pool"]
    daemon = Daemon(short_folder, *options, env={**fake.env, "REIDD_EDGETPU_PROBE_S": "5"}).wait_until_ready()
    stalls = Stalls()
    stick, load = Stick(fake, daemon), Load(daemon, stalls)
    threads = [threading.Thread(target=load.run, args=(number,)) for number in range(CLIENTS)]
    try:
        with daemon.client() as client, stalls:
            for number in range(CLIENTS):
                image = np.random.default_rng(number).integers(0, 256, (64, 32, 3), np.uint8)
                client.add_to_gallery(image, number)
            for thread in threads:
                thread.start()
            back_s = [_cycle(stick, client, FAULTS[cycle % len(FAULTS)]) for cycle in range(CYCLES)]
            load.stop.set()
            for thread in threads:
                thread.join(30)
            kept = set(client.ids()) - set(range(CLIENTS))
    finally:
        load.stop.set()
        daemon.end(signal.SIGKILL)
    with capsys.disabled():
        _print_figures(load, back_s)
    assert max(load.seconds) < DEADLINE_S + GRACE_S
    assert set(load.codes) <= {"answered", "deadline-passed", "backend-failed", "busy"}
    assert not load.wrong
    assert load.acknowledged <= kept <= load.acknowledged | load.unsure
    assert len(load.acknowledged) > CYCLES
    assert load.codes["answered"] > 0.95 * sum(load.codes.values())


def _cycle(stick: Stick, client, fault: str) -> float:
    """Make the stick fail, see the next pair take over; mend it, and return the seconds until it is used again."""
    seq = client.status().seq
    stick.fail(fault)
    seq = wait_for_shift(client, seq, degraded=True)
    start = time.monotonic()
    stick.heal()
    wait_for_shift(client, seq, degraded=False)
    assert client.accelerator is Accelerator.EDGE_TPU
    return time.monotonic() - start


def _print_figures(load: Load, back_s: list[float]) -> None:
    p50, p99, worst = (1000 * np.quantile(load.seconds, q) for q in (0.5, 0.99, 1))
    print(
        f"\n{CYCLES} faults ({', '.join(FAULTS)}), {CLIENTS} clients, {len(load.seconds)} requests: {dict(load.codes)}"
    )
    print(f"a request took p50 {p50:.0f} ms, p99 {p99:.0f} ms, at most {worst:.0f} ms; deadline {DEADLINE_S:g} s")
    print(f"this process stood still for {load.stalls.total_s:.2f} s, at most {load.stalls.longest_s:.2f} s at a time")
    print(f"at most {load.excused_s:.2f} s of a request were excused by that")
    print(f"back on the stick after p50 {np.median(back_s):.1f} s, at most {max(back_s):.1f} s")
    enrolled, removed, refused = len(load.acknowledged), len(load.removed), len(load.unsure)
    print(f"gallery changes: {enrolled} ids enrolled, {removed} enrolled and removed, {refused} refused")
