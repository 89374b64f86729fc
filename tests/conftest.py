"""What tests share: real crops, a real daemon in a process of its own, and images that are none."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import machine
import numpy as np
import pytest
from commands import Commands
from fake_edgetpu import FakeEdgeTPU
from pools import LITE, STICK, Rig
from subjects import Daemon, crops

import reidd

NODE_CLIENT = Path(__file__).parents[1] / "examples" / "node-client"

# A shell has what it runs in the background ignore these, and every daemon of ours would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def gallery_crops() -> list[tuple[int, np.ndarray]]:
    return crops("gallery")


@pytest.fixture(scope="session")
def query_crops() -> list[tuple[int, np.ndarray]]:
    """Those of the six people; the stranger's left out."""
    return [(id, image) for id, image in crops("queries") if id]


@pytest.fixture(scope="session")
def image(gallery_crops) -> np.ndarray:
    """One real crop, of id 1."""
    return gallery_crops[0][1]


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    ready = Commands()
    yield ready
    ready.close()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reidd-") as folder:
        yield Path(folder)


@pytest.fixture
def listener(short_folder) -> Iterator[socket.socket]:
    """A socket file that somebody listens at."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_folder / "s"))
        listener.listen()
        yield listener


@pytest.fixture
def daemon(short_folder) -> Iterator[Daemon]:
    """A daemon for one test, to be treated badly."""
    with Daemon(short_folder) as started:
        yield started.wait_until_ready()


@pytest.fixture(scope="session")
def shared_daemon() -> Iterator[Daemon]:
    """A daemon that tests share; use `client`, which starts from an empty gallery."""
    with tempfile.TemporaryDirectory(prefix="reidd-") as folder, Daemon(Path(folder)) as started:
        yield started.wait_until_ready()


@pytest.fixture
def client(shared_daemon) -> Iterator[reidd.Client]:
    with shared_daemon.client() as connected:
        connected.clear()
        connected.set_per_id_gallery_limit(1_000_000, "drop_oldest")
        yield connected


@pytest.fixture
def in_process() -> Iterator[reidd.ReIdentification]:
    with reidd.ReIdentification("reidd/person") as loaded:
        loaded.load(reidd.Engine.TFLITE)
        yield loaded


@pytest.fixture(params=["in process", "daemon"])
def identifier(request):
    """The published API, answered in this process and by a daemon: both must behave alike."""
    return request.getfixturevalue("in_process" if request.param == "in process" else "client")


@pytest.fixture
def stick(tmp_path, monkeypatch):
    made = FakeEdgeTPU(tmp_path)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def rig(stick, short_folder):
    made = []

    def build(pairs=(STICK, LITE), **options):
        made.append(Rig(stick, short_folder, pairs, **options))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def pristine_debian(tmp_path_factory) -> Path:
    return machine.built(tmp_path_factory.mktemp("debian") / "machine")


@pytest.fixture
def debian(pristine_debian, tmp_path) -> Path:
    """The folder of a Debian that `machine.booted` boots, to be treated badly."""
    subprocess.run(["cp", "-a", str(pristine_debian), str(tmp_path / "machine")], check=True)
    return tmp_path / "machine"


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory) -> Path:
    """The Node example, copied, with its npm package installed."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node") / "client"
    shutil.copytree(NODE_CLIENT, folder)
    if not (folder / "node_modules").exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        installed = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=100)
        if installed.returncode:
            pytest.skip(f"npm could not install zeromq: {installed.stderr[-300:]}")
    return folder


@pytest.fixture
def run(client, shared_daemon, commands):
    """Run a command as a user does; returns the finished process."""

    def call(*words):
        done = commands.run(*words, env={**os.environ, "REIDD_ENDPOINT": shared_daemon.endpoint})
        assert "Traceback" not in done.stderr
        return done

    return call


@pytest.fixture
def start(client, shared_daemon):
    """Do what `run` does, in a process that is started for it."""

    def call(*words):
        env = {**os.environ, "REIDD_ENDPOINT": shared_daemon.endpoint}
        command = [sys.executable, "-m", "reidd", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)

    return call
