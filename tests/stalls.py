"""The times at which this process, or the whole machine, stood still: no fault of whoever is being timed."""

import threading
import time
from itertools import pairwise

TICK_S = 0.01
NORMAL_S = 0.05
"""A thread may wake so much too late on any machine."""


class Stalls:
    """A thread that sleeps for a moment, again and again, and notes when it woke far too late."""

    def __init__(self) -> None:
        self._stalls: list[tuple[float, float]] = []
        self._seen = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Stalls":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, start: float, end: float) -> float:
        """The seconds within that time, on the monotonic clock, at which nothing moved here."""
        while self._thread.is_alive() and self._seen < end:  # a stall is noted only when it is over
            time.sleep(TICK_S)
        return sum(max(0.0, min(end, until) - max(start, since)) for since, until in self._stalls)

    @property
    def longest_s(self) -> float:
        """The longest of them."""
        return max((until - since for since, until in self._stalls), default=0.0)

    @property
    def total_s(self) -> float:
        """All of them together."""
        return sum(until - since for since, until in self._stalls)

    def _watch(self) -> None:
        for before, now in pairwise(iter(self._tick, None)):
            if now - before > TICK_S + NORMAL_S:
                self._stalls.append((before + TICK_S, now))
            self._seen = now

    def _tick(self) -> float | None:
        return None if self._stop.wait(TICK_S) else time.monotonic()
