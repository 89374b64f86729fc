"""The search by bytes answers as the exact one does."""

import sys

import numpy as np
import pytest

from reidd.distances import unit
from reidd.gallery import Gallery
from reidd.gallery import reader as reader_module
from reidd.gallery.sketch import scanner

pytest.importorskip("numkong")
DIM, ROWS, PEOPLE = 256, 3000, 300


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """Have small galleries count as large ones."""
    monkeypatch.setattr(reader_module, "MANY", 0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(dim=DIM, space=bytes(32), capacity=2 * ROWS, ring_path=tmp_path / "ring") as gallery:
        yield gallery


def filled(gallery: Gallery, features: np.ndarray) -> None:
    for id in range(PEOPLE):
        gallery.add(id, features[id::PEOPLE])


def seen(rng, who: np.ndarray, views: int, spread: float) -> np.ndarray:
    """Views of people: each differs from the person by about `spread`."""
    return unit(np.tile(who, (views, 1)) + rng.normal(size=(views * len(who), who.shape[1])) * spread / DIM**0.5)


def quickly(reader, probe, top_k=5):
    """The answer by the sketch, which must have been able to give one."""
    match = reader._searched_quickly(reader._current(), probe[np.newaxis], top_k)
    assert match is not None
    return match.nearest


def test_it_names_whom_the_exact_search_names(gallery, rng):
    who = unit(rng.normal(size=(PEOPLE, DIM)))
    filled(gallery, seen(rng, who, ROWS // PEOPLE, 0.5))
    for probe in seen(rng, who[:50], 2, 0.5):
        assert quickly(gallery.reader, probe) == gallery.reader.search(probe[np.newaxis], top_k=5)[0].nearest


def test_real_features_find_whom_the_exact_search_finds(gallery, rng, in_process, gallery_crops, query_crops):
    real = in_process.extract_features([image for _, image in gallery_crops + query_crops])
    filled(gallery, seen(rng, real[rng.integers(0, len(real), PEOPLE)], ROWS // PEOPLE, 0.3))
    answered = 0
    for probe in real:
        (exact,) = gallery.reader.search(probe[np.newaxis], top_k=5)
        (match,) = gallery.reader.search(probe[np.newaxis], top_k=5, matrix=False)
        assert match.nearest == exact.nearest
        answered += len(match.distances) == 0
    assert answered > len(real) // 2


def test_rows_that_a_byte_cannot_tell_apart_are_told_apart(gallery, rng):
    person = unit(rng.normal(size=(1, DIM)))
    near = unit(person + rng.normal(size=(40, DIM)) * 1e-5)
    filled(gallery, seen(rng, unit(rng.normal(size=(PEOPLE, DIM))), ROWS // PEOPLE, 0.5))
    for id, feature in enumerate(near, PEOPLE):
        gallery.add(id, feature[np.newaxis])
    for probe in near:
        assert quickly(gallery.reader, probe) == gallery.reader.search(probe[np.newaxis], top_k=5)[0].nearest


def test_what_it_cannot_prove_is_searched_exactly(gallery, rng):
    person = unit(rng.normal(size=(1, DIM)))
    filled(gallery, unit(person + rng.normal(size=(ROWS, DIM)) * 1e-5))
    assert gallery.reader._searched_quickly(gallery.reader._current(), person, 5) is None
    (exact,) = gallery.reader.search(person, top_k=5)
    assert gallery.reader.search(person, top_k=5, matrix=False)[0].nearest == exact.nearest


def test_it_follows_every_change(gallery, rng):
    who = unit(rng.normal(size=(PEOPLE, DIM)))
    filled(gallery, seen(rng, who, ROWS // PEOPLE, 0.5))
    for id in range(40):
        probe = who[id]
        gallery.remove(id)
        assert all(nearest.id != id for nearest in quickly(gallery.reader, probe))
        gallery.add(1000 + id, probe[np.newaxis])
        assert quickly(gallery.reader, probe)[0].id == 1000 + id


def test_nothing_of_those_who_are_gone_stays_in_it_after_the_next_search(gallery, rng):
    who = unit(rng.normal(size=(PEOPLE, DIM)))
    filled(gallery, seen(rng, who, ROWS // PEOPLE, 0.5))
    quickly(gallery.reader, who[0])
    gallery.clear()
    assert gallery.reader.search(who[:1], top_k=5, matrix=False)[0].nearest == []
    assert not gallery.reader._sketch._bytes.any()


def test_a_large_gallery_is_taken_over_bit_by_bit(gallery, rng, monkeypatch):
    monkeypatch.setattr("reidd.gallery.sketch._AT_ONCE", ROWS // 3)
    filled(gallery, seen(rng, unit(rng.normal(size=(PEOPLE, DIM))), ROWS // PEOPLE, 0.5))
    ring, probe = gallery.reader._current(), unit(rng.normal(size=(1, DIM)))
    found = [gallery.reader._searched_quickly(ring, probe, 5) is not None for _ in range(4)]
    assert found == [False, False, True, True]


def test_a_gallery_that_changes_meanwhile_is_searched_again(gallery, rng, monkeypatch):
    filled(gallery, seen(rng, unit(rng.normal(size=(PEOPLE, DIM))), ROWS // PEOPLE, 0.5))
    probe, product = unit(rng.normal(size=(1, DIM))), scanner().cdist

    class Slow:
        @staticmethod
        def cdist(*arguments):
            products = product(*arguments)
            gallery.add(5000, probe)
            return products

    monkeypatch.setattr(reader_module, "scanner", lambda: Slow)
    assert gallery.reader.search(probe, top_k=1, matrix=False)[0].nearest[0].id == 5000


def test_without_the_library_the_search_is_exact_and_says_nothing(gallery, rng, monkeypatch):
    filled(gallery, seen(rng, unit(rng.normal(size=(PEOPLE, DIM))), ROWS // PEOPLE, 0.5))
    monkeypatch.setitem(sys.modules, "numkong", None)
    probe = unit(rng.normal(size=(1, DIM)))
    (match,) = gallery.reader.search(probe, top_k=5, matrix=False)
    assert match.nearest == gallery.reader.search(probe, top_k=5)[0].nearest
