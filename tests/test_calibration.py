"""The threshold between known and unknown, from a gallery's own instances, against the plainest way to find it."""

import numpy as np
import pytest

from reidd import calibration
from reidd.calibration import Rates, Separation, max_distance_for, rates, separation
from reidd.distances import unit
from reidd.errors import RequestError


@pytest.fixture
def gallery():
    rng = np.random.default_rng(3)
    ids = rng.permutation(np.repeat(np.arange(20), 5))
    features = unit((rng.normal(size=(20, 32))[ids] + rng.normal(size=(100, 32))).astype(np.float32))
    return ids, features


def test_each_instance_is_compared_with_its_own_id_and_with_all_others(gallery):
    ids, features = gallery
    found = separation(ids, features)
    expected = []
    for one in range(100):
        distances = [(1 - float(features[one] @ features[other])) / 2 for other in range(100)]
        own = min(d for other, d in enumerate(distances) if ids[other] == ids[one] and other != one)
        expected.append((own, min(d for other, d in enumerate(distances) if ids[other] != ids[one])))
    for of, column in zip(found, np.transpose(expected), strict=True):
        assert np.sort(of) == pytest.approx(np.sort(column), abs=1e-6)


def test_an_id_of_one_instance_is_a_stranger_and_nobody_known():
    features = unit(np.array([[1, 0], [1, 0.1], [0, 1]], np.float32))
    found = separation(np.array([1, 1, 2]), features)
    assert np.isinf(found.own).sum() == 1
    assert rates(found, 0.01).false_negative == 0
    assert rates(found, 0.49).false_positive == pytest.approx(2 / 3)


def test_a_known_one_who_is_nearer_to_another_is_not_named_by_any_threshold():
    found = Separation(own=np.array([0.1, 0.3]), others=np.array([0.5, 0.2]))
    assert rates(found, 1.0) == Rates(1.0, 1.0, 0.5)
    assert rates(found, 0.05) == Rates(0.05, 0.0, 1.0)


@pytest.mark.parametrize("share", [0, 0.01, 0.03, 0.1, 0.5, 1])
def test_no_larger_threshold_keeps_to_the_share_of_strangers(gallery, share):
    found = separation(*gallery)
    chosen = max_distance_for(found, share)
    assert rates(found, chosen).false_positive <= share
    if chosen < 1:
        assert rates(found, chosen + 0.001).false_positive > share


def test_of_a_large_gallery_some_are_asked_about_and_all_compared_with(gallery, monkeypatch):
    ids, features = gallery
    whole = separation(ids, features)
    monkeypatch.setattr(calibration, "MOST_ASKED", 30)
    some = separation(ids, features)
    assert len(some.own) == len(some.others) == 30
    for pair in np.transpose(some):
        assert np.abs(np.transpose(whole) - pair).max(axis=1).min() < 1e-6


def test_however_few_ids_have_two_instances_they_are_asked_about(gallery, monkeypatch):
    monkeypatch.setattr(calibration, "MOST_ASKED", 5)
    found = separation(np.array([0, *range(99)]), gallery[1])
    assert len(found.own) == 5
    assert np.isfinite(found.own).sum() == 2


def test_a_distance_just_above_a_threshold_is_too_far_as_it_is_for_a_verdict():
    features = np.array([[1, 0], [1, 0], [0.4, np.sqrt(0.84)]], np.float32)
    found = separation(np.array([1, 1, 2]), features)
    assert 0.3 < found.others.min() < 0.3 + 1e-7
    assert max_distance_for(found, 0) == 0.3
    assert rates(found, 0.3).false_positive == 0


@pytest.mark.parametrize("ids", [[], [1, 1], [1, 2]])
def test_too_small_a_gallery_is_refused(ids):
    with pytest.raises(
        RequestError, match=rf"takes two ids at least.* ids: {len(set(ids))}, its instances: {len(ids)}; add"
    ):
        separation(np.array(ids, np.int64), np.eye(len(ids), 4, dtype=np.float32))
