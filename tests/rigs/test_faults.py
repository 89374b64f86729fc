"""Every operation on the disk fails in turn: writes, syncs, truncations, renames and others. See faults.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

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
        env={**os.environ, "LD_PRELOAD": str(shim)},
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
    for one in found:
        print(
            f"{one['life']}: {one['operations']} operations, {one['mode']}: {len(one['wrong'])} wrong", file=sys.stderr
        )
    assert {one["life"] for one in found} == {"work", "salvage"}
    assert len(found) == 2 * (len(modes) or 9)
    assert all(one["operations"] > 20 for one in found)
    assert [one for one in found if one["wrong"]] == []


def test_the_rig_notices_a_failed_write_that_is_not_taken_back(folder):
    found = results(folder, "--keep-unsure-writes", "eio-10")
    assert [one for one in found if one["life"] == "work" and one["wrong"]]
