"""The OpenCV backend on a real OpenCL device, where the tools for it are installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_network_runs_through_opencl_and_never_on_the_cpu_in_its_place():
    env = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([Path(__file__).with_name("opencl.sh")], env=env, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refused: DNN/GPU cannot run" in done.stdout
    assert "worst cosine to the CPU" in done.stdout
