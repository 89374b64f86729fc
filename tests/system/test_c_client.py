"""The C program, written from docs/protocol.md, talks to a real daemon."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from subjects import sample

C_CLIENT = Path(__file__).parents[2] / "examples" / "c-client"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C program, compiled with warnings as errors."""
    compiler = shutil.which("cc")
    if not compiler or not shutil.which("make"):
        pytest.skip("no C compiler and make here")
    probe = subprocess.run(
        [compiler, "-E", "-"], input="#include <zmq.h>\n", capture_output=True, text=True, check=False
    )
    if probe.returncode:
        pytest.skip("libzmq's header is not installed (libzmq3-dev)")
    folder = tmp_path_factory.mktemp("c") / "client"
    shutil.copytree(C_CLIENT, folder)
    built = subprocess.run(["make", "-C", str(folder)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder / "identify"


def run(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=20, check=False)


def test_a_c_program_adds_two_people_and_names_a_third_image_of_one_of_them(client, shared_daemon, program):
    ran = run(program, shared_daemon.endpoint, sample("1_f0050"), sample("2_f0280"), sample("1_f0058"))
    assert ran.returncode == 0, ran.stderr
    assert [p["id"] for p in json.loads(ran.stdout)["results"][0]["predictions"]] == [1, 2]


def test_a_c_program_that_runs_again_learns_again(client, shared_daemon, program):
    images = sample("1_f0050"), sample("2_f0280"), sample("1_f0058")
    for _ in range(2):
        client.clear()
        assert run(program, shared_daemon.endpoint, *images).returncode == 0
        assert client.ids() == [1, 2]


def test_a_c_program_gets_the_code_of_an_error(client, shared_daemon, program):
    ran = run(program, shared_daemon.endpoint, __file__, __file__, __file__)
    assert ran.returncode == 1
    assert json.loads(ran.stderr)["code"] == "bad-image"


def test_a_c_program_says_within_its_time_out_that_nobody_answers(short_folder, program):
    ran = run(program, f"ipc://{short_folder}/none.sock", sample("1_f0050"), sample("2_f0280"), sample("1_f0058"))
    assert ran.returncode == 1
    assert "no answer" in ran.stderr
