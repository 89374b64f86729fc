"""The ring: its file, who may open it, and slots of which a torn or changed one shows."""

import errno
import os

import numpy as np
import pytest

from reidd.errors import FeatureSpaceError, GalleryError
from reidd.gallery.instance import Instance, Rows
from reidd.gallery.ring import FREE_ID, HEADER_BYTES, Ring

DIM = 6
SPACE = bytes(range(32))


def instance(number: int, id: int = 1) -> Instance:
    feature = np.random.default_rng(number).normal(size=DIM).astype(np.float32)
    return Instance(number, id, 1000 + number, (feature / np.linalg.norm(feature)).tobytes())


def created(path=None, capacity: int = 4) -> Ring:
    with Ring.create(path, dim=DIM, capacity=capacity, space=SPACE) as ring:
        return ring


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gallery"


class TestFile:
    def test_its_mode_lets_the_group_read_and_others_nothing(self, path):
        created(path)
        assert path.stat().st_mode & 0o777 == 0o640

    def test_it_appears_whole_and_leaves_nothing_beside_it(self, path):
        created(path)
        assert [file.name for file in path.parent.iterdir()] == ["gallery"]
        assert path.stat().st_blocks * 512 >= path.stat().st_size

    def test_what_a_killed_start_left_is_gone(self, path):
        path.with_name(".gallery.unfinished").write_bytes(b"half of a ring")
        created(path)
        assert [file.name for file in path.parent.iterdir()] == ["gallery"]

    def test_the_features_are_one_aligned_block(self, path):
        ring = created(path)
        assert ring.features.flags.c_contiguous
        assert ring.features.ctypes.data % 64 == 0

    def test_a_new_ring_replaces_the_file_and_not_its_content(self, path):
        old = created(path)
        write(old, 0, instance(1))
        created(path)
        assert old.read(0) == instance(1)
        assert Ring.open(path).count == 0

    @pytest.mark.parametrize("capacity", [0, -1])
    def test_a_capacity_of_nobody_is_an_error(self, path, capacity):
        with pytest.raises(GalleryError, match="at least 1 instance"):
            created(path, capacity)

    def test_too_little_memory_is_an_error(self):
        with pytest.raises(GalleryError, match=r"in memory: Cannot allocate memory; lower the capacity"):
            created(capacity=2**42)  # more than there are addresses

    def test_too_little_room_is_an_error_and_leaves_nothing(self, path, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(GalleryError, match=r"No space left.*lower the capacity"):
            created(path)
        assert [file.name for file in path.parent.iterdir()] == []


class TestOpening:
    def test_no_file_asks_for_the_daemon(self, path):
        with pytest.raises(GalleryError, match="is the daemon running"):
            Ring.open(path)

    @pytest.mark.parametrize("content", [b"", b"x", b"x" * HEADER_BYTES, b"x" * 10_000])
    def test_a_file_that_is_not_ours_is_refused(self, path, content):
        path.write_bytes(content)
        with pytest.raises(GalleryError, match=r"not a reidd gallery|cannot map"):
            Ring.open(path)

    def test_another_layout_version_is_refused(self, path):
        created(path)
        poke(path, 8, 2)
        with pytest.raises(GalleryError, match="layout version 2, this reidd reads 1"):
            Ring.open(path)

    def test_a_file_cut_short_is_refused(self, path):
        created(path)
        os.truncate(path, path.stat().st_size - 1)
        with pytest.raises(GalleryError, match="should have"):
            Ring.open(path)

    @pytest.mark.parametrize("field", [16, 24, 40, 48])
    def test_a_header_that_points_elsewhere_is_refused(self, path, field):
        created(path)
        poke(path, field, 1 << 40)
        with pytest.raises(GalleryError):
            Ring.open(path)

    def test_another_feature_space_is_refused(self, path):
        created(path)
        with pytest.raises(FeatureSpaceError, match="use the model and preprocessing"):
            Ring.open(path, space=bytes(32))

    def test_a_reader_cannot_write(self, path):
        created(path)
        with pytest.raises(ValueError, match="read-only"):
            Ring.open(path).features[0] = 1


class TestSlots:
    def test_what_is_written_is_read_by_others(self, path):
        write(created(path), 2, instance(7))
        assert Ring.open(path).read(2) == instance(7)

    def test_a_free_slot_holds_nothing_and_keeps_no_feature(self, path):
        ring = created(path)
        write(ring, 0, instance(1))
        with ring.change(count=0, used=1, next_instance=2):
            ring.write(0, [ring.nobody])
        assert ring.read(0) is None
        assert ring.slots["id"][0] == FREE_ID
        assert instance(1).feature not in path.read_bytes()

    def test_filling_equals_writing_one_by_one(self):
        instances = [instance(number) for number in (3, 5, 8)]
        features = np.frombuffer(b"".join(row.feature for row in instances), np.float32).reshape(3, DIM)
        one, other = created(), created()
        one.fill(Rows(*np.array([(3, 1, 1003), (5, 1, 1005), (8, 1, 1008)]).T, features), next_instance=9)
        for slot, row in enumerate(instances):
            write(other, slot, row)
        assert np.array_equal(one.slots, other.slots)
        assert np.array_equal(one.features, other.features)

    @pytest.mark.parametrize("field", ["sequence", "id", "instance", "time_ns", "crc"])
    def test_a_change_of_any_field_shows(self, field):
        ring = created()
        write(ring, 0, instance(1))
        ring.slots[field][0] ^= ring.slots.dtype[field].type(2)  # numpy 1 mixes no signs
        assert ring.read(0) is None

    def test_a_change_of_the_feature_shows(self):
        ring = created()
        write(ring, 0, instance(1))
        ring.features[0, 3] += 1e-6
        assert ring.read(0) is None

    def test_the_generation_is_odd_during_a_change(self):
        ring = created()
        with ring.change(count=0, used=0, next_instance=1):
            assert ring.generation == 1
        assert ring.generation == 2


def test_closing_tells_readers(path):
    ring = created(path)
    reader = Ring.open(path)
    assert not reader.closed
    ring.close()
    assert reader.closed


def write(ring: Ring, slot: int, row: Instance) -> None:
    with ring.change(count=1, used=slot + 1, next_instance=row.number + 1):
        ring.write(slot, [row])


def poke(path, offset: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(value.to_bytes(8, "little"))
