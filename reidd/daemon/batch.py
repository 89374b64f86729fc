"""What the core is asked of the gallery while the disk takes the batch before: one transaction, so one sync."""

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np

from reidd import protocol
from reidd.daemon.auditing import Unwritten, act
from reidd.daemon.envelope import Caller
from reidd.errors import ReiddError
from reidd.gallery import Gallery, Head
from reidd.service import Answer
from reidd.service.gallery import GalleryService

log = logging.getLogger(__name__)


class Errand(NamedTuple):
    """A change that a client asks for, or a question that is answered in its turn among the changes."""

    caller: Caller
    request: protocol.AnyRequest
    until: float
    """When its deadline passes, on the monotonic clock."""
    features: np.ndarray | None = None
    pair: Mapping[str, Any] = MappingProxyType({})
    """The fields that say which pair made the features, if a network did. Not the images: the disk may take long."""


Settled = tuple[Errand, Answer | ReiddError]


class Batch:
    """Changes that are made, and an entry in the audit log: on disk all together, and only then answered."""

    def __init__(self, errands: Sequence[Errand], gallery: Gallery, service: GalleryService, unwritten: Unwritten):
        """Make the changes, as a draft for the disk."""
        self._gallery, self._service, self._unwritten = gallery, service, unwritten
        with gallery.draft() as self.draft:
            self._settled: list[Settled] = [(errand, self._attempted(errand)) for errand in errands]
            done = [
                act(errand.caller, errand.request, answer.reply)
                for errand, answer in self._settled
                if isinstance(answer, Answer) and errand.request.changes_gallery
            ]
            if acts := [*unwritten.take(), *done]:
                entry = gallery.note(acts)
                self._settled = [(errand, self._receipted(errand, answer, entry)) for errand, answer in self._settled]

    def written(self) -> list[Settled]:
        """Show readers what the disk has taken, and give what came of each."""
        self.draft.show()
        self._unwritten.written()
        return self._settled

    def refused(self, error: ReiddError) -> list[Settled]:
        """Take it all back, and give the error to all who wanted something changed."""
        self.draft.take_back()
        self._unwritten.refused()
        return [
            (errand, error if errand.request.changes_gallery else self._attempted(errand))
            for errand, _ in self._settled
        ]

    def _attempted(self, errand: Errand) -> Answer | ReiddError:
        try:
            answer = self._service.answer(errand.request, errand.features)
            if errand.pair:
                answer = _with_pair(answer, errand.pair)
            if errand.caller.retry:
                self._gallery.keep_answer(errand.caller.retry, protocol.encode(answer.reply))
            return answer
        except ReiddError as error:
            return error
        except Exception as error:  # the net around one request: the others of this batch are made all the same
            return unforeseen(error)

    def _receipted(self, errand: Errand, answer: Answer | ReiddError, entry: Head) -> Answer | ReiddError:
        """Put the entry into a receipt, and into what a repeat after a crash is told."""
        if not isinstance(answer, Answer) or not isinstance(answer.reply, protocol.Receipt):
            return answer
        receipt = msgspec.structs.replace(answer.reply, sequence=entry.seq, hash=entry.hash)
        if errand.caller.retry:
            self._gallery.keep_answer(errand.caller.retry, protocol.encode(receipt))
        return answer._replace(reply=receipt)


def _with_pair(answer: Answer, pair: Mapping[str, Any]) -> Answer:
    """Say which pair made the features."""
    events = [msgspec.structs.replace(e, **pair) if e.type == "added" else e for e in answer.events]
    return Answer(msgspec.structs.replace(answer.reply, **pair), answer.frames, tuple(events))


def unforeseen(error: Exception) -> ReiddError:
    """Log an error that nobody named, and return what the client is told."""
    log.error("a request failed in a way that reidd did not foresee", exc_info=error)
    return ReiddError(f"the core failed: {type(error).__name__}; its log has the details")
