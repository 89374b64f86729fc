"""Which stored instances of an id make room for new ones: pure decisions."""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import numpy as np

from reidd.errors import RequestError, shown

DROP_METHODS = ("drop_oldest", "drop_latest", "drop_random", "drop_redundant")
MOST_COMPARED = 1000
"""Instances of an id that `drop_redundant` compares with each other: it takes 4 bytes of memory for each pair."""


class Limit(NamedTuple):
    """How many instances an id may keep, and which stored one goes to make room for a new one."""

    at_most: int
    drop_method: str


def checked_limit(count: int, drop_method: str) -> Limit:
    """Refuse, with RequestError, a limit below 1, a method nobody knows, or a limit too large for its method."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise RequestError(f"an id keeps at least 1 instance; got a limit of {count!r}")
    if drop_method not in DROP_METHODS:
        raise RequestError(f"no drop method {shown(drop_method)}; there are {', '.join(DROP_METHODS)}")
    if drop_method == "drop_redundant" and count > MOST_COMPARED:
        raise RequestError(
            f"drop_redundant compares all instances of an id with each other, so it keeps at most {MOST_COMPARED}; got "
            f"a limit of {count}; lower it, or choose another method"
        )
    return Limit(count, drop_method)


def surplus(
    instances: Sequence[int],
    *,
    keep: int,
    drop_method: str,
    random: Random,
    features: Callable[[Sequence[int]], np.ndarray],
) -> list[int]:
    """Choose which instances of one id, given oldest first, go so that `keep` of them stay.

    `features` gives the `(n, dim)` unit features of instances, for the one method that looks at them; at the
    `MOST_COMPARED` youngest, for it lets all others go first.
    """
    excess = len(instances) - keep
    if excess <= 0:
        return []
    match drop_method:
        case "drop_oldest":
            return list(instances[:excess])
        case "drop_latest":
            return list(instances[-excess:])
        case "drop_random":
            return random.sample(instances, excess)
        case _:
            compared = instances[-MOST_COMPARED:]
            oldest = instances[: min(excess, len(instances) - len(compared))]
            return [*oldest, *(compared[row] for row in _redundant(features(compared), excess - len(oldest)))]


def _redundant(features: np.ndarray, excess: int) -> list[int]:
    """Rows that tell least: again and again the older of the two nearest to each other goes."""
    nearness = features @ features.T
    np.fill_diagonal(nearness, -np.inf)
    nearest = nearness.max(axis=1)
    gone = []
    for _ in range(excess):
        row = int(np.argmax(nearest))  # the first maximum, so the older of the pair
        gone.append(row)
        lost = nearness[row] == nearest  # those who had it as their nearest
        nearness[row], nearness[:, row] = -np.inf, -np.inf
        nearest[lost], nearest[row] = nearness[lost].max(axis=1), -np.inf
    return gone
