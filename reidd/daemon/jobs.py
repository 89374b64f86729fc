"""Requests on their way through the workers, and the line they wait in."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.daemon.orders import Pair, Ready
from reidd.errors import BackendError, BusyError, DeadlineError, ReiddError

MAX_ATTEMPTS = 2


@dataclass(eq=False)
class Job:
    """A request on its way through a worker."""

    client: Caller
    request: protocol.AnyRequest
    header: bytes
    frames: list[bytes]
    until: float
    """On the monotonic clock: later, nobody waits for the answer."""
    failed_on: list[Pair] = field(default_factory=list)
    """The pairs whose workers were lost over it."""

    @property
    def asked(self) -> float:
        """When the request came in, on the monotonic clock."""
        return self.until - self.request.deadline_ms / 1000

    @property
    def images(self) -> int:
        """How many images the network will see."""
        return sum(len(p.boxes or [()]) for p in self.request.frames if not isinstance(p, protocol.Feature))

    @property
    def probes(self) -> int:
        """How many images and features it is about: to search for one may take as long as an image."""
        return self.images + sum(p.shape[0] for p in self.request.frames if isinstance(p, protocol.Feature))


class Outcome(NamedTuple):
    """What became of a job: the frames of a worker's reply and the pair that gave it, or an error."""

    job: Job
    reply: list[bytes] | ReiddError
    served: Ready | None = None
    degraded: bool = False


class Line:
    """Jobs that no worker has taken yet. Clients take turns, so that one who asks a lot delays nobody else."""

    def __init__(self, max_waiting: int):
        self.max_waiting = max_waiting
        self._again: list[Job] = []
        self._turns: dict[tuple[bool, bytes], deque[Job]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Job]:
        yield from self._again
        for jobs in self._turns.values():
            yield from jobs

    def join(self, job: Job, *, retry_after_s: float) -> None:
        """Let a job wait for a worker.

        Raises:
            BusyError: too many wait already; carries the hint when to try again.
        """
        if self._length >= self.max_waiting:
            raise BusyError(
                f"{self.max_waiting} requests are waiting already; try again in {retry_after_s:.1f} s", retry_after_s
            )
        self._turns.setdefault(_whose(job), deque()).append(job)
        self._length += 1

    def rejoin(self, job: Job, reason: str, now: float) -> ReiddError | None:
        """Put a job whose worker was lost in front of all others, or say why it is not tried again."""
        if job.until <= now:
            return DeadlineError(f"the worker {reason}, and the time was up; ask again")
        if len(job.failed_on) >= MAX_ATTEMPTS:
            return BackendError(f"{len(job.failed_on)} workers were lost over this request; the last one {reason}")
        self._again.append(job)
        self._length += 1
        return None

    def next_again(self, avoid: Pair | None) -> Job | None:
        """Take a job that is tried again, but none that has failed on the pair to avoid."""
        for job in self._again:
            if avoid is None or avoid not in job.failed_on:
                self._again.remove(job)
                self._length -= 1
                return job
        return None

    def next(self, fits: Callable[[Job], bool] = lambda _: True) -> Job | None:
        """Take the oldest job of the client whose turn it is, if it fits."""
        for client, waiting in self._turns.items():
            if not fits(waiting[0]):
                return None
            jobs = self._turns.pop(client)
            job = jobs.popleft()
            if jobs:
                self._turns[client] = jobs  # at the end: the others come first now
            self._length -= 1
            return job
        return None

    def expired(self, now: float) -> list[Job]:
        """Take out the jobs whose time is up."""
        late = [job for job in self if job.until <= now]
        for job in late:
            self._drop(job)
        return late

    def _drop(self, job: Job) -> None:
        self._length -= 1
        if job in self._again:
            self._again.remove(job)
            return
        jobs = self._turns[_whose(job)]
        jobs.remove(job)
        if not jobs:
            del self._turns[_whose(job)]


def _whose(job: Job) -> tuple[bool, bytes]:
    """The client whose turn it takes: each socket counts its own connections."""
    return job.client.remote, job.client.connection
