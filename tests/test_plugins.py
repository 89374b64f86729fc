"""Broken plugins are reported and break nothing else."""

import sys
from importlib.metadata import EntryPoint

import pytest

from reidd.engines import Accelerator, Engine
from reidd.errors import BackendUnavailableError
from reidd.model import ModelConfig
from reidd.plugins import GROUP, Registry

GOOD = """
from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.plugins import hookimpl

class {name}(Backend):
    engine = Engine.{engine}
    accelerators = ({accelerators},)
    formats = frozenset({{"onnx"}})

    @classmethod
    def obstacle(cls, accelerator):
        {obstacle}

    @classmethod
    def load(cls, model, accelerator, *, threads):
        raise NotImplementedError

    def infer(self, batch):
        raise NotImplementedError

    def close(self):
        pass

@hookimpl
def reidd_backends():
    return [{name}]
"""


def source(name="Plain", engine="PYTORCH", accelerators="Accelerator.CPU", obstacle="return None"):
    return GOOD.format(name=name, engine=engine, accelerators=accelerators, obstacle=obstacle)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Registries of plugins given as name=source."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def build(**sources):
        for name, text in sources.items():
            (tmp_path / f"plugin_{name}.py").write_text(text)
            written.append(f"plugin_{name}")
        return Registry([EntryPoint(name, f"plugin_{name}", GROUP) for name in sources])

    yield build
    for name in written:
        sys.modules.pop(name, None)


def pairs(registry):
    return [(p.engine, p.accelerator) for p in registry.pairs()]


BROKEN = {
    "raises on import": ("raise OSError('libfancy.so.3: cannot open shared object file')", "OSError: libfancy"),
    "ends the interpreter": ("raise SystemExit(3)", "SystemExit: 3"),
    "misspells a hook": (
        "from reidd.plugins import hookimpl\n@hookimpl\ndef reidd_backend(): return []",
        "unknown hook 'reidd_backend'; there are: reidd_backends, reidd_choose_backend",
    ),
    "brings no class": (
        "from reidd.plugins import hookimpl\n@hookimpl\ndef reidd_backends(): return ['OpenCV']",
        "'OpenCV' is not a subclass",
    ),
    "brings nothing": (
        "from reidd.plugins import hookimpl\n@hookimpl\ndef reidd_backends(): return None",
        "returned None",
    ),
    "names no engine": (source().replace("engine = Engine.PYTORCH", ""), "engine is None; expected a member of Engine"),
    "names an unknown engine": (source().replace("Engine.PYTORCH", "'FANCY'"), "engine is 'FANCY'; expected a member"),
    "names one accelerator, not several": (
        source().replace("(Accelerator.CPU,)", "Accelerator.CPU"),
        "expected a tuple such as",
    ),
    "names one format, not several": (source().replace('frozenset({"onnx"})', "'onnx'"), "expected a set such as"),
    "brings a class, not a list of them": (
        source().replace("return [Plain]", "return Plain"),
        "the class Plain itself",
    ),
    "has no hook": ("x = 1", "brings no hook"),
    "needs a backend to be asked": (
        source().replace("@classmethod\n    def load", "def load"),
        "Plain.load is asked of the class, before there is a backend; put @classmethod above it",
    ),
    "leaves a method out": (source().replace("def infer", "def inferr"), "does not define infer"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_reported_and_breaks_nothing(registry, fault):
    text, reason = BROKEN[fault]
    found = registry(before=source(), broken=text, later=source(engine="TENSOR_RT"))
    assert [p.plugin for p in found.problems] == ["broken"]
    assert reason in found.problems[0].reason
    assert pairs(found) == [(Engine.PYTORCH, Accelerator.CPU), (Engine.TENSOR_RT, Accelerator.CPU)]


def test_a_plugin_with_the_name_of_another_is_reported_and_leaves_that_one_alone(registry):
    registry(one=source(), two=source(engine="TENSOR_RT"))
    found = Registry([EntryPoint("same", "plugin_one", GROUP), EntryPoint("same", "plugin_two", GROUP)])
    assert pairs(found) == [(Engine.PYTORCH, Accelerator.CPU)]
    assert [p.reason for p in found.problems] == [
        "TypeError: another plugin has this name; rename the entry point of plugin_two"
    ]


def test_a_pair_that_two_plugins_bring_is_reported_and_the_first_runs_it(registry):
    found = registry(one=source("One"), two=source("Two"))
    assert [(p.plugin, "PYTORCH/CPU" in p.reason, "One" in p.reason) for p in found.problems] == [("two", True, True)]
    assert [p.backend.__name__ for p in found.pairs()] == ["One", "Two"]


def test_a_plugin_may_choose_among_backends_of_one_pair(registry):
    chooser = (
        "from reidd.plugins import hookimpl\n@hookimpl\ndef reidd_choose_backend(candidates): return candidates[-1]"
    )
    found = registry(one=source("One"), two=source("Two"), chooser=chooser)
    model = ModelConfig.from_model_id("reidd/person")
    assert found.choose(model, Engine.PYTORCH, Accelerator.CPU).backend.__name__ == "Two"


@pytest.mark.parametrize("body", ["raise ZeroDivisionError('x')", "raise SystemExit(3)", "return ['nonsense']"])
def test_a_chooser_that_fails_leaves_the_first(registry, body):
    chooser = f"from reidd.plugins import hookimpl\n@hookimpl\ndef reidd_choose_backend(candidates): {body}"
    found = registry(one=source("One"), two=source("Two"), chooser=chooser)
    model = ModelConfig.from_model_id("reidd/person")
    assert found.choose(model, Engine.PYTORCH, Accelerator.CPU).backend.__name__ == "One"


def test_an_obstacle_that_raises_is_an_obstacle(registry):
    found = registry(one=source(obstacle="raise ZeroDivisionError('no driver')"))
    assert found.pairs()[0].obstacle == "its plugin failed: ZeroDivisionError: no driver"


def test_a_pair_is_chosen_without_asking_another_ones_backend(registry):
    # As by a driver that hangs over a dead device.
    found = registry(one=source(), other=source("Other", engine="TENSOR_RT", obstacle="raise KeyboardInterrupt"))
    model = ModelConfig.from_model_id("reidd/person")
    assert found.choose(model, Engine.PYTORCH, Accelerator.CPU).backend.__name__ == "Plain"
    assert found.choose(model, Engine.PYTORCH, Accelerator.DEFAULT).backend.__name__ == "Plain"


def test_an_obstacle_that_ends_the_interpreter_is_an_obstacle(registry):
    found = registry(one=source(obstacle="raise SystemExit(3)"))
    assert found.pairs()[0].obstacle == "its plugin failed: SystemExit: 3"


def test_a_pair_that_is_missed_is_missed_with_the_plugin_that_is_broken(registry):
    found = registry(one=source(), broken="raise OSError('libfancy.so.3: cannot open')")
    with pytest.raises(BackendUnavailableError, match="plugin 'broken' is broken: OSError: libfancy"):
        found.choose(ModelConfig.from_model_id("reidd/person"), Engine.TENSOR_RT, Accelerator.CPU)


@pytest.mark.parametrize("returned", ["False", "''"])
def test_an_obstacle_that_is_neither_words_nor_none_is_an_obstacle(registry, returned):
    found = registry(one=source(obstacle=f"return {returned}"))
    assert f"obstacle() returned {returned}; expected words, or None" in found.pairs()[0].obstacle


def test_default_is_the_first_accelerator_of_the_engine_that_is_ready(registry):
    found = registry(
        a=source("Stick", accelerators="Accelerator.EDGE_TPU"), b=source("Plain", accelerators="Accelerator.CPU")
    )
    model = ModelConfig.from_model_id("reidd/person")
    assert found.choose(model, Engine.PYTORCH, Accelerator.DEFAULT).backend.__name__ == "Plain"


def test_a_pair_that_nobody_brings_is_an_error_that_names_those_that_run(registry):
    found = registry(one=source())
    model = ModelConfig.from_model_id("reidd/person")
    with pytest.raises(BackendUnavailableError, match=r"no installed plugin brings HAILO_RT/HAILO; ready: PYTORCH/CPU"):
        found.choose(model, Engine.HAILO_RT, Accelerator.HAILO)


def test_the_installed_plugins_are_found():
    assert {Engine.DNN, Engine.TFLITE} <= {p.engine for p in Registry().pairs()}
