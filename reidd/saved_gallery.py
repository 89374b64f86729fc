"""The methods of the published API that write the gallery to a file and read it again."""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np

from reidd import protocol
from reidd.enrolment import Enrolment
from reidd.errors import FeatureSpaceError, ForbiddenError, RequestError, UnknownIdError
from reidd.gallery import Forgotten, Limit, Retention, Rows, archive, without_forgotten
from reidd.service import float32_rows


class SavedGallery(Enrolment):
    """A gallery that can go into a file and come out of one."""

    def save_gallery(self, path: str | os.PathLike[str]) -> None:
        """Write all instances, with ids, labels, pins, limit and times to live, to one file: features, never images."""
        space, dim = self._space()
        origin = self._reply(protocol.ForgottenReply, protocol.Forgotten(limit=1)).origin
        known, records = self._reply(protocol.IdList, protocol.Ids(only=[])), self.id_records()
        archive.save(
            Path(path),
            _collected(self._rows(), dim),
            labels={record.id: record.label for record in records if record.label is not None},
            space=space,
            retention=Retention(
                tuple(record.id for record in records if record.pinned),
                {record.id: record.ttl_s for record in records if record.ttl_s is not None},
                Limit(*known.limit) if known.limit else None,
                known.ttl_s,
            ),
            origin=origin,
        )

    def load_gallery(self, path: str | os.PathLike[str], *, with_forgotten: bool = False) -> list[int]:
        """Add all instances of a file that `save_gallery` wrote to this gallery, with their labels and pins.

        The file's limit and its gallery's time to live come along when this gallery is empty.

        Args:
            path: the file.
            with_forgotten: bring back what was forgotten here after the file was written, too.

        Returns:
            The ids that were left out, because they were forgotten.

        Raises:
            GalleryError: the file is damaged or is no saved gallery.
            FeatureSpaceError: it holds features of another network.
        """
        saved = archive.load(Path(path))
        if saved.space != self._space()[0]:
            raise FeatureSpaceError(
                f"{path} holds features of another network or preprocessing; enrol from images again"
            )
        was_empty = self.count() == 0
        left_out: list[int] = []
        if not with_forgotten:
            saved, left_out = without_forgotten(saved, *self._forgotten())
        added: list[int] = []
        for start, end in _runs(saved.rows.ids):
            added += self._add_features(saved.rows.features[start:end], int(saved.rows.ids[start]))
        if not with_forgotten:
            saved, late = self._without_late(saved, added)
            left_out = sorted({*left_out, *late})
        # A gallery that is full has overwritten the oldest by now.
        saved = saved.about(set(self.ids()))
        for id, label in saved.labels.items():
            # As in what follows: whom somebody else removes meanwhile has none.
            with suppress(UnknownIdError):
                self.set_label(id, label)
        if saved.retention is not None:
            self._adopt(saved.retention, whole=was_empty)
        return left_out

    def _without_late(self, saved: archive.Archive, added: list[int]) -> tuple[archive.Archive, list[int]]:
        """Let go of whom somebody forgot while the file was read: of a large one that takes minutes."""
        kept, late = without_forgotten(saved, *self._forgotten())
        gone = ~np.isin(saved.rows.numbers, kept.rows.numbers)
        # One by one, for somebody may have been enrolled as that id since.
        nobody = secrets.randbits(62)
        for number, id in zip(np.array(added)[gone].tolist(), saved.rows.ids[gone].tolist(), strict=True):
            try:
                self.move(number, nobody)
            except ForbiddenError:
                # Whoever may not tell them apart loses the new ones too, rather than bring back the forgotten.
                self._remove_if_there(id)
            except RequestError:
                pass  # it went when its id was forgotten
        self._remove_if_there(nobody)
        return kept, late

    def _remove_if_there(self, id: int) -> None:
        with suppress(UnknownIdError):
            self.remove_from_gallery(id)

    def _adopt(self, retention: Retention, *, whole: bool) -> None:
        for id in retention.pinned:
            with suppress(UnknownIdError):
                self.pin(id)
        for id, ttl_s in retention.ttls_s.items():
            with suppress(UnknownIdError):
                self.set_ttl(ttl_s, id)
        if whole and retention.limit is not None:
            self.set_per_id_gallery_limit(*retention.limit)
        if whole:
            self.set_ttl(retention.ttl_s)

    def _rows(self) -> Iterator[tuple[protocol.RowsReply, np.ndarray]]:
        after = 0
        while True:
            reply, frames = self._answer(protocol.RowsReply, protocol.Rows(after=after))
            if not reply.instances:
                return
            yield reply, float32_rows(reply.shape, frames[0])
            after = reply.instances[-1]

    def _forgotten(self) -> tuple[str, dict[int, Forgotten]]:
        """The gallery's name, and every id that was forgotten here."""
        known: dict[int, Forgotten] = {}
        while True:
            reply = self._reply(protocol.ForgottenReply, protocol.Forgotten(after=max(known, default=None)))
            if not reply.ids:
                return reply.origin, known
            known |= {r.id: Forgotten(r.time_ns, r.before, tuple(r.instances)) for r in reply.ids}


def _runs(ids: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of equal ids."""
    edges = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
    return ((a, b) for a, b in pairwise(edges) if a < b)


def _collected(pages: Iterator[tuple[protocol.RowsReply, np.ndarray]], dim: int) -> Rows:
    replies, features = [], [np.empty((0, dim), np.float32)]
    for reply, rows in pages:
        replies.append(reply)
        features.append(rows)
    return Rows(
        numbers=np.array([n for r in replies for n in r.instances], np.uint64),
        ids=np.array([i for r in replies for i in r.ids], np.int64),
        times_ns=np.array([t for r in replies for t in r.times_ns], np.int64),
        features=np.concatenate(features),
    )
