"""The Edge TPU keeps the contract, on a stand-in; each way it fails has its own message; real ones are marked."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reidd_edgetpu
from fake_edgetpu import write_model
from reidd_edgetpu import Device, EdgeTPU, device_obstacle, devices, try_apart

from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError, BackendUnavailableError
from reidd.features import Extractor
from reidd.model import ModelConfig
from reidd.plugins import Registry
from reidd.testing import BackendContract
from reidd.trials import examine

pytestmark = [
    # A delegate that could not be made raises again when it is collected: in both runtimes.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <function Delegate.__del__"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class TestStandIn(BackendContract):
    backend_class = EdgeTPU

    @pytest.fixture
    def model(self, stick):
        return ModelConfig(stick.model)


@pytest.mark.hardware
class TestEdgeTPU(BackendContract):
    """Needs a real device, and a file compiled for it in the embedded model's folder."""

    backend_class = EdgeTPU


def load(stick, model=None):
    config = ModelConfig(model or stick.model)
    return Extractor.load(config, Engine.TFLITE, Accelerator.EDGE_TPU, registry=Registry())


FAILURES = {
    "no device": "did not open: unplugged, or in use by another process",
    "abort": r"libfakeedgetpu.so crashed \(SIGABRT\): its version may not fit",
    "abort at start": r"crashed \(SIGABRT\)",
    "hang": "the Edge TPU hangs: no answer within 0.7 s; unplug it",
    "hang at start": "the Edge TPU hangs",
    "fails at start": "did not open",
    "fails": "USB transfer error 2",
}


@pytest.mark.parametrize("mode", FAILURES)
def test_each_way_to_fail_has_its_message(stick, monkeypatch, mode):
    monkeypatch.setenv(reidd_edgetpu.PROBE_S, "0.7" if "hang" in mode else "15")
    stick.behave(mode)
    with pytest.raises(BackendUnavailableError, match=FAILURES[mode]):
        load(stick)


LIES = {
    "nan": "NaN",
    "constant": "one value throughout",
    "wrong shape": "gives 94 values, test/float says 96",
}


@pytest.mark.parametrize("mode", LIES)
def test_a_device_that_lies_is_not_believed(stick, mode):
    model = write_model(stick.models / "test" / "float", edgetpu="pool_edgetpu_float.tflite")
    stick.behave(mode)
    with pytest.raises((BackendUnavailableError, BackendError), match=LIES[mode]):
        load(stick, model)


def test_what_the_throw_away_process_said_is_passed_on(stick):
    stick.behave("fails")
    model = ModelConfig(stick.model)
    with pytest.raises(RuntimeError, match="USB transfer error 2"):
        try_apart(model.read(model.file(EdgeTPU.formats)))


def examined(stick):
    model = ModelConfig(stick.model)
    return examine(model, model.file(EdgeTPU.formats), Engine.TFLITE, Accelerator.EDGE_TPU)


def test_a_slow_device_is_believed_and_timed(stick):
    stick.behave("slow 20")
    assert examined(stick).ms >= 20


def test_a_device_that_dies_on_its_way_is_an_error_of_the_machine(stick):
    stick.behave("dies after 9")
    with pytest.raises(BackendError, match=r"TFLITE/EDGE_TPU crashed \(SIGABRT\) on test/pool"):
        examined(stick)


def test_a_device_that_fails_later_is_an_error_of_the_machine(stick, image):
    with load(stick) as extractor:
        stick.behave("fails")
        with pytest.raises(BackendError, match=r"TFLITE/EDGE_TPU failed: RuntimeError: .*USB transfer error 2"):
            extractor.features([image])


def test_it_says_how_much_of_the_network_the_device_runs(stick):
    assert EdgeTPU.load(ModelConfig(stick.model), Accelerator.EDGE_TPU, threads=1).remark == "all of it on the Edge TPU"


def test_it_gives_the_features_of_the_cpu(stick, image):
    on_cpu = Extractor.load(ModelConfig(stick.model), Engine.TFLITE, Accelerator.CPU, registry=Registry())
    with load(stick) as on_stick, on_cpu:
        np.testing.assert_allclose(on_stick.features([image]), on_cpu.features([image]), atol=1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be loaded"), (b"no library", "cannot be loaded"), ("libm", "no TFLite delegate")],
)
def test_a_library_that_is_none_is_said_so(stick, monkeypatch, tmp_path, content, message):
    path = tmp_path / "libother.so"
    if content == "libm":
        shutil.copy(next(Path("/").glob("lib/*-linux-gnu/libm.so.6")), path)
    elif content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(reidd_edgetpu.LIBRARY, str(path))
    with pytest.raises(RuntimeError, match=message):
        EdgeTPU.load(ModelConfig(stick.model), Accelerator.EDGE_TPU, threads=1)


def test_a_file_that_was_not_compiled_is_said_so(stick):
    model = write_model(stick.models / "test" / "plain", edgetpu="pool.tflite")
    with pytest.raises(BackendUnavailableError, match=r"pool\.tflite is not compiled for the Edge TPU"):
        load(stick, model)


def test_a_model_without_a_compiled_file_is_an_obstacle(stick):
    with pytest.raises(BackendUnavailableError, match="reidd/person has no file in the format edgetpu"):
        load(stick, ModelConfig.from_model_id("reidd/person").origin)


def test_reidd_backends_reports_who_lies_about_his_dimension(stick):
    stick.behave("wrong shape")
    command = [sys.executable, "-m", "reidd", "backends", "--check", "--model", "test/pool", "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    states = {f"{row['engine']}/{row['accelerator']}": row["state"] for row in said}
    assert states["TFLITE/EDGE_TPU"] == "fails: TFLITE/EDGE_TPU gives 94 values, test/pool says 96"
    assert states["TFLITE/CPU"].startswith("works, ")


@pytest.mark.parametrize(("vendor", "product"), [("1a6e", "089a"), ("18d1", "9302")])
def test_a_stick_is_found_before_and_after_its_first_use(stick, vendor, product):
    stick.unplug()
    assert "no Edge TPU on USB or PCIe" in EdgeTPU.obstacle(Accelerator.EDGE_TPU)
    stick.plug(vendor, product)
    assert EdgeTPU.obstacle(Accelerator.EDGE_TPU) is None
    assert list(devices()) == [Device("usb", stick.root / "dev/bus/usb/001/004")]


def test_a_missing_library_is_an_obstacle(stick, monkeypatch):
    monkeypatch.setenv(reidd_edgetpu.LIBRARY, "libedgetpu-of-nobody.so.1")
    assert "libedgetpu-of-nobody.so.1 is not installed" in EdgeTPU.obstacle(Accelerator.EDGE_TPU)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("", None),
        ("usb", None),
        ("pci", None),
        (":1", None),
        ("usb:0", None),
        ("usb:1", "no Edge TPU usb:1: plug it in, or look at `lsusb`; there is: usb:0, pci:1"),
        (":2", "no Edge TPU :2"),
        ("usb:x", "expected usb, pci, :0, usb:1 or the like"),
    ],
)
def test_the_device_that_is_wanted_is_looked_for(tmp_path, wanted, message):
    nodes = [tmp_path / "usb", tmp_path / "apex_0"]
    for node in nodes:
        node.touch()
    obstacle = device_obstacle([Device("usb", nodes[0]), Device("pci", nodes[1])], wanted)
    assert obstacle is None if message is None else message in obstacle


def test_a_device_that_one_may_not_open_names_the_udev_rule(stick, monkeypatch):
    # Root may open everything, and tests often run as root.
    monkeypatch.setattr(reidd_edgetpu.os, "access", lambda node, mode: False)
    assert "udev rule SUBSYSTEM" in EdgeTPU.obstacle(Accelerator.EDGE_TPU)


def test_finding_out_whether_it_can_run_imports_no_runtime(stick):
    code = "import sys, reidd_edgetpu as e; e.EdgeTPU.obstacle(None); print([m for m in sys.modules if '_' in m])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "reidd_tflite" in said.stdout
    assert not any(name in said.stdout for name in ("ai_edge_litert", "tflite_runtime"))
