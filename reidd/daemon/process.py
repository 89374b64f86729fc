"""One worker process as the core sees it: started, at a job, at its end."""

import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from select import epoll

import msgspec

from reidd import confinement
from reidd.daemon.jobs import Job
from reidd.daemon.orders import Orders, Pair, Ready
from reidd.daemon.pipes import CoreEnd


@dataclass(eq=False)
class Worker:
    """One worker process and what it is doing."""

    process: "subprocess.Popen[bytes]"
    pipe: CoreEnd
    name: str
    since: float
    """When it was started, began to load a pair, or got its job."""
    offer: Sequence[Pair] = ()
    """The pairs it may try."""
    trying: Pair | None = None
    ready: Ready | None = None
    job: Job | None = None
    ahead: Job | None = None
    """The job after that one, which it has been sent already."""
    answered: bool = False
    """The client of its job has been answered already, because its time was up."""
    candidate: bool = False
    """It tries a better pair; the others go on meanwhile."""
    slow: bool = False
    """It became a candidate because the pair that it tries takes long to load."""
    retiring: bool = False
    used: float = 0.0

    def offered(self, pair: Pair) -> Pair:
        """Return a pair that it names; a ValueError when it may not try that one."""
        if pair not in self.offer:
            raise ValueError(pair)
        return pair

    @property
    def pair(self) -> Pair:
        """The pair it runs; only for one that is ready."""
        assert self.ready is not None  # noqa: S101
        return self.ready.pair

    @property
    def idle(self) -> bool:
        """Whether it can take a job."""
        return self.ready is not None and self.job is None and not self.retiring and self.pipe.open

    def loading_s(self, now: float) -> float:
        """For how many seconds it has been loading the pair that it tries."""
        return now - self.since if self.ready is None and self.trying is not None else 0.0

    def begin(self, job: Job, now: float) -> None:
        """Note that it is at a job from now on."""
        self.job, self.answered, self.since, self.used = job, False, now, now

    def finish(self, now: float) -> None:
        """Note that its job is done, and that it is at the next one, if it was sent one."""
        job, self.job, self.ahead = self.ahead, None, None
        if job is not None:
            self.begin(job, now)

    def death(self) -> str | None:
        """How its process ended, or None while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        return f"died ({confinement.signal_name(-status) if status < 0 else f'status {status}'})"


def launched(orders: Callable[[int], Orders], watch: epoll) -> "tuple[subprocess.Popen[bytes], CoreEnd]":
    """Start a worker with orders that name its end of the pipe; give the process and our end. Raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs, confinement.uninterrupted():
        try:
            process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
                [sys.executable, "-m", "reidd.daemon.worker", msgspec.json.encode(orders(theirs.fileno())).decode()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        except OSError:
            ours.close()
            raise
    return process, CoreEnd(ours, watch)
