"""Who is in a gallery: the rules by which instances come, change and go."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from random import Random

import numpy as np

from reidd.errors import CapacityError, RequestError, UnknownIdError
from reidd.gallery.aging import checked_ttl
from reidd.gallery.changes import Change, Identity, Retention
from reidd.gallery.editor import Editor
from reidd.gallery.index import Index
from reidd.gallery.instance import Rows, stored_features
from reidd.gallery.ledger import Draft, Ledger
from reidd.gallery.policy import checked_limit
from reidd.gallery.roll import Roll
from reidd.gallery.telling import told


class Members(Roll):
    """The members of a gallery, and everything that can be done to them."""

    def __init__(
        self,
        index: Index,
        ledger: Ledger,
        *,
        dim: int,
        capacity: int,
        seed: int | None,
        clock_s: Callable[[], float],
    ):
        super().__init__(index, capacity)
        self._ledger, self._dim = ledger, dim
        self._random = Random(seed)  # noqa: S311  chooses what to drop
        self._edit = Editor(index, ledger, self._random)
        self._clock_s, self._started_s = clock_s, clock_s() - index.ages.clock_s

    def transaction(self) -> AbstractContextManager[None]:
        """Make the mutations inside durable, and visible to readers, together.

        They see each other. An error that a mutation raises undoes only that one, when it is caught inside; one that
        leaves the block undoes the block, and so does StorageUnavailableError at its end.
        """
        return self._ledger.transaction()

    def draft(self) -> AbstractContextManager[Draft]:
        """Make the mutations inside, for the caller to write, in any thread, and then to show or to take back.

        Until that is done nothing else may be changed.
        """
        return self._ledger.draft()

    def keep_answer(self, key: bytes, answer: bytes) -> None:
        """Keep, with the open transaction, what a client is told, for it may ask again after a crash."""
        self._ledger.answer(key, answer)

    def add(self, id: int, features: np.ndarray) -> Change:
        """Store features `(n, dim)` of an id, scaled to length 1, one after the other.

        Raises FeatureError for another shape, NaN, infinity or zeros, and GalleryError when no instance may make room.
        """
        rows = stored_features(features, self._dim)
        numbers: list[int] = []
        dropped: list[tuple[int, int]] = []
        overwritten: list[tuple[int, int]] = []
        with self._ledger.mutation():
            for feature in rows:
                if self._index.limit is not None:
                    dropped += self._edit.trim(id, room_for=1)
                if len(self._index) >= self._capacity:
                    overwritten += self._edit.take_out([self._edit.oldest()])
                numbers.append(self._ledger.put_in(id, time.time_ns(), feature))
            if overwritten:
                self._edit.forget_the_gone(gone for _, gone in overwritten)
        return Change(added=tuple(numbers), dropped=tuple(dropped), overwritten=tuple(overwritten))

    def remove(self, id: int) -> Change:
        """Remove every instance of an id, and what was known about it. Raises UnknownIdError."""
        with self._ledger.mutation():
            removed = self._edit.take_out(self._edit.known(id))
            self._edit.forget_the_gone([id])
        return Change(removed=len(removed))

    def forget(self, id: int) -> tuple[int, ...]:
        """Erase an id for good, known or not: what is stored, what could be undone, and what a backup would bring back.

        Returns the numbers of the instances that went.
        """
        with self._ledger.mutation(remember=False):
            gone = tuple(number for number, _ in self._edit.take_out(self._index.numbers(id)))
            self._edit.set_identity(id, Identity())
            self._edit.note_forgotten(id, gone, time.time_ns())
            self._ledger.forget()
        return gone

    def clear(self) -> Change:
        """Remove everything but the limit. Instance numbers go on where they were."""
        with self._ledger.mutation():
            removed = self._edit.take_out(self._index.all_numbers())
            self._edit.forget_the_gone(id for _, id in removed)
        return Change(removed=len(removed))

    def restore(self, rows: Rows, labels: Mapping[int, str], retention: Retention | None = None) -> Change:
        """Hold what a backup held, and nothing else: rows with their times under new numbers, labels and retention.

        Without it, as in a backup of old, the limit and the gallery's time to live stay as they are.
        Raises FeatureError, RequestError for a retention that cannot be, and CapacityError when not all have room.
        """
        if len(rows.numbers) > self._capacity:
            raise CapacityError(
                f"{len(rows.numbers)} instances do not fit into a gallery of {self._capacity}; raise the capacity"
            )
        features = stored_features(rows.features, self._dim) if len(rows.numbers) else []
        with self._ledger.mutation():
            removed = self.clear().removed
            columns = zip(rows.ids.tolist(), rows.times_ns.tolist(), features, strict=True)
            added = tuple(self._ledger.put_in(*column) for column in columns)
            for id, label in labels.items():
                self.set_label(id, label)
            if retention is not None:
                self._restore_retention(retention)
            dropped = tuple(gone for id in self.ids() for gone in self._edit.trim(id))
        return Change(added=added, dropped=dropped, removed=removed)

    def _restore_retention(self, retention: Retention) -> None:
        for id in retention.pinned:
            self.pin(id)
        for id, ttl_s in retention.ttls_s.items():
            self.set_ttl(ttl_s, id)
        self.set_ttl(retention.ttl_s)
        self._edit.set_limit(checked_limit(*retention.limit) if retention.limit else None)

    def set_limit(self, count: int, drop_method: str) -> Change:
        """Let every id keep at most `count` instances from now on, and trim those that have more.

        Raises RequestError for a count below 1 or an unknown method.
        """
        limit = checked_limit(count, drop_method)
        with self._ledger.mutation():
            self._edit.set_limit(limit)
            return Change(dropped=tuple(gone for id in self.ids() for gone in self._edit.trim(id)))

    def set_label(self, id: int, text: str | None) -> None:
        """Name an id for people, or take its name away. Raises UnknownIdError."""
        self._know(id, label=text)

    def pin(self, id: int) -> None:
        """Keep a full gallery from overwriting the instances of an id. Raises UnknownIdError."""
        self._know(id, pinned=True)

    def unpin(self, id: int) -> None:
        """Let a full gallery overwrite the instances of an id again. Raises UnknownIdError."""
        self._know(id, pinned=False)

    def set_ttl(self, seconds: float | None, id: int | None = None) -> None:
        """Let instances live so many seconds of serving, those of one id or all that are not pinned; None is for ever.

        Raises RequestError for a time that is not positive, UnknownIdError for an unknown id.
        """
        ttl_s = checked_ttl(seconds)
        if id is not None:
            self._know(id, ttl_s=ttl_s)
            return
        with self._ledger.mutation():
            if ttl_s != self._index.ages.ttl_s:
                self._edit.set_ages(replace(self._index.ages, ttl_s=ttl_s))

    def expire(self) -> Change:
        """Let go of instances that have lived their time; call it every second, it does something now and then."""
        with self._ledger.mutation(remember=False):
            dropped = self._edit.expire(self._clock_s() - self._started_s)
        if dropped:
            self._ledger.forget()
        return Change(dropped=tuple(dropped))

    def rename(self, id: int, new_id: int) -> Change:
        """Give an id another number. Raises UnknownIdError, and RequestError when `new_id` is taken."""
        if new_id in self._index:
            raise RequestError(f"id {new_id} is in the gallery already; merge {id} into it instead")
        return self._into(id, new_id)

    def merge(self, id: int, into_id: int) -> Change:
        """Make all instances of an id instances of another, whose label stays if it has one.

        The limit holds for the two together. Raises UnknownIdError when one of the two is not in the gallery.
        """
        self._edit.known(id)
        if into_id not in self._index:
            raise UnknownIdError(
                f"the gallery holds no instance of id {into_id}; to give id {id} that number, rename it"
            )
        return self._into(id, into_id)

    def _into(self, id: int, into_id: int) -> Change:
        with self._ledger.mutation():
            moved = self._edit.rewrite(self._edit.known(id), into_id)
            if id != into_id:
                self._edit.note_move(id, into_id)
            one, other = self._index.identity(into_id), self._index.identity(id)
            label = other.label if one.label is None else one.label
            self._edit.set_identity(into_id, Identity(label, one.pinned or other.pinned, one.ttl_s or other.ttl_s))
            self._edit.forget_the_gone([id])
            dropped = self._edit.trim(into_id)
        return Change(dropped=tuple(dropped), moved=moved)

    def move(self, instance: int, id: int) -> Change:
        """Make one instance another id's. Raises RequestError for an instance that is not in the gallery."""
        owner = self._index.id_of(instance)
        if owner is None:
            raise RequestError(f"the gallery holds no instance number {instance}")
        with self._ledger.mutation():
            dropped = self._edit.trim(id, room_for=1) if owner != id else []
            moved = self._edit.rewrite([instance], id)
            if moved:
                self._edit.note_move(owner, id, moved)
            self._edit.forget_the_gone([owner])
        return Change(dropped=tuple(dropped), moved=moved)

    def undo(self) -> Change:
        """Take the latest mutation back; again for the one before. Raises RequestError when none is remembered."""
        with self._ledger.mutation(remember=False):
            latest = self._ledger.last()
            if latest is None:
                raise RequestError("there is nothing to undo")
            inverse = latest.inverse()
            if inverse.ages:
                # The clock and its notes went on since then.
                now = self._index.ages
                inverse.ages = now, replace(now, ttl_s=inverse.ages[1].ttl_s)
            self._ledger.put(inverse)
            both = latest.removed.keys() & latest.added.keys()
            for id, into_id in {(latest.added[number].id, latest.removed[number].id) for number in both}:
                theirs = tuple(n for n in both if (latest.added[n].id, latest.removed[n].id) == (id, into_id))
                self._edit.note_move(id, into_id, theirs if id in self._index else ())
        return Change(
            added=tuple(latest.removed.keys() - both),
            removed=len(latest.added.keys() - both),
            moved=tuple(both),
            taken_back=told(latest),
        )

    def _know(self, id: int, **known: object) -> None:
        with self._ledger.mutation():
            self._edit.known(id)
            self._edit.set_identity(id, replace(self._index.identity(id), **known))  # type: ignore[arg-type]
