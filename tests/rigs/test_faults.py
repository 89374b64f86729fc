"""Every operation on the disk fails in turn: writes, syncs, truncations, renames and others. See faults.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from figures import note

HERE = Path(__file__).parent


@pytest.fixture
def folder():
    # In memory: thousands of syncs, none of which means anything here.
    with TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def results(folder: Path, *options: str) -> list[dict]:
    shim = folder / "faultshim.so"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", shim, HERE / "faultshim.c"], check=True
    )
    rig = subprocess.run(
        [sys.executable, HERE / "faults.py", folder / "below", *options],
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": str(HERE.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    return [json.loads(line) for line in rig.stdout.splitlines()]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("modes", [("torn",), pytest.param((), marks=pytest.mark.slow, id="all")])
def test_no_fault_of_the_disk_loses_what_was_acknowledged(folder, modes):
    found = results(folder, *modes)
    for life in {one["life"]: None for one in found}:
        tried, wrong = (
            sum(one["tried"] for one in found if one["life"] == life),
            sum(len(one["wrong"]) for one in found if one["life"] == life),
        )
        note(
            f"disk operations that fail, {life}, kinds of faults: {len(modes) or 9}",
            f"{tried}, {wrong} wrong",
            "0 wrong",
        )
    assert all(one["operations"] > 10 for one in found)
    assert len({one["life"] for one in found}) == 6
    assert len(found) == 6 * (len(modes) or 9)
    assert [one for one in found if one["wrong"]] == []


def test_the_rig_notices_a_failed_write_that_is_not_taken_back(folder):
    found = results(folder, "--keep-unsure-writes", "eio-10", "work", "encrypted work")
    assert {one["life"] for one in found if one["wrong"]} == {"work", "encrypted work"}


def test_the_rig_notices_a_key_that_is_noted_before_it_is_used(folder):
    found = results(folder, "--note-key-first", "kill", "first key", "next key")
    assert {one["life"] for one in found if one["wrong"]} == {"first key", "next key"}
