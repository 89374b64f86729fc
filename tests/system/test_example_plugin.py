"""The example plugin, installed as a third party's would be, passes the kit."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "reidd-onnxruntime"


def test_the_example_plugin_installs_and_passes_the_kit(tmp_path):
    for needed in ("onnxruntime", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install {needed}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(tmp_path), str(EXAMPLE)], check=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "REIDD_CONTRACT_CALLS": "1000"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "13 passed" in done.stdout
