"""The published API, in process and through a daemon: asking, publishing, and what it tells of itself."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from subjects import enrol

import reidd


def test_features_are_one_row_of_unit_length_float32(identifier, image):
    feature = identifier.extract_features(image)
    assert feature.shape == (1, 256)
    assert feature.dtype == np.float32
    assert np.linalg.norm(feature) == pytest.approx(1, abs=1e-6)


def test_a_list_of_images_gives_a_row_each(identifier, gallery_crops):
    images = [image for _, image in gallery_crops[:5]]
    rows = identifier.extract_features(images)
    assert rows.shape == (5, 256)
    assert np.allclose(rows[3], identifier.extract_features(images[3])[0], atol=1e-5)


def test_no_images_give_no_rows(identifier):
    assert identifier.extract_features([]).shape == (0, 256)
    assert identifier.re_id_images([]) == []
    assert identifier.re_id_features(identifier.extract_features([])) == []


def test_many_large_images_are_asked_about_in_several_requests(identifier):
    frame = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    assert len(identifier.re_id_images([frame] * 40)) == 40


def test_the_mirror_makes_a_feature_symmetric(identifier, image):
    mirrored = np.ascontiguousarray(image[:, ::-1])
    assert (identifier.extract_features(image) @ identifier.extract_features(mirrored).T).item() > 0.9999
    alone = identifier.extract_features(image, flip_horizontal=False)
    assert (alone @ identifier.extract_features(mirrored, flip_horizontal=False).T).item() < 0.9999


def test_grey_bgra_jpeg_and_views_are_images_too(identifier, image):
    want = identifier.extract_features(image)
    frame = np.zeros((400, 300, 3), np.uint8)
    frame[50 : 50 + image.shape[0], 60 : 60 + image.shape[1]] = image
    view = frame[50 : 50 + image.shape[0], 60 : 60 + image.shape[1]]
    bgra = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    png = cv2.imencode(".png", image)[1].tobytes()
    for same in (view, bgra, png, bytearray(png), memoryview(b"".join(bytes([b, 0]) for b in png))[::2]):
        assert np.allclose(identifier.extract_features(same), want, atol=1e-5)
    assert identifier.extract_features(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)).shape == (1, 256)


def test_get_distances_compares_without_the_gallery(identifier, image, gallery_crops):
    others = [crop for _, crop in gallery_crops]
    raw = identifier.get_distances(image, others, normalize_distance=False)
    assert raw.shape == (1, len(others))
    assert raw[0, 0] == pytest.approx(0, abs=1e-5)
    assert ((raw >= 0) & (raw <= 2)).all()
    assert np.allclose(identifier.get_distances(image, others), raw / 2, atol=1e-6)
    assert identifier.get_distances(image, []).shape == (1, 0)
    assert identifier.count() == 0


def test_an_empty_gallery_gives_no_predictions_and_no_error(identifier, image):
    results = identifier.re_id_image(image)
    assert results.predictions == []
    assert results.distance_matrix.shape == (1, 0)


def test_people_are_named_in_other_images_of_them(identifier, gallery_crops, query_crops):
    enrol(identifier, gallery_crops)
    named = [identifier.re_id_image(image).predictions[0].id for _, image in query_crops]
    assert sum(got == want for got, (want, _) in zip(named, query_crops, strict=True)) >= 17


def test_the_models_own_threshold_gives_the_same_verdict_on_either_scale(identifier, gallery_crops, query_crops):
    enrol(identifier, gallery_crops)
    images = [image for _, image in query_crops]
    verdicts = [r.verdict for r in identifier.re_id_images(images)]
    assert set(verdicts) == {reidd.Verdict.KNOWN, reidd.Verdict.UNKNOWN}
    assert [r.verdict for r in identifier.re_id_images(images, normalize_distance=False)] == verdicts


def test_predictions_are_ranked_from_one_with_one_per_id(identifier, gallery_crops, query_crops):
    enrol(identifier, gallery_crops)
    results = identifier.re_id_image(query_crops[0][1], top_k=4)
    assert [p.rank for p in results.predictions] == [1, 2, 3, 4]
    assert len({p.id for p in results.predictions}) == 4
    assert [p.distance for p in results.predictions] == sorted(p.distance for p in results.predictions)
    everyone = identifier.re_id_image(query_crops[0][1], top_k=100)
    assert sorted(p.id for p in everyone.predictions) == [1, 2, 3, 4, 5, 6]


def test_a_list_of_images_is_answered_as_they_are_one_by_one(identifier, gallery_crops, query_crops):
    enrol(identifier, gallery_crops)
    images = [image for _, image in query_crops[:4]]
    asked = {"top_k": 2, "flip_horizontal": False, "max_distance": 0.16, "margin": 0.02}
    alone = [identifier.re_id_image(image, **asked) for image in images]
    together = identifier.re_id_images(images, **asked)
    assert {answer.verdict for answer in alone} > {reidd.Verdict.KNOWN}
    for one, other in zip(together, alone, strict=True):
        assert [(p.id, p.rank) for p in one.predictions] == [(p.id, p.rank) for p in other.predictions]
        assert one.verdict is other.verdict
        assert np.allclose(one.distance_matrix, other.distance_matrix, atol=1e-5)


def test_the_distance_matrix_has_a_column_per_instance_in_order_of_age(identifier, gallery_crops, query_crops):
    enrol(identifier, gallery_crops)
    probe = query_crops[0][1]
    results = identifier.re_id_image(probe, top_k=6)
    assert results.distance_matrix.dtype == np.float32
    assert np.allclose(
        results.distance_matrix, identifier.get_distances(probe, [c for _, c in gallery_crops]), atol=1e-5
    )
    for prediction in results.predictions:
        columns = [i for i, (id, _) in enumerate(gallery_crops) if id == prediction.id]
        assert prediction.distance == pytest.approx(results.distance_matrix[0, columns].min(), abs=1e-6)


def test_a_tie_goes_to_the_older_instance(identifier, image):
    identifier.add_to_gallery(image, 9)
    identifier.add_to_gallery(image, 4)
    assert [p.id for p in identifier.re_id_image(image, top_k=2).predictions] == [9, 4]


def test_normalised_distances_are_half_of_the_cosine_distance(identifier, gallery_crops, query_crops):
    enrol(identifier, gallery_crops[:3])
    halved = identifier.re_id_image(query_crops[-1][1])
    raw = identifier.re_id_image(query_crops[-1][1], normalize_distance=False)
    assert halved.predictions[0].distance == pytest.approx(raw.predictions[0].distance / 2, abs=1e-6)
    assert np.allclose(halved.distance_matrix, raw.distance_matrix / 2, atol=1e-6)


def test_results_hold_the_image_and_the_seconds_it_took(identifier, image):
    results = identifier.re_id_image(image)
    assert np.array_equal(results.image, image)
    assert 0 < results.duration < 5


def test_a_verdict_says_whether_the_nearest_id_may_be_believed(identifier):
    near, far = np.eye(2, 256, dtype=np.float32)
    identifier.add_features_to_gallery(near, 1)
    assert identifier.re_id_features(near, max_distance=0.1)[0].verdict is reidd.Verdict.KNOWN
    assert identifier.re_id_features(far, max_distance=0.1)[0].verdict is reidd.Verdict.UNKNOWN
    identifier.add_features_to_gallery(near, 2)
    assert identifier.re_id_features(near, max_distance=0.1, margin=0.05)[0].verdict is reidd.Verdict.AMBIGUOUS


@pytest.mark.parametrize("flag", [np.True_, 1])
def test_a_flag_may_be_what_numpy_or_c_calls_true(identifier, image, flag):
    identifier.add_to_gallery(image, 1, flip_horizontal=flag)
    assert identifier.re_id_image(image, flip_horizontal=flag).predictions[0].id == 1
    assert identifier.explain(image, flag).id == 1
    same = identifier.get_distances(image, [image], flip_horizontal=flag, normalize_distance=flag)
    assert same[0, 0] == pytest.approx(0, abs=1e-5)
    assert identifier.extract_features(image, flag).shape == (1, 256)


def test_all_of_a_gallery_may_be_asked_for_whatever_it_holds(identifier, image):
    identifier.add_to_gallery(image, 1)
    assert len(identifier.re_id_image(image, top_k=10**9).predictions) == 1


@pytest.mark.parametrize("distance", [np.float32(1), np.int64(1), 1])
def test_a_distance_may_be_any_kind_of_number(identifier, image, distance):
    identifier.add_to_gallery(image, 1)
    assert identifier.re_id_image(image, max_distance=distance, margin=distance).verdict is reidd.Verdict.KNOWN


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"top_k": 1.5}, {"max_distance": -1}, {"margin": float("nan")}])
def test_a_question_that_makes_no_sense_is_refused(identifier, image, wrong):
    with pytest.raises(reidd.RequestError, match=next(iter(wrong))):
        identifier.re_id_image(image, **wrong)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "check its path"),
        ("ann.jpg", "read the file first, with cv2.imread(path)"),
        (Path("ann.jpg"), "read the file first"),
        ([], "re_id_images asks about a list"),
        (
            cv2.imencode(".png", np.zeros((20, 10, 3), np.uint8))[1],
            "of an encoded file pass its bytes, with .tobytes()",
        ),
        (np.zeros((20, 10, 3)), "expected uint8, 0 to 255: convert it"),
        (b"%PDF-1.4", "neither JPEG nor PNG: convert it"),
    ],
)
def test_what_is_no_image_is_told_what_to_do(identifier, given, said):
    with pytest.raises(reidd.ImageError) as caught:
        identifier.re_id_image(given)
    assert said in str(caught.value)


def test_arguments_in_the_wrong_order_do_not_print_an_image(identifier, image):
    with pytest.raises(reidd.IdError, match="id is a long ndarray") as caught:
        identifier.add_to_gallery(1, image)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("shape", [(20, 10, 3), (20, 10, 4), (20, 10)])
def test_one_image_is_no_list_of_images(identifier, image, shape):
    for ask in (partial(identifier.get_distances, image), identifier.re_id_images):
        with pytest.raises(reidd.ImageError, match=r"one array of shape .* such as \[image\]"):
            ask(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("given", [None, b"\xff\xd8", "ann.jpg", 5])
def test_what_is_no_list_of_images_is_refused(identifier, image, given):
    for ask in (partial(identifier.get_distances, image), identifier.re_id_images):
        with pytest.raises(reidd.ImageError, match="expected a list of images"):
            ask(given)


@pytest.mark.parametrize("given", [5, b"Ann", "x" * 257])
def test_what_is_no_label_is_refused(identifier, image, given):
    identifier.add_to_gallery(image, 1)
    with pytest.raises(reidd.RequestError, match=r"^label "):
        identifier.set_label(1, given)


def test_a_label_that_cannot_travel_is_refused(identifier, image):
    identifier.add_to_gallery(image, 1)
    with pytest.raises(reidd.RequestError, match="UTF-8 cannot carry"):
        identifier.set_label(1, "ann\udc80")
    identifier.set_label(1, np.str_("Ann"))
    assert type(identifier.id_labels()[1]) is str


def test_the_properties_tell_model_and_engine(identifier):
    assert identifier.engine is reidd.Engine.TFLITE
    assert identifier.accelerator is reidd.Accelerator.CPU
    assert identifier.model_id == "reidd/person"
    assert identifier.model_purpose == "ReIdentification"
    assert identifier.model_config.id == "reidd/person"
    assert (identifier.labels, identifier.colors) == (None, None)
    with pytest.raises(reidd.ConfigError, match="colors have shape"):
        identifier.colors = [[1, 2, 3]]


@pytest.mark.parametrize(
    "value",
    [float("nan"), np.zeros(3), b"bytes", {1, 2}, object(), {3: "x"}, [{"a": float("inf")}], "\udc80", {"\udc80": 1}],
)
def test_what_json_cannot_carry_is_not_published(identifier, image, value):
    results = identifier.re_id_image(image)
    with pytest.raises(reidd.PublishError, match="extra"):
        identifier.publish_analytics(results, extra=value)
    with pytest.raises(reidd.PublishError, match="tag"):
        identifier.publish_analytics(results, value)
    with pytest.raises(reidd.PublishError, match="results"):
        identifier.publish_analytics(value)


def test_predictions_of_ones_own_are_published_when_json_can_carry_them(identifier, shared_daemon, monkeypatch):
    monkeypatch.setenv("REIDD_ENDPOINT", shared_daemon.endpoint)
    matrix = np.zeros((1, 1), np.float32)
    own = reidd.ReIdentificationPrediction(np.int64(1), np.int32(1), np.float32(0.5), np.str_("Ann"))
    identifier.publish_analytics(reidd.ReIdentificationResults([own], matrix, np.float32(0.1)), np.str_("door"))
    with shared_daemon.client() as hearing:
        heard = hearing.events().events[-1]
    predicted = {"id": 1, "rank": 1, "distance": 0.5, "label": "Ann"}
    assert (heard["tag"], heard["results"][0]["predictions"]) == ("door", [predicted])
    broken = reidd.ReIdentificationPrediction(1, 1, float("nan"))
    with pytest.raises(reidd.PublishError, match="distance is nan"):
        identifier.publish_analytics(reidd.ReIdentificationResults([broken], matrix, 0.1))


def test_a_record_that_is_too_long_is_refused_at_once(client, image):
    with pytest.raises(reidd.RequestError, match="expected at most 1048576: send less"):
        client.publish_analytics(client.re_id_image(image), "x" * (2 << 20))


def test_what_never_ends_is_not_published(identifier, image):
    endless = []
    endless.append(endless)
    with pytest.raises(reidd.PublishError, match="nested deeper"):
        identifier.publish_analytics(identifier.re_id_image(image), endless)


def test_an_engine_without_a_backend_says_what_is_missing_and_what_is_ready(identifier):
    with pytest.raises(reidd.BackendUnavailableError, match=r"TENSOR_RT.*no installed plugin.*ready: .*DNN/CPU"):
        identifier.load(reidd.Engine.TENSOR_RT)
    with pytest.raises(reidd.RequestError, match="expected one of DNN"):
        identifier.load("STEAM")
    assert identifier.engine is reidd.Engine.TFLITE
