"""Reads the gallery in shared memory while somebody else writes it: no locks, no request to the daemon."""

import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reidd.distances import Nearest, cosine_distance, nearest_ids
from reidd.errors import FeatureError, GalleryError
from reidd.gallery.instance import Rows
from reidd.gallery.layout import PATIENCE_S, Layout, layout_of
from reidd.gallery.ring import Ring
from reidd.gallery.sketch import MANY, Sketch, scanner

_TRIES = 20
_ROUNDING = 1e-4  # one row's product differs from the block's by the order of its sums


class Match(NamedTuple):
    """What one probe found; `nearest[i].column` indexes the arrays, which are in order of age."""

    distances: np.ndarray
    """Perhaps empty, when they were not asked for."""
    nearest: list[Nearest]
    instances: np.ndarray
    ids: np.ndarray


class Reader:
    """Searches a ring, by the path of its file or in this process's own memory. Any number may do so at once."""

    def __init__(self, source: Path | str | Ring, *, space: bytes | None = None):
        """Map the ring at `source`; raises GalleryError, and FeatureSpaceError when it is not of `space`."""
        self._path = None if isinstance(source, Ring) else Path(source)
        self._space = space
        self._cached: Layout | None = None
        self._inode: tuple[int, int] | None = None
        self._sketch: Sketch | None = None
        self._ring = source if isinstance(source, Ring) else self._map(Path(source))

    @property
    def dim(self) -> int:
        """Values of a feature."""
        return self._ring.dim

    @property
    def space(self) -> bytes:
        """The fingerprint of the feature space."""
        return self._ring.space

    def search(
        self, probes: np.ndarray, *, top_k: int, ids: Collection[int] | None = None, matrix: bool = True
    ) -> list[Match]:
        """Find, for each unit probe of `(p, dim)` float32, the `top_k` nearest ids, of all or among `ids` only.

        Exact: every live instance is compared. The answer is the gallery as it was at one moment, unless the writer
        leaves no pause long enough for that; then every row is whole, but two of them may be of different moments.
        Without `matrix` the distances of the others are not asked for, which a large gallery answers sooner.
        """
        ring = self._current()
        if probes.ndim != 2 or probes.shape[1] != ring.dim:
            raise FeatureError(f"probes have shape {probes.shape}; this gallery's features are (n, {ring.dim})")
        if not matrix and ids is None and len(probes) == 1 and ring.used > MANY:
            match = self._searched_quickly(ring, probes, top_k)
            if match is not None:
                return [match]
        attempt, deadline = 0, time.monotonic() + PATIENCE_S
        # A busy writer on a busy machine can be in the way many times in a row; damage stays for ever.
        while attempt < _TRIES or time.monotonic() < deadline:
            layout, distances = self._scan(ring, probes)
            chosen = layout.among(ids)
            matches = [_match(row, chosen, top_k) for row in distances]
            torn = [
                slot for probe, match in zip(probes, matches, strict=True) for slot in _torn(ring, chosen, probe, match)
            ]
            if not torn:
                return matches
            if attempt and self._cached is not None:
                self._cached = layout.without(torn)
            attempt += 1
        raise GalleryError("the gallery's rows do not match their checksums; restart the daemon to rebuild it")

    def count(self) -> int:
        """Instances in the gallery."""
        return self._current().count

    def ids(self) -> list[int]:
        """The distinct ids, ascending."""
        return [int(id) for id in np.unique(self._layout(self._current()).ids)]

    def alive(self, *, within_s: float = 5.0) -> bool:
        """Whether the writer has shown itself within the last `within_s` seconds."""
        try:
            ring = self._current()
        except GalleryError:
            return False
        return time.monotonic_ns() - ring.heartbeat_ns <= within_s * 1e9

    def rows(self, after_instance: int = 0, limit: int = 1000) -> Rows:
        """Copy at most `limit` instances, oldest first, from the one after `after_instance`."""
        ring = self._current()
        layout = self._layout(ring)
        first = int(np.searchsorted(layout.instances, after_instance, side="right"))
        slots, numbers = (column[first : first + limit].tolist() for column in (layout.order, layout.instances))
        copies = zip(map(ring.read, slots), numbers, strict=True)
        # Another instance may have come into a slot since the layout was read.
        whole = [copy for copy, number in copies if copy is not None and copy.number == number]
        return Rows(
            np.array([copy.number for copy in whole], np.uint64),
            np.array([copy.id for copy in whole], np.int64),
            np.array([copy.time_ns for copy in whole], np.int64),
            np.frombuffer(b"".join([copy.feature for copy in whole]), np.float32).reshape(len(whole), ring.dim),
        )

    def _map(self, path: Path) -> Ring:
        # Asked first: should another file take the place in between, the next search maps that one.
        inode = _inode(path)
        ring = Ring.open(path, space=self._space)
        self._inode, self._cached, self._sketch = inode, None, None
        return ring

    def _current(self) -> Ring:
        """The ring, mapped anew when a restarted writer has put another file in its place."""
        if self._path is None:
            return self._ring
        if _inode(self._path) not in (None, self._inode):
            self._ring = self._map(self._path)
        elif self._ring.closed:
            raise GalleryError(f"the gallery at {str(self._path)!r} was closed by its writer; start the daemon")
        return self._ring

    def _layout(self, ring: Ring) -> Layout:
        if self._cached is None or self._cached.generation != ring.generation:
            self._cached = layout_of(ring)
        return self._cached

    def _searched_quickly(self, ring: Ring, probe: np.ndarray, top_k: int) -> Match | None:
        """The same answer by way of the sketch; None when there is none yet, or the gallery has changed meanwhile."""
        library = scanner()
        if library is None:
            return None
        if self._sketch is None:
            self._sketch = Sketch(ring, library)
        layout = self._layout(ring)
        # An empty gallery too is followed, or the copy would keep those who are gone.
        if not (self._sketch.follow(layout.sequences) and len(layout.order)):
            return None
        columns = self._sketch.candidates(probe, layout.order, layout.ids, top_k)
        if columns is None:
            return None
        distances = cosine_distance(probe, ring.features[layout.order[columns]])[0]
        nearest = nearest_ids(distances, layout.ids[columns], top_k)
        nearest = [one._replace(column=int(columns[one.column])) for one in nearest]
        match = Match(distances[:0], nearest, layout.instances, layout.ids)
        return match if ring.generation == layout.generation and not _torn(ring, layout, probe[0], match) else None

    def _scan(self, ring: Ring, probes: np.ndarray) -> tuple[Layout, np.ndarray]:
        """Distances `(p, used)` to every slot, and the layout they belong to."""
        layout = self._layout(ring)
        distances = cosine_distance(probes, ring.features[: len(layout.sequences)])
        for _ in range(_TRIES):
            if ring.generation == layout.generation:
                break
            # Only rows whose sequence changed meanwhile can be wrong; so only they are scanned again.
            before, layout = layout, self._layout(ring)
            changed = layout.changed_since(before)
            distances = _resized(distances, len(layout.sequences))
            distances[:, changed] = cosine_distance(probes, ring.features[changed])
        return layout, distances


def _inode(path: Path) -> tuple[int, int] | None:
    """Tell one file from another that takes its place; None when there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  a third of the cost of Path.stat, at every search
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _match(distances: np.ndarray, layout: Layout, top_k: int) -> Match:
    # Until something is removed the slots are in order of age themselves.
    aged = distances if layout.is_aged else distances[layout.order]
    return Match(aged, nearest_ids(aged, layout.ids, top_k), layout.instances, layout.ids)


def _torn(ring: Ring, layout: Layout, probe: np.ndarray, match: Match) -> list[int]:
    """Slots among the nearest whose content is not what the scan took it for.

    Python has no memory fence and ARM reorders, so only a row copied with a matching crc counts as seen whole.
    """
    slots = [int(layout.order[nearest.column]) for nearest in match.nearest]
    found = [ring.read(slot) for slot in slots]
    features = b"".join([(ring.nobody if row is None else row).feature for row in found])
    distances = cosine_distance(probe[np.newaxis], np.frombuffer(features, np.float32).reshape(-1, ring.dim))[0]
    return [
        slot
        for slot, nearest, row, distance in zip(slots, match.nearest, found, distances, strict=True)
        if row is None
        or (row.number, row.id) != (match.instances[nearest.column], nearest.id)
        or abs(distance - nearest.distance) > _ROUNDING
    ]


def _resized(distances: np.ndarray, used: int) -> np.ndarray:
    kept = distances[:, :used]
    return np.pad(kept, ((0, 0), (0, used - kept.shape[1])))
