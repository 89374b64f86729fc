"""Places instances in the slots of a ring; the counterpart of the reader, and the only one that writes."""

import heapq

import numpy as np

from reidd.gallery.changes import Delta
from reidd.gallery.instance import Instance
from reidd.gallery.ring import FREE_ID, Ring


class Writer:
    """Knows which slot each instance lies in and which slots are free. The lowest free slot is used first."""

    def __init__(self, ring: Ring):
        """Go on from what a ring holds."""
        self.ring = ring
        held = ring.slots[: ring.used]
        live = np.flatnonzero(held["id"] != FREE_ID).tolist()
        self._slots: dict[int, int] = dict(zip(held["instance"][live].tolist(), live, strict=True))
        self._free: list[int] = np.flatnonzero(held["id"] == FREE_ID).tolist()

    def copy(self, number: int) -> Instance:
        """Copy a stored instance, even out of damaged memory: the one who asks is about to remove or rewrite it."""
        return self.ring.copy(self._slots[number])

    def apply(self, delta: Delta, *, next_instance: int) -> None:
        """Take instances out and put others in, as one change."""
        emptied = [self._slots.pop(number) for number in delta.removed if number not in delta.added]
        used = self.ring.used
        # A row that replaces another takes its slot, so that a reader in between finds one of the two.
        placed: list[tuple[int, Instance]] = []
        for instance in delta.added.values():
            slot = self._slots.get(instance.number)
            if slot is None:
                slot = emptied.pop() if emptied else heapq.heappop(self._free) if self._free else used
                self._slots[instance.number] = slot
            used = max(used, slot + 1)
            placed.append((slot, instance))
        with self.ring.change(count=len(self._slots), used=used, next_instance=next_instance):
            for slot, instance in placed:
                self.ring.write(slot, instance)
            for slot in emptied:
                self.ring.free(slot)
                heapq.heappush(self._free, slot)
