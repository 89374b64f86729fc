"""Which stored instances of an id make room for new ones: pure decisions."""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import numpy as np

from reidd.errors import RequestError

DROP_METHODS = ("drop_oldest", "drop_latest", "drop_random", "drop_redundant")


class Limit(NamedTuple):
    """How many instances an id may keep, and which stored one goes to make room for a new one."""

    at_most: int
    drop_method: str


def checked_limit(count: int, drop_method: str) -> Limit:
    """Refuse, with RequestError, a limit below 1 or a method nobody knows."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise RequestError(f"an id keeps at least 1 instance; got a limit of {count!r}")
    if drop_method not in DROP_METHODS:
        raise RequestError(f"no drop method {drop_method!r}; there are {', '.join(DROP_METHODS)}")
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

    `features` gives the `(n, dim)` unit features of instances, for the one method that looks at them.
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
            return [instances[row] for row in _redundant(features(instances), excess)]


def _redundant(features: np.ndarray, excess: int) -> list[int]:
    """Rows that tell least: again and again the older of the two nearest to each other goes."""
    nearness = features @ features.T
    np.fill_diagonal(nearness, -np.inf)
    gone = []
    for _ in range(excess):
        row = int(np.argmax(nearness)) // len(features)  # the first maximum, so its row is the older of the pair
        gone.append(row)
        nearness[row], nearness[:, row] = -np.inf, -np.inf
    return gone
