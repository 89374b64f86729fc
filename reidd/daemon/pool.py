"""The workers as the core sees them: given requests, watched, replaced, and moved to the best pair that works."""

import logging
import time
from collections.abc import Callable, Sequence
from select import EPOLLOUT

import msgspec

from reidd import protocol
from reidd.daemon.course import Course, Shift
from reidd.daemon.crew import Crew
from reidd.daemon.dispatch import Dispatch
from reidd.daemon.jobs import Job, Line, Outcome
from reidd.daemon.ladder import Ladder, Rung
from reidd.daemon.orders import ANSWER, FAILED, FAULT, READY, TRYING, Orders, Pair, Ready, Refusal
from reidd.daemon.patience import Patience
from reidd.daemon.process import Worker
from reidd.daemon.switch import Switch
from reidd.errors import BackendError, BackendUnavailableError, DeadlineError

log = logging.getLogger(__name__)

MAX_WAITING = 256
AWAKE_S = 0.25
"""So much of the time between two ticks counts for a worker: in more the core halted, and mostly the worker too."""


class Pool:
    """Gives requests to workers, and gets each an answer or an error in time whatever happens to a worker.

    A request whose worker is lost is tried once more, on another pair where one is at work. Of two idle workers the
    one on the more wanted pair gets the next request, then the most recently used, because its caches are warm.
    """

    def __init__(
        self,
        orders: Callable[[str, Sequence[Pair], int], Orders],
        size: int,
        rungs: Sequence[Rung],
        *,
        patience: Patience,
        max_pause_s: float,
        max_waiting: int = MAX_WAITING,
    ):
        self.ladder = Ladder(list(rungs), max_pause_s)
        self.failure: BackendUnavailableError | None = None
        """Why no pair can run here, when none ever has."""
        self._crew = Crew(orders, size, self.ladder)
        self._course = Course(self._crew)
        self._line = Line(max_waiting)
        self._patience = patience
        self._hands = Dispatch(self._line, self._crew, patience)
        self._outcomes: list[Outcome] = []
        self._switch = Switch(self._crew)
        self._typical_s = 0.05
        self._ticked = time.monotonic()

    def fileno(self) -> int:
        """What becomes readable when there is something to `receive`."""
        return self._crew.watch.fileno()

    @property
    def waiting(self) -> int:
        """Requests that no worker has taken yet."""
        return len(self._line)

    @property
    def busy(self) -> bool:
        """Whether a worker is at work or starting: then `tick` must be called often."""
        return any(worker.job is not None or worker.ready is None for worker in self._crew)

    @property
    def alive(self) -> int:
        """Workers that are ready."""
        return len(self._crew.working())

    @property
    def ready(self) -> Ready | None:
        """What the best worker runs, or last ran."""
        return self._course.ready

    @property
    def degraded(self) -> bool:
        """Whether requests go to a less wanted pair than they ought to."""
        return self._course.degraded

    def records(self) -> list[protocol.PairRecord]:
        """Every pair of the order, how many workers run it, and what is wrong with it."""
        return self._crew.records()

    def submit(self, job: Job) -> None:
        """Give a job to a worker, or let it wait for one, in place of another client's if need be.

        Raises:
            BusyError: too many wait already.
        """
        self._outcomes += self._line.join(
            job, retry_after_s=max(0.1, len(self._line) * self._typical_s / self._crew.size)
        )
        self._dispatch()

    def switch(self, job: Job, pair: Pair) -> None:
        """Try another pair in a new worker; when it is ready it and its like replace the present ones."""
        self._switch.begin(job, pair)

    def receive(self) -> list[Outcome]:
        """Take what the workers have sent."""
        for fd, event in self._crew.watch.poll(0):
            if (worker := self._crew.at(fd)) is not None:
                if event & EPOLLOUT:
                    worker.pipe.flush()
                if event & ~EPOLLOUT:
                    self._listen(worker)
        self._dispatch()
        return self._taken()

    def tick(self) -> list[Outcome]:
        """Replace workers that died or hang, give up on jobs whose time is up, try better pairs again."""
        now = time.monotonic()
        # A board that is short of memory halts for seconds, and `systemctl freeze` for as long as it likes.
        halted_s, self._ticked = max(0.0, now - self._ticked - AWAKE_S), now
        self._crew.reap()
        for worker in self._crew:
            worker.since = min(now, worker.since + halted_s)
            self._watch(worker, now)
        for job in self._line.expired(now):
            self._outcomes.append(Outcome(job, self._too_late()))
        self._outcomes += self._switch.expired(now)
        if self.failure is None:
            self._crew.recruit(now)
        self._course.follow()
        self._dispatch()
        return self._taken()

    def shifts(self) -> list[Shift]:
        """The changes of pair since the last call."""
        return self._course.shifts()

    def stop(self, grace_s: float = 0.3) -> None:
        """End all workers, kindly and then not."""
        self._crew.stop(grace_s)

    def _taken(self) -> list[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _listen(self, worker: Worker) -> None:
        """Take what one worker has sent; whatever it is, it costs this worker at most."""
        now = time.monotonic()
        try:
            for kind, *rest in worker.pipe.receive():
                if not worker.pipe.open:
                    break  # given up over what it said before: its jobs are no longer its own
                self._heard(worker, kind, rest, now)
        except EOFError:
            # How it ended is seen when the kernel says that it has; what it was doing is settled then.
            worker.process.kill()
        except BackendError as error:
            self._lost(worker, str(error), now)
        except (msgspec.MsgspecError, LookupError, ValueError, RecursionError):
            log.debug("%s sends nonsense", worker.name, exc_info=True)
            self._lost(worker, "sent nonsense", now)

    def _heard(self, worker: Worker, kind: bytes, rest: list[bytes], now: float) -> None:
        if kind == ANSWER and worker.job is not None:
            self._answered(worker, worker.job, rest, now)
        elif kind == FAULT and worker.job is not None:
            self._lost(worker, rest[0].decode(), now)
        elif worker.ready is None and kind == TRYING:
            worker.trying, worker.since = worker.offered(msgspec.json.decode(rest[0], type=Pair)), now
        elif worker.ready is None and kind == READY:
            self._became_ready(worker, msgspec.json.decode(rest[0], type=Ready), now)
        elif worker.ready is None and kind == FAILED:
            self._found_no_pair(worker, msgspec.json.decode(rest[0], type=list[Refusal]), now)
        else:
            raise ValueError(kind)

    def _answered(self, worker: Worker, job: Job, reply: list[bytes], now: float) -> None:
        self._typical_s += 0.1 * (now - worker.since - self._typical_s)
        if not worker.answered:
            self._outcomes.append(Outcome(job, reply, worker.ready, self.ladder.is_degraded(worker.pair)))
        worker.finish(now)
        if worker.retiring and worker.job is None:
            self._crew.end(worker)

    def _became_ready(self, worker: Worker, ready: Ready, now: float) -> None:
        worker.offered(ready.pair)
        self._crew.refused(ready.refused, now)
        worker.ready, worker.used = ready, now
        self._crew.joined(worker)
        if self._switch.tries(worker):
            self._outcomes.append(self._switch.succeeded(worker))
        self.ladder.worked(ready.pair)
        log.info("%s is ready on %s/%s", worker.name, ready.engine, ready.accelerator)
        self._course.follow()

    def _found_no_pair(self, worker: Worker, refusals: Sequence[Refusal], now: float) -> None:
        self._crew.end(worker)
        reasons = "; ".join(refusal.reason for refusal in refusals)
        if self._switch.tries(worker):
            self._outcomes.append(self._switch.failed(reasons))
            return
        self._crew.refused(refusals, now)
        if self.ready is None and {refusal.pair for refusal in refusals} == {rung.pair for rung in self.ladder}:
            self.failure = BackendUnavailableError(reasons)

    def _watch(self, worker: Worker, now: float) -> None:
        if (complaint := self._patience.complaint(worker, now)) is not None:
            self._lost(worker, complaint, now)
        elif worker.job is not None and worker.job.until <= now and not worker.answered:
            worker.answered = True
            error = DeadlineError("the worker did not answer in time; wait longer")
            self._outcomes.append(Outcome(worker.job, error))

    def _lost(self, worker: Worker, reason: str, now: float) -> None:
        """Give a worker up, charge the pair it ran, and try its request again where time allows."""
        self._crew.end(worker)
        pair = worker.ready.pair if worker.ready else worker.trying
        if self._switch.tries(worker):
            self._outcomes.append(self._switch.failed(f"the worker {reason} while loading"))
        else:
            self._crew.charge(worker, reason, now)
        if worker.job is not None and not worker.answered and pair is not None:
            worker.job.failed_on.append(pair)
            self._again(worker.job, reason, now)
        if worker.ahead is not None:
            self._again(worker.ahead, reason, now)
        self._course.follow()

    def _again(self, job: Job, reason: str, now: float) -> None:
        if (error := self._line.rejoin(job, reason, now)) is None:
            return
        if isinstance(error, BackendError) and (len(set(job.failed_on)) > 1 or len(self.ladder.rungs) == 1):
            # What two pairs fail at is the request's fault; neither may be lost over a poisonous image.
            self.ladder.forgive(job.failed_on)
        self._outcomes.append(Outcome(job, error))

    def _dispatch(self) -> None:
        self._outcomes += [Outcome(job, self._too_late()) for job in self._hands.hand_out(time.monotonic())]

    def _too_late(self) -> DeadlineError:
        if self.alive:
            return DeadlineError("no worker was free in time; send fewer requests or wait longer")
        reasons = self.ladder.reasons() or "they are starting"
        return DeadlineError(f"no worker was ready in time ({reasons}); try again in a moment")
