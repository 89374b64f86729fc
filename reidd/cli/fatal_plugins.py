"""Plugins that would end or hang a command which asks all of them: found out in other processes."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import entry_points

from reidd import confinement
from reidd.plugins import GROUP, Problem

LIMIT_S = 60.0
_ASK = """
import os, sys
from importlib.metadata import entry_points
from reidd.plugins import GROUP, Registry
for name in sys.argv[1:]:
    Registry(plugin for plugin in entry_points(group=GROUP) if plugin.name == name).pairs()
    print(f"survived {name!r}", flush=True)
os._exit(0)
"""


def fatal_plugins() -> list[Problem]:
    """Those that end or hang the process that asks for their pairs, and which of both they do."""
    left = sorted({plugin.name for plugin in entry_points(group=GROUP)})
    fatal = []
    while left:
        said, end = _asked(left)
        left = [name for name in left if f"survived {name!r}\n" not in said]
        if left:
            # They are asked in order, so it was the first of these.
            words = f"{end} when it was imported, or asked for its obstacle: `pip uninstall` its package"
            fatal.append(Problem(left.pop(0), words))
    return fatal


def _asked(plugins: Sequence[str]) -> tuple[str, str]:
    """Have a process of its own ask plugins for their pairs; return what it wrote, and how it ended."""
    # No pipe: what a runtime forks may keep one open.
    with tempfile.TemporaryFile() as said:
        try:
            status = subprocess.run(  # noqa: S603  (our own interpreter)
                confinement.ending(sys.executable, "-c", _ASK, *plugins),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.DEVNULL,
                timeout=LIMIT_S,
                check=False,
            ).returncode
            crashed = f"crashed ({confinement.signal_name(-status)})" if status < 0 else ""
            end = crashed or f"ended its process (status {status})"
        except subprocess.TimeoutExpired:
            end = f"gave no answer within {LIMIT_S:g} s"
        said.seek(0)
        return said.read().decode(errors="replace"), end
