"""Where to draw the line between known and unknown at one site: from the instances of its own gallery.

Each instance is asked about as if it had not been enrolled, which is how a known person would be met, and as if its id
had not, which makes a stranger of it. The rates are the identification rates of ISO/IEC 19795-1.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from reidd.distances import cosine_distance, normalize
from reidd.errors import RequestError

MOST_ASKED = 2000
"""Instances that are asked about, drawn at random from a larger gallery: enough for one stranger in a thousand."""
_AT_ONCE = 64
_STEP = 1000  # thresholds are thousandths, as distances are shown


class Separation(NamedTuple):
    """How near the nearest others come to each of `n` instances: `(n,)` distances in [0, 1]."""

    own: np.ndarray
    """Of the same id; infinity where there is none."""
    others: np.ndarray
    """Of another id."""


class Rates(NamedTuple):
    """What a threshold leads to, as shares from 0 to 1."""

    max_distance: float
    false_positive: float
    """Of strangers, those that are named as somebody (FPIR)."""
    false_negative: float
    """Of known ones, those that are called unknown, or by another's name (FNIR)."""


Progress = Callable[[Sequence[np.ndarray]], Iterable[np.ndarray]]


def separation(ids: np.ndarray, features: np.ndarray, *, progress: Progress = iter) -> Separation:
    """Compare instances, `(n,)` ids and `(n, dim)` unit features, each with all the others.

    Raises:
        RequestError: there are not two ids, or no id has two instances.
    """
    _, who, counts = np.unique(ids, return_inverse=True, return_counts=True)
    if len(counts) < 2 or not (counts > 1).any():
        raise RequestError(
            "to calibrate takes two ids at least, and one with two instances; the gallery's ids: "
            f"{len(counts)}, its instances: {len(ids)}; add more"
        )
    asked = np.random.default_rng(0).permutation(len(ids))
    # Those of ids with several instances first: without one of them nothing is known about known ones.
    asked = asked[np.argsort(counts[who[asked]] == 1, kind="stable")][:MOST_ASKED]
    own, others = [], []
    for rows in progress([asked[at : at + _AT_ONCE] for at in range(0, len(asked), _AT_ONCE)]):
        distances = normalize(cosine_distance(features[rows], features))
        distances[np.arange(len(rows)), rows] = np.inf
        same = ids[rows, np.newaxis] == ids
        own.append(np.where(same, distances, np.inf).min(axis=1))
        others.append(np.where(same, np.inf, distances).min(axis=1))
    # As a verdict weighs them: numpy would round the threshold to float32, and a distance just above it would pass.
    return Separation(np.concatenate(own).astype(np.float64), np.concatenate(others).astype(np.float64))


def rates(found: Separation, max_distance: float) -> Rates:
    """What comes of a threshold, in [0, 1]."""
    known = np.isfinite(found.own)
    named = (found.own <= max_distance) & (found.own < found.others)
    return Rates(max_distance, float((found.others <= max_distance).mean()), float(1 - named[known].mean()))


def max_distance_for(found: Separation, false_positive: float) -> float:
    """The largest threshold, in thousandths, at which at most this share of strangers is named as somebody."""
    ranked = np.sort(found.others)
    beyond = int(false_positive * len(ranked))
    if beyond == len(ranked):
        return 1.0
    return max(0.0, (math.ceil(float(ranked[beyond]) * _STEP) - 1) / _STEP)
