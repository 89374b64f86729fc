"""The worker processes: started, ended, reaped, and how many of them there should be on which pair."""

import logging
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from select import epoll

import msgspec

from reidd import confinement, protocol
from reidd.daemon.jobs import Job
from reidd.daemon.ladder import Ladder
from reidd.daemon.orders import Orders, Pair, Ready, Refusal, spoken
from reidd.daemon.pipes import CoreEnd
from reidd.engines import Accelerator

log = logging.getLogger(__name__)

MAX_PAUSE_S = 30.0


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
        return f"died ({signal.Signals(-status).name if status < 0 else f'status {status}'})"


class Crew:
    """All worker processes of a daemon, and the rule how many there should be on which pair."""

    def __init__(self, orders: Callable[[str, Sequence[Pair], int], Orders], size: int, ladder: Ladder):
        self.size, self.ladder = size, ladder
        self.watch = epoll()
        """Readable when a worker has sent something, or takes more of what was sent to it."""
        self._orders = orders
        self._workers: dict[int, Worker] = {}
        self._ending: list[subprocess.Popen[bytes]] = []
        self._started = 0
        self._stillborn = 0
        self._not_before = 0.0

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def at(self, fd: int) -> Worker | None:
        """The worker behind that end of a pipe, unless it was given up."""
        return self._workers.get(fd)

    def working(self) -> list[Worker]:
        """Those that are ready and stay, on the most wanted pair first, then the most recently used.

        Beyond the configured number they are the reserve.
        """
        ready = [w for w in self if w.ready is not None and not w.retiring]
        return sorted(ready, key=lambda w: (self.ladder.rank(w.pair), -w.used))

    def records(self) -> list[protocol.PairRecord]:
        """Every pair of the order, how many workers run it, and what is wrong with it."""
        at_work = Counter(worker.pair for worker in self.working())
        return [
            protocol.PairRecord(
                *rung.pair, at_work[rung.pair], rung.failures, "" if at_work[rung.pair] else rung.reason
            )
            for rung in self.ladder
        ]

    def recruit(self, now: float) -> None:
        """Start one of those that are missing: a worker, its reserve, or a candidate for a better pair."""
        regulars = [w for w in self if not (w.candidate or w.retiring)]
        working = self.working()
        if len(regulars) < self.size:
            for _ in range(self.size - len(regulars)):
                self._start_regular(self.ladder.offer(now, cautious=not working), now)
        elif len(working) >= self.size and not any(w.candidate for w in self):
            worst = working[self.size - 1].pair
            if (better := self.ladder.better(worst, now)) is not None:
                self.start([better], now, candidate=True)
            elif len(regulars) == self.size and self._lean_on_one_device(working):
                lower = [
                    pair
                    for pair in self.ladder.offer(now, cautious=False)
                    if self.ladder.rank(pair) > self.ladder.rank(worst)
                ]
                self._start_regular(lower, now)
        self._dismiss(working)

    def start(self, pairs: Sequence[Pair], now: float, *, candidate: bool = False) -> Worker:
        """Start a worker that tries these pairs in order."""
        self._started += 1
        name = f"worker-{self._started}"
        ours, theirs = socket.socketpair()
        orders = msgspec.json.encode(self._orders(name, pairs, theirs.fileno())).decode()
        with theirs, confinement.uninterrupted():
            process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
                [sys.executable, "-m", "reidd.daemon.worker", orders],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        pipe = CoreEnd(ours, self.watch)
        worker = Worker(process, pipe, name, since=now, offer=list(pairs), candidate=candidate)
        self._workers[pipe.fileno()] = worker
        return worker

    def joined(self, worker: Worker) -> None:
        """Count a worker among the regular ones, now that it is ready."""
        self._stillborn = 0
        worker.candidate = False

    def retire(self, worker: Worker) -> None:
        """Let a worker go once it has nothing to do."""
        worker.retiring = True
        if worker.job is None:
            self.end(worker)

    def end(self, worker: Worker) -> None:
        """Kill a worker; `reap` collects it, for a process stuck in a driver must not hold up the core."""
        worker.process.kill()
        self._ending.append(worker.process)
        self._workers.pop(worker.pipe.fileno(), None)
        worker.pipe.close()

    def charge(self, worker: Worker, reason: str, now: float) -> None:
        """Let the pair of a worker that was lost rest; without one, start the next worker later."""
        pair = worker.ready.pair if worker.ready else worker.trying
        if pair is None:
            self._stillborn += 1
            self._not_before = now + min(MAX_PAUSE_S, 0.1 * 2 ** min(self._stillborn, 20))
            log.warning("%s %s before it loaded anything", worker.name, reason)
            return
        pause_s = self.ladder.failed(pair, reason, now)
        self.ladder[pair].full = False
        log.warning("%s on %s %s; that pair rests for %.1f s", worker.name, spoken(pair), reason, pause_s)

    def refused(self, refusals: Sequence[Refusal], now: float) -> None:
        """Let pairs rest that a worker could not load."""
        taken = {w.pair for w in self.working()}
        for pair, reason in ((r.pair, r.reason) for r in refusals):
            if pair in taken:
                # A Coral stick serves one process: the others do without it while that one lives.
                self.ladder[pair].full = True
                continue
            pause_s = self.ladder.failed(pair, reason, now)
            level = logging.DEBUG if self.ladder[pair].optional else logging.WARNING
            log.log(level, "%s does not run: %s; next try in %.1f s", spoken(pair), reason, pause_s)

    def reap(self) -> None:
        """Collect processes that have ended."""
        self._ending = [process for process in self._ending if process.poll() is None]

    def stop(self, grace_s: float) -> None:
        """End all workers, kindly and then not."""
        processes = [worker.process for worker in self]
        for worker in self:
            worker.process.terminate()
            worker.pipe.close()
        until = time.monotonic() + grace_s
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            self._ending.append(process)
        for process in self._ending:
            process.kill()
        for process in self._ending:
            # One that is stuck in a driver does not die before the driver lets it; init collects it.
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
        self._workers.clear()
        self.watch.close()

    def _start_regular(self, pairs: Sequence[Pair], now: float) -> None:
        if pairs and now >= self._not_before:
            self.start(pairs, now)

    def _lean_on_one_device(self, working: Sequence[Worker]) -> bool:
        """Whether one device's failure would leave nobody: then a reserve on another pair waits, loaded."""
        pairs = {w.ready.pair: w.ready.accelerator for w in working[: self.size] if w.ready}
        return len(pairs) == 1 and Accelerator.CPU not in pairs.values()

    def _dismiss(self, working: Sequence[Worker]) -> None:
        """Let those go who are too many: on the least wanted pairs, after a better one came back."""
        reserve = [w for w in working[self.size :] if w.pair != working[0].pair]
        kept = reserve[:1] if self._lean_on_one_device(working) else []
        for worker in working[self.size :]:
            if worker not in kept:
                self.retire(worker)
