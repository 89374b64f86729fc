"""The command line against a real daemon: its state, keys, models, benches, help and the demo."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from plugged import installed

import reidd
from reidd import places
from reidd.cli import app, fatal_plugins
from reidd.cli.machine import backends

GALLERY, QUERIES = places.sample_folder() / "gallery", places.sample_folder() / "queries"


def test_a_key_whose_file_cannot_be_written_is_not_let_in(run, tmp_path):
    done = run("keys", "new", "cam", "--folder", tmp_path / "keys", "--output", tmp_path / "none" / "cam.key")
    assert (done.returncode, "--output" in done.stderr) == (78, True)
    assert json.loads(run("keys", "list", "--folder", tmp_path / "keys", "--json").stdout) == []


@pytest.mark.parametrize("file", ["keys", "keys/clients"])
def test_a_file_where_the_folder_of_keys_should_be_is_named(run, tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    done = run("keys", "new", "cam", "--folder", tmp_path / "keys", "--output", tmp_path / "cam.key")
    words = f"{tmp_path}/{file}: is a file; expected a folder of keys: choose another with --folder"
    assert (done.returncode, done.stderr) == (78, f"reidd: {words}\n")


def test_whose_daemon_lets_a_new_key_in_is_said(run, tmp_path):
    done = run("keys", "new", "cam", "--folder", tmp_path / "keys", "--output", tmp_path / "cam.key")
    assert (done.returncode, f"let in by a daemon whose folder of keys is {tmp_path}/keys" in done.stdout) == (0, True)


def test_no_keys_are_no_table(run, tmp_path):
    told = run("keys", "list", "--folder", tmp_path).stdout
    assert told.startswith(f"{tmp_path} lets nobody in over tcp") and "keys new" in told


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


def test_watch_names_the_nearest_and_a_verdict_only_where_there_is_one(client, shared_daemon):
    nearest = reidd.ReIdentificationPrediction(7, 1, 0.125, "Ann")
    told = [
        reidd.ReIdentificationResults([nearest], np.empty((1, 0), np.float32), 0.1, verdict=verdict)
        for verdict in (None, reidd.Verdict.KNOWN)
    ]
    env = {**os.environ, "REIDD_ENDPOINT": shared_daemon.endpoint, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "reidd", "watch", "published", "--count", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as watching:
        while watching.poll() is None:
            client.publish_analytics(told)
        assert "7 (Ann) at 0.125; 7 (Ann) at 0.125, known; " in watching.stdout.readline()


def test_backends_has_a_row_per_pair_ready_or_why_not(run):
    rows = json.loads(run("backends", "--json").stdout)
    state = {(row["engine"], row["accelerator"]): row["state"] for row in rows}
    assert state["DNN", "CPU"] == state["TFLITE", "CPU"] == "ready"
    assert state["TENSOR_RT", ""] == "no installed plugin brings it"


def test_backends_names_a_plugin_that_hangs_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fatal_plugins, "LIMIT_S", 10.0)
    installed(tmp_path, monkeypatch, "fancy", "import time; time.sleep(60)")
    backends(json=True)
    state = {row["plugin"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert state["fancy"].startswith("problem: gave no answer within 10 s when it was imported")
    assert state["reidd_tflite"]


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


def test_the_service_gets_the_libraries_that_its_options_take(run):
    options = ("install-service", "--dry-run", "--python", "/usr/bin/python3")
    assert re.search(r"reidd\[[a-z-]+,encryption,tcp\]", run(*options, "--tcp", "--encryption").stdout)
    assert re.search(r"reidd\[[a-z-]+\]", run(*options).stdout)
    assert "reidd[jetson]" in run(*options, "--jetson").stdout
    # The system's OpenCV, which that environment sees, was built for numpy 1.
    assert "numpy<2; extra == 'jetson'" in importlib.metadata.requires("reidd")


@pytest.mark.parametrize(
    "words",
    ["add -1 x.jpg", "add -12 x.jpg", "add ann x.jpg", "remove 1.5", "forget 9223372036854775808", "merge 1 -2",
     "ttl 2h --id -1", "move 3 ann"],
)  # fmt: skip
def test_what_is_no_id_is_told_what_an_id_is(run, words):
    done = run(*words.split())
    assert done.returncode == 2
    assert "is no id; an id is an integer of your choice from 0" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    "words",
    ["add --foo 1 x.jpg", "add 1 -5.jpg", "identify -5.jpg", "limit -3 drop_oldest", "ttl -1d", "ttl -1", "save -1"],
)
def test_an_option_that_there_is_not_is_no_id(run, words):
    done = run(*words.split())
    assert (done.returncode, "No such option: -" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    ["serve --model a/b --state-folder", "serve --model a/b --runtime-folder", "restore g --state-folder",
     "audit --state-folder", "keys list --folder", "models verify --dry-run --images", "bench gallery --folder",
     "install-service --dry-run --from"],
)  # fmt: skip
def test_an_empty_name_of_a_folder_is_not_the_present_one(run, words):
    done = run(*words.split(), "")
    assert (done.returncode, "the name is empty; expected a folder" in " ".join(done.stderr.split())) == (2, True)


@pytest.mark.parametrize("group", [(), ("models",), ("keys",), ("bench",)])
def test_what_a_command_does_is_said_in_80_columns(commands, group):
    shown = commands.run(*group, "--help", env={**os.environ, "COLUMNS": "80"}).stdout
    listed = shown.partition("Commands:")[2].splitlines()
    assert len(listed) > 2
    assert not [line for line in listed if line.endswith("...") or len(line) > 80]


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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("bob.jpg", None, "bob.jpg: expected a name"),
        ("1_b.jpg", b"hello", "1_b.jpg: image starts"),
        (None, None, ".png"),
    ],
)
def test_the_demo_says_what_is_wrong_with_a_folder_of_ones_own(run, tmp_path, name, content, said):
    for there in ("gallery", "queries"):
        (tmp_path / there).mkdir()
        (tmp_path / there / "1_a.jpg").write_bytes((GALLERY / "1_f0050.jpg").read_bytes())
    if name:
        (tmp_path / "queries" / name).write_bytes(content or (GALLERY / "1_f0050.jpg").read_bytes())
    done = run("demo", tmp_path, "--picture", tmp_path / "picture")
    assert (done.returncode, len(done.stderr.splitlines()), said in done.stderr) == (65, 1, True)
