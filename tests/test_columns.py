"""Rows that are read in blocks are checked one by one where a block is not whole."""

import numpy as np
import pytest
from galleries import DIM, SPACE

from reidd.distances import unit
from reidd.gallery import Instance
from reidd.gallery.cipher import Cipher
from reidd.gallery.columns import Columns
from reidd.gallery.contents import instance_crc, stored_instance

FEATURES = unit(np.random.default_rng(0).normal(size=(5, DIM)))


def rows(cipher: Cipher | None = None) -> list[list]:
    """Five rows of the store, oldest first."""
    instances = [Instance(row + 1, row % 2, 1000 + row, FEATURES[row].tobytes()) for row in range(5)]
    return [list(stored_instance(instance, cipher)) for instance in instances]


def taken(stored: list[list], cipher: Cipher | None = None, room: np.ndarray | None = None) -> Columns:
    columns = Columns(DIM, cipher, room)
    columns.take(stored[:2])
    columns.take(stored[2:])
    return columns


@pytest.mark.parametrize("cipher", [None, Cipher(bytes(32), SPACE)], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, -3),
        (0, 3.5),
        (1, -1),
        (1, 7),
        (2, None),
        (2, 5),
        (3, 5),
        (3, "5"),
        (4, None),
        (4, "text"),
        (4, b""),
    ],
)
def test_a_row_that_is_not_what_was_written_is_left_out_and_named(cipher, field, value):
    stored = rows(cipher)
    stored[3][field] = value
    columns = taken(stored, cipher)
    assert columns.damage == [f"instance {stored[3][0]!r} does not match its checksum"]
    assert columns.rows().numbers.tolist() == [1, 2, 3, 5]
    assert np.array_equal(columns.rows().features, FEATURES[[0, 1, 2, 4]])


@pytest.mark.parametrize("wrong", [(0, 0), (1, -1), (4, FEATURES[3].tobytes()[:-4])])
def test_a_row_that_was_written_wrong_is_left_out_though_its_checksum_is_right(wrong):
    stored = rows()
    stored[3][wrong[0]] = wrong[1]
    number, id, time_ns, _, feature = stored[3]
    stored[3][3] = instance_crc(number, id, time_ns, feature)
    assert taken(stored).rows().numbers.tolist() == [1, 2, 3, 5]


@pytest.mark.parametrize("room", [np.zeros((8, DIM), np.float32), np.zeros((3, DIM), np.float32), None])
def test_features_lie_in_the_room_for_them_if_it_is_large_enough(room):
    read = taken(rows(), room=room).rows()
    assert np.array_equal(read.features, FEATURES)
    assert np.shares_memory(read.features, room) == (room is not None and len(room) == 8)


def test_what_was_read_twice_is_there_once_and_leaves_no_feature_in_the_room():
    room = np.zeros((8, DIM), np.float32)
    read = taken([*rows(), rows()[2]], room=room).rows()
    assert read.numbers.tolist() == [1, 2, 3, 4, 5]
    assert np.array_equal(read.features, FEATURES)
    assert not room.any()
