"""The README's examples run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from subjects import SAMPLE

README = (Path(__file__).parents[1] / "README.md").read_text()
CROPS = {"ann.jpg": "gallery/1_f0050.jpg", "bob.jpg": "gallery/2_f0280.jpg", "door.jpg": "queries/1_f0640.jpg"}


def example(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)[number]


def ran(command, folder, shared_daemon) -> str:
    env = {**os.environ, "RUNTIME_DIRECTORY": str(shared_daemon.runtime)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def learn_ann_and_bob(client, folder) -> None:
    for id, name in ((1, "ann.jpg"), (2, "bob.jpg")):
        client.add_to_gallery((folder / name).read_bytes(), id)


@pytest.fixture
def folder(tmp_path):
    """A folder with the images that the examples name."""
    for name, crop in CROPS.items():
        shutil.copy(SAMPLE / crop, tmp_path / name)
    return tmp_path


def test_the_first_screen_shows_what_the_commands_print(client, shared_daemon, folder, commands, monkeypatch):
    (folder / "photos/ann").mkdir(parents=True)
    for crop in (SAMPLE / "gallery").glob("1_*.jpg"):
        shutil.copy(crop, folder / "photos/ann")
    monkeypatch.chdir(folder)
    env = {**os.environ, "REIDD_ENDPOINT": shared_daemon.endpoint}
    for asked in example("").split("$ reidd ")[1:]:
        words, _, shown = asked.partition("\n")
        said = commands.run(*words.split(), env=env).stdout
        lines = [line.rstrip() for line in said.splitlines() if line.strip(" ─")]
        assert lines == shown.splitlines()


def test_the_python_example_names_ann_first(client, shared_daemon, folder):
    printed = ran([sys.executable, "-c", example("python")], folder, shared_daemon).split()
    assert printed[:2] == ["1", "1"]
    assert printed[3:5] == ["2", "2"]
    assert client.events().events[-1]["tag"] == "door"


def test_the_asyncio_example_names_everybody(client, shared_daemon, folder):
    learn_ann_and_bob(client, folder)
    printed = ran([sys.executable, "-c", example("python", 1)], folder, shared_daemon)
    assert [line.split()[0] for line in printed.splitlines()] == ["1", "2", "1"]


def test_the_node_example_names_ann_first(client, shared_daemon, folder, node_folder):
    learn_ann_and_bob(client, folder)
    program = example("js").replace("/run/reidd/reidd.sock", str(shared_daemon.runtime / "reidd.sock"))
    (node_folder / "readme.mjs").write_text(program)
    assert "id: 1" in ran(["node", str(node_folder / "readme.mjs")], folder, shared_daemon).splitlines()[1]


def test_the_commands_of_the_readme_exist():
    from reidd.cli import app

    known = {command.callback.__name__ for command in app.registered_commands}
    named = set(re.findall(r"^reidd (\w+)", README, re.M))
    assert named
    assert named <= known
