"""The plugin keeps reidd's contract, and reidd finds it."""

from reidd_onnxruntime import OnnxRuntime

from reidd.engines import Engine
from reidd.plugins import Registry
from reidd.testing import BackendContract


class TestOnnxRuntime(BackendContract):
    backend_class = OnnxRuntime


def test_reidd_finds_it():
    assert OnnxRuntime in {pair.backend for pair in Registry().pairs() if pair.engine is Engine.ONNX_RT}
    assert not Registry().problems
