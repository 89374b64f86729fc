"""Cosine distance, ranking and the open-set verdict: pure functions on arrays."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reidd.errors import FeatureError
from reidd.results import ReIdentificationPrediction, Verdict

UNIT_TOLERANCE = 1e-3
"""How far from 1 the length of a stored feature may lie: float32 rounding of 2,048 values stays well below."""

# Row by row, of numpy 2; what numpy 1 has takes longer.
_dots = getattr(np, "vecdot", None) or (lambda one, other: np.einsum("...i,...i->...", one, other))
_LANES = 1024
_ROUNDING = 1e-6  # of a float32 row's product with itself
_NO_LENGTH = float(np.finfo(np.float32).tiny)


class Nearest(NamedTuple):
    """One id, by its nearest instance: the column of that instance in the row of distances."""

    id: int
    column: int
    distance: float


def unit(features: np.ndarray) -> np.ndarray:
    """Scale each row of `(n, dim)` to length 1, as float32; rows that have it already stay as they are, to the bit.

    Raises FeatureError for rows that are not finite or have no length: one NaN would win every search.
    """
    if features.dtype != np.float32:
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinity, and is refused as such
            features = np.asarray(features, dtype=np.float32)
    if are_unit(features):
        return np.array(features)
    wide = features.astype(np.float64)
    lengths = np.sqrt(_dots(wide, wide))
    # A list, for this runs once per enrolment: numpy's reductions of one number take longer than all the rest.
    for length in lengths.ravel().tolist():
        if not length < math.inf:
            raise FeatureError("feature holds NaN or infinity; expected finite float32 values")
        if length <= _NO_LENGTH:
            raise FeatureError("feature is all zeros; expected a vector with a length")
    return np.asarray(wide / lengths[..., np.newaxis], dtype=np.float32)


def are_unit(features: np.ndarray) -> bool:
    """Whether all rows of `(n, dim)` float32 have length 1 already."""
    for feature in features:  # noqa: SIM110  a generator takes half as long again
        # Not `dot`, which warns of what is too large. NaN is within nothing.
        if not abs(float(np.vdot(feature, feature)) - 1) <= _ROUNDING:
            return False
    return True


def cosine_distance(probes: np.ndarray, features: np.ndarray) -> np.ndarray:
    """`1 - cos`, in [0, 2]: unit probes `(p, dim)` against unit features `(n, dim)` gives `(p, n)` float32."""
    # One product per row reads the gallery once, at nearly full bandwidth; a matrix product takes over for batches.
    dots = _dots(features, probes[0]) if len(probes) == 1 else probes @ features.T
    distances = np.subtract(np.float32(1), dots, out=dots)
    return np.asarray(np.clip(distances, 0, 2, out=distances)).reshape(len(probes), len(features))


def normalize(distances: np.ndarray) -> np.ndarray:
    """From [0, 2] to [0, 1], on a fixed scale, so that a threshold stays valid whatever the gallery holds."""
    return np.asarray(distances / np.float32(2))


def nearest_ids(distances: np.ndarray, ids: np.ndarray, top_k: int) -> list[Nearest]:
    """The `top_k` nearest distinct ids, best first; a tie goes to the lower column, which is the older instance.

    `distances` is `(n,)`, `ids` is `(n,)`; fewer than `top_k` come back when the gallery has fewer ids.
    """
    found: list[Nearest] = []
    reach = 4 * top_k  # an id has several instances, and a second pass costs more than a longer first
    columns = _near(distances, reach)
    while True:
        columns = columns[np.argsort(distances[columns], kind="stable")]
        _, first = np.unique(ids[columns], return_index=True)
        chosen = columns[np.sort(first)[: top_k - len(found)]]
        found += [Nearest(int(ids[c]), int(c), float(distances[c])) for c in chosen]
        if len(found) == top_k:
            return found
        # These few ids hold all that is near, perhaps nearly the whole gallery: look at the others only.
        others = np.flatnonzero(~np.isin(ids, [nearest.id for nearest in found]))
        if not len(others):
            return found
        reach *= 4
        columns = others[_near(distances[others], reach)]


def _near(distances: np.ndarray, reach: int) -> np.ndarray:
    """The columns of at least the `reach` nearest: all up to some distance, so that no tie is cut at random."""
    size = len(distances)
    if size <= reach:
        return np.arange(size)
    lanes = max(_LANES, reach)
    # The nearest of each lane: as many of them as `reach` lie within the edge, and finding it is ten times quicker.
    whole = distances[: size - size % lanes].reshape(-1, lanes)
    lane_nearest = whole.min(axis=0) if len(whole) >= 4 else distances
    return np.flatnonzero(distances <= np.partition(lane_nearest, reach - 1)[reach - 1])


def verdict(
    predictions: Sequence[ReIdentificationPrediction] | Sequence[Nearest], *, max_distance: float, margin: float = 0.0
) -> Verdict:
    """Accept the nearest id, unless it is too far, or the next one is nearly as near.

    `max_distance` and `margin` are on the scale of the predictions' distances.
    """
    if not predictions or predictions[0].distance > max_distance:
        return Verdict.UNKNOWN
    if len(predictions) > 1 and predictions[1].distance - predictions[0].distance < margin:
        return Verdict.AMBIGUOUS
    return Verdict.KNOWN
