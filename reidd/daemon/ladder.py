"""The configured order of engine/accelerator pairs, and which of them are trusted at the moment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reidd.daemon.orders import Pair, spoken

FIRST_PAUSE_S = 0.2
LAST_RESORT_PAUSE_S = 1.0
"""With no pair left to run on, the wait between two attempts, however often they have failed."""
UNEXPECTED_PAUSES = 10
"""How many of the longest pauses an optional pair is left alone that never worked: a board without it pays nothing."""


@dataclass
class Rung:
    """One pair and its circuit breaker: after a failure it rests, twice as long after each further one."""

    pair: Pair
    optional: bool = False
    """Nobody misses it until it has worked once."""
    failures: int = 0
    rests_until: float = 0.0
    failed_at: float = float("-inf")
    reason: str = ""
    full: bool = False
    """Another worker has the device, and it serves one process at a time."""


@dataclass
class Ladder:
    """The pairs, most wanted first. Knows no clock: `now` is monotonic seconds."""

    rungs: list[Rung]
    max_pause_s: float
    _ranks: dict[Pair, int] = field(init=False)

    def __post_init__(self) -> None:
        self._ranks = {rung.pair: rank for rank, rung in enumerate(self.rungs)}

    def __iter__(self) -> Iterator[Rung]:
        return iter(self.rungs)

    def __getitem__(self, pair: Pair) -> Rung:
        return self.rungs[self._ranks[pair]]

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._ranks

    def rank(self, pair: Pair) -> int:
        """The place of a pair in the order, 0 for the most wanted."""
        return self._ranks[pair]

    def prefer(self, pair: Pair) -> None:
        """Put a pair first, with a clean record."""
        self.rungs = [Rung(pair), *(rung for rung in self.rungs if rung.pair != pair)]
        self.__post_init__()

    def offer(self, now: float, *, cautious: bool) -> list[Pair]:
        """The pairs that a new worker may try, in order.

        Cautious, those that failed lately come last: with nobody else at work, the service is not bet on them.
        """
        open_ = [rung for rung in self.rungs if rung.rests_until <= now and not rung.full]
        if cautious:
            open_.sort(key=lambda rung: rung.failures > 0)
            if not open_:
                open_ = [r for r in self.rungs if r.failed_at + LAST_RESORT_PAUSE_S <= now]
        return [rung.pair for rung in open_]

    def better(self, than: Pair, now: float) -> Pair | None:
        """The most wanted pair above this one that may be tried again now."""
        above = self.rungs[: self.rank(than)]
        return next((rung.pair for rung in above if rung.rests_until <= now and not rung.full), None)

    def failed(self, pair: Pair, reason: str, now: float) -> float:
        """Charge a pair with a failure; return the seconds it rests: none after the first, which may be chance."""
        rung = self[pair]
        # Since it was tried again, not since it failed: an attempt that hangs takes as long as the longest pause.
        if rung.optional or now - max(rung.failed_at, rung.rests_until) > 2 * self.max_pause_s:
            rung.failures = 0
        rung.failures += 1
        rung.failed_at, rung.reason = now, reason
        pause = 0.0 if rung.failures == 1 else min(self.max_pause_s, FIRST_PAUSE_S * 2 ** min(rung.failures - 2, 30))
        if rung.optional:
            pause = UNEXPECTED_PAUSES * self.max_pause_s
        rung.rests_until = now + pause
        return pause

    def forgive(self, pairs: Iterable[Pair]) -> None:
        """Take back one failure of each: it was the request's fault."""
        for rung in (self[pair] for pair in pairs if pair in self):
            rung.failures = max(0, rung.failures - 1)
            rung.rests_until = 0.0

    def worked(self, pair: Pair) -> None:
        """A worker is ready on this pair: from now on it is missed when it is gone."""
        self[pair].optional = False

    def reasons(self) -> str:
        """Why pairs do not run, for people."""
        return "; ".join(f"{spoken(rung.pair)}: {rung.reason}" for rung in self.rungs if rung.reason)

    def is_degraded(self, pair: Pair) -> bool:
        """Whether a pair that ought to run stands above this one."""
        return any(not rung.optional for rung in self.rungs[: self.rank(pair)])
