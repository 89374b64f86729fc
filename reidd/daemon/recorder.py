"""Changes of the gallery, batch by batch: a thread has one written while the core's loop takes in the next."""

import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby

from reidd import protocol
from reidd.daemon.auditing import Unwritten
from reidd.daemon.batch import Batch, Errand, Settled
from reidd.daemon.expiry import Expiry
from reidd.daemon.forgets import Forgets
from reidd.daemon.publisher import Publisher
from reidd.errors import BusyError, DeadlineError, ReiddError, UnknownIdError
from reidd.gallery import Draft, Gallery
from reidd.service.gallery import GalleryService

MAX_WAITING, MAX_WAITING_BYTES = 1024, 64 << 20


class Recorder:
    """Answers, in the order they came, requests that change the gallery or ask about it as a whole.

    A disk may take its time, an SD card above all: only these requests wait for it. All that came meanwhile is the next
    batch, and one sync of the disk.
    """

    def __init__(self, gallery: Gallery, service: GalleryService, unwritten: Unwritten):
        self._gallery, self._service, self._unwritten = gallery, service, unwritten
        self._forgets = Forgets()
        self._waiting: deque[Errand] = deque()
        self._waiting_bytes = 0
        self._batch: Batch | Expiry | None = None
        self._began, self._took_s = 0.0, 0.1
        self._thread = ThreadPoolExecutor(1, "recorder")
        self._writing: Future[None] | None = None
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """What becomes readable when a batch has `ended`."""
        return self._done

    @property
    def idle(self) -> bool:
        """Whether no batch is under way: only then may anybody else change the gallery."""
        return self._batch is None

    def ask(self, errand: Errand) -> None:
        """Let a request wait for its batch. Raises BusyError when too much waits."""
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            raise BusyError(f"{len(self._waiting)} requests wait for the disk; ask again later", self._took_s)
        self._waiting.append(errand)
        self._waiting_bytes += _bytes(errand)

    def overdue(self) -> list[Settled]:
        """Give up those that have waited until their deadline."""
        now = time.monotonic()
        late = [errand for errand in self._waiting if errand.until <= now]
        if late:
            self._waiting = deque(errand for errand in self._waiting if errand.until > now)
            self._waiting_bytes = sum(map(_bytes, self._waiting))
        error = DeadlineError("the disk was busy until the deadline, so nothing was changed; ask again or wait longer")
        return [(errand, error) for errand in late]

    def begin(self) -> list[Settled]:
        """Begin a batch if none is under way; returns what is settled already, for it needs no disk."""
        if self._batch is not None or not (self._waiting or self._unwritten.fresh):
            return []
        self._began = time.monotonic()
        settled = self.overdue()
        self._waiting = deque(errand for errand in self._waiting if self._allowed(errand, settled))
        return settled + self._have_written(Batch(self._next(), self._gallery, self._service, self._unwritten))

    def expire(self, publisher: Publisher) -> None:
        """Let go of instances that have lived their time, if any have; only while idle."""
        self._began = time.monotonic()
        self._have_written(Expiry(self._gallery, publisher))

    def ended(self) -> list[Settled]:
        """Give what came of the batch that is under way; waits for its end."""
        batch, writing = self._batch, self._writing
        if batch is None or writing is None:
            return []
        error = writing.exception()
        os.eventfd_read(self._done)
        self._batch = self._writing = None
        self._took_s = time.monotonic() - self._began
        if error is None:
            return batch.written()
        if isinstance(error, ReiddError):
            return batch.refused(error)
        raise error

    def close(self) -> None:
        """Wait for the thread to end."""
        self._thread.shutdown()
        os.close(self._done)

    def _next(self) -> list[Errand]:
        """Take what the next batch is of: all that waits.

        On a disk that refuses changes, as a full one does, additions apart from the others, some of which make room.
        """
        errands = list(self._waiting)
        if errands and self._gallery.storage_failure is not None:
            _, alike = next(groupby(errands, _adds))
            errands = list(alike)
        for _ in errands:
            self._waiting.popleft()
        self._waiting_bytes = sum(map(_bytes, self._waiting))
        return errands

    def _have_written(self, batch: Batch | Expiry) -> list[Settled]:
        if not batch.draft:
            return batch.written()
        self._batch, self._writing = batch, self._thread.submit(self._write, batch.draft)
        return []

    def _write(self, draft: Draft) -> None:
        try:
            draft.write()
        finally:
            os.eventfd_write(self._done, 1)

    def _allowed(self, errand: Errand, settled: list[Settled]) -> bool:
        """Whether no `forget` has overtaken an addition; else that is what came of it."""
        match errand.request:
            case protocol.Forget(id=id):
                self._forgets.note([id], errand.caller.asked)
            case protocol.Rename(id=id, into_id=into_id) | protocol.Merge(id=id, into_id=into_id):
                self._forgets.note_move(id, into_id, errand.caller.asked)
            case protocol.AddToGallery(id=id) if self._forgets.overtook(id, errand.caller.asked):
                error = UnknownIdError(f"id {id} was forgotten after this was asked; ask again to enrol it anew")
                settled.append((errand, error))
                return False
        return True


def _adds(errand: Errand) -> bool:
    return isinstance(errand.request, protocol.AddToGallery)


def _bytes(errand: Errand) -> int:
    return 0 if errand.features is None else errand.features.nbytes
