"""Whatever way somebody took from number to number, no backup brings back who was forgotten."""

import time
from contextlib import suppress
from itertools import count
from zlib import crc32

import numpy as np
import pytest
from galleries import SPACE, change, feature, features, opened

from reidd.errors import RequestError
from reidd.gallery import Forgotten, Gallery, Rows, without_forgotten
from reidd.gallery.archive import Archive

IDS = range(8)


class House:
    """A gallery, and beside it the truth: whose each instance is, and who has which id."""

    def __init__(self, gallery: Gallery, random: np.random.Generator):
        self.gallery, self.random = gallery, random
        self.people = count()
        self.whose: dict[int, int] = {}
        self.called: dict[int, int] = {}
        self.before: list[tuple[dict[int, int], dict[int, int]]] = []
        self.backups: list[Archive] = []

    def add(self) -> None:
        id = int(self.random.choice(IDS))
        if id not in self.gallery.ids():
            self.called[id] = next(self.people)
        for number in self.gallery.add(id, features(int(self.random.integers(1, 4)))).added:
            self.whose[number] = self.called[id]

    def rename(self) -> None:
        id, into_id = self.random.permutation(IDS)[:2].tolist()
        self.gallery.rename(id, into_id)
        self.called[into_id] = self.called.pop(id)

    def merge(self) -> None:
        id, into_id = self.random.permutation(IDS)[:2].tolist()
        self.gallery.merge(id, into_id)
        one, other = self.called.pop(id), self.called[into_id]
        self.whose = {number: other if who == one else who for number, who in self.whose.items()}

    def move(self) -> None:
        number, id = int(self.random.integers(len(self.whose) + 1)), int(self.random.choice(IDS))
        somebody = next(self.people) if id not in self.gallery.ids() else self.called[id]
        if not self.gallery.move(number, id).moved:
            raise RequestError("it is that one's, and this is no change that undo takes back")
        self.called[id] = self.whose[number] = somebody

    def remove(self) -> None:
        self.gallery.remove(int(self.random.choice(IDS)))

    def undo(self) -> None:
        self.gallery.undo()
        whose, self.called = self.before.pop()
        # Instances that came since are in backups from in between.
        self.whose |= whose

    def back_up(self) -> None:
        self.backups.append(Archive(self.gallery.reader.rows(), {}, SPACE, None, self.gallery.origin))

    def forget(self) -> None:
        id = int(self.random.choice(self.gallery.ids() or IDS))
        gone = {number for number, who in self.whose.items() if who == self.called.get(id)}
        self.gallery.forget(id)
        self.before.clear()
        for backup in self.backups:
            kept, _ = without_forgotten(backup, self.gallery.origin, self.gallery.forgotten())
            assert not gone.intersection(kept.rows.numbers.tolist())


@pytest.mark.parametrize("seed", range(150))
def test_nobody_comes_back(seed):
    with opened(capacity=60, seed=seed) as gallery:
        gallery.set_limit(3, "drop_random")
        gallery.forget(0)
        house = House(gallery, np.random.default_rng(seed))
        remembered = [house.add, house.rename, house.merge, house.move, house.remove]
        steps = [*remembered, house.add, house.undo, house.back_up, house.forget]
        for at in house.random.integers(len(steps), size=100):
            before = dict(house.whose), dict(house.called)
            with suppress(RequestError):
                steps[at]()
                if steps[at] in remembered:
                    house.before.append(before)


@pytest.fixture
def gallery():
    with opened(capacity=60) as gallery:
        gallery.add(1, features(3))
        gallery.add(2, feature(9))
        yield gallery


def back_from(backup: Archive, gallery: Gallery) -> list[tuple[int, int]]:
    """Number and id of what the backup would bring back."""
    rows = without_forgotten(backup, gallery.origin, gallery.forgotten())[0].rows
    return list(zip(rows.numbers.tolist(), rows.ids.tolist(), strict=True))


def backup_of(gallery: Gallery) -> Archive:
    return Archive(gallery.reader.rows(), {}, SPACE, None, gallery.origin)


def test_a_moved_instance_goes_with_whose_it_was_though_it_was_dropped_since_and_the_others_stay(gallery):
    backup = backup_of(gallery)
    gallery.move(1, 2)
    gallery.set_limit(1, "drop_oldest")
    gallery.forget(2)
    assert back_from(backup, gallery) == [(2, 1), (3, 1)]


def test_a_moved_instance_that_is_somebody_elses_by_now_stays(gallery):
    backup = backup_of(gallery)
    gallery.move(1, 2)
    gallery.move(1, 3)
    gallery.forget(2)
    assert back_from(backup, gallery) == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("mistake", [lambda gallery: gallery.merge(1, 2), lambda gallery: gallery.move(1, 2)])
def test_what_was_another_ids_by_mistake_does_not_come_back_as_that_ids(gallery, mistake):
    mistake(gallery)
    backup = backup_of(gallery)
    gallery.undo()
    gallery.set_limit(1, "drop_oldest")
    gallery.forget(1)
    assert back_from(backup, gallery) == [(4, 2)]


def test_a_note_of_old_that_knows_of_whole_ids_only_is_read(tmp_path):
    with opened(tmp_path, capacity=60) as gallery:
        gallery.add(1, feature(1))
        backup = backup_of(gallery)
        gallery.rename(1, 9)
    note = b"[1,0,0,[],[[9,2]]]"
    change(tmp_path, "UPDATE forgotten SET what = ?", f"{crc32(note):08x} {note.decode()}")
    with opened(tmp_path, capacity=60) as again:
        again.forget(9)
        assert back_from(backup, again) == []


def test_whoever_was_forgotten_under_a_number_is_not_forgotten_again_with_each_who_has_it_later(gallery):
    backup = backup_of(gallery)
    gallery.merge(1, 2)
    gallery.forget(2)
    noted = gallery.forgotten()[1]
    gallery.add(2, feature(10))
    gallery.add(3, feature(11))
    gallery.merge(3, 2)
    gallery.forget(2)
    assert gallery.forgotten()[1] == noted
    assert sorted(gallery.forgotten()) == [1, 2, 3]
    assert back_from(backup, gallery) == []


def test_whoever_had_thousands_of_numbers_is_forgotten_sooner_than_they_were_merged():
    with opened(capacity=10) as gallery:
        gallery.set_limit(1, "drop_oldest")
        gallery.add(1, feature(1))
        began = time.perf_counter()
        with gallery.transaction():
            for id in range(2, 4000):
                gallery.add(id, feature(1))
                gallery.merge(id, 1)
        merged = time.perf_counter()
        gallery.forget(1)
        assert time.perf_counter() - merged < merged - began
        assert len(gallery.forgotten()) == 3999


def test_a_backup_is_not_looked_through_once_for_each_who_was_forgotten():
    numbers = np.arange(1, 20_001, dtype=np.uint64)
    rows = Rows(numbers, numbers.astype(np.int64), numbers.astype(np.int64), np.zeros((20_000, 1), np.float32))
    backup = Archive(rows, {}, SPACE, None, "here")

    def left_out_s(count: int) -> float:
        forgotten = {id: Forgotten(1, 30_000, (id,)) for id in range(1, count + 1)}
        began = time.perf_counter()
        assert len(without_forgotten(backup, "here", forgotten)[1]) == count
        return time.perf_counter() - began

    left_out_s(1)
    assert left_out_s(5000) < 30 * left_out_s(1)
