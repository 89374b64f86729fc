"""What messages are made of beside their frames: predictions, results, ids.

They ignore fields that they do not know, so that an older client reads a newer daemon.
"""

from msgspec import Struct

from reidd.engines import Accelerator, Engine
from reidd.protocol.limits import Id, Positive, Text
from reidd.results import Verdict


class PredictionRecord(Struct, frozen=True):
    """One prediction in a message."""

    id: Id
    rank: Positive
    distance: float
    label: Text | None = None


class ResultRecord(Struct, frozen=True):
    """The answer for one image in a message; the distances travel in a frame."""

    predictions: list[PredictionRecord]
    duration: float
    verdict: Verdict | None = None


class PairRecord(Struct, frozen=True):
    """One engine/accelerator pair of the configured order: how many workers run it, and what was wrong with it."""

    engine: Engine
    accelerator: Accelerator
    workers: int
    failures: int = 0
    reason: str = ""


class IdRecord(Struct, frozen=True):
    """One id of the gallery."""

    id: int
    count: int
    label: str | None = None
    pinned: bool = False
    ttl_s: float | None = None


class ForgottenRecord(Struct, frozen=True):
    """That an id was forgotten: instances of it below `before`, and those with these numbers, stay away."""

    id: int
    time_ns: int
    before: int
    instances: list[int]


class ExplanationRecord(Struct, frozen=True):
    """Why an id is the nearest. Distances are cosine distances, in [0, 2]."""

    id: int
    distance: float
    instance: int
    time_ns: int
    younger: int
    """Instances of the gallery that were added later."""
    instances_of_id: int
    runner_up: int | None = None
    """The next id."""
    margin: float | None = None
    """How much farther the next id is."""
