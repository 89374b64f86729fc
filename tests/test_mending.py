"""A gallery in process and through a daemon: names, merging, moving, undoing, pins, times to live, saved files."""

import numpy as np
import pytest
from subjects import enrol

import reidd


def test_ids_carry_labels_for_people(identifier, image):
    identifier.add_to_gallery(image, 3)
    identifier.set_label(3, "Ann")
    assert identifier.id_labels() == {3: "Ann"}
    assert identifier.re_id_image(image).predictions[0].label == "Ann"
    identifier.set_label(3, None)
    assert identifier.id_labels() == {}
    with pytest.raises(reidd.UnknownIdError):
        identifier.set_label(4, "Bob")


def test_two_ids_of_one_person_are_merged_and_that_can_be_undone(identifier, gallery_crops):
    enrol(identifier, gallery_crops[:6])
    identifier.merge(2, 1)
    assert (identifier.ids(), identifier.count(1)) == ([1], 6)
    assert identifier.undo() == "3 instances moved to id 1"
    assert (identifier.ids(), identifier.count(1), identifier.count(2)) == ([1, 2], 3, 3)


def test_an_id_is_merged_into_one_that_there_is_only(identifier, gallery_crops):
    enrol(identifier, gallery_crops[:3])
    with pytest.raises(reidd.UnknownIdError, match="no instance of id 12; to give id 1 that number, rename"):
        identifier.merge(1, 12)
    assert identifier.ids() == [1]


def test_an_id_is_renamed_to_a_free_number_only(identifier, gallery_crops):
    enrol(identifier, gallery_crops[:6])
    identifier.rename(2, 9)
    assert identifier.ids() == [1, 9]
    with pytest.raises(reidd.RequestError, match="merge"):
        identifier.rename(1, 9)


def test_one_image_under_the_wrong_id_is_found_and_moved(identifier, gallery_crops):
    enrol(identifier, gallery_crops[:3])
    wrong = gallery_crops[4][1]
    identifier.add_to_gallery(wrong, 1)
    why = identifier.explain(wrong)
    assert (why.id, why.instances_of_id, why.younger, why.runner_up) == (1, 4, 0, None)
    assert why.distance == pytest.approx(0, abs=1e-5)
    identifier.move(why.instance, 2)
    assert (identifier.count(1), identifier.count(2)) == (3, 1)
    moved = identifier.explain(wrong)
    assert (moved.id, moved.instance, moved.runner_up) == (2, why.instance, 1)
    assert moved.margin == pytest.approx(2 * identifier.re_id_image(wrong, top_k=2).predictions[1].distance, abs=1e-4)


def test_an_empty_gallery_explains_nothing(identifier, image):
    assert identifier.explain(image) is None


def test_an_instance_that_is_not_there_cannot_be_moved(identifier):
    with pytest.raises(reidd.RequestError, match="no instance number 1000000000"):
        identifier.move(10**9, 1)


def test_pins_and_times_to_live_are_kept_with_the_ids(identifier, image):
    identifier.add_to_gallery(image, 1)
    identifier.pin(1)
    assert [record.pinned for record in identifier.id_records()] == [True]
    identifier.unpin(1)
    assert [record.pinned for record in identifier.id_records()] == [False]
    identifier.set_ttl(3600, 1)
    assert [record.ttl_s for record in identifier.id_records()] == [3600]
    identifier.set_ttl(None, 1)
    assert [record.ttl_s for record in identifier.id_records()] == [None]
    for ask, arguments in ((identifier.pin, [77]), (identifier.unpin, [77]), (identifier.set_ttl, [60, 77])):
        with pytest.raises(reidd.UnknownIdError):
            ask(*arguments)


def test_the_limit_comes_along_into_an_empty_gallery_only(identifier, gallery_crops, tmp_path):
    enrol(identifier, gallery_crops)
    assert identifier.set_per_id_gallery_limit(2, "drop_redundant") == 6
    identifier.save_gallery(tmp_path / "gallery")
    assert identifier.set_per_id_gallery_limit(3, "drop_oldest") == 0
    identifier.load_gallery(tmp_path / "gallery")
    assert identifier.count(1) == 3
    identifier.clear()
    identifier.load_gallery(tmp_path / "gallery")
    enrol(identifier, gallery_crops)
    assert identifier.count(1) == 2


def test_ids_count_and_clear(identifier, gallery_crops):
    enrol(identifier, gallery_crops)
    assert identifier.ids() == [1, 2, 3, 4, 5, 6]
    assert (identifier.count(), identifier.count(2), identifier.count(99)) == (18, 3, 0)
    identifier.clear()
    assert (identifier.ids(), identifier.count()) == ([], 0)


def test_a_gallery_saved_and_loaded_gives_the_same_answers(identifier, gallery_crops, query_crops, tmp_path):
    enrol(identifier, gallery_crops)
    identifier.set_label(2, "Bea")
    identifier.pin(3)
    identifier.set_ttl(3600, 4)
    known = identifier.id_records()
    before = [identifier.re_id_image(image, top_k=6) for _, image in query_crops[:3]]
    identifier.save_gallery(tmp_path / "gallery")
    identifier.clear()
    identifier.load_gallery(tmp_path / "gallery")
    after = [identifier.re_id_image(image, top_k=6) for _, image in query_crops[:3]]
    assert identifier.id_records() == known
    for one, other in zip(before, after, strict=True):
        assert [p.id for p in one.predictions] == [p.id for p in other.predictions]
        assert np.allclose(one.distance_matrix, other.distance_matrix, atol=1e-5)
