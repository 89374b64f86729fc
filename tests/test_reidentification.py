"""What only the in-process class does: loading, the life of its gallery, publishing without a daemon of its own."""

import json
import os
import signal
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import reidd
from reidd.model import FILE_NAME, ModelConfig


def test_before_load_the_network_is_missing_and_says_so(image):
    fresh = reidd.ReIdentification("reidd/person")
    assert (fresh.engine, fresh.accelerator) == (None, None)
    for ask in (fresh.extract_features, fresh.re_id_image, lambda i: fresh.add_to_gallery(i, 1)):
        with pytest.raises(reidd.NotLoadedError, match=r"load\("):
            ask(image)
    assert fresh.count() == 0


def test_load_takes_dnn_and_its_default_accelerator_unless_told_otherwise():
    fresh = reidd.ReIdentification("reidd/person")
    fresh.load()
    assert (fresh.engine, fresh.accelerator) == (reidd.Engine.DNN, reidd.Accelerator.CPU)
    fresh.load(reidd.Engine.TFLITE, reidd.Accelerator.CPU)
    assert fresh.engine is reidd.Engine.TFLITE


def test_without_opencv_nothing_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    fresh = reidd.ReIdentification("reidd/person")
    with pytest.raises(reidd.BackendUnavailableError, match=r"pip install 'reidd\[opencv\]'"):
        fresh.load(reidd.Engine.TFLITE)


def test_another_engine_keeps_the_gallery_and_names_the_same_people(gallery_crops, query_crops):
    identifier = reidd.ReIdentification("reidd/person")
    identifier.load(reidd.Engine.DNN)
    for id, image in gallery_crops:
        identifier.add_to_gallery(image, id)
    before = [identifier.re_id_image(image).predictions[0] for _, image in query_crops]
    identifier.load(reidd.Engine.TFLITE)
    after = [identifier.re_id_image(image).predictions[0] for _, image in query_crops]
    assert [p.id for p in before] == [p.id for p in after]
    assert [p.distance for p in before] == pytest.approx([p.distance for p in after], abs=1e-4)


def test_an_unknown_model_is_refused_when_it_is_named():
    with pytest.raises(reidd.UnknownModelError, match="acme/nobody"):
        reidd.ReIdentification("acme/nobody")


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"capacity": "x"}, {"threads": 0}, {"threads": 1.5}])
def test_capacity_and_threads_are_counts(wrong):
    with pytest.raises(reidd.RequestError, match=r"^(capacity|threads) is .*expected an integer of 1 or more"):
        reidd.ReIdentification("reidd/person", **wrong)


def test_a_model_is_named_by_its_id_or_is_a_model_config():
    with pytest.raises(reidd.ConfigError, match=r"expected ModelConfig\(path\)"):
        reidd.ReIdentification("reidd/person", "models/reidd/person")


def test_no_model_is_an_unknown_model():
    with pytest.raises(reidd.UnknownModelError, match=r"no model None .* there are: reidd/person"):
        reidd.ReIdentification(None)


def test_a_limit_may_be_set_before_load_even_when_the_model_does_not_tell_its_dimension(tmp_path, image):
    embedded = ModelConfig.from_model_id("reidd/person")
    document = json.loads((embedded.base_dir / FILE_NAME).read_text())
    del document["reidd"]
    identifier = reidd.ReIdentification("reidd/person", ModelConfig(document, base_dir=embedded.base_dir))
    identifier.set_per_id_gallery_limit(2, "drop_oldest")
    with pytest.raises(reidd.RequestError, match="drop_oldest"):
        identifier.set_per_id_gallery_limit(2, "drop_oldst")
    with pytest.raises(reidd.NotLoadedError, match=r"call load\(\)"):
        identifier.count()
    identifier.load()
    identifier.add_to_gallery([image] * 3, 1)
    assert identifier.count() == 2


def test_threads_share_one_and_each_gets_its_own_answer(in_process, gallery_crops):
    images = [image for _, image in gallery_crops[:8]]
    want = [in_process.extract_features(image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(in_process.extract_features, images * 20))
        list(threads.map(in_process.add_features_to_gallery, got, range(160)))
    assert all(np.allclose(feature, want[n % 8], atol=1e-5) for n, feature in enumerate(got))
    assert in_process.count() == len(in_process.ids()) == 160


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # of Python 3.12
def test_what_a_forked_child_learns_stays_in_the_child(in_process):
    in_process.add_features_to_gallery(np.eye(1, 256), 1)
    child = os.fork()
    if not child:
        in_process.add_features_to_gallery(np.eye(1, 256), 2)
        os._exit(0)
    os.waitpid(child, 0)
    assert in_process.re_id_features(np.eye(1, 256))[0].distance_matrix.shape == (1, 1)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # of Python 3.12
def test_a_forked_child_waits_for_no_thread_of_its_parent(in_process):
    with in_process._turns.mine:
        child = os.fork()
        if not child:
            signal.alarm(5)
            os._exit(in_process.count())
    assert os.waitpid(child, 0)[1] == 0


def test_once_closed_the_network_is_missing_and_load_brings_it_back(image):
    with reidd.ReIdentification("reidd/person") as closed:
        closed.load()
    assert (closed.engine, closed.accelerator) == (None, None)
    with pytest.raises(reidd.NotLoadedError, match=r"load\("):
        closed.re_id_image(image)
    closed.load()
    assert closed.extract_features(image).shape == (1, 256)


def test_large_images_are_looked_at_one_after_the_other(in_process):
    """As many at once as a request may hold are more than a board's memory."""
    png = cv2.imencode(".png", np.zeros((3000, 2000, 3), np.uint8))[1].tobytes()
    tracemalloc.start()
    in_process.extract_features([png] * 10)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 3.5 * 3000 * 2000 * 3


def test_a_full_gallery_overwrites_its_oldest_instance():
    with reidd.ReIdentification("reidd/person", capacity=3) as small:
        rows = np.eye(4, 256, dtype=np.float32)
        for id, row in enumerate(rows):
            small.add_features_to_gallery(row, id)
        assert small.ids() == [1, 2, 3]
        assert small.re_id_features(rows[0])[0].predictions[0].distance == pytest.approx(0.5)


def test_more_distances_than_fit_into_a_frame_are_refused_before_they_are_computed(in_process, monkeypatch):
    monkeypatch.setattr("reidd.protocol.MAX_FRAME_BYTES", 100)
    rows = np.eye(10, 256, dtype=np.float32)
    in_process.add_features_to_gallery(rows, 1)
    assert len(in_process.re_id_features(rows[:2])) == 2
    with pytest.raises(reidd.RequestError, match="3 probes against 10 instances; expected at most 2"):
        in_process.re_id_features(rows[:3])


def test_more_predictions_than_a_reply_holds_are_refused_before_they_are_made(in_process, monkeypatch):
    monkeypatch.setattr("reidd.protocol.MAX_PREDICTIONS", 7)
    rows = np.eye(4, 256, dtype=np.float32)
    for id in (1, 1, 2, 3):
        in_process.add_features_to_gallery(rows[id], id)
    # Counted are those there will be: three ids, whatever is asked for.
    assert [len(answer.predictions) for answer in in_process.re_id_features(rows[:2], top_k=100)] == [3, 3]
    with pytest.raises(reidd.RequestError, match="3 ids for each of 3 probes; expected at most 7 predictions"):
        in_process.re_id_features(rows[:3], top_k=100)
    assert len(in_process.re_id_features(rows[:3], top_k=2)) == 3


def test_a_saved_gallery_of_another_network_is_refused(tmp_path, in_process, image):
    in_process.add_to_gallery(image, 1)
    in_process.save_gallery(tmp_path / "gallery")
    embedded = ModelConfig.from_model_id("reidd/person")
    document = json.loads((embedded.base_dir / FILE_NAME).read_text())
    document["model_parameters"]["swaprb"] = False
    other = reidd.ReIdentification("reidd/person", ModelConfig(document, base_dir=embedded.base_dir))
    with pytest.raises(reidd.FeatureSpaceError, match="another network or preprocessing"):
        other.load_gallery(tmp_path / "gallery")
    assert other.count() == 0


def test_analytics_go_to_a_running_daemon_under_this_models_name(in_process, image, client, shared_daemon, monkeypatch):
    monkeypatch.setattr("reidd.places.default_endpoint", lambda: shared_daemon.endpoint)
    in_process.add_to_gallery(image, 5)
    in_process.publish_analytics(in_process.re_id_image(image), "door", frame=np.int64(7))
    record = client.events().events[-1]
    assert (record["type"], record["model"], record["tag"]) == ("published", "reidd/person", "door")
    assert record["kwargs"] == {"frame": 7}
    assert record["results"][0]["predictions"][0]["id"] == 5


def test_with_no_daemon_running_publishing_is_a_connection_error(in_process, image, tmp_path, monkeypatch):
    monkeypatch.setattr("reidd.places.default_endpoint", lambda: f"ipc://{tmp_path}/none.sock")
    with pytest.raises(reidd.ConnectionError, match="reidd serve") as refused:
        in_process.publish_analytics(in_process.re_id_image(image))
    assert isinstance(refused.value, ConnectionError)


def test_once_the_daemon_is_lost_publishing_waits_for_nobody(in_process, daemon, monkeypatch):
    monkeypatch.setenv("REIDD_ENDPOINT", daemon.endpoint)
    monkeypatch.setattr("reidd.reidentification.PUBLISH_TIMEOUT_S", 0.5)
    results = in_process.re_id_features(np.eye(1, 256))
    in_process.publish_analytics(results)
    daemon.end(signal.SIGKILL)
    with pytest.raises(reidd.ConnectionError, match="no answer"):
        in_process.publish_analytics(results)
    with pytest.raises(reidd.ConnectionError, match="nobody to publish to"):
        in_process.publish_analytics(results)
    daemon.start()
    daemon.wait_until_ready()
    in_process.publish_analytics(results)


def test_analytics_go_to_a_file_when_one_is_named(in_process, image, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDD_ANALYTICS_FILE", str(tmp_path / "analytics.jsonl"))
    for number in range(2):
        in_process.publish_analytics(in_process.re_id_image(image), number)
    records = [json.loads(line) for line in (tmp_path / "analytics.jsonl").read_text().splitlines()]
    assert [record["tag"] for record in records] == [0, 1]
    assert (tmp_path / "analytics.jsonl").stat().st_mode & 0o007 == 0
    monkeypatch.setenv("REIDD_ANALYTICS_FILE", str(tmp_path / "none" / "analytics.jsonl"))
    with pytest.raises(reidd.PublishError, match="REIDD_ANALYTICS_FILE"):
        in_process.publish_analytics(in_process.re_id_image(image))
