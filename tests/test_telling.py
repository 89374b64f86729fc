"""What was taken back is said in words."""

import numpy as np
import pytest
from galleries import feature, features, opened


@pytest.fixture
def gallery():
    with opened() as gallery:
        gallery.add(7, features(2))
        yield gallery


@pytest.mark.parametrize(
    ("mutate", "says"),
    [
        (lambda g: g.add(7, feature(5)), "1 instance of id 7 added"),
        (lambda g: g.add(8, np.tile(feature(5), (3, 1))), "3 instances of id 8 added"),
        (lambda g: g.remove(7), "2 instances of id 7 removed"),
        (lambda g: g.rename(7, 9), "2 instances moved to id 9"),
        (lambda g: g.set_label(7, "eve"), "the label of id 7 set"),
        (lambda g: g.pin(7), "id 7 pinned"),
        (lambda g: g.set_ttl(60, 7), "the time to live of id 7 set"),
        (lambda g: g.set_ttl(90), "a time to live of 90 s set"),
        (lambda g: g.set_limit(3, "drop_latest"), "a limit of 3 (drop_latest) set"),
        (lambda g: g.set_limit(1, "drop_oldest"), "1 instance of id 7 removed, a limit of 1 (drop_oldest) set"),
    ],
)
def test_undo_says_what_it_took_back(gallery, mutate, says):
    mutate(gallery)
    assert gallery.undo().taken_back == says


def test_of_many_ids_only_the_first_are_named(gallery):
    for id in range(1, 6):
        gallery.add(id, feature(id))
    gallery.clear()
    assert gallery.undo().taken_back == (
        "1 instance of id 1 removed, 1 instance of id 2 removed, 1 instance of id 3 removed, "
        "4 instances of 3 other ids removed"
    )
