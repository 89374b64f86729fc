"""Which instances each id has, oldest first: what the writer decides by."""

from bisect import insort
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from reidd.gallery.aging import Ages
from reidd.gallery.changes import Delta, Identity
from reidd.gallery.policy import Limit


class Index:
    """A gallery without its features: ids, instance numbers, and what is known about each id."""

    def __init__(self) -> None:
        self.identities: dict[int, Identity] = {}
        self.limit: Limit | None = None
        self.ages = Ages()
        self._ids: dict[int, int] = {}
        self._numbers: dict[int, list[int]] = {}
        # A heap of the numbers that may be the oldest. Those that left, and pinned ones, go when they come to the top.
        self._ages: list[int] = []

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

    def id_of(self, number: int) -> int | None:
        """Tell whose instance that is, or None when it is not in the gallery."""
        return self._ids.get(number)

    def identity(self, id: int) -> Identity:
        """Tell what is known about an id."""
        return self.identities.get(id, Identity())

    def oldest(self) -> int | None:
        """Find the oldest instance of an id that is not pinned, or None when there is none."""
        while self._ages and not self._may_go(self._ages[0]):
            heappop(self._ages)
        return self._ages[0] if self._ages else None

    def fill(self, instances: Iterable[tuple[int, int]]) -> None:
        """Take in many `(number, id)`, ascending."""
        for number, id in instances:
            self._add(number, id)

    def apply(self, delta: Delta) -> None:
        """Follow a change."""
        for number in delta.removed:
            self._discard(number)
        for number, instance in delta.added.items():
            self._add(number, instance.id)
        for id, (before, known) in delta.identities.items():
            if known:
                self.identities[id] = known
            else:
                self.identities.pop(id, None)
            if before.pinned and not known.pinned:
                self._age(self.numbers(id))
        if delta.limit:
            self.limit = delta.limit[1]
        if delta.ages:
            self.ages = delta.ages[1]

    def _add(self, number: int, id: int) -> None:
        self._ids[number] = id
        insort(self._numbers.setdefault(id, []), number)
        self._age([number])

    def _age(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            heappush(self._ages, number)
        # Instances that come and go elsewhere than at the top would fill the heap for ever.
        if len(self._ages) > 2 * len(self._ids) + 100:
            self._ages = sorted(self._ids)

    def _may_go(self, number: int) -> bool:
        id = self._ids.get(number)
        return id is not None and not self.identity(id).pinned

    def _discard(self, number: int) -> None:
        id = self._ids.pop(number)
        numbers = self._numbers[id]
        numbers.remove(number)
        if not numbers:
            del self._numbers[id]
