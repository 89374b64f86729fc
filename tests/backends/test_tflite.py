"""TensorFlow Lite keeps the contract with every kind of file, and XNNPACK is at work."""

import logging
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import reidd_tflite
from reidd_tflite import TFLite, dequantised, quantised, refusal

from reidd.engines import Accelerator
from reidd.errors import ConfigError
from reidd.golden import batch, cosines, noise
from reidd.model import ModelConfig
from reidd.testing import BackendContract

NETWORKS = Path(__file__).parents[1] / "networks"
LEGACY = reidd_tflite.runtime().__name__.startswith("tflite_runtime")


def only(tmp_path, precision: str) -> ModelConfig:
    """The embedded model with one of its TFLite files alone."""
    origin = ModelConfig.from_model_id("reidd/person")
    file = next(f for f in origin.files if (f.format, f.precision) == ("tflite", precision))
    for name in (file.file, origin.extras.golden):
        shutil.copy(origin.base_dir / name, tmp_path)
    document = msgspec.json.decode(origin.origin.read_bytes())
    document["model_parameters"]["model_file"] = file.file
    document["reidd"]["files"] = [msgspec.to_builtins(file)]
    return ModelConfig(document, base_dir=tmp_path)


def network(kind: str) -> ModelConfig:
    """The small network of tests/networks in one kind of file."""
    parameters = {"model_file": f"{kind}.tflite", "size": [32, 64]}
    document = {"id": f"test/{kind}", "model_parameters": parameters, "reidd": {"dim": 128, "golden": "golden.npz"}}
    return ModelConfig(document, base_dir=NETWORKS)


def loaded(model: ModelConfig) -> TFLite:
    return TFLite.load(model, Accelerator.CPU, threads=1)


class TestTFLite(BackendContract):
    backend_class = TFLite


class TestInt8(BackendContract):
    backend_class = TFLite

    @pytest.fixture
    def model(self, tmp_path):
        return only(tmp_path, "int8")


class TestDynamicRange(BackendContract):
    backend_class = TFLite

    @pytest.fixture
    def model(self):
        return network("dynamic_range")


class TestBatchOfFour(BackendContract):
    backend_class = TFLite

    @pytest.fixture
    def model(self):
        return network("batch_of_four")


class TestAnyBatch(BackendContract):
    backend_class = TFLite

    @pytest.fixture
    def model(self):
        return network("any_batch")


class TestChannelsFirst(BackendContract):
    backend_class = TFLite

    @pytest.fixture
    def model(self):
        return network("channels_first")


@pytest.mark.parametrize("kind", ["float", "batch_of_four", "any_batch", "float16", "dynamic_range", "int8"])
def test_xnnpack_runs_every_layer_and_nothing_is_said(caplog, kind):
    if LEGACY and kind in ("any_batch", "dynamic_range", "int8"):
        pytest.skip("tflite-runtime's XNNPACK takes neither int8 nor batches of any size")
    assert loaded(network(kind)).remark == "XNNPACK runs 3 of 3 layers"
    assert not caplog.records


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_xnnpack_runs_every_layer_of_the_embedded_model(tmp_path, precision):
    if LEGACY and precision == "int8":
        pytest.skip("tflite-runtime's XNNPACK takes no int8")
    assert loaded(only(tmp_path, precision)).remark == "XNNPACK runs 50 of 50 layers"


@pytest.mark.skipif(not LEGACY, reason="ai-edge-litert's XNNPACK takes all of it")
def test_a_delegate_that_takes_the_small_change_only_is_found_out(caplog):
    assert loaded(network("dynamic_range")).layers_taken() < 3
    assert "of the 3 layers of dynamic_range.tflite" in caplog.text


def test_a_file_that_xnnpack_refuses_runs_without_it(caplog):
    model = network("refused_by_xnnpack")
    if not LEGACY:
        with pytest.raises(RuntimeError, match="XNNPACK"):
            reidd_tflite.interpreter(model.read(model.files[0]))
    refused, taken = loaded(model), loaded(network("int8"))
    crops = batch(noise(model), model)
    assert cosines(refused.infer(crops), taken.infer(crops)).min() > 0.9
    assert "XNNPACK runs 0 of the 3 layers of refused_by_xnnpack.tflite" in caplog.text


def test_without_xnnpack_it_says_so(tmp_path, caplog, monkeypatch):
    plain = reidd_tflite.runtime().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def slow(content, threads):
        return reidd_tflite.interpreter(content, experimental_op_resolver_type=plain)

    monkeypatch.setattr(reidd_tflite, "cpu_interpreter", slow)
    with caplog.at_level(logging.WARNING):
        assert loaded(only(tmp_path, "float32")).remark == "XNNPACK runs 0 of 50 layers"
    assert "XNNPACK runs 0 of the 50 layers of person_fp32.tflite" in caplog.text


def test_a_network_without_weights_counts_as_one_layer():
    fakes = Path(__file__).parents[1] / "fake_edgetpu"
    model = ModelConfig({"id": "test/pool", "model_parameters": {"model_file": "pool.tflite", "size": [32, 64]}}, fakes)
    assert loaded(model).remark == "XNNPACK runs 1 of 1 layers"


def test_a_runtime_that_is_too_old_for_a_file_is_named_as_the_reason():
    said = "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'. An older version might be supported."
    assert refusal(said).startswith("the file is newer than this runtime: Didn't find op for builtin opcode")
    assert refusal("Model provided has model identifier 'xxxx'").startswith("it is no TFLite file")


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
