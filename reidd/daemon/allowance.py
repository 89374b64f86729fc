"""How often a key may ask: a steady rate, with some in hand for a burst (a token bucket)."""

from typing import NamedTuple

from reidd.errors import BusyError

PER_S, BURST = 100.0, 200
"""By default: three cameras of 30 images a second on one key, and two seconds of them at once."""


class _Hand(NamedTuple):
    left: float
    at: float


class Allowance:
    """Requests that each key has in hand. One that has none is told when to come again, and costs nobody a worker."""

    def __init__(self, per_s: float = PER_S, burst: int = BURST):
        self._per_s, self._burst = per_s, burst
        self._hands: dict[str, _Hand] = {}

    def spend(self, name: str, now: float) -> None:
        """Take one request out of a key's hand.

        Raises:
            BusyError: it is empty; says when the next one comes in.
        """
        left, at = self._hands.get(name, _Hand(float(self._burst), now))
        left = min(float(self._burst), left + (now - at) * self._per_s)
        if left < 1 - 1e-6:  # a client that keeps exactly to the rate is not to be turned away by rounding
            self._hands[name] = _Hand(left, now)
            raise BusyError(f"the key {name!r} asks more than {self._per_s:g} times a second", (1 - left) / self._per_s)
        self._hands[name] = _Hand(left - 1, now)
