"""The command line against a real daemon: what it prints, and how it ends when something is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from reidd import places
from reidd.cli import app
from reidd.gallery import Gallery
from reidd.model import ModelConfig

GALLERY, QUERIES = places.sample_folder() / "gallery", places.sample_folder() / "queries"


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


def test_people_are_added_from_globs_and_identified_from_a_folder(run, client):
    for id in range(1, 7):
        assert run("add", id, f"{GALLERY}/{id}_*.jpg").returncode == 0
    assert client.ids() == [1, 2, 3, 4, 5, 6]
    answers = json.loads(run("identify", QUERIES, "--top-k", 2, "--json").stdout)
    assert len(answers) == 22
    named = [(a["image"].rpartition("/")[2][0], str(a["predictions"][0]["id"])) for a in answers]
    assert sum(true == got for true, got in named) >= 17
    assert [p["rank"] for p in answers[0]["predictions"]] == [1, 2]


def test_the_table_for_people_names_image_id_label_distance_and_verdict(run):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    assert run("label", 1, "Ann").returncode == 0
    shown = run("identify", QUERIES / "1_f0300.jpg").stdout
    assert all(word in shown for word in ("1_f0300.jpg", "Ann", "known", "0."))


def test_no_name_takes_a_name_away(run, client):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    for command in (("label", 1), ("label", 1, "")):
        assert run("label", 1, "Ann").returncode == 0
        assert "no label now" in run(*command).stdout
        assert client.id_labels() == {}


def test_ids_limit_remove_clear(run, client):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    run("add", 2, f"{GALLERY}/2_*.jpg")
    assert "; dropped 2 instances now" in run("limit", 2, "drop_oldest").stdout
    assert "dropped" not in run("limit", 2, "drop_redundant").stdout
    run("ttl", "2h", "--id", 2)
    records = json.loads(run("ids", "--json").stdout)
    assert [(r["id"], r["count"], r["ttl_s"]) for r in records] == [(1, 2, None), (2, 2, 7200.0)]
    assert run("remove", 1).returncode == 0
    assert client.ids() == [2]
    assert "2 instances removed; `reidd undo` brings them back" in run("clear", "--yes").stdout
    assert "empty" in run("ids").stdout
    assert json.loads(run("explain", QUERIES / "1_f0300.jpg", "--json").stdout) is None


def test_a_gallery_is_mended(run, client):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    run("add", 2, f"{GALLERY}/2_*.jpg")
    assert "nearest id" in run("explain", QUERIES / "1_f0300.jpg").stdout
    explained = json.loads(run("explain", QUERIES / "1_f0300.jpg", "--json").stdout)
    assert (explained["id"], explained["runner_up"], explained["instances_of_id"]) == (1, 2, 3)
    assert 0 < explained["distance"] < explained["distance"] + explained["margin"] < 1
    assert "now has 6" in run("merge", 2, 1).stdout
    assert "taken back: 3 instances moved to id 1; the gallery has 6 instances of 2 ids" in run("undo").stdout
    assert "of 1 id\n" in run("undo").stdout  # all images of one `add` together
    run("add", 2, f"{GALLERY}/2_*.jpg")
    assert run("rename", 2, 5).returncode == run("pin", 5).returncode == 0
    assert [r["pinned"] for r in json.loads(run("ids", "--json").stdout)] == [False, True]
    assert "pinned" in run("ids").stdout
    assert run("unpin", 5).returncode == 0
    instance = client.explain((GALLERY / "1_f0050.jpg").read_bytes()).instance
    assert run("move", instance, 5).returncode == 0
    assert (client.count(1), client.count(5)) == (2, 4)
    assert "live 90m" in run("ttl", "90m").stdout
    assert client.status().ttl_s == 5400
    assert "5400 s of serving" in run("status").stdout
    assert "for ever" in run("ttl", 0).stdout
    assert "30s, 15m, 2h, 7d" in run("ttl", "90").stderr


def test_a_gallery_is_saved_and_loaded(run, client, tmp_path):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    assert run("save", tmp_path / "g").returncode == 0
    client.clear()
    assert "now has 3" in run("load", tmp_path / "g").stdout
    assert client.count(1) == 3


def test_a_bad_image_among_good_ones_is_named_and_costs_the_others_nothing(run, client, tmp_path):
    good, bad = cv2.imencode(".jpg", np.full((64, 32, 3), 90, np.uint8))[1].tobytes(), b"hello"
    for name, content in (("a.jpg", good), ("b.jpg", bad), ("c.jpg", good)):
        (tmp_path / name).write_bytes(content)
    done = run("add", 5, tmp_path)
    assert done.returncode == 65
    assert "b.jpg" in done.stderr
    assert "1 of 3 images refused" in done.stderr
    assert client.count(5) == 2


def test_a_label_does_nothing_to_a_terminal(run, client, image):
    client.add_to_gallery(image, 5)
    client.set_label(5, "Ann\x1b[2J\nBob")
    for command in (("ids",), ("identify", GALLERY / "1_f0050.jpg"), ("explain", GALLERY / "1_f0050.jpg")):
        shown = run(*command).stdout
        assert "Ann\\x1b[2J\\nBob" in shown
        assert "\x1b[2J" not in shown


def test_an_image_that_is_refused_leaves_no_empty_table(run, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"hello")
    assert run("identify", tmp_path / "a.jpg").stdout == ""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("remove", 77), 65, "id 77"),
        (("identify", "/no/such.jpg"), 65, "no such file"),
        (("limit", 3, "drop_best"), 65, "drop_oldest"),
        (("load", "/no/such"), 70, "/no/such"),
        (("serve", "--model", "acme/nobody"), 78, "reidd/person"),
        (("serve", "--config", "/no/such.toml"), 78, "/no/such.toml"),
        (("serve", "--runtime-folder", __file__), 78, "is a file"),
        (("status", "--endpoint", "ipc:///no/such.sock"), 69, "reidd serve"),
        (("status", "--endpoint", "/run/reidd/reidd.sock"), 78, "expected ipc://"),
        (("merge", 7, 7), 65, "two ids"),
        (("watch", "nosuchtype"), 65, "identified"),
        (("load", __file__), 70, "reidd save"),
    ],
)
def test_an_error_is_one_line_and_an_exit_status(run, words, status, said):
    done = run(*words)
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("reidd: ")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "status"),
    [("add 1 k/clients", 65), ("keys list --folder k", 78), ("keys new cam --folder k", 74)],
)
def test_a_folder_that_may_not_be_read_is_said_in_one_line(tmp_path, words, status):
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "clients").mkdir(mode=0)
    # Root may read everything, unless it gives that up.
    ordinary = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*ordinary, sys.executable, "-m", "reidd", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (status, 1)
    assert "k/clients" in done.stderr
    assert "Permission denied" in done.stderr


def test_a_configuration_that_may_not_be_read_is_status_78(tmp_path):
    config = tmp_path / "reidd.toml"
    config.touch(mode=0)
    ordinary = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*ordinary, sys.executable, "-m", "reidd", "serve", "--config", str(config)]
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
        until, shared = time.monotonic() + 60, Path("/dev/shm")
        while not list(shared.glob(f"reidd-bench-{process.pid}-*/*/ring")):
            assert time.monotonic() < until
            time.sleep(0.01)
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


def test_a_key_whose_file_cannot_be_written_is_not_let_in(run, tmp_path):
    done = run("keys", "new", "cam", "--folder", tmp_path / "keys", "--output", tmp_path / "none" / "cam.key")
    assert (done.returncode, "--output" in done.stderr) == (78, True)
    assert json.loads(run("keys", "list", "--folder", tmp_path / "keys", "--json").stdout) == []


def test_no_keys_are_no_table(run, tmp_path):
    assert "keys new" in run("keys", "list", "--folder", tmp_path).stdout


def test_status_says_model_engine_and_gallery(run):
    answer = json.loads(run("status", "--json").stdout)
    assert (answer["model"], answer["engine"], answer["count"]) == ("reidd/person", "TFLITE", 0)
    assert "reidd/person" in run("status").stdout


def test_watch_shows_events_as_they_happen(run, client, shared_daemon, image):
    env = {**os.environ, "REIDD_ENDPOINT": shared_daemon.endpoint, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "reidd", "watch", "added", "--json", "--count", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as watching:
        # When it has subscribed is its own affair: events come until it has heard one.
        while watching.poll() is None:
            client.add_to_gallery(image, 8)
        assert json.loads(watching.stdout.readline())["id"] == 8


def test_backends_has_a_row_per_pair_ready_or_why_not(run):
    rows = json.loads(run("backends", "--json").stdout)
    state = {(row["engine"], row["accelerator"]): row["state"] for row in rows}
    assert state["DNN", "CPU"] == state["TFLITE", "CPU"] == "ready"
    assert state["TENSOR_RT", ""] == "no installed plugin brings it"


def test_models_lists_the_embedded_one(run):
    rows = json.loads(run("models", "--json").stdout)
    assert "reidd/person" in [row["model"] for row in rows]


def test_bench_says_what_a_daemon_costs_beside_the_same_call_in_process(run):
    figures = json.loads(run("bench", "daemon", "--rounds", 10, "--rows", 100, "--seconds", 0.2, "--json").stdout)
    here_ms, there_ms, ratio, loops, clients, share = [figure["value"] for figure in figures]
    # Which is less a busy machine may decide either way.
    assert min(here_ms, there_ms, loops, clients) > 0
    assert (ratio, share) == pytest.approx((there_ms / here_ms, clients / loops))
    assert [f["bar"] for f in figures if f["bar"]] == ["at most 1.15", "at least 0.85"]
    assert [f["met"] for f in figures if f["bar"]] == [ratio <= 1.15, share >= 0.85]


def test_bench_tries_as_many_workers_and_threads_as_there_are_cores(start):
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, list(cores)[:1])
    try:
        lines = json.loads(start("bench", "workers", "--rounds", 10, "--rows", 100, "--seconds", 0.2, "--json").stdout)
    finally:
        os.sched_setaffinity(0, cores)
    assert [(line["workers"], line["threads"]) for line in lines] == [(1, 1)]
    assert min(lines[0].values()) > 0


def test_doctor_finds_this_machine_fit(start):
    done = start("doctor", "--json")
    findings = json.loads(done.stdout)
    assert [f for f in findings if f["fine"] is False] == []
    assert done.returncode == 0
    assert {"model reidd/person", "golden vectors on TFLITE/CPU", "daemon"} <= {f["what"] for f in findings}


def test_doctor_names_a_plugin_that_would_end_it(tmp_path):
    (tmp_path / "fancy.py").write_text("import os; os._exit(0)")
    (tmp_path / "fancy-1.dist-info").mkdir()
    (tmp_path / "fancy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fancy\nVersion: 1\n")
    (tmp_path / "fancy-1.dist-info" / "entry_points.txt").write_text("[reidd]\nfancy = fancy\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "reidd", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=env, check=False)
    wrong = [finding["what"] for finding in json.loads(done.stdout) if finding["fine"] is False]
    assert (done.returncode, wrong) == (1, ["plugin fancy"])


def test_the_service_gets_the_libraries_that_its_options_take(run):
    options = ("install-service", "--dry-run", "--python", "/usr/bin/python3")
    assert re.search(r"reidd\[[a-z-]+,encryption,tcp\]", run(*options, "--tcp", "--encryption").stdout)
    assert re.search(r"reidd\[[a-z-]+\]", run(*options).stdout)


def test_doctor_looks_at_what_is_configured(run, tmp_path):
    config = tmp_path / "reidd.toml"
    config.write_text(f'model = "acme/nobody"\ntcp = "tcp://127.0.0.1:0"\nkeys_folder = "{tmp_path}/keys"\n')
    done = run("doctor", "--config", config, "--json")
    assert done.returncode == 1
    words = {f["what"]: f["words"] for f in json.loads(done.stdout) if f["fine"] is False}
    assert words.keys() == {"model acme/nobody", "keys"}
    assert "reidd keys new" in words["keys"]
    assert "encrypts tcp" in done.stdout
    assert run("keys", "new", "cam", "--config", config, "--output", tmp_path / "cam.key").returncode == 0
    assert "cam" in run("keys", "list", "--config", config).stdout
    assert "keys" not in [
        f["what"] for f in json.loads(run("doctor", "--config", config, "--json").stdout) if not f["fine"]
    ]
    config.write_text('engines = [{ engine = "ONNX_RT", accelerator = "GPU" }]\n')
    assert "ONNX_RT/GPU: no installed plugin brings it" in run("doctor", "--config", config, "--json").stdout
    config.write_text('tcp = "0.0.0.0:7340"\n')
    assert "expected tcp://HOST:PORT" in run("doctor", "--config", config, "--json").stdout
    config.write_text("wrokers = 2\n")
    assert "did you mean 'workers'?" in run("doctor", "--config", config, "--json").stdout


@pytest.mark.parametrize(
    "words",
    ["add -1 x.jpg", "add -12 x.jpg", "add ann x.jpg", "remove 1.5", "forget 9223372036854775808", "merge 1 -2",
     "ttl 2h --id -1", "move 3 ann"],
)  # fmt: skip
def test_what_is_no_id_is_told_what_an_id_is(run, words):
    done = run(*words.split())
    assert done.returncode == 2
    assert "is no id; an id is an integer of your choice from 0" in " ".join(done.stderr.split())


def test_an_option_that_there_is_not_is_no_id(run):
    assert "No such option: --foo" in run("add", "--foo", 1, "x.jpg").stderr


@pytest.mark.parametrize("group", [(), ("models",), ("keys",), ("bench",)])
def test_what_a_command_does_is_said_in_80_columns(commands, group):
    shown = commands.run(*group, "--help", env={**os.environ, "COLUMNS": "80"}).stdout
    listed = shown.partition("Commands:")[2].splitlines()
    assert len(listed) > 2
    assert not [line for line in listed if line.endswith("...") or len(line) > 80]


def test_doctor_says_when_the_stored_gallery_is_another_models(commands, tmp_path):
    def said():
        done = commands.run("doctor", "--config", config, "--json", env=os.environ)
        return {f["what"]: f["words"] for f in json.loads(done.stdout) if f["fine"] is False}

    config = tmp_path / "reidd.toml"
    config.write_text(f'state_folder = "{tmp_path}"\n')
    path = tmp_path / places.STORE
    space = ModelConfig.from_model_id("reidd/person").feature_space()
    Gallery.open(dim=256, space=space, capacity=8, store_path=path).close()
    assert said() == {}
    path.unlink()
    Gallery.open(dim=256, space=bytes(32), capacity=8, store_path=path).close()
    before = path.read_bytes()
    assert "holds features of another model than reidd/person" in said()["stored gallery"]
    assert path.read_bytes() == before


def test_doctor_says_which_folder_may_not_be_looked_into(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    config = tmp_path / "reidd.toml"
    config.write_text(f'state_folder = "{closed}/state"\n')
    ordinary = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*ordinary, sys.executable, "-m", "reidd", "doctor", "--config", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    words = {f["what"]: f["words"] for f in json.loads(done.stdout)}
    assert words["state folder"] == f"{closed}/state: this user cannot write to {closed}"


def test_every_command_has_help_and_help_needs_no_heavy_import(run):
    assert {"explain", "merge", "undo"} <= {command.callback.__name__ for command in app.registered_commands}
    for command in app.registered_commands:
        shown = run(command.callback.__name__.replace("_", "-"), "--help")
        assert shown.returncode == 0
        assert len(shown.stdout.splitlines()) > 3
    code = "import sys; import reidd.cli; sys.exit(any(m in sys.modules for m in ('numpy', 'zmq', 'cv2', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_demo_names_at_least_17_of_18_and_draws_them(start, tmp_path):
    picture = tmp_path / "demo.png"
    done = start("demo", "--picture", picture)
    assert done.returncode == 0
    last = done.stdout.strip().splitlines()[-1]
    right, of = int(last.split()[0]), int(last.split()[2])
    assert (right >= 17, of) == (True, 18)
    assert "18 added, 22 identified" in done.stdout
    far = [line for line in done.stdout.splitlines() if re.match(r" +[1-6]_.* unknown", line)]
    assert (f"{len(far)} of these from farther" in last) == bool(far)
    sheet = cv2.imread(str(picture))
    assert sheet.shape[0] > 800
    # Each right query has a green frame around it: as many green rectangles as there are right answers.
    green = cv2.inRange(sheet, (50, 150, 30), (70, 170, 50))
    frames = [
        c for c in cv2.findContours(green, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0] if cv2.contourArea(c) > 5000
    ]
    strangers = int(next(line for line in done.stdout.splitlines() if "strangers" in line).split()[0])
    assert len(frames) == right + strangers


def test_an_id_is_forgotten_with_a_receipt_that_the_audit_log_holds(run, client, tmp_path):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    run("add", 2, f"{GALLERY}/2_*.jpg")
    assert run("save", tmp_path / "g").returncode == 0
    receipt = json.loads(run("forget", 1).stdout)
    assert (receipt["forgotten"], receipt["count"], len(receipt["instances"])) == (1, 3, 3)
    assert any("backups" in sentence for sentence in receipt["not_reached"])
    loaded = run("load", tmp_path / "g")
    assert "left out, because they were forgotten here: 1 " in loaded.stderr
    assert client.ids() == [2]
    assert run("load", tmp_path / "g", "--with-forgotten").stderr == ""
    assert client.ids() == [1, 2]
    printed = [json.loads(line) for line in run("audit").stdout.splitlines()]
    assert printed[receipt["sequence"] - 1]["acts"][0]["what"] == "forget"
    assert "whole: " in run("audit", "--verify").stdout
    assert run("audit", "--holds", receipt["hash"]).returncode == 0
    other = run("audit", "--holds", "0" * 64)
    assert (other.returncode, "holds no entry" in other.stderr) == (70, True)
