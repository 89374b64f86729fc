"""Which instances each id has, oldest first: what the writer decides by."""

from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from reidd.gallery.aging import Ages
from reidd.gallery.changes import Delta, Forgotten, Identity
from reidd.gallery.numbered import Numbered
from reidd.gallery.policy import Limit


class Index:
    """A gallery without its features: ids, instance numbers, and what is known about each id."""

    def __init__(self, numbers: Sequence[int] | np.ndarray = (), ids: Sequence[int] | np.ndarray = ()) -> None:
        """Begin with instances, by ascending numbers, and their ids."""
        self.identities: dict[int, Identity] = {}
        self.limit: Limit | None = None
        self.ages = Ages()
        self.forgotten: dict[int, Forgotten] = {}
        numbers, ids = np.asarray(numbers, np.int64), np.asarray(ids, np.int64)
        self._ids = Numbered(numbers, ids)
        self._numbers = _grouped(numbers, ids)
        # No instance older than this one may be overwritten: each is gone or pinned.
        self._oldest = 0

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id: int) -> bool:
        return id in self._numbers

    def ids(self) -> list[int]:
        """List the distinct ids, ascending."""
        return sorted(self._numbers)

    def numbers(self, id: int) -> Sequence[int]:
        """List the instances of an id, oldest first; none for an unknown id."""
        return self._numbers.get(id, ())

    def all_numbers(self) -> list[int]:
        """List all instances, oldest first."""
        return [number for number, _ in self._ids.since(0)]

    def id_of(self, number: int) -> int | None:
        """Tell whose instance that is, or None when it is not in the gallery."""
        return self._ids.get(number)

    def identity(self, id: int) -> Identity:
        """Tell what is known about an id."""
        return self.identities.get(id, Identity())

    def oldest(self) -> int | None:
        """Find the oldest instance of an id that is not pinned, or None when there is none."""
        for number, id in self._ids.since(self._oldest):
            if not self.identity(id).pinned:
                self._oldest = number
                return number
        return None

    def apply(self, delta: Delta) -> None:
        """Follow a change."""
        for number in reversed(delta.removed):  # from the end, where taking out moves nothing
            self._discard(number)
        for number, instance in delta.added.items():
            self.add(number, instance.id)
        for id, (before, known) in delta.identities.items():
            if known:
                self.identities[id] = known
            else:
                self.identities.pop(id, None)
            if before.pinned and not known.pinned:
                self._oldest = min([self._oldest, *self.numbers(id)[:1]])
        for id, (_, forgotten) in delta.forgotten.items():
            if forgotten is None:
                self.forgotten.pop(id, None)
            else:
                self.forgotten[id] = forgotten
        if delta.limit:
            self.limit = delta.limit[1]
        if delta.ages:
            self.ages = delta.ages[1]

    def add(self, number: int, id: int) -> None:
        """Take one instance in."""
        self._ids.put(number, id)
        self._oldest = min(self._oldest, number)
        numbers = self._numbers.get(id)
        if numbers is None:
            self._numbers[id] = array("q", (number,))
        elif number > numbers[-1]:
            numbers.append(number)
        else:
            insort(numbers, number)

    def _discard(self, number: int) -> None:
        id = self._ids.pop(number)
        numbers = self._numbers[id]
        del numbers[bisect_left(numbers, number)]
        if not numbers:
            del self._numbers[id]


def _grouped(numbers: np.ndarray, ids: np.ndarray) -> "dict[int, array[int]]":
    """Gather the numbers of each id."""
    order = np.argsort(ids, kind="stable")
    distinct, starts = np.unique(ids[order], return_index=True)
    gathered, edges = memoryview(numbers[order].tobytes()), [*(8 * starts).tolist(), 8 * len(numbers)]
    return {
        id: array("q", bytes(gathered[begin:end]))
        for id, begin, end in zip(distinct.tolist(), edges, edges[1:], strict=False)
    }
