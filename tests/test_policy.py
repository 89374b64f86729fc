"""Which instances make room: a table, and what is near for the method that looks at features."""

from random import Random

import numpy as np
import pytest

from reidd.distances import unit
from reidd.errors import RequestError
from reidd.gallery.policy import MOST_COMPARED, Limit, checked_limit, surplus

FEATURES = np.eye(6, dtype=np.float32)


def gone(instances: list[int], keep: int, method: str) -> list[int]:
    return surplus(
        instances,
        keep=keep,
        drop_method=method,
        random=Random(0),
        features=lambda numbers: FEATURES[[number % 6 for number in numbers]],
    )


@pytest.mark.parametrize(
    ("method", "keep", "expected"),
    [
        ("drop_oldest", 2, [3, 5]),
        ("drop_latest", 2, [7, 9]),
        ("drop_oldest", 4, []),
        ("drop_latest", 9, []),
        ("drop_oldest", 0, [3, 5, 7, 9]),
        # 3 and 9 have the same feature.
        ("drop_redundant", 3, [3]),
    ],
)
def test_what_goes(method, keep, expected):
    assert gone([3, 5, 7, 9], keep, method) == expected


def test_drop_random_takes_any_of_them():
    random = Random(0)
    taken = {
        surplus(range(5), keep=4, drop_method="drop_random", random=random, features=lambda _: FEATURES)[0]
        for _ in range(200)
    }
    assert taken == set(range(5))


def test_drop_redundant_leaves_what_differs_most():
    assert sorted({0, 1, 2, 6, 7, 12} - set(gone([0, 1, 2, 6, 7, 12], 3, "drop_redundant"))) == [2, 7, 12]


def test_drop_redundant_compares_with_what_is_still_there():
    # By their angles: 1 and 2 are nearest, so 1 goes; 3 was near to 1 alone, so of 4 and 5 goes one next.
    angles = np.radians([0, 1, -20, 60, 80.5])
    plane = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    taken = surplus([1, 2, 3, 4, 5], keep=3, drop_method="drop_redundant", random=Random(0), features=lambda _: plane)
    assert taken == [1, 4]


def test_drop_redundant_takes_the_older_of_the_nearest_two_again_and_again():
    features = unit(np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32))
    features[40] = features[20]
    left, expected = list(range(60)), []
    while len(left) > 3:
        pairs = [(-float(features[a] @ features[b]), a) for a in left for b in left if a < b]
        expected.append(min(pairs)[1])
        left.remove(expected[-1])
    taken = surplus(range(60), keep=3, drop_method="drop_redundant", random=Random(0), features=lambda _: features)
    assert taken == expected


def test_drop_redundant_compares_the_youngest_thousand_and_lets_the_others_go_first():
    asked = []

    def features(instances):
        asked.extend(instances)
        return np.eye(1, 8, dtype=np.float32).repeat(len(instances), axis=0)

    many = range(3 * MOST_COMPARED)
    taken = surplus(many, keep=2, drop_method="drop_redundant", random=Random(0), features=features)
    assert asked == list(many[-MOST_COMPARED:])
    assert taken == list(many[:-2])


def test_a_limit_is_checked():
    assert checked_limit(3, "drop_latest") == Limit(3, "drop_latest")
    with pytest.raises(RequestError, match="got a limit of 0"):
        checked_limit(0, "drop_latest")
    with pytest.raises(RequestError, match="no drop method 'x'; there are drop_oldest"):
        checked_limit(1, "x")
    assert checked_limit(MOST_COMPARED, "drop_redundant").at_most == MOST_COMPARED
    with pytest.raises(RequestError, match="at most 1000; got a limit of 1001"):
        checked_limit(MOST_COMPARED + 1, "drop_redundant")
