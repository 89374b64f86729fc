"""What a re-identification answers: ranked ids, the distances behind them, and how sure one may be."""

from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np


class Verdict(str, Enum):
    """Whether the nearest id may be believed, given a greatest distance and a margin."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"

    def __str__(self) -> str:
        return self.value


class ReIdentificationPrediction:
    """One id of the gallery, and how near its nearest instance is to the probe. Read-only."""

    __slots__ = ("_distance", "_id", "_label", "_rank")

    def __init__(self, id: int, rank: int, distance: float, label: str | None = None):
        self._id, self._rank, self._distance, self._label = id, rank, distance, label

    @property
    def id(self) -> int:
        """The id, an integer in [0, 2^63 - 1]."""
        return self._id

    @property
    def rank(self) -> int:
        """1 for the nearest id, 2 for the next, and so on."""
        return self._rank

    @property
    def distance(self) -> float:
        """Cosine distance to the id's nearest instance: in [0, 1] when normalised, else in [0, 2]; lower is nearer."""
        return self._distance

    @property
    def label(self) -> str | None:
        """The name somebody gave this id, or None."""
        return self._label

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReIdentificationPrediction):
            return NotImplemented
        return (self.id, self.rank, self.distance) == (other.id, other.rank, other.distance)

    def __hash__(self) -> int:
        return hash((self.id, self.rank, self.distance))

    def __repr__(self) -> str:
        label = f", label={self.label!r}" if self.label is not None else ""
        return f"ReIdentificationPrediction(id={self.id}, rank={self.rank}, distance={self.distance:.4f}{label})"


class ReIdentificationResults:
    """The answer to one image: predictions, best first, and every distance. Read-only."""

    __slots__ = ("_distance_matrix", "_duration", "_image", "_predictions", "_verdict")

    def __init__(
        self,
        predictions: Sequence[ReIdentificationPrediction],
        distance_matrix: np.ndarray,
        duration: float,
        image: np.ndarray | Callable[[], np.ndarray] | None = None,
        verdict: Verdict | None = None,
    ):
        self._predictions = list(predictions)
        self._distance_matrix = distance_matrix
        self._duration, self._image, self._verdict = duration, image, verdict

    @property
    def predictions(self) -> list[ReIdentificationPrediction]:
        """At most `top_k` ids, best first, one prediction per id; empty when the gallery is."""
        return list(self._predictions)

    @property
    def distance_matrix(self) -> np.ndarray:
        """`(1, n)` float32: the distance to each of the gallery's n instances, oldest instance first."""
        return self._distance_matrix

    @property
    def duration(self) -> float:
        """Seconds this call took: feature extraction and search."""
        return self._duration

    @property
    def image(self) -> np.ndarray | None:
        """The image asked about, or None when the question was a feature."""
        if callable(self._image):
            # An image file is decoded only for those who want to see it.
            self._image = self._image()
        return self._image

    @property
    def verdict(self) -> Verdict | None:
        """Whether the best prediction may be believed, or None when no greatest distance is known."""
        return self._verdict

    def __eq__(self, other: object) -> bool:
        """The same answer to the same image; how long it took does not count."""
        if not isinstance(other, ReIdentificationResults):
            return NotImplemented
        return (
            self._predictions == other._predictions
            and np.array_equal(self._distance_matrix, other._distance_matrix)
            and _same_image(self.image, other.image)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def __repr__(self) -> str:
        verdict = f", verdict={self._verdict}" if self._verdict is not None else ""
        return f"ReIdentificationResults({self._predictions!r}{verdict}, duration={self._duration:.4f})"


def _same_image(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
