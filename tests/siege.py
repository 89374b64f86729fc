"""Honest clients beside hostile ones, and what they saw."""

import json
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

P99_S = 0.1
CORE_MIB = 800
HALF_OPEN = 150


class Honest(NamedTuple):
    """What an honest client saw."""

    seconds: list[float]
    wrong: list[str]

    @property
    def p99(self):
        return float(np.percentile(self.seconds, 99))

    def __str__(self):
        p50, worst = np.median(self.seconds), max(self.seconds)
        return (
            f"{len(self.seconds)} answers, p50 {p50 * 1000:.1f} ms, p99 {self.p99 * 1000:.1f} ms, "
            f"worst {worst * 1000:.1f} ms"
        )


@contextmanager
def honest_client(endpoint, *key):
    """Run one beside us, in a process of its own; yields a function that ends it and says what it saw."""
    command = [sys.executable, str(Path(__file__).with_name("honest.py")), endpoint, *map(str, key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
        try:
            assert asking.stdout.readline(), "the honest client ended before it began"
            yield lambda: Honest(**json.loads(asking.communicate(timeout=20)[0]))
        finally:
            asking.kill()


def attack(daemon, kinds, target, sessions):
    """Run so many hostile sessions, a few at once; return how many of each kind ran to their end."""

    def one(number):
        kind = kinds[number % len(kinds)]
        try:
            kind(target, random.Random(number))
            outcome = "ran"
        except (OSError, AssertionError):
            outcome = "cut off"
        # The next attack comes when this one has been digested: the daemon answers while it is attacked, not before.
        with daemon.client() as client:
            client.status()
        return kind.__name__, outcome

    with ThreadPoolExecutor(4) as pool:
        return Counter(pool.map(one, range(sessions)))


def resident_mib(daemon):
    status = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
