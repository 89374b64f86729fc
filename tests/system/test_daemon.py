"""A daemon as its clients see it: asked by many at once, killed, hung, and moved to another engine."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from subjects import Daemon, eventually

import reidd
from reidd import protocol
from reidd.arguments import image_parts


def test_what_was_acknowledged_survives_kill_9_and_a_waiting_client_is_answered(daemon, gallery_crops):
    with daemon.client() as client:
        for id, image in gallery_crops:
            client.add_to_gallery(image, id)
        client.set_label(2, "Bea")
        client.set_per_id_gallery_limit(3, "drop_latest")
        daemon.end(signal.SIGKILL)
        threading.Timer(0.3, daemon.start).start()
        # Asked while nobody is there: the connection comes back by itself.
        assert client.ids() == [1, 2, 3, 4, 5, 6]
        assert client.count() == 18
        assert client.id_labels() == {2: "Bea"}
        assert client.status().limit == (3, "drop_latest")


def test_a_killed_worker_is_replaced_and_the_gallery_untouched(daemon, image):
    with daemon.client() as client:
        client.add_to_gallery(image, 4)
        before = daemon.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: set(before).isdisjoint(daemon.workers()) and client.status().workers == len(before))
        assert client.re_id_image(image).predictions[0].id == 4


def test_ten_clients_at_once_from_threads_are_all_answered_rightly(daemon, gallery_crops, query_crops):
    with daemon.client() as teacher:
        for id, image in gallery_crops:
            teacher.add_to_gallery(image, id)
        expected = [teacher.re_id_image(image).predictions[0].id for _, image in query_crops]
    wrong = []

    def ask():
        with daemon.client() as client:
            got = [client.re_id_image(image).predictions[0].id for _, image in query_crops]
            if got != expected:
                wrong.append(got)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_one_client_may_be_shared_by_threads(client, gallery_crops):
    threads = [threading.Thread(target=client.add_to_gallery, args=(i, n)) for n, (_, i) in enumerate(gallery_crops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.ids() == list(range(18))


def _enrol_in_another_process(endpoint: str, id: int) -> None:
    with reidd.Client(endpoint) as client:
        client.add_features_to_gallery(np.eye(64, 256, dtype=np.float32)[id], id)


def test_clients_in_other_processes_share_the_gallery(client, shared_daemon):
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_enrol_in_another_process, args=(shared_daemon.endpoint, id)) for id in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert client.ids() == [0, 1, 2, 3]


def test_a_saved_gallery_is_put_back_while_the_daemon_is_stopped(daemon, gallery_crops, short_folder):
    def restored():
        command = [sys.executable, "-m", "reidd", "restore", short_folder / "saved", "--state-folder", daemon.state]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    with daemon.client() as client:
        for id, image in gallery_crops[:6]:
            client.add_to_gallery(image, id)
        client.set_label(1, "Ann")
        client.save_gallery(short_folder / "saved")
        client.clear()
        client.add_to_gallery(gallery_crops[-1][1], 6)
        running = restored()
        assert (running.returncode, "in use" in running.stderr) == (70, True)
        daemon.end()
        assert "6 instances put back, in place of 1" in restored().stdout
        daemon.start()
        assert (client.ids(), client.count(), client.id_labels()) == ([1, 2], 6, {1: "Ann"})


def test_features_are_stored_while_every_worker_stands_still(daemon):
    with daemon.client() as client:
        for worker in daemon.workers():
            os.kill(worker, signal.SIGSTOP)
        client.add_features_to_gallery(np.eye(40, 256, dtype=np.float32), 1)
        assert client.count() == 40
        with pytest.raises(reidd.FeatureError, match="feature has 3 values; this gallery's have 256"):
            client.add_features_to_gallery(np.eye(3, dtype=np.float32), 1)
        with pytest.raises(reidd.FeatureError, match="NaN"):
            client.add_features_to_gallery(np.full((1, 256), np.nan, np.float32), 1)
        assert client.count() == 40


def test_an_absent_daemon_is_said_within_the_timeout(short_folder):
    start = time.monotonic()
    with (
        reidd.Client(f"ipc://{short_folder}/none.sock", timeout=0.5) as client,
        pytest.raises(reidd.ConnectionError, match="no such socket"),
    ):
        client.ids()
    assert time.monotonic() - start < 1.0


def test_a_hung_daemon_is_said_within_the_timeout_and_answers_when_it_goes_on(daemon):
    with daemon.client(timeout=0.5) as client:
        client.ids()
        daemon.process.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(reidd.ConnectionError, match="busy, hangs"):
            client.ids()
        assert time.monotonic() - start < 1.0
        daemon.process.send_signal(signal.SIGCONT)
        client.timeout = 10
        assert client.ids() == []


def test_doctor_says_that_a_daemon_hangs_and_how_to_end_it(daemon, commands):
    daemon.process.send_signal(signal.SIGSTOP)
    done = commands.run("doctor", "--json", "--endpoint", daemon.endpoint, env=os.environ)
    daemon.process.send_signal(signal.SIGCONT)
    (found,) = [finding for finding in json.loads(done.stdout) if finding["what"] == "daemon"]
    assert (done.returncode, found["fine"], "systemctl restart reidd" in found["words"]) == (1, False, True)


def test_every_answer_says_that_the_most_wanted_pair_is_out_of_service(short_folder, image):
    (short_folder / "reidd.toml").write_text('engines = [{ engine = "TENSOR_RT" }, { engine = "DNN" }]')
    with (
        Daemon(short_folder, "--config", str(short_folder / "reidd.toml")) as daemon,
        daemon.client(timeout=30) as client,
    ):
        parts, frames = image_parts([image])
        features, _ = client._ask(protocol.ExtractFeatures(parts=parts), frames)
        results, _ = client._ask(protocol.ReIdImage(parts=parts), frames)
        identified = client.events().events[-1]
        assert client.status().degraded is features.degraded is results.degraded is identified["degraded"] is True
        assert (features.engine, results.engine) == (reidd.Engine.DNN, reidd.Engine.DNN)


def test_another_engine_can_be_loaded_while_it_runs(daemon, image):
    with daemon.client() as client:
        client.add_to_gallery(image, 1)
        client.load(reidd.Engine.DNN, reidd.Accelerator.CPU)
        assert (client.engine, client.accelerator) == (reidd.Engine.DNN, reidd.Accelerator.CPU)
        assert client.re_id_image(image).predictions[0].distance == pytest.approx(0, abs=1e-4)
        assert client.events().events[-2]["type"] == "loaded"


def test_an_addition_says_which_pair_made_the_feature_if_one_did(client, image):
    add = protocol.AddToGallery(id=1, parts=[protocol.Pixels(shape=list(image.shape))])
    reply, _ = client._ask(add, [image.tobytes()])
    assert (reply.engine, reply.accelerator, reply.degraded) == (client.engine, client.accelerator, False)
    event = client.events(client.status().seq - 1).events[0]
    assert (event["type"], event["engine"], event["degraded"]) == ("added", client.engine, False)
    given = protocol.AddToGallery(id=1, parts=[protocol.Feature(shape=(1, 256))])
    reply, _ = client._ask(given, [np.eye(1, 256, dtype=np.float32).tobytes()])
    assert reply.engine is None
