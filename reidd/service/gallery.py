"""Requests that read or change the gallery as a whole: answered by its one writer."""

import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from reidd import protocol
from reidd.errors import RequestError
from reidd.gallery import Change, Gallery
from reidd.protocol import Event, PredictionRecord, ResultRecord
from reidd.service import Answer, Frame, feature_rows, float32_bytes

ERASED = ("features", "label, pin and time to live", "changes that could be undone", "recent events about the id")
OUT_OF_REACH = (
    "backups and files that `reidd save` wrote before; put back here they come without this id",
    "what subscribers and clients were told, and what they keep",
    "old blocks that an SD card, a disk or a file system keeps, and memory that was swapped out",
    "the audit log and the list of forgotten ids, which hold the id and the instance numbers",
)


class GalleryService:
    """Answers requests that read or change the gallery as a whole; the gallery's only writer."""

    def __init__(self, gallery: Gallery):
        self._gallery = gallery

    def answer(self, request: protocol.AnyRequest, features: np.ndarray | None = None) -> Answer:
        """Answer one request; `features` are those that an `AddToGallery` stores."""
        match request:
            case protocol.AddToGallery():
                return self._add(request, features)
            case protocol.RemoveFromGallery():
                change = self._gallery.remove(request.id)
                return _changed(request, change, Event(type="removed", id=request.id, count=change.removed))
            case protocol.Forget() | protocol.Forgotten() | protocol.Audit():
                return self._account(request)
            case protocol.Clear():
                change = self._gallery.clear()
                return _changed(request, change, Event(type="cleared", count=change.removed))
            case protocol.SetPerIdGalleryLimit():
                return self._limit(request)
            case protocol.SetLabel():
                self._gallery.set_label(request.id, request.label)
                return _done(request, Event(type="labelled", id=request.id, label=request.label))
            case protocol.Ids():
                return Answer(self._ids(request))
            case protocol.Rows():
                return self._rows(request)
        return self._mend(request)

    def given(self, request: protocol.AnyRequest, frames: Sequence[Frame]) -> np.ndarray | None:
        """The features that are to be stored as they are; None when there is an image, for a worker to look at."""
        if not isinstance(request, protocol.AddToGallery):
            return None
        dim = self._gallery.reader.dim
        rows = [np.empty((0, dim), np.float32)]
        for part, frame in zip(request.parts, frames, strict=True):
            if not isinstance(part, protocol.Feature):
                return None
            rows.append(feature_rows(part, frame, dim))
        return np.concatenate(rows)

    def labelled(self, records: Sequence[ResultRecord]) -> list[ResultRecord]:
        """Put the ids' names into predictions."""
        return [
            ResultRecord(
                [PredictionRecord(p.id, p.rank, p.distance, self._gallery.label(p.id)) for p in r.predictions],
                r.duration,
                r.verdict,
            )
            for r in records
        ]

    def _mend(self, request: protocol.AnyRequest) -> Answer:
        match request:
            case protocol.Pin():
                self._gallery.pin(request.id)
                return _done(request, Event(type="pinned", id=request.id))
            case protocol.Unpin():
                self._gallery.unpin(request.id)
                return _done(request, Event(type="unpinned", id=request.id))
            case protocol.Rename() | protocol.Merge():
                return self._into(request)
            case protocol.Move():
                change = self._gallery.move(request.instance, request.id)
                moved, dropped = list(change.moved), _numbers(change.dropped)
                return _changed(request, change, Event(type="moved", id=request.id, instances=moved, dropped=dropped))
            case protocol.Undo():
                return _changed(request, self._gallery.undo(), Event(type="undone"))
            case protocol.SetTtl():
                self._gallery.set_ttl(request.seconds, request.id)
                id = msgspec.UNSET if request.id is None else request.id
                return _done(request, Event(type="limited", id=id, ttl_s=request.seconds))
        raise RequestError(f"{type(request).__name__} is not about the gallery")

    def _add(self, request: protocol.AddToGallery, features: np.ndarray | None) -> Answer:
        if features is None or not len(features):
            raise RequestError("parts: expected at least one image or feature to add")
        change = self._gallery.add(request.id, features)
        dropped, overwritten = _numbers(change.dropped), _numbers(change.overwritten)
        events = [Event(type="added", id=request.id, instances=list(change.added), dropped=dropped)]
        if overwritten:
            events.append(Event(type="overwritten", instances=overwritten))
        return _changed(request, change, *events)

    def _account(self, request: protocol.Forget | protocol.Forgotten | protocol.Audit) -> Answer:
        match request:
            case protocol.Forget():
                return self._forget(request)
            case protocol.Forgotten():
                return self._forgotten(request)
            case protocol.Audit():
                return self._audit(request)

    def _forget(self, request: protocol.Forget) -> Answer:
        gone = self._gallery.forget(request.id)
        reply = protocol.Receipt(
            request=request.request,
            id=request.id,
            instances=list(gone),
            erased=list(ERASED),
            time=time.time(),
            not_reached=list(OUT_OF_REACH),
        )
        return Answer(reply, events=(Event(type="forgotten", id=request.id, count=len(gone)),))

    def _forgotten(self, request: protocol.Forgotten) -> Answer:
        forgotten = self._gallery.forgotten()
        records = [
            protocol.ForgottenRecord(id, forgotten[id].time_ns, forgotten[id].before, list(forgotten[id].instances))
            for id in _page(sorted(forgotten), request.after, request.limit)
        ]
        return Answer(protocol.ForgottenReply(request=request.request, origin=self._gallery.origin, ids=records))

    def _audit(self, request: protocol.Audit) -> Answer:
        numbered = self._gallery.audit_lines(request.after, request.limit)
        reply = protocol.AuditReply(
            request=request.request,
            lines=[line for _, line in numbered],
            last=numbered[-1][0] if numbered else request.after,
            sequence=self._gallery.audit.seq,
            hash=self._gallery.audit.hash,
        )
        return Answer(reply)

    def _into(self, request: protocol.Rename | protocol.Merge) -> Answer:
        if request.id == request.into_id:
            raise RequestError(f"id {request.id} cannot become itself; name two ids")
        if isinstance(request, protocol.Rename):
            change = self._gallery.rename(request.id, request.into_id)
            return _changed(request, change, Event(type="renamed", id=request.id, into_id=request.into_id))
        change = self._gallery.merge(request.id, request.into_id)
        dropped = _numbers(change.dropped)
        return _changed(request, change, Event(type="merged", id=request.id, into_id=request.into_id, dropped=dropped))

    def _limit(self, request: protocol.SetPerIdGalleryLimit) -> Answer:
        change = self._gallery.set_limit(request.count, request.drop_method)
        dropped = _numbers(change.dropped)
        event = Event(type="limited", count=request.count, drop_method=request.drop_method, dropped=dropped)
        return _changed(request, change, event)

    def _ids(self, request: protocol.Ids) -> protocol.IdList:
        if request.only is None:
            ids = self._gallery.ids()
        else:
            # Those that are not there go before a page is cut: whoever gets an empty one asks no more.
            ids = sorted(id for id in set(request.only) if self._gallery.count(id))
        asked = (
            (id, self._gallery.count(id), self._gallery.identity(id)) for id in _page(ids, request.after, request.limit)
        )
        return protocol.IdList(
            request=request.request,
            ids=[protocol.IdRecord(id, n, known.label, known.pinned, known.ttl_s) for id, n, known in asked],
            count=self._gallery.count(),
            limit=self._gallery.limit,
            ttl_s=self._gallery.ttl_s,
        )

    def _rows(self, request: protocol.Rows) -> Answer:
        rows = self._gallery.reader.rows(request.after, request.limit)
        reply = protocol.RowsReply(
            request=request.request,
            shape=(rows.features.shape[0], rows.features.shape[1]),
            instances=rows.numbers.tolist(),
            ids=rows.ids.tolist(),
            times_ns=rows.times_ns.tolist(),
        )
        return Answer(reply, (float32_bytes(rows.features),))


def _page(ids: Sequence[int], after: int | None, limit: int) -> Sequence[int]:
    """The first of ascending ids, or the first behind one."""
    start = 0 if after is None else bisect_right(ids, after)
    return ids[start : start + limit]


def _numbers(instances: Iterable[tuple[int, int]]) -> list[int]:
    return [instance for instance, _ in instances]


def _done(request: protocol.Request, event: Event) -> Answer:
    """Answer that it is done; no instance came or went."""
    return Answer(protocol.Done(request=request.request), events=(event,))


def _changed(request: protocol.Request, change: Change, *events: Event) -> Answer:
    """Answer with what a change did to instances."""
    reply = protocol.Changed(
        request=request.request,
        added=list(change.added),
        dropped=_numbers(change.dropped),
        overwritten=_numbers(change.overwritten),
        removed=change.removed,
        moved=list(change.moved),
        taken_back=change.taken_back,
    )
    return Answer(reply, events=events)
