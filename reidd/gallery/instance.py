"""What a gallery is made of, one by one and as columns."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from reidd.distances import are_unit, unit
from reidd.errors import FeatureError


class Instance(msgspec.Struct, frozen=True, gc=False):
    """One stored feature of an id. `number` is never used again; `time_ns` is wall time, a label and not an order."""

    number: int
    id: int
    time_ns: int
    feature: bytes
    """Its float32 values, as they lie in the ring and, without a key, in the store."""


def stored_features(features: np.ndarray, dim: int) -> list[bytes]:
    """Give features `(n, dim)` as instances hold them: scaled to length 1, each on its own.

    Raises FeatureError for another shape or type, for none, and for NaN, infinity and zeros.
    """
    if not isinstance(features, np.ndarray) or features.dtype.kind != "f":
        kind = getattr(features, "dtype", type(features).__name__)
        raise FeatureError(f"features are an array of float32; got {kind}")
    if features.ndim != 2 or features.shape[1] != dim or not len(features):
        raise FeatureError(f"features of this gallery have shape (n, {dim}); got {features.shape}")
    if not (features.dtype == np.float32 and are_unit(features)):
        features = unit(features)
    return [feature.tobytes() for feature in features]


class Rows(NamedTuple):
    """Instances as columns: `(n,)` u64 numbers, `(n,)` i64 ids, `(n,)` i64 times in ns, `(n, dim)` float32 features."""

    numbers: np.ndarray
    ids: np.ndarray
    times_ns: np.ndarray
    features: np.ndarray

    @classmethod
    def none(cls, dim: int) -> "Rows":
        """Give the rows of an empty gallery."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, dim), np.float32))

    def instances(self) -> Iterator[Instance]:
        """Give them one by one."""
        for number, id, time_ns, feature in zip(*self, strict=True):
            yield Instance(int(number), int(id), int(time_ns), feature.tobytes())
