"""What a gallery is made of, one by one and as columns."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np


class Instance(msgspec.Struct, frozen=True, gc=False):
    """One stored feature of an id. `number` is never used again; `time_ns` is wall time, a label and not an order."""

    number: int
    id: int
    time_ns: int
    feature: bytes
    """Its float32 values, as they lie in the ring and, without a key, in the store."""


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
