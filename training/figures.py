"""Figures of merit, from features, persons and cameras alone."""

from typing import NamedTuple

import numpy as np

FALSE_ACCEPT_RATES = (1e-2, 1e-3, 1e-4)


class Seen(NamedTuple):
    """Unit features (n, dim) with the person and camera (n,) of each."""

    features: np.ndarray
    persons: np.ndarray
    cameras: np.ndarray


class Ranking(NamedTuple):
    """Per cent of queries whose nearest crop is the right person, and the mean average precision in per cent."""

    rank_1: float
    mean_average_precision: float
    queries: int


class Acceptance(NamedTuple):
    """The distance that lets in this share of pairs of different persons, and per cent of same-person pairs within."""

    false_accept_rate: float
    max_distance: float
    true_accept_percent: float


def ranking(queries: Seen, gallery: Seen) -> Ranking:
    """Market-1501's protocol: gallery crops of the query's own person and camera do not count.

    Zheng et al.: Scalable Person Re-identification: A Benchmark, ICCV 2015. The precision is averaged over hits.
    """
    first, precision = [], []
    for similarity, person, camera in zip(queries.features @ gallery.features.T, *queries[1:], strict=True):
        order = np.argsort(-similarity, kind="stable")
        same = gallery.persons[order] == person
        hits = np.flatnonzero(same[~(same & (gallery.cameras[order] == camera))])
        if len(hits):
            first.append(hits[0] == 0)
            precision.append(np.mean(np.arange(1, len(hits) + 1) / (hits + 1)))
    return Ranking(100 * float(np.mean(first)), 100 * float(np.mean(precision)), len(first))


def both_ways(one: Seen, other: Seen) -> Ranking:
    """Average ranking one camera's crops against the other's and the reverse."""
    there, back = ranking(one, other), ranking(other, one)
    return Ranking(
        (there.rank_1 + back.rank_1) / 2,
        (there.mean_average_precision + back.mean_average_precision) / 2,
        there.queries + back.queries,
    )


def acceptances(seen: Seen, *, rates: tuple[float, ...] = FALSE_ACCEPT_RATES) -> list[Acceptance]:
    """Open-set figures over all pairs: same person under two cameras, against any two persons."""
    one, other = np.triu_indices(len(seen.persons), 1)
    distance = 1 - (seen.features @ seen.features.T)[one, other]
    alike = seen.persons[one] == seen.persons[other]
    strangers = np.sort(distance[~alike])
    same = distance[alike & (seen.cameras[one] != seen.cameras[other])]
    found = []
    for rate in rates:
        limit = float(strangers[int(rate * len(strangers))])
        found.append(Acceptance(rate, limit, 100 * float(np.mean(same < limit))))
    return found
