"""A copy of the gallery in one byte a value: says, with proof, which few rows may be the nearest."""

from types import ModuleType

import numpy as np

from reidd.distances import nearest_ids
from reidd.gallery.ring import Ring

MANY = 50_000
"""With fewer rows the exact scan is quick enough."""

_AT_ONCE = 20_000  # rows taken over in one search, so that no question waits for all of them
_CHUNK = 2048  # whose copies stay in the processor's caches
_LEVELS = 127
_ROUNDING = 1e-5  # of products in float32, generously


def scanner() -> ModuleType | None:
    """The library that multiplies bytes quickly, when it is installed: `pip install reidd[fast-search]`."""
    try:
        import numkong  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    module: ModuleType = numkong
    return module


class Sketch:
    """Follows a ring's rows, each as `step * bytes` with the length of what that leaves out."""

    def __init__(self, ring: Ring, library: ModuleType):
        """Begin with nothing; `follow` takes rows over."""
        self._ring, self._library = ring, library
        self._bytes = np.zeros((ring.capacity, ring.dim), np.int8)
        self._steps = np.zeros(ring.capacity, np.float32)
        self._left_out = np.zeros(ring.capacity, np.float32)
        self._sequences = np.zeros(ring.capacity, np.uint64)

    def follow(self, sequences: np.ndarray) -> bool:
        """Take over rows whose sequence is another than when they were; says whether these were all."""
        changed = np.flatnonzero(self._sequences[: len(sequences)] != sequences)
        soon = changed[:_AT_ONCE]
        for start in range(0, len(soon), _CHUNK):
            rows = soon[start : start + _CHUNK]
            self._bytes[rows], self._steps[rows], self._left_out[rows] = _coarse(self._ring.features[rows])
            self._sequences[rows] = sequences[rows]
        return len(changed) <= _AT_ONCE

    def candidates(self, probe: np.ndarray, order: np.ndarray, ids: np.ndarray, top_k: int) -> np.ndarray | None:
        """Positions in `order` among which the `top_k` nearest ids of a unit probe `(1, dim)` are for certain.

        None when these would be too many. With `x = x' + e` for a row and `p = p' + f` for the probe,
        `|x.p - x'.p'| = |x'.f + e.p| <= (1 + |e|) |f| + |e|`, by Cauchy and Schwarz.
        """
        used = int(order.max()) + 1
        coarse, step, left_out = _coarse(probe)
        products = np.asarray(self._library.cdist(coarse, self._bytes[:used], "dot"))[0]
        distances = 1 - products * (self._steps[:used] * step)
        error = self._left_out[:used] * (1 + left_out) + (left_out + _ROUNDING)
        distances, error = distances[order], error[order]
        farthest = nearest_ids(distances + error, ids, top_k)
        if len(farthest) < top_k:
            return None
        found = np.flatnonzero(distances - error <= farthest[-1].distance)
        return found if len(found) <= len(order) // 8 else None


def _coarse(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows as `(n, dim)` int8, their `(n,)` steps, and the `(n,)` lengths of what that leaves out."""
    steps = np.abs(rows).max(axis=1) / np.float32(_LEVELS)
    steps[steps == 0] = 1
    levels = np.rint(rows / steps[:, np.newaxis])
    left_out = rows - levels * steps[:, np.newaxis]
    return levels.astype(np.int8), steps, np.sqrt(np.einsum("ij,ij->i", left_out, left_out))
