"""What lies in which slot of a ring, as it was at one moment."""

import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from reidd.errors import GalleryError
from reidd.gallery.ring import FREE_ID, Ring

PATIENCE_S = 1.0
"""A change takes microseconds; one that takes this long has lost its writer."""


class Layout(NamedTuple):
    """What lay in which slot at one generation, and the live slots in order of age."""

    generation: int
    sequences: np.ndarray
    order: np.ndarray
    instances: np.ndarray
    ids: np.ndarray
    is_aged: bool

    def among(self, ids: Collection[int] | None) -> "Layout":
        """The layout of the wanted ids only; None wants all."""
        return self if ids is None else self._only(np.isin(self.ids, np.fromiter(ids, np.int64, len(ids))))

    def without(self, slots: Sequence[int]) -> "Layout":
        """The layout less slots that stay wrong although nobody writes them: damaged memory does not speak."""
        return self._only(~np.isin(self.order, slots))

    def changed_since(self, before: "Layout") -> np.ndarray:
        """The slots that were written between the two."""
        shared = min(len(before.sequences), len(self.sequences))
        rewritten = np.flatnonzero(before.sequences[:shared] != self.sequences[:shared])
        return np.concatenate([rewritten, np.arange(shared, len(self.sequences))])

    def _only(self, keep: np.ndarray) -> "Layout":
        return self._replace(order=self.order[keep], instances=self.instances[keep], ids=self.ids[keep], is_aged=False)


def layout_of(ring: Ring) -> Layout:
    """Copy a ring's layout between two changes. Raises GalleryError when the writer died in the middle of one."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        generation = ring.generation
        if generation % 2 == 0:
            slots = ring.slots[: ring.used].copy()
            if ring.generation == generation:
                break
        if time.monotonic() > deadline:
            raise GalleryError("the gallery's writer stopped in the middle of a change; restart the daemon")
        time.sleep(0)
    live = np.flatnonzero(slots["id"] != FREE_ID)
    order = live[np.argsort(slots["instance"][live], kind="stable")]
    sequences = np.ascontiguousarray(slots["sequence"])
    is_aged = len(order) == len(slots) and bool((np.diff(order) == 1).all())
    return Layout(generation, sequences, order, slots["instance"][order], slots["id"][order], is_aged)
