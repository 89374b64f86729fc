"""TensorFlow Lite keeps the contract, in float and in int8, and XNNPACK is at work."""

import logging
import shutil

import msgspec
import numpy as np
import pytest
import reidd_tflite
from reidd_tflite import TFLite, dequantised, quantised

from reidd.engines import Accelerator
from reidd.errors import ConfigError
from reidd.model import ModelConfig
from reidd.testing import BackendContract


def only(tmp_path, precision: str) -> ModelConfig:
    """The embedded model with one of its TFLite files alone."""
    origin = ModelConfig.from_model_id("reidd/person")
    file = origin.file(TFLite.formats, precision)
    for name in (file.file, origin.extras.golden):
        shutil.copy(origin.base_dir / name, tmp_path)
    document = msgspec.json.decode(origin.origin.read_bytes())
    document["model_parameters"]["model_file"] = file.file
    document["reidd"]["files"] = [msgspec.to_builtins(file)]
    return ModelConfig(document, base_dir=tmp_path)


class TestTFLite(BackendContract):
    backend_class = TFLite


class TestInt8(BackendContract):
    backend_class = TFLite

    @pytest.fixture
    def model(self, tmp_path):
        return only(tmp_path, "int8")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_xnnpack_is_at_work(tmp_path, precision, caplog):
    loaded = TFLite.load(only(tmp_path, precision), Accelerator.CPU, threads=1)
    if precision == "int8" and "tflite_runtime" in type(loaded._interpreter).__module__:
        pytest.skip("tflite-runtime's XNNPACK takes no int8")
    assert loaded.is_accelerated
    assert not caplog.records


def test_without_xnnpack_it_says_so(tmp_path, caplog, monkeypatch):
    plain = reidd_tflite.runtime().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def slow(content, threads):
        return reidd_tflite.interpreter(content, experimental_op_resolver_type=plain)

    monkeypatch.setattr(reidd_tflite, "cpu_interpreter", slow)
    with caplog.at_level(logging.WARNING):
        loaded = TFLite.load(only(tmp_path, "float32"), Accelerator.CPU, threads=1)
    assert not loaded.is_accelerated
    assert "XNNPACK does not run person_fp32.tflite" in caplog.text


def test_a_file_that_is_none_is_an_error(tmp_path):
    (tmp_path / "net.tflite").write_bytes(b"not a flatbuffer at all")
    model = ModelConfig({"id": "a/b", "model_parameters": {"model_file": "net.tflite", "size": [8, 8]}}, tmp_path)
    with pytest.raises(RuntimeError, match="no TFLite file"):
        TFLite.load(model, Accelerator.CPU, threads=1)


def test_a_file_that_changed_is_refused(tmp_path):
    model = only(tmp_path, "float32")
    with (tmp_path / "person_fp32.tflite").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match="sha256 differs"):
        TFLite.load(model, Accelerator.CPU, threads=1)


def test_quantised_values_go_there_and_back():
    tensor = {"dtype": np.uint8, "quantization": (0.5, 10)}
    values = np.float32([[-100, -5, 0, 0.6, 122.5, 999]])
    assert quantised(values, tensor).tolist() == [[0, 0, 10, 11, 255, 255]]
    np.testing.assert_array_equal(dequantised(quantised(values, tensor), tensor), [[-5, -5, 0, 0.5, 122.5, 122.5]])
