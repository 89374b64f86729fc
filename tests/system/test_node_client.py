"""A program in another language, written from docs/protocol.md alone, talks to a real daemon."""

import json
import subprocess

import pytest
from subjects import sample

RUN_S = 20


@pytest.fixture
def program(node_folder):
    """The Node program of the examples."""
    return node_folder / "identify.js"


def run(program, endpoint, *images):
    command = ["node", str(program), endpoint, *map(str, images)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=RUN_S)


def test_a_node_program_adds_two_people_and_names_a_third_image_of_one_of_them(client, shared_daemon, program):
    ran = run(program, shared_daemon.endpoint, sample("1_f0050"), sample("2_f0280"), sample("1_f0058"))
    assert ran.returncode == 0, ran.stderr
    predictions = json.loads(ran.stdout)["predictions"]
    assert [p["id"] for p in predictions] == [1, 2]
    assert predictions[0]["distance"] < predictions[1]["distance"]


def test_a_node_program_that_runs_again_learns_again(client, shared_daemon, program):
    images = sample("1_f0050"), sample("2_f0280"), sample("1_f0058")
    for _ in range(2):
        client.clear()
        assert run(program, shared_daemon.endpoint, *images).returncode == 0
        assert client.ids() == [1, 2]


def test_a_node_program_gets_the_code_of_an_error(client, shared_daemon, program):
    ran = run(program, shared_daemon.endpoint, __file__, __file__, __file__)
    assert ran.returncode == 1
    assert ran.stderr.startswith("bad-image: ")
