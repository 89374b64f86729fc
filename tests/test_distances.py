"""Distances, ranking and verdicts, against the plainest way to compute them."""

import numpy as np
import pytest

from reidd.distances import Nearest, cosine_distance, nearest_ids, normalize, unit, verdict
from reidd.errors import FeatureError
from reidd.results import Verdict


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_unit_leaves_what_has_length_one_as_it_is_to_the_bit():
    once = unit(np.random.default_rng(0).normal(size=(200, 512)))
    assert np.array_equal(unit(once), once)
    assert not np.shares_memory(unit(once), once)


def test_unit_scales_rows_to_length_one(rng):
    rows = unit(rng.normal(size=(20, 64)) * 1e3)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(20), abs=1e-6)
    assert np.allclose(unit(np.full((1, 4), 1e30, np.float32)), 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_unit_refuses_what_would_win_every_search(value):
    with pytest.raises(FeatureError, match="NaN or infinity"):
        unit(np.array([[1.0, value]]))


def test_unit_refuses_what_float32_cannot_hold():
    with pytest.raises(FeatureError, match="NaN or infinity"):
        unit(np.array([[1e300, 1.0]]))


def test_unit_refuses_a_vector_without_length():
    with pytest.raises(FeatureError, match="zeros"):
        unit(np.zeros((1, 4)))


def test_cosine_distance_is_one_minus_cosine(rng):
    probes, rows = unit(rng.normal(size=(3, 32))), unit(rng.normal(size=(50, 32)))
    want = [[1 - sum(a * b for a, b in zip(p, r, strict=True)) for r in rows] for p in probes]
    assert np.allclose(cosine_distance(probes, rows), want, atol=1e-6)
    assert np.allclose(cosine_distance(probes[:1], rows), want[:1], atol=1e-6)


def test_distances_lie_in_their_range(rng):
    rows = unit(rng.normal(size=(40, 16)))
    both = cosine_distance(rows, np.concatenate([rows, -rows]))
    assert both.min() >= 0
    assert both.max() <= 2
    assert both.max() == pytest.approx(2, abs=1e-6)
    assert normalize(both).max() <= 1


def plainly(distances, ids, top_k):
    """Go through instances from near to far, oldest first among equals, and keep each id's first."""
    found = {}
    for column in sorted(range(len(ids)), key=lambda c: (distances[c], c)):
        found.setdefault(int(ids[column]), Nearest(int(ids[column]), column, float(distances[column])))
    return list(found.values())[:top_k]


@pytest.mark.parametrize("top_k", [1, 2, 5, 100])
def test_ranking_is_what_one_finds_by_going_through_them_all(rng, top_k):
    for _ in range(50):
        size = int(rng.integers(1, 60))
        # Few values and few ids, so that ties and crowded ids happen all the time.
        distances = rng.integers(0, 6, size).astype(np.float32) / 4
        ids = rng.integers(0, 8, size)
        assert nearest_ids(distances, ids, top_k) == plainly(distances, ids, top_k)


def test_one_crowded_id_does_not_hide_the_others(rng):
    distances = np.concatenate([np.linspace(0, 0.1, 5000), [0.5, 0.6]]).astype(np.float32)
    ids = np.array([1] * 5000 + [2, 3])
    assert [n.id for n in nearest_ids(distances, ids, 3)] == [1, 2, 3]


@pytest.mark.parametrize("size", [4095, 4096, 5000, 9999])
@pytest.mark.parametrize("distinct", [3, 50, 4000])
def test_many_are_ranked_as_few_are(rng, size, distinct):
    # Few values, so that there are ties everywhere, and one id that holds half of all.
    distances = rng.integers(0, 300, size).astype(np.float32) / 150
    ids = np.where(rng.random(size) < 0.5, 0, rng.integers(0, distinct, size))
    for top_k in (1, 10, 40):
        assert nearest_ids(distances, ids, top_k) == plainly(distances, ids, top_k)


def test_an_empty_gallery_ranks_nobody():
    assert nearest_ids(np.empty(0, np.float32), np.empty(0, np.int64), 5) == []


@pytest.mark.parametrize(
    ("distances", "margin", "want"),
    [
        ([], 0.0, Verdict.UNKNOWN),
        ([0.3], 0.0, Verdict.KNOWN),
        ([0.31], 0.0, Verdict.UNKNOWN),
        ([0.1, 0.15], 0.0, Verdict.KNOWN),
        ([0.1, 0.15], 0.1, Verdict.AMBIGUOUS),
        ([0.125, 0.25], 0.125, Verdict.KNOWN),
        ([0.1, 0.1], 0.0, Verdict.KNOWN),
        ([0.4, 0.41], 0.1, Verdict.UNKNOWN),
    ],
)
def test_the_verdict_weighs_the_nearest_id_and_the_next(distances, margin, want):
    nearest = [Nearest(id, id, distance) for id, distance in enumerate(distances)]
    assert verdict(nearest, max_distance=0.3, margin=margin) is want
