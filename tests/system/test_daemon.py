"""The daemon as a process: started, asked by many, signalled, killed, restarted."""

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from subjects import Daemon

import reidd
from reidd import places, protocol
from reidd.arguments import image_parts
from reidd.client import subscribed
from reidd.gallery import Gallery


def workers_of(daemon: Daemon) -> list[int]:
    """The pids of a daemon's worker processes."""
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for its parent to notice."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def eventually(condition, timeout=10.0):
    """Wait until something is so; fail when it never is."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_within_a_second(daemon, number):
    workers = workers_of(daemon)
    assert daemon.end(number) < 1.0
    assert daemon.process.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not list(daemon.runtime.glob("*.sock"))
    assert not (daemon.runtime / places.RING).exists()


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


def test_workers_of_a_killed_core_end_by_themselves(daemon):
    workers = workers_of(daemon)
    assert workers
    daemon.end(signal.SIGKILL)
    eventually(lambda: all(map(ended, workers)))


def test_a_killed_worker_is_replaced_and_the_gallery_untouched(daemon, image):
    with daemon.client() as client:
        client.add_to_gallery(image, 4)
        before = workers_of(daemon)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: set(before).isdisjoint(workers_of(daemon)) and client.status().workers == len(before))
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


def test_subscribers_hear_of_everything_in_numbered_events_without_images_or_features(client, shared_daemon, image):
    with subscribed(client.status().analytics, timeout=5) as events:
        client.add_to_gallery(image, 6)
        client.set_label(6, "Fay")
        results = client.re_id_image(image)
        client.publish_analytics(results, {"camera": "door"}, frame=12)
        client.set_per_id_gallery_limit(50, "drop_oldest")
        client.remove_from_gallery(6)
        client.clear()
        heard = [next(events) for _ in range(7)]
    kinds = ["added", "labelled", "identified", "published", "limited", "removed", "cleared"]
    assert [event["type"] for event in heard] == kinds
    assert [event["seq"] for event in heard] == list(range(heard[0]["seq"], heard[0]["seq"] + 7))
    assert {event["epoch"] for event in heard} == {client.status().epoch}
    assert all(event["model"] == "reidd/person" and abs(event["time"] - time.time()) < 60 for event in heard)
    published = heard[3]
    assert (published["tag"], published["kwargs"]) == ({"camera": "door"}, {"frame": 12})
    assert published["results"][0]["predictions"][0]["id"] == 6
    assert published["results"][0]["predictions"][0]["label"] == "Fay"
    # The largest of them is far smaller than an image (thousands of bytes) or a feature (256 floats) would be.
    assert max(len(json.dumps(event)) for event in heard) < 500


def test_what_a_subscriber_missed_it_can_ask_for(client):
    before = client.status().seq
    for id in range(3):
        client.add_features_to_gallery(np.eye(3, 256, dtype=np.float32)[id], id)
    missed = client.events(after=before + 1)
    assert missed.complete
    assert [(event["seq"], event["id"]) for event in missed.events] == [(before + 2, 1), (before + 3, 2)]


def test_what_has_lived_its_time_goes_and_subscribers_hear_of_it(client):
    client.add_features_to_gallery(np.eye(1, 256, dtype=np.float32), 3)
    with subscribed(client.status().analytics, "expired", timeout=10) as events:
        client.set_ttl(0.2)
        expired = next(events)
    client.set_ttl(None)
    assert len(expired["dropped"]) == 1
    assert client.ids() == []


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
        for worker in workers_of(daemon):
            os.kill(worker, signal.SIGSTOP)
        client.add_features_to_gallery(np.eye(40, 256, dtype=np.float32), 1)
        assert client.count() == 40
        with pytest.raises(reidd.FeatureError, match="feature has 3 values; this gallery's have 256"):
            client.add_features_to_gallery(np.eye(3, dtype=np.float32), 1)
        with pytest.raises(reidd.FeatureError, match="NaN"):
            client.add_features_to_gallery(np.full((1, 256), np.nan, np.float32), 1)
        assert client.count() == 40


def test_a_damaged_store_is_told_and_the_rest_is_served(daemon):
    with daemon.client() as client:
        client.add_features_to_gallery(np.eye(40, 256, dtype=np.float32), 1)
        daemon.end()
        store = daemon.state / places.STORE
        content = bytearray(store.read_bytes())
        feature = np.eye(40, 256, dtype=np.float32)[20].tobytes()
        content[content.index(feature) + 80] ^= 1
        store.write_bytes(content)
        daemon.start()
        assert client.count() == 39
        assert len(client.status().damage) > 0
    assert "stored gallery: " in daemon.log.read_text()


@pytest.mark.parametrize("shared", ["runtime", "state"])
def test_a_second_daemon_on_the_same_folder_is_refused_and_the_first_goes_on(daemon, image, shared):
    folders = {"runtime": daemon.folder / "run2", "state": daemon.folder / "state2", shared: getattr(daemon, shared)}
    second = subprocess.run(
        [sys.executable, "-m", "reidd", "serve", *(f"--{kind}-folder={path}" for kind, path in folders.items())],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 78
    assert f"{folders[shared]}: another reidd (pid {daemon.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr
    with daemon.client() as client:
        assert client.re_id_image(image).predictions == []


def test_a_gallery_of_another_model_is_the_operators_to_mend(short_folder):
    state = short_folder / "state"
    state.mkdir()
    Gallery.open(dim=8, space=bytes(32), store_path=state / places.STORE).close()
    started = Daemon(short_folder)
    assert started.process.wait(60) == 78
    assert "another space" in started.log.read_text()


def test_more_instances_than_the_capacity_are_the_operators_to_mend(short_folder):
    state, config = short_folder / "state", short_folder / "reidd.toml"
    state.mkdir()
    config.write_text("capacity = 4\n")
    model = reidd.ModelConfig.from_model_id("reidd/person")
    with Gallery.open(dim=256, space=model.feature_space(), store_path=state / places.STORE) as gallery:
        gallery.add(1, np.eye(5, 256, dtype=np.float32))
    started = Daemon(short_folder, "--config", str(config))
    assert started.process.wait(60) == 78
    assert "raise the capacity to 5 or more" in started.log.read_text()


def test_too_few_open_files_are_said_before_clients_are_sent_away(short_folder):
    command = f"ulimit -n 64; exec {sys.executable} -m reidd serve --runtime-folder {short_folder}/run"
    done = subprocess.run(
        ["bash", "-c", f"{command} --state-folder {short_folder}/state"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "`ulimit -n 1024`" in done.stderr) == (78, True)


def test_workers_do_not_hear_ctrl_c(daemon):
    for pid in workers_of(daemon):
        blocked = int(re.search("SigBlk:\t(.*)", Path(f"/proc/{pid}/status").read_text())[1], 16)
        assert blocked >> (signal.SIGINT - 1) & 1


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
    daemon = Daemon(short_folder, "--config", str(short_folder / "reidd.toml")).wait_until_ready()
    try:
        with daemon.client() as client:
            parts, frames = image_parts([image])
            features, _ = client._ask(protocol.ExtractFeatures(parts=parts), frames)
            results, _ = client._ask(protocol.ReIdImage(parts=parts), frames)
            identified = client.events().events[-1]
            assert client.status().degraded is features.degraded is results.degraded is identified["degraded"] is True
            assert (features.engine, results.engine) == (reidd.Engine.DNN, reidd.Engine.DNN)
    finally:
        daemon.process.kill()
        daemon.process.wait()


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


def test_systemd_is_told_when_it_is_ready_alive_and_stopping(short_folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short_folder / "notify"))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(short_folder / "notify"), "WATCHDOG_USEC": "200000"}
        daemon = Daemon(short_folder, env=env)
        try:
            assert manager.recv(100) == b"READY=1"
            assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            daemon.process.send_signal(signal.SIGTERM)
            told = manager.recv(100)
            while told == b"WATCHDOG=1":
                told = manager.recv(100)
            assert told == b"STOPPING=1"
        finally:
            daemon.end()


def test_the_sockets_let_owner_and_group_in_and_nobody_else(shared_daemon):
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in shared_daemon.runtime.iterdir()}
    assert modes["reidd.sock"] == modes["analytics.sock"] == "0o660"
    assert modes["gallery.ring"] == "0o640"
    assert not [path for path in shared_daemon.state.iterdir() if path.stat().st_mode & 0o007]


def test_a_user_without_root_gets_folders_of_his_own(monkeypatch, tmp_path):
    from reidd import places

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert places.runtime_folder() == Path("/run/user/1000/reidd")
    assert places.state_folder() == tmp_path / ".local/state/reidd"


def test_a_user_without_a_home_is_told_to_set_one(monkeypatch, tmp_path):
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(reidd.ConfigError, match="set HOME"):
        places.state_folder()


def test_a_home_that_may_not_be_seen_hides_no_model(short_folder):
    # As root's after `setpriv`, which leaves HOME as it was.
    script = (
        "import os, sys; from reidd import model; os.setresuid(4711, 4711, 4711)\n"
        "print(model.ModelConfig.from_model_id('reidd/person').id)"
    )
    if os.geteuid():
        pytest.skip("needs root, to be somebody else")
    env = {**os.environ, "HOME": str(short_folder)}
    (short_folder / ".local").mkdir()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False)
    assert (done.stdout, done.returncode) == ("reidd/person\n", 0), done.stderr


def test_the_core_loads_no_decoder_no_runtime_no_plugin_and_no_libzmq(shared_daemon):
    mapped = Path(f"/proc/{shared_daemon.process.pid}/maps").read_text()
    assert "msgspec" in mapped
    assert not [name for name in ("cv2", "litert", "tflite", "zmq", "sodium") if name in mapped]


def test_an_engine_that_cannot_start_is_said_in_one_line(short_folder):
    config = short_folder / "reidd.toml"
    config.write_text('[[engines]]\nengine = "TENSOR_RT"\n')
    daemon = Daemon(short_folder, "--config", str(config))
    assert daemon.process.wait(30) == 70
    last = daemon.log.read_text().strip().splitlines()[-1]
    assert last.startswith("reidd: no backend runs TENSOR_RT/DEFAULT here")
