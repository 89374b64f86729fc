"""The daemon's life: started, told to stop, killed; alone in its folders, which only its own people may open."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from subjects import Daemon, eventually

from reidd import places
from reidd.errors import ConfigError
from reidd.gallery import Gallery
from reidd.model import ModelConfig


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for its parent to notice."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_within_a_second(daemon, number):
    workers = daemon.workers()
    assert daemon.end(number) < 1.0
    assert daemon.process.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not list(daemon.runtime.glob("*.sock"))
    assert not (daemon.runtime / places.RING).exists()


def test_a_signal_before_it_is_ready_leaves_no_features_behind(daemon):
    ring = daemon.runtime / places.RING
    with daemon.client() as client:
        client.add_features_to_gallery(np.eye(1, 256, dtype=np.float32), 1)
    daemon.end()
    daemon.start()
    # There is a ring once the gallery is read; a worker takes far longer to load.
    eventually(ring.exists)
    assert daemon.end() < 2.0
    assert daemon.log.read_text().count("INFO: ready: ") == 1
    assert daemon.process.returncode == 0
    assert not ring.exists()


def test_workers_of_a_killed_core_end_by_themselves(daemon):
    workers = daemon.workers()
    assert workers
    daemon.end(signal.SIGKILL)
    eventually(lambda: all(map(ended, workers)))


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
    model = ModelConfig.from_model_id("reidd/person")
    with Gallery.open(dim=256, space=model.feature_space(), store_path=state / places.STORE) as gallery:
        gallery.add(1, np.eye(5, 256, dtype=np.float32))
    started = Daemon(short_folder, "--config", str(config))
    assert started.process.wait(60) == 78
    assert "raise the capacity to 5 or more" in started.log.read_text()


def test_the_configured_threshold_holds_in_place_of_the_models(short_folder, image):
    config = short_folder / "reidd.toml"
    config.write_text("max_distance = 0.0\n")
    with Daemon(short_folder, "--config", str(config)) as started, started.client(timeout=30) as client:
        assert client.status().max_distance == 0
        client.add_to_gallery(image, 1)
        assert client.re_id_image(image[:-4]).verdict == "unknown"
        assert client.re_id_image(image[:-4], max_distance=0.4).verdict == "known"


def test_whoever_works_in_another_folder_is_told_where_ring_and_analytics_lie(short_folder, monkeypatch):
    monkeypatch.chdir(short_folder)
    with Daemon(Path()) as daemon, daemon.client(timeout=30) as client:
        assert client.status().ring == str(short_folder / "run" / places.RING)
        assert client.status().analytics == f"ipc://{short_folder}/run/{places.ANALYTICS}"


def test_too_few_open_files_are_said_before_clients_are_sent_away(short_folder):
    command = f"ulimit -n 64; exec {sys.executable} -m reidd serve --runtime-folder {short_folder}/run"
    done = subprocess.run(
        ["bash", "-c", f"{command} --state-folder {short_folder}/state"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "`ulimit -n 1024`" in done.stderr) == (78, True)


def test_workers_do_not_hear_ctrl_c(daemon):
    for pid in daemon.workers():
        blocked = int(re.search("SigBlk:\t(.*)", Path(f"/proc/{pid}/status").read_text())[1], 16)
        assert blocked >> (signal.SIGINT - 1) & 1


def test_systemd_is_told_when_it_is_ready_alive_and_stopping(short_folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short_folder / "notify"))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(short_folder / "notify"), "WATCHDOG_USEC": "200000"}
        with Daemon(short_folder, env=env) as daemon:
            assert manager.recv(100) == b"READY=1"
            assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            daemon.process.send_signal(signal.SIGTERM)
            told = manager.recv(100)
            while told == b"WATCHDOG=1":
                told = manager.recv(100)
            assert told == b"STOPPING=1"


def test_a_service_manager_that_hears_nothing_costs_a_line_in_the_log(short_folder):
    env = {"NOTIFY_SOCKET": str(short_folder / "gone"), "WATCHDOG_USEC": "200000"}
    with Daemon(short_folder, env=env) as daemon:
        daemon.wait_until_ready()
        eventually(lambda: "the service manager was not told WATCHDOG=1: No such file" in daemon.log.read_text())
        daemon.end()
    assert daemon.process.returncode == 0


def test_the_sockets_let_owner_and_group_in_and_nobody_else(shared_daemon):
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in shared_daemon.runtime.iterdir()}
    assert modes["reidd.sock"] == modes["analytics.sock"] == "0o660"
    assert modes["gallery.ring"] == "0o640"
    assert not [path for path in shared_daemon.state.iterdir() if path.stat().st_mode & 0o007]


def test_a_user_without_root_gets_folders_of_his_own(monkeypatch, tmp_path):
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
    with pytest.raises(ConfigError, match="set HOME"):
        places.state_folder()


def test_a_home_that_may_not_be_seen_hides_no_model(short_folder):
    # As root's after `setpriv`, which leaves HOME as it was.
    script = (
        "import os, sys; from reidd import model; os.setresuid(4711, 4711, 4711)\n"
        "print(model.ModelConfig.from_model_id('reidd/person').id)"
    )
    if os.geteuid():
        pytest.skip("needs root, to be somebody else")
    if not all(folder.stat().st_mode & 0o001 for folder in Path(places.__file__).parents):
        pytest.skip("needs a checkout that somebody else may read")
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


def no_engine(folder):
    (folder / "reidd.toml").write_text('[[engines]]\nengine = "TENSOR_RT"\n')
    return "no backend runs TENSOR_RT/DEFAULT here"


def a_store_that_cannot_be_read(folder):
    (folder / "reidd.toml").touch()
    (folder / "state").mkdir()
    (folder / "state" / places.STORE).write_bytes(b"no database" * 1000)
    return f"the gallery store '{folder}/state/{places.STORE}' is too damaged to read"


@pytest.mark.parametrize("obstacle", [no_engine, a_store_that_cannot_be_read])
def test_under_a_service_manager_it_rests_before_a_start_that_failed_is_tried_again(short_folder, obstacle):
    why = obstacle(short_folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short_folder / "notify"))
        manager.settimeout(30)
        env = {"NOTIFY_SOCKET": str(short_folder / "notify")}
        daemon = Daemon(short_folder, "--config", str(short_folder / "reidd.toml"), env=env)
        assert manager.recv(1000).decode().startswith(f"STATUS=next try within 30 s, for {why}")
    assert daemon.workers() == []
    assert daemon.end() < 2.0
    assert daemon.process.returncode == 0
    assert "; next try in 30 s" in daemon.log.read_text()
