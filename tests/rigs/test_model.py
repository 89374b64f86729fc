"""The gallery against a list: whatever is done to both, through restarts, they agree."""

import tempfile
from collections import Counter, deque
from pathlib import Path
from random import Random
from typing import ClassVar

import numpy as np
import pytest
from figures import note
from galleries import labels_of, pinned_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reidd.distances import cosine_distance, unit
from reidd.errors import GalleryError, RequestError
from reidd.gallery import DROP_METHODS, Gallery, Reader
from reidd.gallery.policy import surplus

STEPS_AT_ONCE = 50
DIM, CAPACITY = 4, 12
IDS = st.integers(0, 5)
KEYS = st.none() | st.sampled_from([bytes([n]) * 32 for n in range(3)])
FEATURES = np.random.default_rng(0).normal(size=(64, DIM)).astype(np.float32)


class ModelGallery:
    """What the gallery promises, as a list of (number, id, feature), oldest first."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int]] = []
        self.labels: dict[int, str] = {}
        self.pinned: set[int] = set()
        self.limit: tuple[int, str] | None = None
        self.next_number = 1
        self.random = Random(0)

    def of(self, id: int) -> list[int]:
        return [number for number, owner, _ in self.rows if owner == id]

    def drop(self, numbers: list[int]) -> None:
        self.rows = [row for row in self.rows if row[0] not in numbers]

    def trim(self, id: int, *, room_for: int = 0) -> None:
        if self.limit is not None:
            count, method = self.limit
            self.drop(
                surplus(
                    self.of(id), keep=count - room_for, drop_method=method, random=self.random, features=self.features
                )
            )

    def features(self, numbers: list[int]) -> np.ndarray:
        seeds = {number: seed for number, _, seed in self.rows}
        return unit(FEATURES[[seeds[number] for number in numbers]])

    def add(self, id: int, seeds: list[int]) -> None:
        for seed in seeds:
            self.trim(id, room_for=1)
            if len(self.rows) == CAPACITY:
                loose = [number for number, owner, _ in self.rows if owner not in self.pinned]
                if not loose:
                    raise GalleryError
                self.drop(loose[:1])
            self.rows.append((self.next_number, id, seed))
            self.next_number += 1
        self.forget_the_gone()

    def rewrite(self, numbers: list[int], id: int) -> None:
        self.rows = [(number, id if number in numbers else owner, seed) for number, owner, seed in self.rows]

    def forget_the_gone(self) -> None:
        there = {id for _, id, _ in self.rows}
        self.labels = {id: label for id, label in self.labels.items() if id in there}
        self.pinned &= there

    def snapshot(self) -> tuple:
        return list(self.rows), dict(self.labels), set(self.pinned), self.limit

    def restore(self, snapshot: tuple) -> None:
        self.rows, self.labels, self.pinned, self.limit = snapshot


class GalleryMachine(RuleBasedStateMachine):
    taken = 0
    opened: ClassVar[Counter] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.model, self.newest = ModelGallery(), 0
        self.history: deque[tuple] = deque(maxlen=32)
        self.key: bytes | None = None

    @initialize(key=KEYS)
    def open(self, key) -> None:
        path = Path(self.folder.name)
        self.gallery = Gallery.open(
            dim=DIM,
            space=bytes(32),
            capacity=CAPACITY,
            ring_path=path / "ring",
            store_path=path / "store",
            key=key,
            old_key=self.key,
            seed=0,
        )
        self.key = key
        GalleryMachine.opened[self.gallery.encrypted] += 1
        self.model.random = Random(0)
        self.reader = Reader(path / "ring")
        self.history.clear()
        assert self.gallery.damage == ()
        # Numbers that only a failed transaction had may be given again, for nobody was told them; others never.
        restored = self.gallery._ledger._next_instance
        assert self.newest < restored <= self.model.next_number
        self.model.next_number = restored

    def teardown(self) -> None:
        self.gallery.close()
        self.folder.cleanup()

    def both(self, mutate_gallery, mutate_model) -> None:
        """Do it to both; what the gallery refuses the model has not seen."""
        before = self.model.snapshot()
        try:
            mutate_gallery()
        except (GalleryError, RequestError):
            # Numbers given to an addition that failed are not given again.
            self.model.next_number = self.gallery._ledger._next_instance
            self.model.random.setstate(self.gallery._random.getstate())
            return
        mutate_model()
        if self.model.snapshot() != before:
            self.history.append(before)

    @rule(id=IDS, seeds=st.lists(st.integers(0, 63), min_size=1, max_size=3))
    def add(self, id, seeds):
        before = self.model.snapshot()
        try:
            self.gallery.add(id, FEATURES[seeds])
        except GalleryError:
            with pytest.raises(GalleryError):
                self.model.add(id, seeds)
            self.model.restore(before)
        else:
            self.model.add(id, seeds)
            self.history.append(before)

    @rule(id=IDS)
    def remove(self, id):
        self.both(lambda: self.gallery.remove(id), lambda: self.model.drop(self.model.of(id)))
        self.model.forget_the_gone()

    @rule()
    def clear(self):
        self.both(self.gallery.clear, self.model.rows.clear)
        self.model.forget_the_gone()

    @rule(count=st.integers(1, 4), method=st.sampled_from(DROP_METHODS))
    def set_limit(self, count, method):
        def mutate() -> None:
            self.model.limit = (count, method)
            for id in sorted({id for _, id, _ in self.model.rows}):
                self.model.trim(id)

        self.both(lambda: self.gallery.set_limit(count, method), mutate)

    @rule(id=IDS, label=st.sampled_from(["eve", "adam", None]))
    def set_label(self, id, label):
        def mutate() -> None:
            self.model.labels.pop(id, None)
            if label is not None:
                self.model.labels[id] = label

        self.both(lambda: self.gallery.set_label(id, label), mutate)

    @rule(id=IDS)
    def pin(self, id):
        self.both(lambda: self.gallery.pin(id), lambda: self.model.pinned.add(id))

    @rule(id=IDS)
    def unpin(self, id):
        self.both(lambda: self.gallery.unpin(id), lambda: self.model.pinned.discard(id))

    @rule(id=IDS, into=IDS)
    def merge(self, id, into):
        def mutate() -> None:
            self.model.rewrite(self.model.of(id), into)
            if id in self.model.labels:
                self.model.labels.setdefault(into, self.model.labels[id])
            if id in self.model.pinned:
                self.model.pinned.add(into)
            self.model.forget_the_gone()
            self.model.trim(into)

        self.both(lambda: self.gallery.merge(id, into), mutate)

    @precondition(lambda self: self.model.rows)
    @rule(which=st.integers(0, CAPACITY - 1), id=IDS)
    def move(self, which, id):
        number, owner, _ = self.model.rows[which % len(self.model.rows)]

        def mutate() -> None:
            if owner != id:
                self.model.trim(id, room_for=1)
            self.model.rewrite([number], id)
            self.model.forget_the_gone()

        self.both(lambda: self.gallery.move(number, id), mutate)

    @precondition(lambda self: self.history)
    @rule()
    def undo(self):
        self.gallery.undo()
        self.model.restore(self.history.pop())

    @rule(ids=st.lists(IDS, max_size=4))
    def fail_a_transaction(self, ids):
        generator = self.gallery._random.getstate()
        with pytest.raises(ZeroDivisionError), self.gallery.transaction():
            for id in ids:
                self.gallery.add(id, FEATURES[:1]) if not self.model.pinned else None
            raise ZeroDivisionError
        self.gallery._random.setstate(generator)
        self.model.next_number = self.gallery._ledger._next_instance

    @rule(key=KEYS)
    def restart(self, key):
        self.gallery.close()
        # Once there is a key there is one for ever.
        self.open(key or self.key)

    @invariant()
    def they_agree(self):
        GalleryMachine.taken += 1
        self.newest = max([self.newest, *(row[0] for row in self.model.rows)])
        rows = self.reader.rows()
        assert list(zip(rows.numbers.tolist(), rows.ids.tolist(), strict=True)) == [row[:2] for row in self.model.rows]
        assert np.array_equal(rows.features, unit(FEATURES[[row[2] for row in self.model.rows]]).reshape(-1, DIM))
        assert self.gallery.ids() == sorted({id for _, id, _ in self.model.rows})
        assert labels_of(self.gallery) == self.model.labels
        assert pinned_of(self.gallery) == sorted(self.model.pinned)
        assert self.gallery.limit == self.model.limit

    @invariant()
    def the_nearest_is_found(self):
        probe = unit(FEATURES[:1])
        (match,) = self.reader.search(probe, top_k=1)
        if self.model.rows:
            distances = cosine_distance(probe, self.model.features([row[0] for row in self.model.rows]))[0]
            assert match.nearest[0].column == int(np.argmin(distances))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("steps", [1_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_the_gallery_agrees_with_a_list(steps):
    GalleryMachine.taken, GalleryMachine.opened = 0, Counter()
    # Hypothesis takes fewer steps than it may.
    examples = int(1.6 * steps) // STEPS_AT_ONCE
    run_state_machine_as_test(
        GalleryMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS_AT_ONCE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    opened = GalleryMachine.opened
    note(
        "the gallery against a list",
        f"{GalleryMachine.taken} steps, opened {opened[False]} times plain, {opened[True]} times encrypted",
    )
    assert GalleryMachine.taken > steps
    assert min(opened[False], opened[True]) > 0
