"""The changes of the gallery that one turn of the core's loop makes: one transaction, so one sync of the disk."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from reidd import protocol
from reidd.daemon.auditing import Unwritten, act
from reidd.daemon.envelope import Caller
from reidd.daemon.jobs import Outcome
from reidd.errors import ReiddError
from reidd.gallery import Gallery, Head
from reidd.service import Answer
from reidd.service.changes import GalleryService

log = logging.getLogger(__name__)


class Change(NamedTuple):
    """A change that a client asks for."""

    client: Caller
    request: protocol.AnyRequest
    features: np.ndarray | None = None
    outcome: Outcome | None = None
    """How a network got the features, if one had to."""


Settled = tuple[Change, Answer | ReiddError]


def made(changes: Sequence[Change], gallery: Gallery, service: GalleryService, unwritten: Unwritten) -> list[Settled]:
    """Make changes and their entry in the audit log: all that is answered is on disk, or when that fails nothing is."""
    settled: list[Settled] = []
    try:
        with gallery.transaction():
            for change in changes:
                settled.append((change, _attempted(change, gallery, service)))
            done = [act(c.client, c.request, a.reply) for c, a in settled if isinstance(a, Answer)]
            if acts := [*unwritten.all(), *done]:
                entry = gallery.note(acts)
                settled = [(change, _receipted(change, answer, entry, gallery)) for change, answer in settled]
        unwritten.written()
    except ReiddError as error:
        return [(change, error) for change in changes]
    return settled


def _attempted(change: Change, gallery: Gallery, service: GalleryService) -> Answer | ReiddError:
    try:
        answer = service.answer(change.request, change.features)
        if change.outcome is not None:
            answer = _with_pair(answer, change.outcome)
        if change.client.retry:
            gallery.keep_answer(change.client.retry, protocol.encode(answer.reply))
        return answer
    except ReiddError as error:
        return error
    except Exception as error:  # the net around one request: the others of this turn are made all the same
        return unforeseen(error)


def _receipted(change: Change, answer: Answer | ReiddError, entry: Head, gallery: Gallery) -> Answer | ReiddError:
    """Put the entry into a receipt, and into what a repeat after a crash is told."""
    if not isinstance(answer, Answer) or not isinstance(answer.reply, protocol.Receipt):
        return answer
    receipt = msgspec.structs.replace(answer.reply, sequence=entry.seq, hash=entry.hash)
    if change.client.retry:
        gallery.keep_answer(change.client.retry, protocol.encode(receipt))
    return answer._replace(reply=receipt)


def _with_pair(answer: Answer, outcome: Outcome) -> Answer:
    """Say which pair made the features, if a network did."""
    if outcome.served is None or not outcome.job.images:
        return answer
    pair = {
        "engine": outcome.served.engine,
        "accelerator": outcome.served.accelerator,
        "degraded": outcome.degraded,
    }
    events = [msgspec.structs.replace(e, **pair) if e.type == "added" else e for e in answer.events]
    return Answer(msgspec.structs.replace(answer.reply, **pair), answer.frames, tuple(events))


def unforeseen(error: Exception) -> ReiddError:
    """Log an error that nobody named, and return what the client is told."""
    log.error("a request failed in a way that reidd did not foresee", exc_info=error)
    return ReiddError(f"the core failed: {type(error).__name__}; its log has the details")
