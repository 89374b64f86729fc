"""Who is in a gallery: how instances come, change and go."""

import numpy as np
import pytest
from galleries import DIM, feature, features, held, labels_of, opened, pinned_of

from reidd.errors import FeatureError, GalleryError, RequestError, UnknownIdError
from reidd.gallery import Change, Limit


@pytest.fixture
def gallery():
    with opened() as gallery:
        yield gallery


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
        assert labels_of(gallery) == {}


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
        assert labels_of(gallery) == {1: "eve"}

    @pytest.mark.parametrize("count", [0, -1, True])
    def test_a_limit_below_1_is_refused(self, gallery, count):
        with pytest.raises(RequestError, match="at least 1"):
            gallery.set_limit(count, "drop_oldest")

    def test_an_unknown_method_is_refused_with_the_names_of_those_there_are(self, gallery):
        with pytest.raises(RequestError, match="drop_oldest, drop_latest, drop_random, drop_redundant"):
            gallery.set_limit(1, "drop_best")
        assert gallery.limit is None


class TestChangingIds:
    def test_removing_forgets_the_id_and_its_label(self, gallery):
        gallery.add(1, features(3))
        gallery.set_label(1, "eve")
        assert gallery.remove(1) == Change(removed=3)
        assert (gallery.ids(), labels_of(gallery), held(gallery)) == ([], {}, [])

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
        assert (held(gallery), labels_of(gallery), pinned_of(gallery)) == ([(1, 9), (2, 9)], {9: "eve"}, [9])

    def test_renaming_to_an_id_there_is_points_to_merging(self, gallery):
        gallery.add(1, feature(1))
        gallery.add(2, feature(2))
        with pytest.raises(RequestError, match="merge 1 into it"):
            gallery.rename(1, 2)

    def test_merging_into_an_id_there_is_not_points_to_renaming_and_changes_nothing(self, gallery):
        gallery.add(1, features(2))
        with pytest.raises(UnknownIdError, match="no instance of id 9; to give id 1 that number, rename it"):
            gallery.merge(1, 9)
        assert held(gallery) == [(1, 1), (2, 1)]

    def test_merged_ids_share_one_limit(self, gallery):
        gallery.set_limit(3, "drop_oldest")
        gallery.add(1, features(2))
        gallery.add(2, features(2))
        gallery.set_label(1, "eve")
        assert gallery.merge(1, 2) == Change(moved=(1, 2), dropped=((1, 2),))
        assert (held(gallery), labels_of(gallery)) == ([(2, 2), (3, 2), (4, 2)], {2: "eve"})

    def test_an_id_merged_into_itself_is_no_change_that_undo_takes_back(self, gallery):
        gallery.add(1, feature(1))
        gallery.merge(1, 1)
        assert gallery.undo().removed == 1
        assert held(gallery) == []

    def test_an_instance_moved_makes_room_like_a_new_one(self, gallery):
        gallery.set_limit(2, "drop_latest")
        gallery.add(1, feature(1))
        gallery.add(2, features(2))
        assert gallery.move(1, 2) == Change(moved=(1,), dropped=((3, 2),))
        assert held(gallery) == [(1, 2), (2, 2)]

    def test_moving_an_instance_that_is_not_there_is_an_error(self, gallery):
        with pytest.raises(RequestError, match="no instance number 4"):
            gallery.move(4, 1)
