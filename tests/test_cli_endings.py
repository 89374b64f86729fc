"""How commands end: with errors of all kinds, streams that are closed, Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from subjects import eventually
from users import AS_ORDINARY

from reidd import places

GALLERY, QUERIES = places.sample_folder() / "gallery", places.sample_folder() / "queries"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("remove", 77), 65, "id 77"),
        (("identify", "/no/such.jpg"), 65, "no such file"),
        (("limit", 3, "drop_best"), 65, "drop_oldest"),
        (("load", "/no/such"), 70, "/no/such"),
        (("serve", "--model", "acme/nobody"), 78, "reidd/person"),
        (("demo", "--model", "acme/nobody"), 78, "there are: reidd/person"),
        (("bench", "daemon", "--model", "acme/nobody"), 78, "there are: reidd/person"),
        (("serve", "--config", "/no/such.toml"), 78, "/no/such.toml"),
        (("serve", "--runtime-folder", __file__), 78, "is a file"),
        (("status", "--endpoint", "ipc:///no/such.sock"), 69, "reidd serve"),
        (("status", "--endpoint", "/run/reidd/reidd.sock"), 78, "expected ipc://"),
        (("merge", 7, 7), 65, "two ids"),
        (("watch", "nosuchtype"), 65, "identified"),
        (("watch", "redacted"), 65, "are sent"),
        (("load", __file__), 70, "reidd save"),
        (("save", ""), 70, "name a file"),
        (("save", "/"), 70, "name a file"),
        (("identify", ""), 65, "is empty"),
        (("status", "--endpoint", f"ipc://{GALLERY}"), 69, "no socket; expected ipc://"),
        (("models", "verify", "--images", "/no/such"), 78, "no such folder"),
    ],
)
def test_an_error_is_one_line_and_an_exit_status(run, words, status, said):
    done = run(*words)
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("reidd: ")
    assert said in done.stderr


@pytest.mark.parametrize("key", ["tcp", "tcp_analytics"])
def test_an_address_that_is_none_is_told_by_its_key(run, tmp_path, key):
    config = tmp_path / "reidd.toml"
    config.write_text('tcp = "tcp://127.0.0.1:0"\n' if key != "tcp" else "")
    with config.open("a") as file:
        file.write(f'{key} = "0.0.0.0:7340"\n')
    done = run("serve", "--config", config, "--runtime-folder", tmp_path, "--state-folder", tmp_path)
    assert (done.returncode, done.stderr) == (
        78,
        f"reidd: {config}: {key}: address is '0.0.0.0:7340'; expected tcp://HOST:PORT\n",
    )


@pytest.mark.parametrize(
    ("words", "status"),
    [("add 1 k/clients", 65), ("keys list --folder k", 78), ("keys new cam --folder k", 74)],
)
def test_a_folder_that_may_not_be_read_is_said_in_one_line(tmp_path, words, status):
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "clients").mkdir(mode=0)
    command = [*AS_ORDINARY, sys.executable, "-m", "reidd", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (status, 1)
    assert "k/clients" in done.stderr
    assert "Permission denied" in done.stderr


def test_a_configuration_that_may_not_be_read_is_status_78(tmp_path):
    config = tmp_path / "reidd.toml"
    config.touch(mode=0)
    command = [*AS_ORDINARY, sys.executable, "-m", "reidd", "serve", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, f"`chmod a+r {config}`" in done.stderr) == (78, True)


@pytest.mark.parametrize(
    ("shell", "status", "said"),
    [
        ("reidd models >&-", 0, ""),
        ("reidd models --json >&-", 0, ""),
        ("reidd models 2>&- >&- <&-", 0, ""),
        ("reidd nonsense 2>&-", 2, ""),
        ("reidd status --endpoint ipc:///no/such.sock 2>&-", 69, ""),
        ("reidd models > /dev/full", 74, "reidd: what was to be written: No space left on device"),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_fault_of_ours(shell, status, said):
    command = f'reidd() {{ "{sys.executable}" -m reidd "$@"; }}; {shell}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (status, said)


def test_a_label_is_shown_by_its_numbers_where_there_are_no_letters_for_it(run, shared_daemon, commands):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    run("label", 1, "Änn")
    env = {**os.environ, "REIDD_ENDPOINT": shared_daemon.endpoint, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "reidd", "ids"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)
    assert (done.returncode, "\\xc4nn" in done.stdout) == (0, True)


def test_a_closed_stream_s_number_goes_to_no_other_file():
    script = "import sys, os; sys.argv = ['reidd', '--version']; import reidd.cli; reidd.cli._have_streams(); "
    script += "sys.exit([os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1, 2)] != ['/dev/null'] * 3)"
    done = subprocess.run(["bash", "-c", f'"{sys.executable}" -c "{script}" <&- >&- 2>&-'], timeout=60, check=False)
    assert done.returncode == 0


CTRL_C_WHILE_IT_READS = """
import os, signal, sys
class Terminal:
    def find_spec(self, name, *_):
        if name == "reidd.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Terminal())
from reidd.__main__ import main
main()
"""


def test_ctrl_c_shows_no_traceback_even_before_there_is_a_command():
    command = [sys.executable, "-c", CTRL_C_WHILE_IT_READS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_measurement_of_the_gallery_that_is_interrupted_leaves_nothing_in_memory():
    with subprocess.Popen(
        [sys.executable, "-m", "reidd", "bench", "gallery"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        shared = Path("/dev/shm")
        eventually(lambda: list(shared.glob(f"reidd-bench-{process.pid}-*/*/ring")), timeout=60)
        # As a terminal does: to all.
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert (process.returncode, b"Traceback" in said) == (130, False)
    assert not list(shared.glob(f"reidd-bench-{process.pid}-*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whom it is about")
def test_root_restores_nothing_into_the_folder_of_another_user(run, client, tmp_path):
    assert run("save", tmp_path / "g.reidd").returncode == 0
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 4711, 4711)
    done = run("restore", tmp_path / "g.reidd", "--state-folder", state)
    assert (done.returncode, "setpriv --reuid 4711" in done.stderr, list(state.iterdir())) == (78, True, [])


def test_a_restored_store_is_not_for_others_to_read(run, client, tmp_path):
    assert run("save", tmp_path / "g.reidd").returncode == 0
    assert run("restore", tmp_path / "g.reidd", "--state-folder", tmp_path / "state").returncode == 0
    assert [path for path in (tmp_path / "state").iterdir() if path.stat().st_mode & 0o007] == []
