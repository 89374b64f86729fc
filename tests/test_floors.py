"""What the import contracts in pyproject.toml cannot say: plugins are modules, not packages."""

import ast
from pathlib import Path

import pytest

BACKENDS = sorted((Path(__file__).parent.parent / "backends").glob("*.py"))
OPEN_TO_PLUGINS = {
    "reidd.backend",
    "reidd.confinement",
    "reidd.engines",
    "reidd.errors",
    "reidd.model",
    "reidd.plugins",
}


@pytest.mark.parametrize("path", BACKENDS, ids=lambda path: path.stem)
def test_our_plugins_import_only_what_a_third_party_may(path):
    imported = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
    imported |= {
        n.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import) for n in node.names
    }
    ours = {name for name in imported if name.split(".")[0] == "reidd"}
    assert ours
    assert ours <= OPEN_TO_PLUGINS
