"""A change of engine that a client asks for: tried in a new worker, while the others go on."""

import time

from reidd import protocol
from reidd.daemon.crew import Crew
from reidd.daemon.jobs import Job, Outcome
from reidd.daemon.orders import Pair, spoken
from reidd.daemon.process import Worker
from reidd.errors import BackendUnavailableError, BusyError, DeadlineError, ReiddError


class Switch:
    """At most one change of engine at a time."""

    def __init__(self, crew: Crew):
        self._crew = crew
        self._under_way: tuple[Job, Worker, Pair] | None = None

    def begin(self, job: Job, pair: Pair) -> None:
        """Try another pair. Raises BusyError while another change is under way."""
        if self._under_way is not None:
            raise BusyError("another change of engine is under way; try again in 1 s", 1.0)
        self._under_way = (job, self._crew.start([pair], time.monotonic(), candidate=True), pair)

    def tries(self, worker: Worker) -> bool:
        """Whether this worker was started for the change."""
        return self._under_way is not None and self._under_way[1] is worker

    def succeeded(self, worker: Worker) -> Outcome:
        """Go on with the new pair only, now that its worker is ready."""
        self._crew.ladder.prefer(worker.pair)
        for other in self._crew:
            if other is not worker:
                self._crew.retire(other)
        job = self._over()
        return Outcome(job, [protocol.encode(protocol.Done(request=job.request.request))])

    def failed(self, reason: str) -> Outcome:
        """Go on as before."""
        return self._refused(BackendUnavailableError(reason))

    def expired(self, now: float) -> list[Outcome]:
        """Give up when the client's time is up."""
        if self._under_way is None or self._under_way[0].until > now:
            return []
        _, worker, pair = self._under_way
        self._crew.end(worker)
        return [self._refused(DeadlineError(f"{spoken(pair)} was not ready in time; all is as before; wait longer"))]

    def _refused(self, error: ReiddError) -> Outcome:
        return Outcome(self._over(), error)

    def _over(self) -> Job:
        assert self._under_way is not None  # noqa: S101
        job, self._under_way = self._under_way[0], None
        return job
