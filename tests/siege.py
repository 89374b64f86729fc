"""Honest clients beside hostile ones, and what they saw."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

P99_S = 0.1
CORE_MIB = 800


class Honest(NamedTuple):
    """What an honest client saw."""

    seconds: list[float]
    wrong: list[str]

    @property
    def p99(self):
        return float(np.percentile(self.seconds, 99))


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


def resident_mib(daemon):
    status = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
