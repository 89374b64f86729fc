"""The ten minutes of docs/backends.md, followed to the letter."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOC = Path(__file__).parent.parent / "docs" / "backends.md"


def block(after: str) -> str:
    """The first fenced block behind some words."""
    return re.search(r"```\w+\n(.*?)```", DOC.read_text().split(after, 1)[1], re.DOTALL).group(1)


def run(*command: str, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tutorials_backend_is_found_agrees_and_passes_the_kit(tmp_path):
    for needed in ("onnxruntime", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install {needed}")
    (tmp_path / "pyproject.toml").write_text(block("`pyproject.toml`"))
    (tmp_path / "reidd_mine.py").write_text(block("`reidd_mine.py`"))
    (tmp_path / "test_mine.py").write_text(block("`test_mine.py`:"))
    installed = tmp_path / "installed"
    env = {**os.environ, "PYTHONPATH": str(installed)}
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(installed)]
    run("pip", "install", *options, str(tmp_path), cwd=tmp_path, env=env)
    assert re.search(r"ONNX_RT +CPU +reidd_mine +ready", run("reidd", "backends", cwd=tmp_path, env=env))
    assert re.search(r"ONNX_RT/CPU .* agrees", run("reidd", "models", "verify", "--dry-run", cwd=tmp_path, env=env))
    kit = ("pytest", "-p", "reidd.testing", "-p", "no:cacheprovider", "test_mine.py")
    assert "Mine on CPU: keeps 12 of 12" in run(*kit, cwd=tmp_path, env=env)


def shown(command: str) -> str:
    """The first block of the docs behind the first mention of a command."""
    return re.search(r"```\n(.*?)```", DOC.read_text().split(f"`{command}`", 1)[1], re.DOTALL).group(1)


def columns(table: str, *names: str) -> list[tuple[str, ...]]:
    """The cells of a printed table below these of its column names."""
    head, *lines = [line for line in table.splitlines() if line.strip() and "──" not in line]
    starts = [*(m.start() for m in re.finditer(r"(?<=  )\S+( \S+)*", head)), None]
    cells = {head[a:b].strip(): (a, b) for a, b in itertools.pairwise(starts)}
    return [tuple(line[slice(*cells[name])].strip() for name in names) for line in lines]


@pytest.mark.parametrize("command", ["reidd backends", "reidd backends --check"])
def test_the_docs_show_the_pairs_as_they_are_listed(commands, command):
    said = commands.run(*command.split()[1:], env=os.environ).stdout
    names = ("engine", "accelerator", "plugin")
    assert columns(shown(command), *names) == columns(said, *names)


def test_the_docs_show_what_the_doctor_looks_at(commands, tmp_path):
    said = commands.run("doctor", env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}).stdout
    # Without the second line of a long finding.
    rows = [row for row in columns(said, "what") if row != ("",)]
    rows = [row for row in rows if not re.search("golden vectors on .*/(?!CPU)", *row)]
    assert columns(shown("reidd doctor"), "what") == rows  # without those of a machine that has more
    assert "XNNPACK runs 50 of 50 layers" in said


def test_every_clause_of_the_contract_is_explained():
    from reidd.testing import BackendContract

    clauses = [name for name in dir(BackendContract) if name.startswith("test_")]
    told = DOC.read_text().lower().replace("'", "").replace("-", " ")
    assert [c for c in clauses if c.removeprefix("test_").replace("_", " ") not in told] == []
