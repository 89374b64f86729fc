"""The worker processes: started, ended, reaped, and how many of them there should be on which pair."""

import logging
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from select import epoll

from reidd import protocol
from reidd.daemon.ladder import Ladder
from reidd.daemon.orders import Orders, Pair, Refusal, spoken
from reidd.daemon.process import Worker, launched
from reidd.engines import Accelerator
from reidd.errors import BackendError

log = logging.getLogger(__name__)

MAX_PAUSE_S = 30.0
SLOW_LOAD_S = 5.0
"""Whoever takes longer to load a pair, for its driver may hang, keeps nobody from serving on another."""


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
        for worker in self:
            if not worker.candidate and worker.loading_s(now) > SLOW_LOAD_S:
                worker.candidate = worker.slow = True
        regulars = [w for w in self if not (w.candidate or w.retiring)]
        working = self.working()
        if len(regulars) < self.size:
            for _ in range(self.size - len(regulars)):
                self._try_start(self._offer(now, cautious=not working), now)
        elif len(working) >= self.size and not any(w.candidate for w in self):
            worst = working[self.size - 1].pair
            if (better := self.ladder.better(worst, now)) is not None:
                self._try_start([better], now, candidate=True)
            elif len(regulars) == self.size and self._lean_on_one_device(working):
                lower = [
                    pair
                    for pair in self.ladder.offer(now, cautious=False)
                    if self.ladder.rank(pair) > self.ladder.rank(worst)
                ]
                self._try_start(lower, now)
        self._dismiss(working)

    def start(self, pairs: Sequence[Pair], now: float, *, candidate: bool = False) -> Worker:
        """Start a worker that tries these pairs in order. Raises BackendError when there can be no more processes."""
        self._started += 1
        name = f"worker-{self._started}"
        orders = partial(self._orders, name, pairs)
        try:
            process, pipe = launched(orders, self.watch)
        except OSError as error:
            raise BackendError(f"no worker can be started: {error.strerror}") from None
        worker = Worker(process, pipe, name, since=now, offer=list(pairs), candidate=candidate)
        self._workers[pipe.fileno()] = worker
        return worker

    def joined(self, worker: Worker) -> None:
        """Count a worker among the regular ones, now that it is ready."""
        self._stillborn = 0
        worker.candidate = worker.slow = False

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
        if worker.ready is not None:
            self.ladder[worker.pair].full = False

    def charge(self, worker: Worker, reason: str, now: float) -> None:
        """Let the pair of a worker that was lost rest; without one, start the next worker later."""
        pair = worker.ready.pair if worker.ready else worker.trying
        if pair is None:
            self._wait(now)
            log.warning("%s %s before it loaded anything", worker.name, reason)
            return
        pause_s = self.ladder.failed(pair, reason, now)
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

    def _offer(self, now: float, *, cautious: bool) -> list[Pair]:
        """The pairs that a new worker may try: not one that is slow to load, nor those before it."""
        tried = max((self.ladder.rank(w.trying) for w in self if w.slow and w.trying), default=-1)
        return [pair for pair in self.ladder.offer(now, cautious=cautious) if self.ladder.rank(pair) > tried]

    def _try_start(self, pairs: Sequence[Pair], now: float, *, candidate: bool = False) -> None:
        if not pairs or now < self._not_before:
            return
        try:
            self.start(pairs, now, candidate=candidate)
        except BackendError as error:
            self._wait(now)
            log.warning("%s; next try in %.1f s", error, self._not_before - now)

    def _wait(self, now: float) -> None:
        """Start the next worker later, for this one came to nothing whatever its pair."""
        self._stillborn += 1
        self._not_before = now + min(MAX_PAUSE_S, 0.1 * 2 ** min(self._stillborn, 20))

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
