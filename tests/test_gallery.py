"""A gallery through restarts: ring and store hold the same."""

from pathlib import Path

import numpy as np
import pytest
from galleries import feature, features, labels_of, opened, pinned_of

from reidd.errors import CapacityError, FeatureSpaceError, GalleryError, StorageUnavailableError
from reidd.gallery import Reader


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
            assert (gallery.limit, labels_of(gallery), pinned_of(gallery)) == ((4, "drop_random"), {2: "eve"}, [1])
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
        with pytest.raises(CapacityError, match="raise the capacity to 5 or more"):
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
            if target == tmp_path / "gallery":
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


def test_a_folder_that_is_not_there_is_storage_unavailable(tmp_path):
    with pytest.raises(StorageUnavailableError, match="cannot open"):
        opened(store_path=tmp_path / "nowhere" / "gallery.sqlite")
