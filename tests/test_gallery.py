import sqlite3
from pathlib import Path

import numpy as np
import pytest

from reidd.errors import (
    FeatureError,
    FeatureSpaceError,
    GalleryError,
    RequestError,
    StorageUnavailableError,
    UnknownIdError,
)
from reidd.gallery import Change, Gallery, Instance, Limit, Reader
from reidd.gallery.aging import Ages
from reidd.gallery.contents import instance_crc

DIM = 8
SPACE = bytes(range(32))


def feature(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, DIM)).astype(np.float32)


def features(count: int) -> np.ndarray:
    return np.concatenate([feature(seed) for seed in range(count)])


def opened(folder: Path | None = None, **options) -> Gallery:
    if folder is not None:
        options = {"ring_path": folder / "gallery", "store_path": folder / "gallery.sqlite", **options}
    return Gallery.open(**{"dim": DIM, "space": SPACE, "capacity": 10, **options})


@pytest.fixture
def gallery():
    with opened() as gallery:
        yield gallery


def held(gallery: Gallery) -> list[tuple[int, int]]:
    rows = gallery.reader.rows()
    return list(zip(rows.numbers.tolist(), rows.ids.tolist(), strict=True))


class TestAdding:
    def test_instances_are_numbered_in_order(self, gallery):
        assert gallery.add(7, features(2)) == Change(added=(1, 2))
        assert gallery.add(3, feature(5)) == Change(added=(3,))
        assert held(gallery) == [(1, 7), (2, 7), (3, 3)]
        assert (gallery.ids(), gallery.count(), gallery.count(7), gallery.count(99)) == ([3, 7], 3, 2, 0)

    def test_features_are_scaled_to_length_1(self, gallery):
        gallery.add(1, feature(1) * 100)
        assert np.linalg.norm(gallery.reader.rows().features[0]) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            (np.zeros((1, DIM), np.float32), "zeros"),
            (np.full((1, DIM), np.nan, np.float32), "NaN"),
            (np.full((1, DIM), np.inf, np.float32), "infinity"),
            (np.ones((1, DIM + 1), np.float32), r"\(n, 8\); got \(1, 9\)"),
            (np.ones(DIM, np.float32), r"got \(8,\)"),
            (np.ones((0, DIM), np.float32), r"got \(0, 8\)"),
            (np.ones((1, DIM), np.int32), "got int32"),
            ([1.0] * DIM, "got list"),
        ],
    )
    def test_what_is_no_feature_is_refused_and_changes_nothing(self, gallery, bad, says):
        with pytest.raises(FeatureError, match=says):
            gallery.add(1, bad)
        assert gallery.count() == 0

    def test_a_full_gallery_overwrites_its_oldest_instance(self, gallery):
        gallery.add(1, features(10))
        assert gallery.add(2, feature(50)) == Change(added=(11,), overwritten=((1, 1),))
        assert gallery.count() == 10

    def test_a_full_gallery_spares_pinned_ids(self, gallery):
        gallery.add(1, features(2))
        gallery.add(2, features(8))
        gallery.pin(1)
        assert gallery.add(3, feature(50)).overwritten == ((3, 2),)
        gallery.unpin(1)
        assert gallery.add(3, feature(51)).overwritten == ((1, 1),)

    def test_a_gallery_full_of_pinned_ids_says_so_and_keeps_everything(self, gallery):
        gallery.add(1, features(9))
        gallery.pin(1)
        with pytest.raises(GalleryError, match="unpin or remove"):
            gallery.add(1, features(3))
        assert gallery.count() == 9

    def test_an_id_that_was_overwritten_loses_its_label(self, gallery):
        gallery.add(1, feature(1))
        gallery.set_label(1, "eve")
        gallery.add(2, features(10))
        assert gallery.labels() == {}


class TestLimit:
    @pytest.mark.parametrize(
        ("method", "left"), [("drop_oldest", [2, 3, 4]), ("drop_latest", [1, 2, 4]), ("drop_redundant", [1, 3, 4])]
    )
    def test_a_stored_instance_makes_room_for_a_new_one(self, gallery, method, left):
        gallery.set_limit(3, method)
        gallery.add(1, np.eye(DIM, dtype=np.float32)[[0, 1]])
        gallery.add(1, np.eye(DIM, dtype=np.float32)[[1]] + 0.01)
        assert len(gallery.add(1, feature(4)).dropped) == 1
        assert [number for number, _ in held(gallery)] == left

    def test_drop_random_is_the_same_for_the_same_seed(self):
        def dropped(seed: int) -> list[Change]:
            with opened(seed=seed) as gallery:
                gallery.set_limit(5, "drop_random")
                return [gallery.add(1, feature(n)) for n in range(30)]

        assert dropped(1) == dropped(1) != dropped(2)

    def test_lowering_the_limit_trims_at_once(self, gallery):
        gallery.add(1, features(4))
        gallery.add(2, features(3))
        assert gallery.set_limit(2, "drop_latest").dropped == ((3, 1), (4, 1), (7, 2))
        assert gallery.limit == Limit(2, "drop_latest")

    def test_a_limit_of_one_keeps_the_label(self, gallery):
        gallery.set_limit(1, "drop_oldest")
        gallery.add(1, feature(1))
        gallery.set_label(1, "eve")
        gallery.add(1, feature(2))
        assert gallery.labels() == {1: "eve"}

    @pytest.mark.parametrize(("count", "method"), [(0, "drop_oldest"), (-1, "drop_oldest"), (True, "drop_oldest")])
    def test_a_limit_below_1_is_refused(self, gallery, count, method):
        with pytest.raises(RequestError, match="at least 1"):
            gallery.set_limit(count, method)

    def test_an_unknown_method_is_refused_with_the_names_of_those_there_are(self, gallery):
        with pytest.raises(RequestError, match="drop_oldest, drop_latest, drop_random, drop_redundant"):
            gallery.set_limit(1, "drop_best")
        assert gallery.limit is None


class TestChangingIds:
    def test_removing_forgets_the_id_and_its_label(self, gallery):
        gallery.add(1, features(3))
        gallery.set_label(1, "eve")
        assert gallery.remove(1) == Change(removed=3)
        assert (gallery.ids(), gallery.labels(), held(gallery)) == ([], {}, [])

    @pytest.mark.parametrize(
        "mutate",
        [
            lambda gallery: gallery.remove(5),
            lambda gallery: gallery.set_label(5, "eve"),
            lambda gallery: gallery.pin(5),
            lambda gallery: gallery.rename(5, 6),
            lambda gallery: gallery.merge(5, 1),
        ],
    )
    def test_an_unknown_id_is_an_error(self, gallery, mutate):
        gallery.add(1, feature(1))
        with pytest.raises(UnknownIdError, match="no instance of id 5"):
            mutate(gallery)

    def test_room_that_was_freed_is_used_again(self, gallery):
        for n in range(50):
            gallery.add(n, features(3))
            gallery.remove(n)
        assert gallery.reader.count() == 0
        assert gallery.add(1, features(10)).overwritten == ()

    def test_clearing_keeps_the_limit_and_the_numbering(self, gallery):
        gallery.set_limit(5, "drop_oldest")
        gallery.add(1, features(3))
        gallery.add(2, features(1))
        assert gallery.clear() == Change(removed=4)
        assert gallery.add(1, feature(1)).added == (5,)
        assert gallery.limit == (5, "drop_oldest")

    def test_an_id_renamed_keeps_instances_label_and_pin(self, gallery):
        gallery.add(1, features(2))
        gallery.set_label(1, "eve")
        gallery.pin(1)
        assert gallery.rename(1, 9) == Change(moved=(1, 2))
        assert (held(gallery), gallery.labels(), gallery.pinned()) == ([(1, 9), (2, 9)], {9: "eve"}, [9])

    def test_renaming_to_an_id_there_is_points_to_merging(self, gallery):
        gallery.add(1, feature(1))
        gallery.add(2, feature(2))
        with pytest.raises(RequestError, match="merge 1 into it"):
            gallery.rename(1, 2)

    def test_merged_ids_share_one_limit(self, gallery):
        gallery.set_limit(3, "drop_oldest")
        gallery.add(1, features(2))
        gallery.add(2, features(2))
        gallery.set_label(1, "eve")
        assert gallery.merge(1, 2) == Change(moved=(1, 2), dropped=((1, 2),))
        assert (held(gallery), gallery.labels()) == ([(2, 2), (3, 2), (4, 2)], {2: "eve"})

    def test_an_instance_moved_makes_room_like_a_new_one(self, gallery):
        gallery.set_limit(2, "drop_latest")
        gallery.add(1, feature(1))
        gallery.add(2, features(2))
        assert gallery.move(1, 2) == Change(moved=(1,), dropped=((3, 2),))
        assert held(gallery) == [(1, 2), (2, 2)]

    def test_moving_an_instance_that_is_not_there_is_an_error(self, gallery):
        with pytest.raises(RequestError, match="no instance number 4"):
            gallery.move(4, 1)


class TestUndo:
    def test_mutations_are_taken_back_latest_first(self, gallery):
        gallery.add(1, features(2))
        gallery.set_label(1, "eve")
        before = held(gallery)
        gallery.remove(1)
        assert gallery.undo() == Change(added=(1, 2))
        assert (held(gallery), gallery.labels()) == (before, {1: "eve"})
        gallery.undo()
        assert gallery.undo() == Change(removed=2)
        assert (gallery.ids(), gallery.labels()) == ([], {})

    def test_what_was_overwritten_comes_back(self, gallery):
        gallery.add(1, features(10))
        before = held(gallery)
        gallery.add(2, features(3))
        gallery.undo()
        assert held(gallery) == before
        assert gallery.add(2, feature(1)).overwritten == ((1, 1),)

    def test_nothing_to_undo_is_an_error(self, gallery):
        with pytest.raises(RequestError, match="nothing to undo"):
            gallery.undo()


class TestTransactions:
    def test_readers_see_nothing_before_the_end(self, gallery):
        with gallery.transaction():
            gallery.add(1, features(2))
            assert (gallery.count(1), gallery.reader.count()) == (2, 0)
        assert gallery.reader.count() == 2

    def test_mutations_see_each_other(self, gallery):
        with gallery.transaction():
            gallery.add(1, features(2))
            gallery.remove(1)
            gallery.add(1, features(1))
        assert held(gallery) == [(3, 1)]

    def test_an_error_of_one_mutation_does_not_undo_the_others(self, gallery):
        with gallery.transaction():
            gallery.add(1, feature(1))
            with pytest.raises(UnknownIdError):
                gallery.remove(2)
            gallery.add(3, feature(3))
        assert held(gallery) == [(1, 1), (2, 3)]

    def test_an_error_that_leaves_the_block_undoes_it(self, gallery):
        gallery.add(1, feature(1))
        with pytest.raises(UnknownIdError), gallery.transaction():
            gallery.add(3, feature(3))
            gallery.set_limit(1, "drop_oldest")
            gallery.remove(2)
        assert (held(gallery), gallery.limit, gallery.ids()) == ([(1, 1)], None, [1])


class TestRestart:
    def test_everything_survives(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.set_limit(4, "drop_random")
            gallery.add(1, features(3))
            gallery.add(2, features(2))
            gallery.set_label(2, "eve")
            gallery.pin(1)
            before = gallery.reader.rows()
        with opened(tmp_path) as gallery:
            after = gallery.reader.rows()
            assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
            assert (gallery.limit, gallery.labels(), gallery.pinned()) == ((4, "drop_random"), {2: "eve"}, [1])
            assert gallery.damage == ()

    def test_numbers_are_not_used_again(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(3))
            gallery.clear()
        with opened(tmp_path) as gallery:
            assert gallery.add(1, feature(1)).added == (4,)

    def test_another_feature_space_is_refused(self, tmp_path):
        opened(tmp_path).close()
        with pytest.raises(FeatureSpaceError, match="enrol anew"):
            opened(tmp_path, space=bytes(32))

    def test_too_small_a_capacity_is_refused(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(5))
        with pytest.raises(GalleryError, match="raise the capacity"):
            opened(tmp_path, capacity=4)

    def test_a_store_in_use_is_refused(self, tmp_path):
        with opened(tmp_path), pytest.raises(GalleryError, match="in use"):
            opened(tmp_path)

    def test_a_reader_never_sees_the_gallery_before_it_is_filled(self, tmp_path, monkeypatch):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(3))
        seen, rename = [], Path.rename

        def watched(self, target):
            renamed = rename(self, target)
            seen.append(Reader(target).count())
            return renamed

        monkeypatch.setattr(Path, "rename", watched)
        opened(tmp_path).close()
        assert seen == [3]

    def test_a_reader_follows_the_writer_through_a_restart(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, feature(1))
            reader = Reader(tmp_path / "gallery")
        assert not reader.alive()
        with pytest.raises(GalleryError, match="closed by its writer"):
            reader.count()
        with opened(tmp_path) as gallery:
            gallery.add(2, feature(2))
            assert reader.ids() == [1, 2]


class TestDamage:
    def test_a_damaged_row_is_set_aside_and_the_rest_serves(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(3))
        self.change(tmp_path, "UPDATE instances SET feature = zeroblob(32) WHERE instance = 2")
        with opened(tmp_path) as gallery:
            assert [number for number, _ in held(gallery)] == [1, 3]
            assert "instance 2 does not match its checksum" in gallery.damage
            assert (tmp_path / "gallery.sqlite.damaged-1").exists()
        with opened(tmp_path) as gallery:
            assert gallery.damage == ()
            assert gallery.count() == 2

    def test_a_row_that_was_written_wrong_is_set_aside_too(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(2))
        endless = np.full(DIM, np.inf, np.float32)
        row = Instance(2, 1, 0, endless)
        self.change(
            tmp_path,
            f"UPDATE instances SET time_ns = 0, crc = {instance_crc(row)}, feature = x'{endless.tobytes().hex()}' "
            "WHERE instance = 2",
        )
        with opened(tmp_path) as gallery:
            assert "instance 2 is not a unit vector" in gallery.damage
            assert [number for number, _ in held(gallery)] == [1]

    def test_a_missing_row_is_noticed(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(3))
        self.change(tmp_path, "DELETE FROM instances WHERE instance = 2")
        with opened(tmp_path) as gallery:
            assert "2 of 3 instances could be read" in gallery.damage

    def test_a_changed_label_is_noticed(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, feature(1))
            gallery.set_label(1, "eve")
        self.change(tmp_path, "UPDATE identities SET label = 'adam'")
        with opened(tmp_path) as gallery:
            assert gallery.damage
            assert gallery.labels() == {}

    def test_a_lost_counter_never_gives_a_number_twice(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(3))
        self.change(tmp_path, "UPDATE meta SET value = 'x' WHERE key = 'state'")
        with opened(tmp_path) as gallery:
            assert gallery.count() == 3
            assert gallery.add(1, feature(1)).added[0] > 1000

    def test_a_file_that_is_no_store_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "gallery.sqlite").write_bytes(b"not a database" * 500)
        with pytest.raises(GalleryError, match="restore a backup"):
            opened(tmp_path)
        assert (tmp_path / "gallery.sqlite").read_bytes() == b"not a database" * 500

    @staticmethod
    def change(folder: Path, statement: str) -> None:
        connection = sqlite3.connect(folder / "gallery.sqlite")
        connection.execute(statement)
        connection.commit()
        connection.close()


def test_a_folder_that_is_not_there_is_storage_unavailable(tmp_path):
    with pytest.raises(StorageUnavailableError, match="cannot open"):
        opened(store_path=tmp_path / "nowhere" / "gallery.sqlite")


class TestTimeToLive:
    class Clock:
        """Seconds since this machine was started, as CLOCK_MONOTONIC."""

        now_s = 1000.0

        def __call__(self) -> float:
            return self.now_s

    @pytest.fixture
    def clock(self):
        return self.Clock()

    def opened(self, clock, folder=None):
        return opened(folder, clock_s=clock)

    @staticmethod
    def live(gallery: Gallery, clock: "TestTimeToLive.Clock", seconds: int) -> list[tuple[int, int]]:
        """Serve that long; returns what went meanwhile."""
        gone = []
        for _ in range(seconds):
            clock.now_s += 1
            gone += gallery.expire().dropped
        return gone

    def test_an_instance_goes_when_it_has_lived_its_time_and_not_before(self, clock):
        with self.opened(clock) as gallery:
            gallery.set_ttl(100)
            gallery.add(1, feature(1))
            assert self.live(gallery, clock, 50) == []
            gallery.add(2, feature(2))
            assert self.live(gallery, clock, 49) == []
            assert self.live(gallery, clock, 15) == [(1, 1)]
            assert self.live(gallery, clock, 50) == [(2, 2)]
            assert gallery.count() == 0

    def test_an_id_can_have_a_time_of_its_own(self, clock):
        with self.opened(clock) as gallery:
            gallery.set_ttl(1000)
            gallery.add(1, feature(1))
            gallery.add(2, feature(2))
            gallery.set_label(2, "eve")
            gallery.set_ttl(20, id=2)
            assert self.live(gallery, clock, 100) == [(2, 2)]
            assert gallery.labels() == {}

    def test_a_merged_id_keeps_the_time_that_one_of_them_had(self, clock):
        with self.opened(clock) as gallery:
            gallery.add(1, feature(1))
            gallery.add(2, feature(2))
            gallery.set_ttl(20, id=2)
            gallery.merge(2, 1)
            assert self.live(gallery, clock, 100) == [(1, 1), (2, 1)]

    def test_a_pinned_id_outlives_the_time_of_the_gallery(self, clock):
        with self.opened(clock) as gallery:
            gallery.set_ttl(20)
            gallery.add(1, feature(1))
            gallery.pin(1)
            assert self.live(gallery, clock, 100) == []

    def test_time_without_power_and_a_clock_from_1970_delete_nothing(self, clock, tmp_path):
        with self.opened(clock, tmp_path) as gallery:
            gallery.set_ttl(100)
            gallery.add(1, feature(1))
            self.live(gallery, clock, 60)
        clock.now_s = 3
        with self.opened(clock, tmp_path) as gallery:
            assert self.live(gallery, clock, 30) == []
            assert self.live(gallery, clock, 30) == [(1, 1)]

    def test_notes_of_age_stay_few(self):
        ages = Ages()
        for n in range(5000):
            ages = ages.noted(5.0 * n, n, longest_s=1e6)
            assert ages.reached(5.0 * n, 1000) <= max(0, n - 200)
        assert len(ages.notes) < 400
        assert 2900 < ages.reached(25_000, 10_000) <= 3000
        assert 4770 < ages.reached(25_000, 1_000) <= 4800

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
    def test_a_time_that_is_not_positive_is_refused(self, gallery, seconds):
        with pytest.raises(RequestError, match="positive number"):
            gallery.set_ttl(seconds)
