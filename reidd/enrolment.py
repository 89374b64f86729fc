"""The methods of the published API that change the gallery, or list who is in it."""

from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np

from reidd import protocol
from reidd.arguments import chunks, counted, feature_parts, image_parts, label_text, listed, seconds_of
from reidd.images import Image
from reidd.requester import Requester


class Enrolment(Requester):
    """Who is in the gallery: as which id, under which name, and for how long."""

    def set_per_id_gallery_limit(self, count: int, drop_method: str) -> int:
        """Keep at most `count` instances of each id; at once, and from now on.

        Args:
            count: 1 or more. Without a limit an id keeps all its instances until the gallery is full.
            drop_method: which *stored* instance makes room when another is added: "drop_oldest", "drop_latest",
                "drop_random", or "drop_redundant", the one most like its neighbours (for a count of 1,000 at most).

        Returns:
            How many instances were dropped at once.

        Raises:
            RequestError: the count is below 1, or too large for the method, or there is no such method; names those
                there are.
        """
        request = protocol.SetPerIdGalleryLimit(count=counted(count), drop_method=str(drop_method))
        return len(self._reply(protocol.Changed, request).dropped)

    def add_to_gallery(self, image: Image | Sequence[Image], id: SupportsIndex, flip_horizontal: bool = True) -> None:
        """Store the feature of an image, or of each image of a list, under an id.

        Args:
            image: as in `extract_features`.
            id: an integer in [0, 2^63 - 1], a numpy integer too.
            flip_horizontal: as in `extract_features`.

        Raises:
            IdError: that is no id.
            ImageError: that is no image; nothing was stored, save of a long list what came before a damaged file: at
                most 64 images, or 32 MiB of them, are stored at once.
            StorageUnavailableError: the daemon's disk failed; nothing was stored.
        """
        id = protocol.checked_id(id)
        # All of them, before the first is sent.
        checked = [image_parts(chunk) for chunk in chunks(listed(image))]
        for parts, frames in checked:
            self._ask(protocol.AddToGallery(id=id, parts=parts, flip_horizontal=bool(flip_horizontal)), frames)

    def add_features_to_gallery(self, features: np.ndarray, id: SupportsIndex) -> None:
        """Store features, `(n, dim)` or `(dim,)` float, under an id, without a network; they are normalised."""
        self._add_features(features, id)

    def _add_features(self, features: np.ndarray, id: SupportsIndex) -> list[int]:
        """Store features; returns the numbers of their instances."""
        id = protocol.checked_id(id)
        added: list[int] = []
        for part, frame in feature_parts(features):
            added += self._reply(protocol.Changed, protocol.AddToGallery(id=id, parts=[part]), [frame]).added
        return added

    def remove_from_gallery(self, id: SupportsIndex) -> None:
        """Remove all instances of an id; `undo` brings them back, and `forget` makes it final.

        Raises:
            UnknownIdError: the gallery holds no instance of it.
        """
        self._ask(protocol.RemoveFromGallery(id=protocol.checked_id(id)))

    def forget(self, id: SupportsIndex) -> protocol.Receipt:
        """Erase an id for good: its instances, its label, what could be undone, what recent events said of it.

        `remove_from_gallery` can be undone, and a backup brings the id back; this cannot, and a backup that is put
        back later comes without it. An id that the gallery does not hold can be forgotten too, for backups may. Enrol
        the id again and it is a new one. What could be undone is lost for all ids.

        Returns:
            The receipt: the numbers of the instances that went, the time, the audit log's entry about it, and what is
            out of reach.
        """
        return self._reply(protocol.Receipt, protocol.Forget(id=protocol.checked_id(id)))

    def pin(self, id: SupportsIndex) -> None:
        """Keep a full gallery from overwriting the instances of an id. Raises UnknownIdError."""
        self._ask(protocol.Pin(id=protocol.checked_id(id)))

    def unpin(self, id: SupportsIndex) -> None:
        """Let a full gallery overwrite the instances of an id again. Raises UnknownIdError."""
        self._ask(protocol.Unpin(id=protocol.checked_id(id)))

    def rename(self, id: SupportsIndex, into_id: SupportsIndex) -> None:
        """Give an id another number. Raises UnknownIdError, and RequestError when the number is taken."""
        self._ask(protocol.Rename(id=protocol.checked_id(id), into_id=protocol.checked_id(into_id)))

    def merge(self, id: SupportsIndex, into_id: SupportsIndex) -> None:
        """Make all instances of an id another's, for they are the same person.

        Raises UnknownIdError unless both are in the gallery.
        """
        self._ask(protocol.Merge(id=protocol.checked_id(id), into_id=protocol.checked_id(into_id)))

    def move(self, instance: SupportsIndex, id: SupportsIndex) -> None:
        """Make one instance, by its number, another id's. Raises RequestError when the gallery does not hold it."""
        self._ask(protocol.Move(instance=counted(instance, "instance"), id=protocol.checked_id(id)))

    def undo(self) -> str:
        """Take the latest change of the gallery back; again for the one before. Returns what that had done, in words.

        Raises RequestError when there is none: up to 32 are remembered, since the start.
        """
        return self._reply(protocol.Changed, protocol.Undo()).taken_back

    def set_ttl(self, seconds: float | None, id: SupportsIndex | None = None) -> None:
        """Let instances live so many seconds of serving, those of one id or all that are not pinned; None is for ever.

        Time counts by the monotonic clock while the gallery is served, so that a board whose clock jumps loses nothing.
        """
        lives_s = None if seconds is None else seconds_of(seconds, "seconds")
        self._ask(protocol.SetTtl(seconds=lives_s, id=None if id is None else protocol.checked_id(id)))

    def set_label(self, id: SupportsIndex, label: str | None) -> None:
        """Name an id for people; None takes the name away. Predictions carry it as `label`."""
        self._ask(protocol.SetLabel(id=protocol.checked_id(id), label=label_text(label)))

    def clear(self) -> None:
        """Remove every id; `undo` brings them back, unless they were more than 4,096 instances."""
        self._ask(protocol.Clear())

    def id_records(self) -> list[protocol.IdRecord]:
        """Every id with its number of instances and its label, in ascending order of ids."""
        records: list[protocol.IdRecord] = []
        while True:
            request = protocol.Ids(after=records[-1].id if records else None)
            reply = self._reply(protocol.IdList, request)
            if not reply.ids:
                return records
            records += reply.ids

    def ids(self) -> list[int]:
        """Every id of the gallery, in ascending order."""
        return [record.id for record in self.id_records()]

    def count(self, id: SupportsIndex | None = None) -> int:
        """How many instances the gallery holds, of one id or of all; 0 for an id it does not know."""
        only = [] if id is None else [protocol.checked_id(id)]
        reply = self._reply(protocol.IdList, protocol.Ids(only=only))
        return reply.count if id is None else sum(record.count for record in reply.ids)

    def id_labels(self) -> dict[int, str]:
        """The names of those ids that have one."""
        return {record.id: record.label for record in self.id_records() if record.label is not None}
