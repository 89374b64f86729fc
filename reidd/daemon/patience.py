"""How long a worker may be silent: longer than it ever needs, but not much."""

from dataclasses import dataclass

from reidd.daemon.jobs import Job
from reidd.daemon.process import Worker

HANG_PER_PROBE_S = 0.25
"""What each further image of a request may add, or feature: to search 100,000 rows takes a small board 0.05 s."""
SLOW_FACTOR = 20
"""At least so many times what an image took the worker when it started, for boards and networks differ."""
SPARE = 1.5
"""Of that limit, how long a request must have to wait behind another: the rest is for whoever takes it over."""
START_S = 60.0
"""Until it tries its first pair: a slow board needs long to import a runtime."""
LOAD_S = 30.0


@dataclass(frozen=True)
class Patience:
    """The limits, as configured."""

    hang_s: float
    """For one image. Half of a request's usual time leaves the other half for the next pair."""

    def complaint(self, worker: Worker, now: float) -> str | None:
        """What a worker is to be given up for, as words for the log, or None."""
        if (death := worker.death()) is not None:
            return death
        limit_s = self._limit_s(worker)
        if limit_s is None or now - worker.since <= limit_s:
            return None
        doing = "was not ready within" if worker.ready is None else "hung for more than"
        return f"{doing} {limit_s:.3g} s"

    def leaves_time(self, worker: Worker, job: Job) -> bool:
        """Whether a job that waits behind a worker's present one can be done by another yet, should that one hang."""
        limit_s = self._limit_s(worker)
        return limit_s is not None and worker.since + SPARE * limit_s <= job.until

    def _limit_s(self, worker: Worker) -> float | None:
        if worker.ready is None:
            return START_S if worker.trying is None else LOAD_S
        if worker.job is None:
            return None
        probes = max(1, worker.job.probes)
        return max(self.hang_s + HANG_PER_PROBE_S * (probes - 1), SLOW_FACTOR * probes * worker.ready.image_s)
