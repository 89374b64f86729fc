"""Places instances in the slots of a ring; the counterpart of the reader, and the only one that writes."""

import heapq
from collections.abc import Iterator

import numpy as np

from reidd.gallery.changes import Delta
from reidd.gallery.instance import Instance
from reidd.gallery.numbered import Numbered
from reidd.gallery.ring import FREE_ID, Ring


class Writer:
    """Knows which slot each instance lies in and which slots are free. The lowest free slot is used first."""

    def __init__(self, ring: Ring):
        """Go on from what a ring holds."""
        self.ring = ring
        held = ring.slots[: ring.used]
        live = np.flatnonzero(held["id"] != FREE_ID)
        live = live[np.argsort(held["instance"][live])]
        self._slots = Numbered(held["instance"][live], live)
        self._free: list[int] = np.flatnonzero(held["id"] == FREE_ID).tolist()

    def copy(self, number: int) -> Instance:
        """Copy a stored instance, even out of damaged memory: the one who asks is about to remove or rewrite it."""
        slot = self._slots.get(number)
        if slot is None:
            raise KeyError(number)
        return self.ring.copy(slot)

    def apply(self, delta: Delta, *, next_instance: int) -> None:
        """Take instances out and put others in, as one change."""
        emptied = sorted(
            (self._slots.pop(number) for number in delta.removed if number not in delta.added), reverse=True
        )
        used = self.ring.used
        placed: list[tuple[int, Instance]] = []
        for number, instance in delta.added.items():
            # A row that replaces another takes its slot, so that a reader in between finds one of the two.
            slot = self._slots.get(number) if number in delta.removed else None
            if slot is None:
                if emptied:
                    slot = emptied.pop()
                elif self._free:
                    slot = heapq.heappop(self._free)
                else:
                    slot, used = used, used + 1
                self._slots.put(number, slot)
            placed.append((slot, instance))
        for slot in reversed(emptied):  # upwards, so that those side by side are emptied at once
            placed.append((slot, self.ring.nobody))
            heapq.heappush(self._free, slot)
        with self.ring.change(count=len(self._slots), used=used, next_instance=next_instance):
            for slot, run in _runs(placed):
                self.ring.write(slot, run)


def _runs(placed: list[tuple[int, Instance]]) -> Iterator[tuple[int, list[Instance]]]:
    """Put together what lies side by side, as `(first slot, instances)`."""
    run: list[Instance] = []
    expected = -1
    for slot, instance in placed:
        if slot != expected and run:
            yield expected - len(run), run
            run = []
        run.append(instance)
        expected = slot + 1
    if run:
        yield expected - len(run), run
