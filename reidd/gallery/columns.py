"""Takes in what a store holds, and finds all that is not what was written."""

from array import array
from collections.abc import Mapping, Sequence
from struct import error as StructError  # noqa: N812  (it is named so)
from typing import Any
from zlib import crc32

import numpy as np

from reidd.distances import UNIT_TOLERANCE
from reidd.gallery.aging import Ages
from reidd.gallery.changes import Identity
from reidd.gallery.cipher import SEALED_BYTES, Cipher
from reidd.gallery.contents import NUMBERS, Contents, State, identity_crc, stored_feature
from reidd.gallery.instance import Rows

# When the counter itself is lost, numbers go on far above any that can have been given.
_LEAP = 1_000_000


class Columns:
    """Takes in stored rows, those that are whole, and counts what they say about the store's digest."""

    def __init__(self, dim: int, cipher: Cipher | None = None, room: np.ndarray | None = None):
        """Begin with none. Features go into `room` `(n, dim)`, as far as it is large enough."""
        self._dim, self._cipher, self.digest = dim, cipher, 0
        self.damage: list[str] = []
        self._numbers, self._ids, self._times_ns = array("Q"), array("q"), array("q")
        self._features = np.empty((0, dim), np.float32) if room is None else room

    def take(self, rows: Sequence[Sequence[Any]]) -> None:
        """Check rows as SQLite gave them, whatever they hold, and keep those that are what was written."""
        features = self._opened(rows)
        if None in features:
            damaged = [row[0] for row, feature in zip(rows, features, strict=True) if feature is None]
            self.damage += [f"instance {number!r} does not match its checksum" for number in damaged]
            rows = [row for row, feature in zip(rows, features, strict=True) if feature is not None]
        block = np.frombuffer(b"".join(filter(None, features)), np.float32).reshape(len(rows), self._dim)
        # One that is not finite would win every search; comparing refuses NaN too.
        good = np.abs(np.einsum("ij,ij->i", block, block) - 1) <= 2 * UNIT_TOLERANCE
        for row in rows:
            self.digest ^= row[3]
        if not good.all():
            endless = [row[0] for row, fine in zip(rows, good, strict=True) if not fine]
            self.damage += [f"instance {number} is not a unit vector" for number in endless]
            rows, block = [row for row, fine in zip(rows, good, strict=True) if fine], block[good]
        self._keep(rows, block)

    def rows(self) -> Rows:
        """Give the rows that may be searched, oldest first."""
        count = len(self._numbers)
        numbers, ids, times_ns = (np.array(column) for column in (self._numbers, self._ids, self._times_ns))
        rows = Rows(numbers, ids, times_ns, self._features[:count])
        if (numbers[1:] > numbers[:-1]).all():
            return rows
        _, ascending = np.unique(numbers, return_index=True)
        rows = Rows(*(column[ascending] for column in rows))
        # Else features would stay in slots that are free.
        self._features[:count] = 0
        return rows

    def _opened(self, rows: Sequence[Sequence[Any]]) -> list[bytes | None]:
        """Give the features of rows; None for one that is not what was written."""
        cipher = self._cipher
        if not _all_whole(rows, 4 * self._dim + (SEALED_BYTES if cipher else 0)):
            return [stored_feature(*row, dim=self._dim, cipher=cipher) for row in rows]
        if cipher is None:
            return [stored for *_, stored in rows]
        return [cipher.feature(number, id, time_ns, stored) for number, id, time_ns, _, stored in rows]

    def _keep(self, rows: Sequence[Sequence[Any]], features: np.ndarray) -> None:
        begin, end = len(self._numbers), len(self._numbers) + len(rows)
        if end > len(self._features):
            larger = np.empty((2 * end, self._dim), np.float32)
            larger[:begin] = self._features[:begin]
            self._features = larger
        self._features[begin:end] = features
        self._numbers.extend([row[0] for row in rows])
        self._ids.extend([row[1] for row in rows])
        self._times_ns.extend([row[2] for row in rows])


def _all_whole(rows: Sequence[Sequence[Any]], stored_bytes: int) -> bool:
    """Whether all of some rows are what was written: what `stored_feature` checks one by one, in half of its time."""
    numbers, ids, times_ns, crcs, stored = zip(*rows, strict=True)
    try:
        found = tuple(map(crc32, stored, map(crc32, map(NUMBERS.pack, numbers, ids, times_ns))))
    except (StructError, TypeError):
        return False
    return found == crcs and min(numbers) > 0 and min(ids) >= 0 and set(map(len, stored)) == {stored_bytes}


def audited(
    columns: Columns, identities: Mapping[int, Identity], state: State | None, ages: Ages | None, damage: list[str]
) -> Contents:
    """Put together what could be read, and compare it with what the store says it holds."""
    rows = columns.rows()
    damage = damage + columns.damage
    digest = columns.digest
    for id, identity in identities.items():
        digest ^= identity_crc(id, identity)
    after_newest = int(rows.numbers[-1]) + 1 if len(rows.numbers) else 1
    if ages is None:
        damage.append("the times to live were lost; set them again")
        ages = Ages()
    if state is None:
        damage.append("the limit and the instance counter were lost; set the limit again")
        return Contents(rows, identities, None, after_newest + _LEAP, ages, tuple(damage))
    if state.instances != len(rows.numbers):
        damage.append(f"{len(rows.numbers)} of {state.instances} instances could be read")
    elif state.digest != digest and not damage:
        damage.append("what is known about some ids, or which instances there are, is not what was written")
    if state.next_instance < after_newest:
        damage.append("the instance counter was wrong")
    next_instance = max(state.next_instance, after_newest)
    return Contents(rows, identities, state.limit, next_instance, ages, tuple(damage))
