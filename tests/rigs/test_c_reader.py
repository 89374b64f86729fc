"""Another language reads the gallery by its documentation alone: see nearest.c."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from reidd.distances import unit
from reidd.gallery import Gallery

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DIM = 32
FEATURES = unit(np.random.default_rng(0).normal(size=(200, DIM)))


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    program = tmp_path_factory.mktemp("c") / "nearest"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, HERE / "nearest.c"], check=True)
    return program


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(dim=DIM, space=bytes(32), capacity=100, ring_path=tmp_path / "ring") as gallery:
        yield gallery


def asked(program: Path, ring: Path, probes: np.ndarray) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([program, ring], input=probes.tobytes(), capture_output=True, check=False)


def test_c_finds_what_python_finds(program, gallery, tmp_path):
    for id in range(150):
        gallery.add(id % 60, FEATURES[id : id + 1])
    gallery.remove(7)
    lines = asked(program, tmp_path / "ring", FEATURES).stdout.decode().splitlines()
    assert len(lines) == len(FEATURES)
    for line, match in zip(lines, gallery.reader.search(FEATURES, top_k=1), strict=True):
        id, instance, distance = line.split()
        nearest = match.nearest[0]
        assert (int(id), int(instance)) == (nearest.id, match.instances[nearest.column])
        assert float(distance) == pytest.approx(nearest.distance, abs=1e-5)


def test_c_answers_right_while_python_writes(program, gallery, tmp_path):
    # Every id always has one instance, whose feature is one of the two that this id may have.
    gallery.set_limit(1, "drop_oldest")
    for id in range(50):
        gallery.add(id, FEATURES[id : id + 1])
    probes, changes = np.tile(FEATURES[100:], (1000, 1)), 0
    (tmp_path / "probes").write_bytes(probes.tobytes())
    with (tmp_path / "probes").open("rb") as asked, (tmp_path / "answers").open("wb") as answered:
        reader = subprocess.Popen([program, tmp_path / "ring"], stdin=asked, stdout=answered)
        while reader.poll() is None:
            gallery.add(changes % 50, FEATURES[[changes % 50 + 50 * (changes // 50 % 2)]])
            changes += 1
    assert reader.returncode == 0
    answers = np.loadtxt(tmp_path / "answers")
    possible = (1 - probes[:100] @ FEATURES[:100].T).reshape(100, 2, 50)[np.arange(len(answers)) % 100]
    of_answered = possible[np.arange(len(answers)), :, answers[:, 0].astype(int)]
    assert np.abs(of_answered - answers[:, 2:]).min(axis=1).max() < 1e-5
    assert (answers[:, 2] <= possible.max(axis=1).min(axis=1) + 1e-5).all()
    print(f"{len(answers)} answers during {changes} changes, all right")
    assert changes > 100


def test_c_refuses_what_is_no_gallery(program, tmp_path):
    (tmp_path / "other").write_bytes(bytes(10_000))
    assert asked(program, tmp_path / "other", FEATURES[:1]).returncode == 1


def test_c_does_not_believe_a_damaged_row(program, gallery, tmp_path):
    gallery.add(1, FEATURES[:1])
    gallery._ring.features[0, 0] += 1
    assert asked(program, tmp_path / "ring", FEATURES[:1]).returncode == 2


def test_the_documented_offsets_are_those_of_the_file(gallery, tmp_path):
    gallery.add(7, FEATURES[:2])
    content = (tmp_path / "ring").read_bytes()
    documented = dict(re.findall(r"^\| (\d+) \| (\w[\w ]*) \|", (ROOT / "docs/gallery.md").read_text(), re.MULTILINE))
    values = {name: int.from_bytes(content[int(at) : int(at) + 8], "little") for at, name in documented.items()}
    assert content[:8] == b"REIDDRNG"
    assert (values["layout version"], values["dim"], values["capacity"], values["count"]) == (1, DIM, 100, 2)
    assert (values["generation"], values["next instance"], values["slots used"]) == (2, 3, 2)
    assert values["file size"] == len(content)
    assert content[values["features offset"] :][: 4 * DIM] == FEATURES[0].tobytes()
