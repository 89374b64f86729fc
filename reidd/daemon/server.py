"""The core: one loop over the sockets, the only writer of the gallery. It decodes no image and loads no plugin."""

import logging
import math
import select
import socket
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import msgspec

from reidd import protocol
from reidd.daemon.auditing import Unwritten, act, key_acts
from reidd.daemon.batch import Errand, Settled, unforeseen
from reidd.daemon.envelope import Caller, opened
from reidd.daemon.events import loaded, published
from reidd.daemon.front import Front
from reidd.daemon.housekeeping import Housekeeping
from reidd.daemon.jobs import Job, Outcome
from reidd.daemon.notify import Watchdog
from reidd.daemon.outcomes import answer_or_errand
from reidd.daemon.pool import Pool
from reidd.daemon.publisher import Publisher
from reidd.daemon.recorder import Recorder
from reidd.daemon.retries import WINDOW_S, Repeat, Retries, key_of
from reidd.daemon.rights import check, coarse_reply, may_see_scores
from reidd.daemon.served_socket import Message
from reidd.daemon.status import status
from reidd.errors import BackendError, BusyError, ReiddError, RequestError, UnknownIdError
from reidd.gallery import Act, Gallery
from reidd.model import ModelConfig
from reidd.service import Answer
from reidd.service.gallery import GalleryService

log = logging.getLogger(__name__)

TICK_S = 0.05
BUSY_POLL_S, IDLE_POLL_S = 0.05, 1.0


class Server:
    """Takes requests from the front socket, has workers answer those with images, and changes the gallery itself."""

    def __init__(
        self,
        *,
        front: Front,
        pool: Pool,
        publisher: Publisher,
        gallery: Gallery,
        model: ModelConfig,
        wakeup: socket.socket,
        ring: Path,
        analytics: str,
        audit_days: float,
        max_distance: float | None,
    ):
        self._front, self._pool, self._publisher = front, pool, publisher
        self._gallery, self._service = gallery, GalleryService(gallery)
        self._wakeup, self._ring, self._analytics = wakeup, ring, analytics
        self._model, self._max_distance = model, max_distance
        self._retries = Retries(known=gallery.answers(WINDOW_S), now=time.monotonic())
        self._unwritten = Unwritten()
        self._unwritten.note(Act(who="daemon", what="started", keys=front.key_names))
        self._recorder = Recorder(gallery, self._service, self._unwritten)
        self._housekeeping = Housekeeping(gallery, publisher, self._recorder, audit_days)
        self._started = time.monotonic()
        self._epoll = select.epoll()
        others = (publisher.feed, pool, self._recorder, wakeup)
        for source in (*front.sources, *(other.fileno() for other in others)):
            self._epoll.register(source, select.EPOLLIN)
        self._next_tick = 0.0
        self._watchdog = Watchdog()

    def run(self, asked_to_stop: Callable[[], bool]) -> None:
        """Serve until asked to stop; a signal ends the wait through the wake-up socket."""
        try:
            while not asked_to_stop():
                busy = self._pool.waiting or self._pool.busy or not self._recorder.idle
                at_once = self._front.waiting or self._publisher.feed.waiting
                ready = self._epoll.poll(0 if at_once else BUSY_POLL_S if busy else IDLE_POLL_S)
                self._turn({fd for fd, _ in ready})
            # What was accepted is carried out.
            self._tell(self._recorder.begin())
            while not self._recorder.idle:
                self._tell(self._recorder.ended())
                self._tell(self._recorder.begin())
        finally:
            # Waits for the thread that writes, for after this the store is closed.
            self._recorder.close()
            self._epoll.close()

    def _turn(self, ready: Container[int]) -> None:
        now = time.monotonic()
        if self._recorder.fileno() in ready:
            self._tell(self._recorder.ended())
        outcomes: list[Outcome] = []
        if self._pool.fileno() in ready:
            outcomes += self._pool.receive()
        signalled = self._wakeup.fileno() in ready
        if signalled:
            self._wakeup.recv(4096)
        if signalled or now >= self._next_tick:
            outcomes += self._tick(now)
        for shift in self._pool.shifts():
            self._publisher.publish(loaded(shift))
        for outcome in outcomes:
            self._conclude(outcome)
        if self._front.door is not None:
            self._front.door.turn(now)
            self._unwritten.note(*key_acts(self._front.door.news()))
        self._publisher.feed.turn()
        for message in self._front.messages():
            self._accept(message)
        self._tell(self._recorder.begin())

    def _tick(self, now: float) -> list[Outcome]:
        self._next_tick = now + TICK_S
        self._housekeeping.tick(now)
        # Fed by this loop, not by a thread, so that a hung loop gets us restarted.
        self._watchdog.feed(now)
        self._tell(self._recorder.overdue())
        return self._pool.tick()

    def _accept(self, message: Message) -> None:
        """Take one request in."""
        caller = Caller((message.frames[0],), message.key is not None, uid=message.uid, asked=time.monotonic())
        header = b""
        try:
            envelope, header, frames = opened(message.frames)
            caller = caller._replace(envelope=envelope)
            caller = caller._replace(user=self._front.user(message.key))
            request = protocol.decode_request(header)
            check(caller.user, request)
            if len(frames) != len(request.frames):
                came = len(frames) if len(frames) <= protocol.MAX_PARTS else f"more than {protocol.MAX_PARTS}"
                raise RequestError(f"{len(request.frames)} parts are described but {came} frames came")
            caller = caller._replace(retry=key_of(request, frames, caller.user))
            if not self._repeated(caller):
                self._route(caller, request, header, frames)
        except ReiddError as error:
            self._fail(caller, protocol.request_id(header), error)
        except Exception as error:  # the net around one request
            self._fail(caller, protocol.request_id(header), unforeseen(error))

    def _repeated(self, caller: Caller) -> bool:
        """Whether this very change was asked for already; then it is answered, now or together with the first."""
        if not caller.retry:
            return False
        known = self._retries.noted(caller.retry, caller, time.monotonic())
        if isinstance(known, bytes):
            self._front.reply(caller, [known])
        return known is not Repeat.FIRST

    def _route(self, caller: Caller, request: protocol.AnyRequest, header: bytes, frames: list[bytes]) -> None:
        until = caller.asked + request.deadline_ms / 1000
        if (features := self._service.given(request, frames)) is not None:
            self._recorder.ask(Errand(caller, request, until, features))
            return
        job = Job(caller, request, header, frames, until)
        match request:
            case protocol.Status():
                self._say(caller, Answer(self._status(request, caller)))
            case protocol.Events():
                self._say(caller, Answer(self._publisher.since(request, exact=may_see_scores(caller.user))))
            case protocol.PublishAnalytics():
                self._say(caller, Answer(protocol.Done(request=request.request), events=(published(request),)))
            case protocol.Load():
                self._pool.switch(job, (request.engine, request.accelerator))
            case _ if request.needs_worker:
                self._pool.submit(job)
            case _:
                self._recorder.ask(Errand(caller, request, until))

    def _conclude(self, outcome: Outcome) -> None:
        """Settle one outcome; a worker that answers nonsense costs its request and no more."""
        try:
            self._settle(outcome)
        except BusyError as refusal:
            self._fail(outcome.job.caller, outcome.job.request.request, refusal)
        except Exception:  # the net around one request: a worker is not trusted to make sense
            log.exception("a worker's answer makes no sense")
            error = BackendError("the worker answered nonsense; ask again, and look into the daemon's log")
            self._fail(outcome.job.caller, outcome.job.request.request, error)

    def _settle(self, outcome: Outcome) -> None:
        """Do with a worker's reply what its request asks for."""
        job = outcome.job
        if isinstance(outcome.reply, ReiddError):
            self._fail(job.caller, job.request.request, outcome.reply)
            return
        answer = answer_or_errand(outcome, outcome.reply, self._service.labelled)
        if isinstance(answer, Errand):
            self._recorder.ask(answer)
            return
        if isinstance(job.request, protocol.Load):
            self._unwritten.note(act(job.caller, job.request, answer.reply))
        self._say(job.caller, answer, asked=job.caller.asked)

    def _tell(self, settled: Sequence[Settled]) -> None:
        """Tell clients what came of what they asked of the gallery; what was changed is on the disk."""
        for errand, answer in settled:
            if isinstance(answer, ReiddError):
                # A repeat of what failed is tried anew, but not of what came too late for a forgotten id.
                final = isinstance(errand.request, protocol.AddToGallery) and isinstance(answer, UnknownIdError)
                self._fail(errand.caller, errand.request.request, answer, final=final)
                continue
            if isinstance(answer.reply, protocol.RowsReply) and answer.reply.instances:
                self._unwritten.note(act(errand.caller, errand.request, answer.reply))
            if isinstance(answer.reply, protocol.Receipt):
                self._say(errand.caller, answer._replace(reply=self._forgot(answer.reply)))
            else:
                self._say(errand.caller, answer)

    def _forgot(self, receipt: protocol.Receipt) -> protocol.Receipt:
        """Let the rest of the core forget too, now that the gallery has, and say which files were out of reach."""
        self._publisher.forget(receipt.id)
        left = [*receipt.not_reached, *self._gallery.remains()]
        return msgspec.structs.replace(receipt, not_reached=left)

    def _say(self, caller: Caller, answer: Answer, *, asked: float = math.inf) -> None:
        reply, frames = answer.reply, answer.frames
        if isinstance(reply, protocol.Results) and not may_see_scores(caller.user):
            reply, frames = coarse_reply(reply), (b"",)
        encoded = protocol.encode(reply)
        for one in (caller, *self._retries.finished(caller.retry, encoded, time.monotonic())):
            self._front.reply(one, [encoded, *frames])
        # Afterwards: whoever asked is waiting, a subscriber is not.
        for event in answer.events:
            self._publisher.publish(event, asked=asked)

    def _fail(self, caller: Caller, request: str, error: ReiddError, *, final: bool = False) -> None:
        reply = protocol.encode(protocol.failed(error, request))
        for one in (caller, *self._retries.finished(caller.retry, reply if final else None, time.monotonic())):
            self._front.reply(one, [reply])

    def _status(self, request: protocol.Status, caller: Caller) -> protocol.StatusReply:
        return status(
            request,
            started=self._started,
            model=self._model,
            gallery=self._gallery,
            pool=self._pool,
            publisher=self._publisher,
            ring=self._ring,
            max_distance=self._max_distance,
            analytics=self._analytics if not caller.remote else self._front.remote_analytics,
        )
