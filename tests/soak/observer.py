"""What a daemon's processes take, looked at from outside twice a second."""

import threading
import time
from pathlib import Path
from typing import NamedTuple

EVERY_S = 0.5


class Sample(NamedTuple):
    """One look."""

    s: float
    core_mib: float
    worker_mib: float
    """Of the oldest worker, which no fault is done to."""
    descriptors: int


def private_mib(pid: int) -> float:
    """The memory of a process that is nobody else's: the gallery's ring is not counted, for it fills."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def workers(core: int) -> list[int]:
    """The core's workers, oldest first."""
    children = Path(f"/proc/{core}/task/{core}/children").read_text().split()
    return sorted(map(int, children), key=lambda pid: int(Path(f"/proc/{pid}/stat").read_text().split()[21]))


class Observer:
    """Keeps samples of one core until it is told to stop."""

    def __init__(self, core: int):
        self._core, self._oldest = core, workers(core)[0]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.samples: list[Sample] = []
        self._thread.start()

    def stop(self) -> list[Sample]:
        self._stop.set()
        self._thread.join()
        return self.samples

    def _look(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.samples.append(
                Sample(
                    time.monotonic(), private_mib(self._core), private_mib(self._oldest), descriptors(self._core)
                )
            )  # fmt: skip
