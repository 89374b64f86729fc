"""Coverage-guided fuzzing finds no input that raises what reidd does not raise on purpose. Prints its figures.

The corpus is what libFuzzer kept, each file for code that it alone reaches:
`FUZZ=request python -m fuzz -merge=1 tests/fuzz/corpus/request NEW_FILES`. Beside it: a whole request for each op.
"""

import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from figures import note

from fuzz.targets import FRAME_END, TARGETS
from reidd.daemon.envelope import opened
from reidd.errors import ReiddError
from reidd.protocol import OPS, decode_request

HERE = Path(__file__).parent
RUNS = {"request": 3_000_000, "said": 50_000, "curve": 30_000, "image": 2_500_000}
ENOUGH = 5_000_000
SECONDS = 240

needs_atheris = pytest.mark.skipif(
    find_spec("atheris") is None,
    reason="NOTHING WAS FUZZED: atheris is not installed (pip install --group fuzz, on Python 3.11)",
)


def corpus(target):
    return sorted((HERE / "corpus" / target).iterdir())


def fuzzing(target, folder, *options):
    """Start to fuzz one target in a process of its own; what it finds goes into a folder."""
    seeds = HERE / "corpus" / (target if target in RUNS else "image")
    (folder / "new").mkdir()
    command = [sys.executable, "-m", "fuzz", str(folder / "new"), str(seeds), "-max_len=1024"]
    command += [f"-max_total_time={SECONDS}", f"-artifact_prefix={folder}/", *options]
    env = {**os.environ, "PYTHONPATH": str(HERE.parent), "FUZZ": target}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env
    )


@pytest.mark.parametrize("target", RUNS)
def test_no_file_of_the_corpus_gets_an_error_out(target):
    files = corpus(target)
    assert len(files) > 10
    for path in files:
        TARGETS[target](path.read_bytes())


def test_the_corpus_has_a_whole_request_for_every_op():
    asked = set()
    for path in corpus("request"):
        with suppress(ReiddError):
            asked.add(type(decode_request(opened([b"", *path.read_bytes().split(FRAME_END)]).header)))
    # A new op takes a file op-NAME: three zeros and its header, as tests/vectors/messages.json has it.
    assert {kind.__struct_config__.tag for kind in asked} == set(OPS)


@needs_atheris
def test_a_guard_that_is_missing_is_found(tmp_path):
    found, _ = fuzzing("planted", tmp_path).communicate(timeout=100)
    assert "unpack requires a buffer of 8 bytes" in found
    assert list(tmp_path.glob("crash-*"))


@needs_atheris
@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
def test_five_million_inputs_get_no_other_error_out(tmp_path):
    running = {}
    for target, runs in RUNS.items():
        (tmp_path / target).mkdir()
        running[target] = fuzzing(target, tmp_path / target, f"-runs={runs}")
    done = {}
    for target, process in running.items():
        said, _ = process.communicate()
        crashes = [path.read_bytes() for path in (tmp_path / target).glob("crash-*")]
        assert (process.returncode, crashes) == (0, []), said[-3000:]
        done[target] = int(re.search(r"^Done (\d+) runs", said, re.M)[1])
    total = sum(done.values())
    note("fuzz executions (atheris), escaped errors", f"{total:,} ({done}), 0", f"{ENOUGH:,}, 0")
    assert total >= ENOUGH
