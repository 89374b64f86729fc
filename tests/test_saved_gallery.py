"""A gallery in a file: all of it goes there, and what was forgotten does not come back."""

import numpy as np
import pytest

import reidd
from reidd import protocol
from reidd.gallery import archive


def test_more_ids_than_one_reply_holds_are_all_listed_and_saved(identifier, tmp_path):
    many = protocol.MAX_ROWS + 5
    for id, feature in enumerate(np.random.default_rng(0).normal(size=(many, 256))):
        identifier.add_features_to_gallery(feature, id)
    identifier.set_label(many - 1, "Zoe")
    assert (identifier.ids(), identifier.id_labels()) == (list(range(many)), {many - 1: "Zoe"})
    identifier.save_gallery(tmp_path / "all.npz")
    assert archive.load(tmp_path / "all.npz").labels == {many - 1: "Zoe"}


def test_more_forgotten_ids_than_one_reply_holds_stay_away(in_process, tmp_path):
    many = protocol.MAX_ROWS + 5
    for id, feature in enumerate(np.random.default_rng(0).normal(size=(many, 256))):
        in_process.add_features_to_gallery(feature, id)
    in_process.save_gallery(tmp_path / "all.npz")
    for id in range(many):
        in_process.forget(id)
    assert in_process.load_gallery(tmp_path / "all.npz") == list(range(many))
    assert in_process.count() == 0


@pytest.mark.parametrize("when", ["before it is added", "after it was added"])
def test_whom_somebody_forgets_while_a_file_is_read_does_not_come_with_it(identifier, tmp_path, monkeypatch, when):
    for id, feature in enumerate(np.random.default_rng(0).normal(size=(3, 256))):
        identifier.add_features_to_gallery(feature, id)
        identifier.set_label(id, f"person {id}")
    identifier.save_gallery(tmp_path / "all.npz")
    identifier.clear()
    add = identifier._add_features

    def add_and_forget(features, id):
        if id == (1 if when.startswith("before") else 2):
            identifier.forget(1)
        return add(features, id)

    monkeypatch.setattr(identifier, "_add_features", add_and_forget)
    assert identifier.load_gallery(tmp_path / "all.npz") == [1]
    assert identifier.id_labels() == {0: "person 0", 2: "person 2"}


@pytest.mark.parametrize("forgotten_at", [1, 2])
@pytest.mark.parametrize("enrolled_at", [2, 3])
def test_whoever_is_enrolled_as_a_forgotten_id_while_a_file_is_read_stays(
    identifier, tmp_path, monkeypatch, forgotten_at, enrolled_at
):
    rows = np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32)
    for id, feature in enumerate(rows[:4]):
        identifier.add_features_to_gallery(feature, id)
    identifier.set_label(1, "person 1")
    identifier.save_gallery(tmp_path / "all.npz")
    identifier.clear()
    add = identifier._add_features

    def meanwhile(features, id):
        if id == forgotten_at:
            identifier.forget(1)
        if id == enrolled_at:
            add(rows[4:], 1)
        return add(features, id)

    monkeypatch.setattr(identifier, "_add_features", meanwhile)
    assert identifier.load_gallery(tmp_path / "all.npz") == [1]
    assert (identifier.ids(), identifier.count(), identifier.id_labels()) == ([0, 1, 2, 3], 4, {})
    (found,) = identifier.re_id_features(rows[4:])
    assert (found.predictions[0].id, round(found.predictions[0].distance, 3)) == (1, 0)


@pytest.mark.parametrize("asked", ["set_label", "pin", "set_ttl"])
def test_an_id_that_somebody_removes_while_a_file_is_read_ends_nothing(identifier, tmp_path, monkeypatch, asked):
    for id, feature in enumerate(np.random.default_rng(0).normal(size=(3, 256))):
        identifier.add_features_to_gallery(feature, id)
        identifier.set_label(id, f"person {id}")
        identifier.pin(id)
        identifier.set_ttl(60, id)
    identifier.save_gallery(tmp_path / "all.npz")
    identifier.clear()
    ask, unasked = getattr(identifier, asked), [1]

    def remove_and_ask(*args):
        while unasked:
            identifier.remove_from_gallery(unasked.pop())
        ask(*args)

    monkeypatch.setattr(identifier, asked, remove_and_ask)
    assert identifier.load_gallery(tmp_path / "all.npz") == []
    assert [(r.id, r.label, r.pinned, r.ttl_s) for r in identifier.id_records()] == [
        (id, f"person {id}", True, 60) for id in (0, 2)
    ]


def test_a_file_that_does_not_fit_leaves_the_youngest_with_their_labels(tmp_path):
    with (
        reidd.ReIdentification("reidd/person") as larger,
        reidd.ReIdentification("reidd/person", capacity=2) as smaller,
    ):
        for gallery in (larger, smaller):
            gallery.load(reidd.Engine.TFLITE)
        for id, feature in enumerate(np.random.default_rng(0).normal(size=(3, 256))):
            larger.add_features_to_gallery(feature, id)
            larger.set_label(id, f"person {id}")
        larger.save_gallery(tmp_path / "all.npz")
        smaller.load_gallery(tmp_path / "all.npz")
        assert smaller.id_labels() == {1: "person 1", 2: "person 2"}
