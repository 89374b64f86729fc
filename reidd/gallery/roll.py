"""Who is in a gallery, and what is known about them: the questions that its writer answers."""

from collections.abc import Mapping

from reidd.gallery.changes import Forgotten, Identity
from reidd.gallery.index import Index
from reidd.gallery.policy import Limit


class Roll:
    """The roll of a gallery's members."""

    def __init__(self, index: Index, capacity: int):
        self._index, self._capacity = index, capacity

    @property
    def capacity(self) -> int:
        """How many instances there is room for."""
        return self._capacity

    @property
    def limit(self) -> Limit | None:
        """How many instances an id may keep and what goes to make room, or None for no limit."""
        return self._index.limit

    @property
    def ttl_s(self) -> float | None:
        """How many seconds of serving instances live, or None for ever; an id may have a time of its own."""
        return self._index.ages.ttl_s

    def ids(self) -> list[int]:
        """List the distinct ids, ascending."""
        return self._index.ids()

    def count(self, id: int | None = None) -> int:
        """Count the instances in the gallery, or of one id."""
        return len(self._index) if id is None else len(self._index.numbers(id))

    def label(self, id: int) -> str | None:
        """Give the label of one id, if it has one."""
        known = self._index.identities.get(id)
        return None if known is None else known.label

    def identity(self, id: int) -> Identity:
        """Tell what is known about an id."""
        return self._index.identity(id)

    def forgotten(self) -> Mapping[int, Forgotten]:
        """Tell which ids were forgotten, and when."""
        return {id: known for id, known in self._index.forgotten.items() if known.before}
