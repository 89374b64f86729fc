"""Why did it say so: the one instance behind a prediction, and who came second."""

from typing import NamedTuple

import numpy as np

from reidd.distances import Nearest
from reidd.gallery.reader import Reader


class Explanation(NamedTuple):
    """The instance that decided, and what it has to be seen against."""

    nearest: Nearest
    instance: int
    time_ns: int
    """When it was enrolled, by the wall clock of that day."""
    younger: int
    """How many instances of the gallery were enrolled after it."""
    instances_of_id: int
    runner_up: Nearest | None
    """The next id; its distance less the nearest's is the margin."""


def explained(reader: Reader, probe: np.ndarray) -> Explanation | None:
    """Explain what a gallery answers to one unit probe `(dim,)`; None when it is empty."""
    (match,) = reader.search(probe[np.newaxis], top_k=2)
    if not match.nearest:
        return None
    nearest = match.nearest[0]
    instance = int(match.instances[nearest.column])
    rows = reader.rows(after_instance=instance - 1, limit=1)
    return Explanation(
        nearest,
        instance,
        int(rows.times_ns[0]) if rows.numbers.tolist() == [instance] else 0,
        len(match.ids) - 1 - nearest.column,
        int(np.count_nonzero(match.ids == nearest.id)),
        match.nearest[1] if len(match.nearest) > 1 else None,
    )
