"""The published API, in process and through a daemon: what may be stored, how much of it, and what is refused."""

import numpy as np
import pytest
from subjects import enrol

import reidd


def test_a_limit_trims_at_once_and_from_then_on(identifier, gallery_crops):
    images = [image for _, image in gallery_crops[:5]]
    identifier.add_to_gallery(images, 7)
    identifier.set_per_id_gallery_limit(3, "drop_oldest")
    assert identifier.count(7) == 3
    identifier.add_to_gallery(images[0], 7)
    assert identifier.count(7) == 3
    # The newest three are the last two of the five and the one that came again.
    assert identifier.re_id_image(images[0]).predictions[0].distance == pytest.approx(0, abs=1e-4)
    assert identifier.re_id_image(images[2]).distance_matrix.min() > 1e-3


def test_drop_latest_keeps_the_first_instances(identifier, gallery_crops):
    identifier.set_per_id_gallery_limit(2, "drop_latest")
    for _, image in gallery_crops[:4]:
        identifier.add_to_gallery(image, 7)
    distances = identifier.re_id_image(gallery_crops[0][1]).distance_matrix
    assert distances.shape == (1, 2)
    assert distances[0, 0] == pytest.approx(0, abs=1e-4)
    assert identifier.re_id_image(gallery_crops[3][1]).distance_matrix[0, 1] == pytest.approx(0, abs=1e-4)


def test_drop_random_keeps_the_newcomer(identifier, gallery_crops):
    identifier.set_per_id_gallery_limit(2, "drop_random")
    for _, image in gallery_crops[:6]:
        identifier.add_to_gallery(image, 7)
    assert identifier.count(7) == 2
    assert identifier.re_id_image(gallery_crops[5][1]).predictions[0].distance == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("count", "method"), [(0, "drop_oldest"), (-1, "drop_oldest"), (True, "drop_oldest"), (2, "x")]
)
def test_a_limit_that_makes_no_sense_is_refused(identifier, count, method):
    with pytest.raises(reidd.RequestError):
        identifier.set_per_id_gallery_limit(count, method)


def test_a_drop_method_as_long_as_no_name_is_refused_without_being_said_again(identifier):
    with pytest.raises(reidd.RequestError, match=r"drop.method") as refusal:
        identifier.set_per_id_gallery_limit(2, "x" * 1000)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("seconds", [0, -1, "5", True, float("nan"), float("inf")])
def test_what_is_no_time_to_live_is_refused(identifier, seconds):
    with pytest.raises(reidd.RequestError, match="expected seconds, more than 0"):
        identifier.set_ttl(seconds)


@pytest.mark.parametrize("number", [np.float32, np.float64, np.int64])
def test_a_time_to_live_may_be_any_kind_of_number(identifier, number):
    identifier.add_features_to_gallery(np.eye(1, 256, dtype=np.float32), 1)
    identifier.set_ttl(number(3600), 1)
    assert [record.ttl_s for record in identifier.id_records()] == [3600]


def test_removing_forgets_all_instances_and_an_unknown_id_is_an_error(identifier, gallery_crops):
    enrol(identifier, gallery_crops[:6])
    identifier.remove_from_gallery(1)
    assert identifier.ids() == [2]
    with pytest.raises(reidd.UnknownIdError, match="1"):
        identifier.remove_from_gallery(1)
    with pytest.raises(KeyError):
        identifier.remove_from_gallery(99)


@pytest.mark.parametrize("id", [0, 2**63 - 1, np.int64(5), np.uint8(3)])
def test_ids_are_integers_numpy_ones_too(identifier, image, id):
    identifier.add_to_gallery(image, id)
    assert identifier.re_id_image(image).predictions[0].id == int(id)


@pytest.mark.parametrize("id", [-1, 2**63, True, np.bool_(True), 1.0, "1", None, np.float32(2)])
def test_what_is_no_id_is_refused_and_nothing_is_stored(identifier, image, id):
    with pytest.raises(reidd.IdError, match="expected an integer from 0"):
        identifier.add_to_gallery(image, id)
    with pytest.raises(reidd.IdError):
        identifier.remove_from_gallery(id)
    assert identifier.count() == 0


BAD_IMAGES = {
    "nothing": (None, r"cv2\.imread"),
    "text": ("photo.jpg", "str"),
    "floats": (np.zeros((64, 32, 3), np.float32), "float32"),
    "two channels": (np.zeros((64, 32, 2), np.uint8), r"\(64, 32, 2\)"),
    "one dimension": (np.zeros(64, np.uint8), r"\(64,\)"),
    "no pixels": (np.zeros((0, 0, 3), np.uint8), "0x0"),
    "one pixel": (np.zeros((1, 1, 3), np.uint8), "1x1"),
    "10,000 x 10,000": (np.broadcast_to(np.uint8(0), (10_000, 10_000, 3)), "10000x10000"),
    "no bytes": (b"", "empty"),
    "no image": (b"hello, world", "neither JPEG nor PNG"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_what_is_no_image_is_refused_and_nothing_is_stored(identifier, name):
    bad, what_it_got = BAD_IMAGES[name]
    for ask in (identifier.extract_features, identifier.re_id_image, lambda i: identifier.add_to_gallery(i, 1)):
        with pytest.raises(reidd.ImageError, match=what_it_got):
            ask(bad)
    assert identifier.count() == 0


def test_no_features_are_nothing_to_store(identifier):
    with pytest.raises(reidd.FeatureError, match="expected float of shape"):
        identifier.add_features_to_gallery(np.empty((0, 256), np.float32), 1)


def test_of_a_long_list_with_something_that_is_no_image_nothing_is_stored(identifier, image):
    with pytest.raises(reidd.ImageError):
        identifier.add_to_gallery([image] * 70 + [image.astype(np.float32)], 7)
    assert identifier.count() == 0


def test_features_can_be_stored_and_asked_about_without_a_network(identifier):
    rows = np.eye(3, 256, dtype=np.float32)
    for id, row in enumerate(rows):
        identifier.add_features_to_gallery(2.5 * row, id)
    answers = identifier.re_id_features(rows, top_k=3, normalize_distance=False)
    assert [a.predictions[0].id for a in answers] == [0, 1, 2]
    assert answers[0].distance_matrix == pytest.approx(np.array([[0, 1, 1]]))
    assert answers[0].image is None


@pytest.mark.parametrize(
    "feature",
    [
        np.full(256, np.nan, np.float32),
        np.full(256, np.inf, np.float32),
        np.zeros(256, np.float32),
        np.ones(255, np.float32),
        np.ones((2, 3, 256), np.float32),
        np.ones(256, np.int32),
        np.full(256, 1e300),
        np.empty((1, 0), np.float32),
    ],
    ids=["nan", "infinite", "zero", "short", "three axes", "integers", "beyond float32", "no columns"],
)
def test_a_broken_feature_is_refused_at_every_door(identifier, feature):
    with pytest.raises(reidd.FeatureError):
        identifier.add_features_to_gallery(feature, 1)
    with pytest.raises(reidd.FeatureError):
        identifier.re_id_features(feature)
    assert identifier.count() == 0
