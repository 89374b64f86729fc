"""The steps that mutations are made of; each keeps index, limit and labels in order."""

from collections.abc import Iterable, Sequence
from random import Random

import numpy as np
from msgspec.structs import replace

from reidd.errors import GalleryError, UnknownIdError
from reidd.gallery.aging import Ages, interval_s
from reidd.gallery.changes import Delta, Forgotten, Identity, Way
from reidd.gallery.index import Index
from reidd.gallery.ledger import Ledger
from reidd.gallery.policy import Limit, surplus

MOVED_KEPT = 100_000
"""Ids of which it is kept in mind what they became: 30 MB, and with one a minute ten weeks."""
MOVES_KEPT_OF_ONE = 1_000
LOOKED_EVERY = 1_000
"""Moves between which the oldest notes beyond those are let go of: to find them among so many takes 20 ms."""
_NOT_FORGOTTEN = Forgotten(0, 0)


class Editor:
    """Changes a gallery through its ledger, inside a mutation that somebody opened."""

    def __init__(self, index: Index, ledger: Ledger, random: Random):
        self._index, self._ledger, self._random = index, ledger, random
        self._moves = 0

    def known(self, id: int) -> Sequence[int]:
        """List the instances of an id; raises UnknownIdError for one that has none."""
        if id not in self._index:
            raise UnknownIdError(f"the gallery holds no instance of id {id}")
        return self._index.numbers(id)

    def oldest(self) -> int:
        """Find the instance that a full gallery loses next; raises GalleryError when every id is pinned."""
        number = self._index.oldest()
        if number is None:
            raise GalleryError("the gallery is full, and every id in it is pinned; unpin or remove one")
        return number

    def trim(self, id: int, *, room_for: int = 0) -> list[tuple[int, int]]:
        """Drop what an id has beyond the limit, less what is to come; returns `(instance, id)` of each."""
        limit = self._index.limit
        if limit is None or len(self._index.numbers(id)) + room_for <= limit.at_most:
            return []
        return self.take_out(
            surplus(
                self._index.numbers(id),
                keep=limit.at_most - room_for,
                drop_method=limit.drop_method,
                random=self._random,
                features=lambda numbers: np.stack([self._feature(number) for number in numbers]),
            )
        )

    def take_out(self, numbers: Iterable[int]) -> list[tuple[int, int]]:
        """Let stored instances go; returns `(instance, id)` of each."""
        removed = {number: self._ledger.stored(number) for number in numbers}
        self._ledger.put(Delta(removed=removed))
        return [(number, instance.id) for number, instance in removed.items()]

    def rewrite(self, numbers: Iterable[int], id: int) -> tuple[int, ...]:
        """Make instances another id's; returns those that were not its already."""
        stored = {number: self._ledger.stored(number) for number in numbers}
        before = {number: instance for number, instance in stored.items() if instance.id != id}
        after = {number: replace(instance, id=id) for number, instance in before.items()}
        self._ledger.put(Delta(removed=before, added=after))
        return tuple(before)

    def set_identity(self, id: int, identity: Identity) -> None:
        """Know this about an id from now on."""
        before = self._index.identity(id)
        if before != identity:
            self._ledger.put(Delta(identities={id: (before, identity)}))

    def set_limit(self, limit: Limit | None) -> None:
        """Let every id keep so many from now on; what is there already is not trimmed."""
        if limit != self._index.limit:
            self._ledger.put(Delta(limit=(self._index.limit, limit)))

    def set_ages(self, ages: Ages) -> None:
        """Keep this about the ages of instances."""
        self._ledger.put(Delta(ages=(self._index.ages, ages)))

    def expire(self, now_s: float) -> list[tuple[int, int]]:
        """Let go of what has lived its time, when it is time to look; returns `(instance, id)` of each."""
        ages = self._index.ages
        shortest_s = self._shortest_ttl_s()
        if shortest_s is None or now_s - ages.clock_s < interval_s([shortest_s]):
            return []
        ttls_s = self._ttls_s()
        if not ttls_s or now_s - ages.clock_s < interval_s(ttls_s.values()):
            return []
        self.set_ages(ages.noted(now_s, self._ledger.next_instance, longest_s=max(ttls_s.values())))
        reached = {ttl_s: self._index.ages.reached(now_s, ttl_s) for ttl_s in set(ttls_s.values())}
        old = [n for id, ttl_s in ttls_s.items() for n in self._index.numbers(id) if n < reached[ttl_s]]
        gone = self.take_out(old)
        self.forget_the_gone(id for _, id in gone)
        return gone

    def note_move(self, id: int, into_id: int, instances: tuple[int, ...] = ()) -> None:
        """Keep in mind that an id, or only some instances of it, became another's: who forgets that one means them too.

        So it is for an id that was merged, and for the numbers that undo takes back, of which backups may be.
        """
        known = self._index.forgotten.get(id, _NOT_FORGOTTEN)
        way = Way(into_id, self._ledger.next_instance, instances)
        self._set_forgotten(id, known._replace(became=(*known.became, way)[-MOVES_KEPT_OF_ONE:]))
        if self._moves % LOOKED_EVERY == 0 and len(self._index.forgotten) > MOVED_KEPT:
            self._drop_oldest_moves()
        self._moves += 1

    def _drop_oldest_moves(self) -> None:
        moved = {id: known.became[-1].before for id, known in self._index.forgotten.items() if not known.before}
        for id in sorted(moved, key=moved.__getitem__)[: max(0, len(moved) - MOVED_KEPT)]:
            self._set_forgotten(id, None)

    def note_forgotten(self, id: int, instances: tuple[int, ...], time_ns: int) -> None:
        """Keep in mind that an id was forgotten, by its earlier numbers too, so that no old backup brings it back."""
        meant = {id: self._ledger.next_instance}
        found, gone = [id], set(instances)
        ways_into = self._ways_into()
        for into_id in found:
            for other, way in ways_into.get(into_id, ()):
                # What became that id only after it had become another is somebody else.
                if way.before > meant[into_id]:
                    continue
                if way.instances:
                    gone.update(number for number in way.instances if self._index.id_of(number) is None)
                elif meant.get(other, 0) < way.before:
                    meant[other] = way.before
                    found.append(other)
        for each, before in meant.items():
            known = self._index.forgotten.get(each, _NOT_FORGOTTEN)
            numbers = tuple(sorted({*known.instances, *gone})) if each == id else known.instances
            # Without the ways that were followed: else whoever has this id later is forgotten with all of it again.
            became = tuple(way for way in known.became if way.instances or way.before > meant.get(way.id, 0))
            self._set_forgotten(each, Forgotten(time_ns, max(before, known.before), numbers, became))

    def _ways_into(self) -> dict[int, list[tuple[int, Way]]]:
        """Give, for each id, those that became it, wholly or with some instances, and how."""
        # All at once, for somebody may have had thousands of numbers, and to look for each among all takes minutes.
        ways: dict[int, list[tuple[int, Way]]] = {}
        for id, known in self._index.forgotten.items():
            for way in known.became:
                ways.setdefault(way.id, []).append((id, way))
        return ways

    def _set_forgotten(self, id: int, forgotten: Forgotten | None) -> None:
        self._ledger.put(Delta(forgotten={id: (self._index.forgotten.get(id), forgotten)}))

    def forget_the_gone(self, ids: Iterable[int]) -> None:
        """Forget what was known about those of the ids that have no instance any more."""
        for id in set(ids):
            if id not in self._index:
                self.set_identity(id, Identity())

    def _feature(self, number: int) -> np.ndarray:
        return np.frombuffer(self._ledger.stored(number).feature, np.float32)

    def _shortest_ttl_s(self) -> float | None:
        """Give a time that nobody's time to live is below: to ask each id takes a large gallery long."""
        own_s = (known.ttl_s for known in self._index.identities.values())
        return min((ttl_s for ttl_s in (self._index.ages.ttl_s, *own_s) if ttl_s is not None), default=None)

    def _ttls_s(self) -> dict[int, float]:
        """Give the time to live of every id that has one: its own, or unless it is pinned the gallery's."""
        ttls_s = {id: known.ttl_s for id, known in self._index.identities.items() if known.ttl_s is not None}
        if self._index.ages.ttl_s is not None:
            for id in self._index.ids():
                if id not in ttls_s and not self._index.identity(id).pinned:
                    ttls_s[id] = self._index.ages.ttl_s
        return ttls_s
