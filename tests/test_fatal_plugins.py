"""A plugin that would end or hang a command is named, with which of both it does."""

import pytest
from plugged import installed

from reidd.cli import fatal_plugins as asked
from reidd.cli.fatal_plugins import fatal_plugins

PLUGIN = """
import ctypes, os, time
from reidd_opencv import OpenCV
from reidd.engines import Accelerator, Engine
from reidd.plugins import hookimpl

class Odd(OpenCV):
    engine = Engine.HAILO_RT
    accelerators = (Accelerator.CPU,)

    @classmethod
    def obstacle(cls, accelerator):
        {does}

@hookimpl
def reidd_backends():
    return [Odd]
"""


@pytest.mark.parametrize(
    ("does", "end"),
    [
        ("os.abort()", "crashed (SIGABRT)"),
        ("os._exit(0)", "ended its process (status 0)"),
        ("time.sleep(60)", "gave no answer within 10 s"),
    ],
)
def test_a_plugin_whose_obstacle_ends_or_hangs_the_process_is_named(tmp_path, monkeypatch, does, end):
    monkeypatch.setattr(asked, "LIMIT_S", 10.0)
    installed(tmp_path, monkeypatch, "odd", PLUGIN.format(does=does))
    words = f"{end} when it was imported, or asked for its obstacle: `pip uninstall` its package"
    assert fatal_plugins() == [("odd", words)]


def test_several_are_named(tmp_path, monkeypatch):
    for name in ("fancy", "plain"):
        installed(tmp_path, monkeypatch, name, "import os; os._exit(0)")
    assert [problem.plugin for problem in fatal_plugins()] == ["fancy", "plain"]


@pytest.mark.parametrize(
    "does", ["ctypes.CDLL(None).printf(b'Runtime 1.0\\n')", "os.fork() or (time.sleep(30), os._exit(0))"]
)
def test_a_plugin_that_prints_or_leaves_a_process_behind_is_not_fatal(tmp_path, monkeypatch, does):
    monkeypatch.setattr(asked, "LIMIT_S", 20.0)
    installed(tmp_path, monkeypatch, "odd", PLUGIN.format(does=does))
    assert fatal_plugins() == []
