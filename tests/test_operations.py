"""The operator's page names every configuration key and every line the daemon logs for him."""

import ast
import re
from pathlib import Path

import pytest

from reidd.daemon.config import Config

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LEVELS = {"info", "warning", "error", "critical", "exception"}


def logged():
    """The constant beginning of every line that the daemon's own modules log above DEBUG."""
    for path in sorted((ROOT / "reidd" / "daemon").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
            ):
                yield node.args[0].value


def test_every_configuration_key_is_explained():
    keys = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## Configuration")[1].split("\n## ")[0], re.M))
    assert keys == set(Config.__struct_fields__)


@pytest.mark.parametrize("line", sorted(set(logged())))
def test_every_line_of_the_log_is_explained(line):
    words = [part.strip(" :;,-/") for part in re.split(r"%[\d.]*\w", line)]
    longest = max(words, key=len)
    assert longest in PAGE


def test_every_file_of_the_service_is_named():
    for path in (ROOT / "systemd").iterdir():
        assert path.name in PAGE or path.name.startswith("60-")


def test_the_copy_of_a_saved_gallery_that_is_restored_is_in_memory_its_readers_alone_and_erased():
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) if " restore " in block]
    assert len(blocks) == 2
    for block in blocks:
        copy = re.search(r" restore (\S+)", block)[1]
        assert copy.startswith("/run/")
        assert "install -m 600 -o reidd " in block.split(" restore ")[0]
        assert f"rm {copy}" in block.split(" restore ")[1]
