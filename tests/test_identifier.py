"""The published API, method by method, in process and through a daemon."""

import cv2
import numpy as np
import pytest

import reidd


def enrol(identifier, crops):
    for id, image in crops:
        identifier.add_to_gallery(image, id)


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
    for same in (view, bgra, png):
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
        np.empty((0, 256), np.float32),
    ],
    ids=["nan", "infinite", "zero", "short", "three axes", "integers", "no rows"],
)
def test_a_broken_feature_is_refused_at_every_door(identifier, feature):
    with pytest.raises(reidd.FeatureError):
        identifier.add_features_to_gallery(feature, 1)
    with pytest.raises(reidd.FeatureError):
        identifier.re_id_features(feature)
    assert identifier.count() == 0


def test_a_verdict_says_whether_the_nearest_id_may_be_believed(identifier):
    near, far = np.eye(2, 256, dtype=np.float32)
    identifier.add_features_to_gallery(near, 1)
    assert identifier.re_id_features(near, max_distance=0.1)[0].verdict is reidd.Verdict.KNOWN
    assert identifier.re_id_features(far, max_distance=0.1)[0].verdict is reidd.Verdict.UNKNOWN
    identifier.add_features_to_gallery(near, 2)
    assert identifier.re_id_features(near, max_distance=0.1, margin=0.05)[0].verdict is reidd.Verdict.AMBIGUOUS


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"top_k": 1.5}, {"max_distance": -1}, {"margin": float("nan")}])
def test_a_question_that_makes_no_sense_is_refused(identifier, image, wrong):
    with pytest.raises(reidd.RequestError, match=next(iter(wrong))):
        identifier.re_id_image(image, **wrong)


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
    identifier.undo()
    assert (identifier.ids(), identifier.count(1), identifier.count(2)) == ([1, 2], 3, 3)


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


def test_an_empty_gallery_explains_nothing_and_undoes_nothing_forgotten(identifier, image):
    assert identifier.explain(image) is None
    with pytest.raises(reidd.RequestError, match="instance"):
        identifier.move(10**9, 1)


def test_pins_and_times_to_live_are_kept_with_the_ids(identifier, image):
    identifier.add_to_gallery(image, 1)
    identifier.pin(1)
    assert [record.pinned for record in identifier.id_records()] == [True]
    identifier.unpin(1)
    assert [record.pinned for record in identifier.id_records()] == [False]
    identifier.set_ttl(3600, 1)
    identifier.set_ttl(None, 1)
    for ask, arguments in ((identifier.pin, [77]), (identifier.unpin, [77]), (identifier.set_ttl, [60, 77])):
        with pytest.raises(reidd.UnknownIdError):
            ask(*arguments)


def test_ids_count_and_clear(identifier, gallery_crops):
    enrol(identifier, gallery_crops)
    assert identifier.ids() == [1, 2, 3, 4, 5, 6]
    assert (identifier.count(), identifier.count(2), identifier.count(99)) == (18, 3, 0)
    identifier.clear()
    assert (identifier.ids(), identifier.count()) == ([], 0)


def test_a_gallery_saved_and_loaded_gives_the_same_answers(identifier, gallery_crops, query_crops, tmp_path):
    enrol(identifier, gallery_crops)
    identifier.set_label(2, "Bea")
    before = [identifier.re_id_image(image, top_k=6) for _, image in query_crops[:3]]
    identifier.save_gallery(tmp_path / "gallery")
    identifier.clear()
    identifier.load_gallery(tmp_path / "gallery")
    after = [identifier.re_id_image(image, top_k=6) for _, image in query_crops[:3]]
    assert identifier.id_labels() == {2: "Bea"}
    for one, other in zip(before, after, strict=True):
        assert [p.id for p in one.predictions] == [p.id for p in other.predictions]
        assert np.allclose(one.distance_matrix, other.distance_matrix, atol=1e-5)


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
    "value", [float("nan"), np.zeros(3), b"bytes", {1, 2}, object(), {3: "x"}, [{"a": float("inf")}]]
)
def test_what_json_cannot_carry_is_not_published(identifier, image, value):
    results = identifier.re_id_image(image)
    with pytest.raises(reidd.PublishError, match="extra"):
        identifier.publish_analytics(results, extra=value)
    with pytest.raises(reidd.PublishError, match="tag"):
        identifier.publish_analytics(results, value)
    with pytest.raises(reidd.PublishError, match="results"):
        identifier.publish_analytics(value)


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
