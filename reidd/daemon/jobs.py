"""Requests on their way through the workers, and the line they wait in."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.daemon.orders import Pair, Ready
from reidd.errors import BackendError, BusyError, DeadlineError, ReiddError

MAX_ATTEMPTS = 2
MAX_WAITING_BYTES = 64 << 20


@dataclass(eq=False)
class Job:
    """A request on its way through a worker."""

    caller: Caller
    request: protocol.AnyRequest
    header: bytes
    frames: list[bytes]
    until: float
    """On the monotonic clock: later, nobody waits for the answer."""
    failed_on: list[Pair] = field(default_factory=list)
    """The pairs whose workers were lost over it."""

    @cached_property
    def held_bytes(self) -> int:
        """How much memory it takes while it waits."""
        return len(self.header) + sum(map(len, self.frames))

    @property
    def probes(self) -> int:
        """How many images and features it is about: to search for one may take as long as an image."""
        return self.request.images + self.request.rows


class Outcome(NamedTuple):
    """What became of a job: the frames of a worker's reply and the pair that gave it, or an error."""

    job: Job
    reply: list[bytes] | ReiddError
    served: Ready | None = None
    degraded: bool = False

    @property
    def pair_fields(self) -> dict[str, Any]:
        """The fields of a reply or an event that say which pair it was; none where none was."""
        if self.served is None:
            return {}
        return {"engine": self.served.engine, "accelerator": self.served.accelerator, "degraded": self.degraded}


_Client: TypeAlias = tuple[bool, str | bytes]


class Line:
    """Jobs that no worker has taken yet. Clients take turns, so that one who asks a lot delays nobody else.

    When it is full, the latest job of whoever has most in it is the one that is refused.
    """

    def __init__(self, max_waiting: int):
        self._lightest_bytes = -(-MAX_WAITING_BYTES // max_waiting)
        """What a small job counts as, so that there are never more of them."""
        self._again: list[Job] = []
        self._turns: dict[_Client, deque[Job]] = {}
        self._length = self._bytes = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Job]:
        yield from self._again
        for jobs in self._turns.values():
            yield from jobs

    def join(self, job: Job, *, retry_after_s: float) -> list[Outcome]:
        """Let a job wait for a worker; return what becomes of those that make room for it.

        Raises:
            BusyError: too many wait already, and no other client has more of them; carries the hint when to try again.
        """
        client, refused = _whose(job), list[Outcome]()
        own_bytes = self._bytes_of(client) + self._weight(job)
        while self._bytes >= MAX_WAITING_BYTES and self._turns:
            most = max(self._turns, key=self._bytes_of)
            if self._bytes_of(most) <= own_bytes:
                break
            refused.append(Outcome(self._turns[most][-1], self._busy(retry_after_s)))
            self._drop(refused[-1].job)
        if self._bytes >= MAX_WAITING_BYTES and not refused:
            # Made here: an error that a name holds too would keep the job's frames until the next garbage collection.
            raise self._busy(retry_after_s)
        self._turns.setdefault(client, deque()).append(job)
        self._count(job, 1)
        return refused

    def rejoin(self, job: Job, reason: str, now: float) -> ReiddError | None:
        """Put a job whose worker was lost in front of all others, or say why it is not tried again."""
        if job.until <= now:
            return DeadlineError(f"the worker {reason}, and the time was up; ask again")
        if len(job.failed_on) >= MAX_ATTEMPTS:
            return BackendError(f"{len(job.failed_on)} workers were lost over this request; the last one {reason}")
        self._again.append(job)
        self._count(job, 1)
        return None

    def next_again(self, avoid: Pair | None) -> Job | None:
        """Take a job that is tried again, but none that has failed on the pair to avoid."""
        for job in self._again:
            if avoid is None or avoid not in job.failed_on:
                self._again.remove(job)
                self._count(job, -1)
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
            self._count(job, -1)
            return job
        return None

    def expired(self, now: float) -> list[Job]:
        """Take out the jobs whose time is up."""
        late = [job for job in self if job.until <= now]
        for job in late:
            self._drop(job)
        return late

    def _busy(self, retry_after_s: float) -> BusyError:
        return BusyError(
            f"{self._length} requests are waiting already; try again in {retry_after_s:.1f} s", retry_after_s
        )

    def _drop(self, job: Job) -> None:
        self._count(job, -1)
        if job in self._again:
            self._again.remove(job)
            return
        jobs = self._turns[_whose(job)]
        jobs.remove(job)
        if not jobs:
            del self._turns[_whose(job)]

    def _count(self, job: Job, by: int) -> None:
        self._length += by
        self._bytes += by * self._weight(job)

    def _weight(self, job: Job) -> int:
        return max(job.held_bytes, self._lightest_bytes)

    def _bytes_of(self, client: _Client) -> int:
        return sum(map(self._weight, self._turns.get(client, ())))


def _whose(job: Job) -> _Client:
    """The client whose turn it takes: a key, however many connections it has; else each socket counts its own."""
    caller = job.caller
    return caller.remote, caller.user.name if caller.user else caller.connection
