"""A process that tries a hung accelerator does not outlive whoever started it, however that one ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_edgetpu import FakeEdgeTPU
from subjects import Daemon, eventually

CONFIG = """
workers = 1
engines = [{engine = "TFLITE", accelerator = "EDGE_TPU"}, {engine = "TFLITE", accelerator = "CPU"}]
"""


@pytest.fixture
def stick(short_folder, monkeypatch) -> Iterator[FakeEdgeTPU]:
    """A stick that never answers; whoever tries it waits for longer than a test does."""
    made = FakeEdgeTPU(short_folder)
    for name, value in {**made.env, "REIDD_EDGETPU_PROBE_S": "100"}.items():
        monkeypatch.setenv(name, value)
    made.behave("hang")
    yield made
    for pid in processes(short_folder):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def trying(stick, short_folder) -> Iterator[Daemon]:
    """A daemon one of whose workers is trying the stick."""
    (short_folder / "reidd.toml").write_text(CONFIG)
    with Daemon(short_folder, "--config", str(short_folder / "reidd.toml"), "--model", "test/pool") as started:
        eventually(lambda: probes(short_folder), timeout=20)
        yield started


def processes(folder: Path) -> dict[int, str]:
    """The command line of each process that has to do with a folder."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            # The core's and the workers' memory is closed to others, but their command line names the folder.
            named = os.fsencode(folder) in command or os.fsencode(folder) in (entry / "environ").read_bytes()
        except OSError:
            continue
        if named and command:
            found[int(entry.name)] = command.replace(b"\0", b" ").decode()
    return found


def probes(folder: Path) -> list[int]:
    return [pid for pid, command in processes(folder).items() if "reidd_edgetpu" in command]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_worker_is_killed_and_its_probe_goes_with_it(trying, short_folder):
    (probe,) = probes(short_folder)
    os.kill(parent(probe), signal.SIGKILL)
    eventually(lambda: probe not in processes(short_folder), timeout=5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_core_that_ends_leaves_no_process(trying, short_folder, number):
    trying.end(number)
    eventually(lambda: not processes(short_folder), timeout=5)


def test_a_command_that_is_killed_leaves_no_process(stick, short_folder):
    command = [sys.executable, "-m", "reidd", "backends", "--check", "--model", "test/pool"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as checking:
        eventually(lambda: probes(short_folder), timeout=20)
        checking.kill()
    eventually(lambda: not processes(short_folder), timeout=5)
