"""A daemon of one's own is there for the block, and no longer."""

import subprocess
import sys
from pathlib import Path

import pytest
from subjects import eventually

import reidd
from reidd.cli.private_daemon import _wait_until_ready, private_daemon
from reidd.errors import BackendUnavailableError

HOLD = """
import sys
from reidd.cli.private_daemon import private_daemon
with private_daemon("reidd/person") as client:
    print(client.status().pid, flush=True)
    sys.stdin.read()
"""


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_it_ends_with_the_block():
    with private_daemon("reidd/person") as client:
        pid = client.status().pid
        assert is_there(pid)
    assert not is_there(pid)


def test_it_ends_with_a_command_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        pid = int(command.stdout.readline())
        command.kill()
    eventually(lambda: not is_there(pid))


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("exit 1", "no backend runs here"),
        ("kill -9 $$", r"it crashed \(SIGKILL\)"),
        ("exec sleep 60", "it was not ready within 0 s"),
    ],
)
def test_why_it_did_not_start_is_said_in_one_line(tmp_path, monkeypatch, program, why):
    log = tmp_path / "log"
    log.write_text("WARNING: a pair does not run\nreidd: no backend runs here\n")
    monkeypatch.setattr("reidd.cli.private_daemon.START_S", 0)
    with subprocess.Popen(["sh", "-c", program]) as process, reidd.Client(f"ipc://{tmp_path}/none") as client:
        if "exec" not in program:
            process.wait()
        with pytest.raises(BackendUnavailableError, match=f"private daemon did not start: {why}$"):
            _wait_until_ready(client, process, log)
        process.kill()
