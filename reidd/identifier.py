"""The methods of the published API: each is one request, answered in this process or by a daemon."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from reidd import protocol
from reidd.analytics import json_value, result_records
from reidd.arguments import chunks, counted, feature_parts, image_parts, listed, question
from reidd.errors import FeatureSpaceError, ReiddError
from reidd.gallery import Forgotten, Limit, Rows, Settings, archive, without_forgotten
from reidd.images import Image, pixels
from reidd.results import ReIdentificationPrediction, ReIdentificationResults
from reidd.service import float32_rows

_R = TypeVar("_R", bound=protocol.Reply)


class Identifier(ABC):
    """The methods that `ReIdentification` and `Client` share: each is one request, answered here or by a daemon."""

    @abstractmethod
    def _ask(self, request: protocol.Request, frames: Sequence[Any] = ()) -> tuple[protocol.AnyReply, list[Any]]:
        """Have one request answered; raise its error."""

    @abstractmethod
    def _space(self) -> tuple[bytes, int]:
        """The gallery's feature space and dimension."""

    def extract_features(self, image: Image | Sequence[Image], flip_horizontal: bool = True) -> np.ndarray:
        """Turn an image into its feature: `(1, dim)` float32 of length 1; of a list of n images, `(n, dim)`.

        Args:
            image: `(h, w, 3)` uint8 BGR as OpenCV reads it, `(h, w)` grey, `(h, w, 4)` BGRA, or the bytes of a
                JPEG or PNG file.
            flip_horizontal: whether the mirror counts too: the features of the image and of its mirror are each
                normalised, summed and normalised again.

        Raises:
            ImageError: that is no image; says what it got.
            NotLoadedError: `load` was not called.
        """
        rows = []
        for chunk in chunks(listed(image)):
            parts, frames = image_parts(chunk)
            rows.append(self._array(protocol.ExtractFeatures(parts=parts, flip_horizontal=flip_horizontal), frames))
        return np.concatenate(rows) if rows else np.empty((0, self._space()[1]), np.float32)

    def get_distances(
        self,
        image: Image,
        gallery_images: Sequence[Image],
        flip_horizontal: bool = True,
        normalize_distance: bool = True,
    ) -> np.ndarray:
        """Return the cosine distance of one image to each of n others: `(1, n)` float32. The gallery plays no part.

        `1 - cos`, in [0, 2], or with `normalize_distance` half of it, in [0, 1]: a fixed scale, so that
        thresholds stay valid whatever images are compared.
        """
        rows = [np.empty((1, 0), np.float32)]
        for chunk in chunks(list(gallery_images), protocol.MAX_PARTS - 1):
            parts, frames = image_parts([image, *chunk])
            request = protocol.GetDistances(
                parts=parts, flip_horizontal=flip_horizontal, normalize_distance=normalize_distance
            )
            rows.append(self._array(request, frames))
        return np.concatenate(rows, axis=1)

    def set_per_id_gallery_limit(self, count: int, drop_method: str) -> int:
        """Keep at most `count` instances of each id; at once, and from now on.

        Args:
            count: 1 or more. Without a limit an id keeps all its instances until the gallery is full.
            drop_method: which *stored* instance makes room when another is added: "drop_oldest", "drop_latest",
                "drop_random", or "drop_redundant", the one most like its neighbours.

        Returns:
            How many instances were dropped at once.

        Raises:
            RequestError: the count is below 1, or there is no such method; names those there are.
        """
        request = protocol.SetPerIdGalleryLimit(count=counted(count), drop_method=drop_method)
        return len(self._answer(protocol.Changed, request)[0].dropped)

    def add_to_gallery(self, image: Image | Sequence[Image], id: int, flip_horizontal: bool = True) -> None:
        """Store the feature of an image, or of each image of a list, under an id.

        Args:
            image: as in `extract_features`.
            id: an integer in [0, 2^63 - 1], a numpy integer too.
            flip_horizontal: as in `extract_features`.

        Raises:
            IdError: that is no id.
            ImageError: that is no image; nothing was stored.
            StorageUnavailableError: the daemon's disk failed; nothing was stored.
        """
        id = protocol.checked_id(id)
        for chunk in chunks(listed(image)):
            parts, frames = image_parts(chunk)
            self._ask(protocol.AddToGallery(id=id, parts=parts, flip_horizontal=flip_horizontal), frames)

    def add_features_to_gallery(self, features: np.ndarray, id: int) -> None:
        """Store features, `(n, dim)` or `(dim,)` float, under an id, without a network; they are normalised."""
        id = protocol.checked_id(id)
        for part, frame in feature_parts(features):
            self._ask(protocol.AddToGallery(id=id, parts=[part]), [frame])

    def remove_from_gallery(self, id: int) -> None:
        """Remove all instances of an id; `undo` brings them back, and `forget` makes it final.

        Raises:
            UnknownIdError: the gallery holds no instance of it.
        """
        self._ask(protocol.RemoveFromGallery(id=protocol.checked_id(id)))

    def forget(self, id: int) -> protocol.Receipt:
        """Erase an id for good: its instances, its label, what could be undone, what recent events said of it.

        `remove_from_gallery` can be undone, and a backup brings the id back; this cannot, and a backup that is put
        back later comes without it. An id that the gallery does not hold can be forgotten too, for backups may. Enrol
        the id again and it is a new one. What could be undone is lost for all ids.

        Returns:
            The receipt: the numbers of the instances that went, the time, the audit log's entry about it, and what is
            out of reach.
        """
        return self._answer(protocol.Receipt, protocol.Forget(id=protocol.checked_id(id)))[0]

    def re_id_image(
        self,
        image: Image,
        top_k: int = 1,
        normalize_distance: bool = True,
        flip_horizontal: bool = True,
        *,
        max_distance: float | None = None,
        margin: float = 0.0,
    ) -> ReIdentificationResults:
        """Answer who is on an image: the gallery's ids, nearest first.

        Args:
            image: as in `extract_features`.
            top_k: at most so many predictions, one per id (its nearest instance); a tie goes to the older instance.
            normalize_distance: distances in [0, 1] instead of [0, 2].
            flip_horizontal: as in `extract_features`.
            max_distance: farther than this, on the scale of the distances, the verdict is "unknown"; by default
                the model's own, if it has one.
            margin: when the next id is less than this farther away, the verdict is "ambiguous".

        Returns:
            The predictions and all distances; with an empty gallery no predictions and a `(1, 0)` matrix.
        """
        asked = question(top_k, normalize_distance, max_distance, margin)
        return self._identified([image], flip_horizontal, asked)[0]

    def re_id_images(
        self,
        images: Sequence[Image],
        top_k: int = 1,
        normalize_distance: bool = True,
        flip_horizontal: bool = True,
        *,
        max_distance: float | None = None,
        margin: float = 0.0,
    ) -> list[ReIdentificationResults]:
        """Do what `re_id_image` does for a list of images in one call: one result per image."""
        asked = question(top_k, normalize_distance, max_distance, margin)
        return [result for chunk in chunks(list(images)) for result in self._identified(chunk, flip_horizontal, asked)]

    def re_id_features(
        self,
        features: np.ndarray,
        top_k: int = 1,
        normalize_distance: bool = True,
        *,
        max_distance: float | None = None,
        margin: float = 0.0,
    ) -> list[ReIdentificationResults]:
        """Do what `re_id_image` does for features, `(n, dim)` or `(dim,)` float: one result per row, no network."""
        asked = question(top_k, normalize_distance, max_distance, margin)
        return [
            result
            for part, frame in feature_parts(features)
            for result in self._results(protocol.ReIdImage(parts=[part], **asked), [frame], [None] * part.shape[0])
        ]

    def pin(self, id: int) -> None:
        """Keep a full gallery from overwriting the instances of an id. Raises UnknownIdError."""
        self._ask(protocol.Pin(id=protocol.checked_id(id)))

    def unpin(self, id: int) -> None:
        """Let a full gallery overwrite the instances of an id again. Raises UnknownIdError."""
        self._ask(protocol.Unpin(id=protocol.checked_id(id)))

    def rename(self, id: int, into_id: int) -> None:
        """Give an id another number. Raises UnknownIdError, and RequestError when the number is taken."""
        self._ask(protocol.Rename(id=protocol.checked_id(id), into_id=protocol.checked_id(into_id)))

    def merge(self, id: int, into_id: int) -> None:
        """Make all instances of an id another's, for they are the same person.

        Raises UnknownIdError unless both are in the gallery.
        """
        self._ask(protocol.Merge(id=protocol.checked_id(id), into_id=protocol.checked_id(into_id)))

    def move(self, instance: int, id: int) -> None:
        """Make one instance, by its number, another id's. Raises RequestError when the gallery does not hold it."""
        self._ask(protocol.Move(instance=counted(instance, "instance"), id=protocol.checked_id(id)))

    def undo(self) -> str:
        """Take the latest change of the gallery back; again for the one before. Returns what that had done, in words.

        Raises RequestError when there is none: up to 32 are remembered, since the start.
        """
        return self._answer(protocol.Changed, protocol.Undo())[0].taken_back

    def set_ttl(self, seconds: float | None, id: int | None = None) -> None:
        """Let instances live so many seconds of serving, those of one id or all that are not pinned; None is for ever.

        Time counts by the monotonic clock while the gallery is served, so that a board whose clock jumps loses nothing.
        """
        self._ask(protocol.SetTtl(seconds=seconds, id=None if id is None else protocol.checked_id(id)))

    def explain(self, image: Image, flip_horizontal: bool = True) -> protocol.ExplanationRecord | None:
        """Say which instance makes the nearest id the nearest, and by how much; None when the gallery is empty."""
        parts, frames = image_parts([image])
        request = protocol.Explain(parts=parts, flip_horizontal=flip_horizontal)
        return self._answer(protocol.ExplanationReply, request, frames)[0].explanation

    def id_records(self) -> list[protocol.IdRecord]:
        """Every id with its number of instances and its label, in ascending order of ids."""
        records: list[protocol.IdRecord] = []
        while True:
            request = protocol.Ids(after=records[-1].id if records else None)
            reply, _ = self._answer(protocol.IdList, request)
            if not reply.ids:
                return records
            records += reply.ids

    def ids(self) -> list[int]:
        """Every id of the gallery, in ascending order."""
        return [record.id for record in self.id_records()]

    def count(self, id: int | None = None) -> int:
        """How many instances the gallery holds, of one id or of all; 0 for an id it does not know."""
        only = [] if id is None else [protocol.checked_id(id)]
        reply, _ = self._answer(protocol.IdList, protocol.Ids(only=only))
        return reply.count if id is None else sum(record.count for record in reply.ids)

    def clear(self) -> None:
        """Forget every id."""
        self._ask(protocol.Clear())

    def set_label(self, id: int, label: str | None) -> None:
        """Name an id for people; None takes the name away. Predictions carry it as `label`."""
        self._ask(protocol.SetLabel(id=protocol.checked_id(id), label=label))

    def id_labels(self) -> dict[int, str]:
        """The names of those ids that have one."""
        return {record.id: record.label for record in self.id_records() if record.label is not None}

    def save_gallery(self, path: str | os.PathLike[str]) -> None:
        """Write all instances, with ids, labels, pins, limit and times to live, to one file: features, never images."""
        space, dim = self._space()
        origin = self._answer(protocol.ForgottenReply, protocol.Forgotten(limit=1))[0].origin
        known, records = self._answer(protocol.IdList, protocol.Ids(only=[]))[0], self.id_records()
        archive.save(
            Path(path),
            _collected(self._rows(), dim),
            labels={record.id: record.label for record in records if record.label is not None},
            space=space,
            settings=Settings(
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
        for start, end in _runs(saved.rows.ids):
            self.add_features_to_gallery(saved.rows.features[start:end], int(saved.rows.ids[start]))
        for id, label in saved.labels.items():
            self.set_label(id, label)
        if saved.settings is not None:
            self._adopt(saved.settings, whole=was_empty)
        return left_out

    def _adopt(self, settings: Settings, *, whole: bool) -> None:
        for id in settings.pinned:
            self.pin(id)
        for id, ttl_s in settings.ttls_s.items():
            self.set_ttl(ttl_s, id)
        if whole and settings.limit is not None:
            self.set_per_id_gallery_limit(*settings.limit)
        if whole:
            self.set_ttl(settings.ttl_s)

    def publish_analytics(
        self,
        results: ReIdentificationResults | Sequence[ReIdentificationResults],
        tag: Any = None,
        **kwargs: Any,
    ) -> None:
        """Send these results to the subscribers of analytics, in a record with type, sequence number, time and model.

        Images, features and distance matrices stay here.

        Args:
            results: what `re_id_image` returned, or a list of such.
            tag: any JSON value that tells the subscriber what this is about, such as a camera's name.
            kwargs: more JSON values.

        Raises:
            PublishError: JSON cannot carry a value; names it.
            ConnectionError: no daemon is running.
        """
        self._publish(
            protocol.PublishAnalytics(
                results=result_records(results),
                tag=json_value(tag, "tag"),
                kwargs={key: json_value(value, key) for key, value in kwargs.items()},
            )
        )

    def _publish(self, request: protocol.PublishAnalytics) -> None:
        self._ask(request)

    def _answer(self, kind: type[_R], request: protocol.Request, frames: Sequence[Any] = ()) -> tuple[_R, list[Any]]:
        reply, answered = self._ask(request, frames)
        if not isinstance(reply, kind):
            raise ReiddError(
                f"the answer is {type(reply).__name__}, expected {kind.__name__}: another version of reidd?"
            )
        return reply, answered

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
            reply, _ = self._answer(protocol.ForgottenReply, protocol.Forgotten(after=max(known, default=None)))
            if not reply.ids:
                return reply.origin, known
            known |= {r.id: Forgotten(r.time_ns, r.before, tuple(r.instances)) for r in reply.ids}

    def _array(self, request: protocol.Request, frames: Sequence[Any]) -> np.ndarray:
        reply, answered = self._answer(protocol.Array, request, frames)
        return float32_rows(reply.shape, answered[0])

    def _identified(
        self, images: Sequence[Image], flip_horizontal: bool, asked: dict[str, Any]
    ) -> list[ReIdentificationResults]:
        parts, frames = image_parts(images)
        return self._results(protocol.ReIdImage(parts=parts, flip_horizontal=flip_horizontal, **asked), frames, images)

    def _results(
        self, request: protocol.ReIdImage, frames: Sequence[Any], images: Sequence[Image | None]
    ) -> list[ReIdentificationResults]:
        reply, answered = self._answer(protocol.Results, request, frames)
        matrix = float32_rows(reply.shape, answered[0])
        return [
            ReIdentificationResults(
                [ReIdentificationPrediction(p.id, p.rank, p.distance, p.label) for p in record.predictions],
                matrix[row : row + 1],
                record.duration,
                image if image is None or isinstance(image, np.ndarray) else partial(pixels, bytes(image)),
                record.verdict,
            )
            for row, (record, image) in enumerate(zip(reply.results, images, strict=True))
        ]


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
