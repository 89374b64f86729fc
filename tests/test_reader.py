"""Readers answer exactly, and whole, whatever the writer does meanwhile."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from reidd.distances import cosine_distance, unit
from reidd.errors import FeatureError, FeatureSpaceError, GalleryError
from reidd.gallery import Gallery, Reader, Ring, explained
from reidd.gallery import reader as reader_module
from reidd.gallery.instance import Instance

DIM = 16
SPACE = bytes(range(32))
FEATURES = unit(np.random.default_rng(0).normal(size=(100, DIM)))


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(dim=DIM, space=SPACE, capacity=50, ring_path=tmp_path / "ring") as gallery:
        yield gallery


@pytest.fixture
def reader(gallery, tmp_path):
    return Reader(tmp_path / "ring")


class TestSearching:
    def test_the_nearest_ids_come_first_and_distances_in_order_of_age(self, gallery, reader):
        for id in range(20):
            gallery.add(id % 10, FEATURES[id : id + 1])
        (match,) = reader.search(FEATURES[13:14], top_k=3)
        assert np.allclose(match.distances, 1 - FEATURES[:20] @ FEATURES[13], atol=1e-6)
        assert match.nearest[0].id == 3
        assert len({nearest.id for nearest in match.nearest}) == 3
        assert match.instances[match.nearest[0].column] == 14

    def test_an_empty_gallery_has_no_nearest(self, reader):
        (match,) = reader.search(FEATURES[:1], top_k=3)
        assert (match.nearest, match.distances.shape) == ([], (0,))

    def test_a_batch_answers_as_its_probes_one_by_one(self, gallery, reader):
        for id in range(30):
            gallery.add(id, FEATURES[id : id + 1])
        batch = reader.search(FEATURES[50:60], top_k=5)
        for probe, match in zip(FEATURES[50:60], batch, strict=True):
            (alone,) = reader.search(probe[np.newaxis], top_k=5)
            assert [nearest.id for nearest in match.nearest] == [nearest.id for nearest in alone.nearest]

    def test_only_the_wanted_ids_are_compared(self, gallery, reader):
        for id in range(10):
            gallery.add(id, FEATURES[id : id + 1])
        (match,) = reader.search(FEATURES[3:4], top_k=5, ids={4, 7, 99})
        assert sorted(nearest.id for nearest in match.nearest) == [4, 7]
        assert match.ids.tolist() == [4, 7]

    def test_slots_that_were_freed_never_appear(self, gallery, reader):
        for id in range(10):
            gallery.add(id, FEATURES[id : id + 1])
        gallery.remove(3)
        gallery.remove(9)
        (match,) = reader.search(FEATURES[3:4], top_k=50)
        assert sorted(nearest.id for nearest in match.nearest) == [0, 1, 2, 4, 5, 6, 7, 8]
        assert (match.ids.tolist(), len(match.distances)) == ([0, 1, 2, 4, 5, 6, 7, 8], 8)

    def test_a_slot_used_again_holds_the_youngest(self, gallery, reader):
        gallery.add(1, FEATURES[:3])
        gallery.add(2, FEATURES[3:4])
        gallery.remove(1)
        gallery.add(3, FEATURES[4:5])
        (match,) = reader.search(FEATURES[:1], top_k=5)
        assert (match.instances.tolist(), match.ids.tolist()) == ([4, 5], [2, 3])

    def test_a_probe_of_another_length_is_refused(self, reader):
        with pytest.raises(FeatureError, match=r"features are \(n, 16\)"):
            reader.search(np.ones((1, 8), np.float32), top_k=1)

    def test_a_row_damaged_in_memory_is_left_out(self, gallery, reader):
        gallery.add(1, FEATURES[:1])
        gallery.add(2, FEATURES[1:2])
        gallery._ring.features[0, 0] += 0.25
        (match,) = reader.search(FEATURES[:1], top_k=2)
        assert [nearest.id for nearest in match.nearest] == [2]


class TestWritesInTheMiddleOfASearch:
    """Unannounced, as a reader on a processor that reorders stores may see them: no generation tells."""

    @pytest.fixture
    def once(self, gallery, monkeypatch):
        """Have an instance written into the first slot once its distance has been computed."""

        def arrange(instance):
            def distances(*arguments):
                monkeypatch.undo()
                try:
                    return cosine_distance(*arguments)
                finally:
                    gallery._ring.write(0, [instance])

            monkeypatch.setattr(reader_module, "cosine_distance", distances)

        return arrange

    def test_a_distance_is_that_of_the_feature_that_is_there(self, gallery, reader, once):
        gallery.add(1, FEATURES[:1])
        once(Instance(1, 1, 0, FEATURES[1].tobytes()))
        (match,) = reader.search(FEATURES[:1], top_k=1)
        assert match.nearest[0].distance == pytest.approx(1 - FEATURES[0] @ FEATURES[1], abs=1e-6)

    def test_nobody_is_named_by_a_feature_that_is_anothers_now(self, gallery, reader, once):
        gallery.add(1, FEATURES[:1])
        gallery.add(2, FEATURES[1:2])
        once(Instance(3, 3, 0, FEATURES[0].tobytes()))
        (match,) = reader.search(FEATURES[:1], top_k=2)
        assert [nearest.id for nearest in match.nearest] == [2]

    def test_rows_are_those_of_one_layout_though_a_slot_is_used_again(self, gallery, reader, monkeypatch):
        gallery.add(1, FEATURES[:3])
        before = reader._layout(reader._ring)
        gallery.remove(1)
        gallery.add(2, FEATURES[3:4])
        monkeypatch.setattr(reader, "_layout", lambda _: before)
        assert reader.rows().numbers.tolist() == []


class TestOtherSpaces:
    def test_another_feature_space_is_refused(self, gallery, tmp_path):
        with pytest.raises(FeatureSpaceError):
            Reader(tmp_path / "ring", space=bytes(32))

    def test_a_gallery_of_another_dimension_in_its_place_refuses_the_probe(self, gallery, reader, tmp_path):
        other = Gallery.open(dim=8, space=SPACE, capacity=5, ring_path=tmp_path / "ring")
        with other, pytest.raises(FeatureError, match=r"features are \(n, 8\)"):
            reader.search(FEATURES[:1], top_k=1)


class TestWriters:
    def test_a_writer_that_comes_while_a_reader_maps_the_ring_is_followed(self, gallery, tmp_path, monkeypatch):
        mapped = Ring.open

        def replaced_meanwhile(path, *, space):
            ring = mapped(path, space=space)
            gallery.add(1, FEATURES[:1])
            started.append(Gallery.open(dim=DIM, space=SPACE, capacity=50, ring_path=path))
            monkeypatch.undo()
            return ring

        started = []
        monkeypatch.setattr(Ring, "open", replaced_meanwhile)
        reader = Reader(tmp_path / "ring")
        started[0].add(2, FEATURES[1:2])
        assert reader.ids() == [2]

    def test_a_writer_is_alive_while_its_heart_beats(self, gallery, reader):
        assert reader.alive()
        time.sleep(0.02)
        assert not reader.alive(within_s=0.01)
        gallery.heartbeat()
        assert reader.alive(within_s=1)

    def test_a_change_without_end_is_an_error_and_not_a_hang(self, gallery, reader, monkeypatch):
        monkeypatch.setattr("reidd.gallery.layout.PATIENCE_S", 0.05)
        monkeypatch.setattr(reader_module, "PATIENCE_S", 0.05)
        with gallery._ring.change(count=0, used=0, next_instance=1), pytest.raises(GalleryError, match="in the middle"):
            reader.search(FEATURES[:1], top_k=1)

    def test_a_gallery_whose_writer_was_killed_still_answers(self, tmp_path):
        with writing(tmp_path / "ring"):
            reader = Reader(tmp_path / "ring")
        assert reader.count() > 0
        assert not reader.alive(within_s=0)

    def test_no_answer_is_torn_while_another_process_writes(self, tmp_path):
        searches, generations = 0, set()
        with writing(tmp_path / "ring"):
            reader, probes = Reader(tmp_path / "ring"), unit(np.random.default_rng(1).normal(size=(1, 64)))
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                (match,) = reader.search(probes, top_k=10)
                generations.add(reader._ring.generation)
                searches += 1
                # The writer replaces the only instance of one of 40 ids at a time, and its features are of two kinds.
                assert len(match.ids) == len(set(match.ids.tolist())) == 40
                assert (np.diff(match.instances.astype(np.int64)) > 0).all()
                near = np.abs(match.distances[:, None] - distances_of_two_kinds(probes)[None]).min(axis=1)
                assert near.max() < 1e-5
        print(f"{searches} searches, {len(generations)} generations seen")
        assert len(generations) > 10


def distances_of_two_kinds(probes: np.ndarray) -> np.ndarray:
    return np.array([1 - probes[0] @ kind for kind in two_kinds()])


def two_kinds() -> np.ndarray:
    return unit(np.random.default_rng(2).normal(size=(2, 64)))


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from reidd.gallery import Gallery
kinds = np.load(sys.argv[2])
with Gallery.open(dim=64, space=bytes(32), capacity=41, ring_path=Path(sys.argv[1])) as gallery:
    gallery.set_limit(1, "drop_oldest")
    with gallery.transaction():
        for id in range(40):
            gallery.add(id, kinds[:1])
    print("ready", flush=True)
    n = 0
    while True:
        n += 1
        gallery.add(n * 7 % 40, kinds[n % 2:][:1])
"""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A writer in a process of its own, killed at the end whatever happens."""
    np.save(path.with_suffix(".npy"), two_kinds())
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, path, path.with_suffix(".npy")], stdout=subprocess.PIPE)
    writer.stdout.readline()
    writer.stdout.close()
    try:
        yield
    finally:
        writer.kill()
        writer.wait()


class TestExplaining:
    def test_the_deciding_instance_and_the_runner_up_are_named(self, gallery, reader):
        for id in range(10):
            gallery.add(id % 5, FEATURES[id : id + 1])
        why = explained(reader, FEATURES[7])
        assert (why.nearest.id, why.instance, why.younger, why.instances_of_id) == (2, 8, 2, 2)
        assert why.runner_up.id != 2
        assert abs(time.time_ns() - why.time_ns) < 60e9

    def test_an_empty_gallery_explains_nothing(self, reader):
        assert explained(reader, FEATURES[0]) is None
