"""How old instances are, without trusting the wall clock: a board may boot in 1970 and jump.

The gallery's own clock counts the seconds somebody served it, through restarts. Now and then it notes which number the
next instance will have; every lower number is at least that old. Time without power does not count, so nothing is
deleted early.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import pairwise

from reidd.errors import RequestError

FINEST_S = 5.0
"""Notes are never taken closer together than this, for each is a write to the disk."""

_NOTES_PER_TTL = 50


@dataclass(frozen=True)
class Ages:
    """The gallery's clock when it was last noted, and the notes: `(next instance, clock)`, oldest first."""

    ttl_s: float | None = None
    clock_s: float = 0.0
    notes: tuple[tuple[int, float], ...] = ()

    def noted(self, now_s: float, next_instance: int, *, longest_s: float) -> "Ages":
        """Take a note, and let go of those that no time to live of at most `longest_s` asks for."""
        notes = (*self.notes, (next_instance, now_s))
        while len(notes) > 1 and now_s - notes[1][1] >= longest_s:
            notes = notes[1:]
        return replace(self, clock_s=now_s, notes=_thinned(notes, now_s))

    def reached(self, now_s: float, ttl_s: float) -> int:
        """Give the number below which every instance has lived for `ttl_s`."""
        return max((number for number, clock_s in self.notes if now_s - clock_s >= ttl_s), default=0)


def _thinned(notes: tuple[tuple[int, float], ...], now_s: float) -> tuple[tuple[int, float], ...]:
    """Drop notes that lie closer together than their age asks for: a missing one makes expiry later, never earlier."""
    kept = [notes[0]]
    for note, after in pairwise(notes[1:]):
        if after[1] - kept[-1][1] > (now_s - after[1]) / _NOTES_PER_TTL:
            kept.append(note)
    return (*kept, *notes[1:][-1:])


def interval_s(ttls_s: Collection[float]) -> float:
    """Tell how often to take a note, so that nothing outlives its time by much."""
    return max(FINEST_S, min(ttls_s) / _NOTES_PER_TTL)


def checked_ttl(seconds: float | None) -> float | None:
    """Refuse, with RequestError, a time to live that is not positive."""
    if seconds is None:
        return None
    if not 0 < seconds < float("inf"):
        raise RequestError(f"a time to live is a positive number of seconds, or none; got {seconds!r}")
    # Whole seconds come back from the store as float, and would not match their checksum.
    return float(seconds)
