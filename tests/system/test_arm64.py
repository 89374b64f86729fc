"""reidd as arm64 code, where the tools for it are installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_arm64_runs_every_backend_and_a_daemon():
    env = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([Path(__file__).with_name("arm64.sh")], env=env, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert "arm64: all of it works" in done.stdout, done.stdout + done.stderr
