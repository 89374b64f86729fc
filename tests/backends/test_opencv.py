"""OpenCV's DNN module keeps the contract, and never goes on on the CPU when it was asked for something else."""

import subprocess

import cv2
import numpy as np
import pytest
import reidd_opencv
from reidd_opencv import OpenCV, OpenCVCuda

from reidd.daemon.patience import LOAD_S
from reidd.engines import Accelerator
from reidd.model import ModelConfig
from reidd.testing import BackendContract


class TestOpenCV(BackendContract):
    backend_class = OpenCV


class TestOpenCVCuda(BackendContract):
    backend_class = OpenCVCuda


UNSUPPORTED = [
    (kind, accelerator)
    for kind in (OpenCV, OpenCVCuda)
    for accelerator in kind.accelerators
    if reidd_opencv.TARGETS[accelerator].name not in reidd_opencv.targets(reidd_opencv.TARGETS[accelerator].backend)
]


@pytest.mark.parametrize(("kind", "accelerator"), UNSUPPORTED)
def test_what_this_opencv_does_not_run_is_refused_and_not_run_on_the_cpu(kind, accelerator):
    with pytest.raises(RuntimeError, match="this OpenCV does not run"):
        kind.load(ModelConfig.from_model_id("reidd/person"), accelerator, threads=1)


@pytest.mark.skipif((OpenCV, Accelerator.GPU) not in UNSUPPORTED, reason="this OpenCV has an OpenCL device")
def test_an_opencv_that_takes_the_cpu_instead_is_refused(monkeypatch):
    """As with a device that OpenCV's networks do not run on: it is listed, and OpenCV only warns."""
    monkeypatch.setattr(reidd_opencv, "targets", lambda backend: {"DNN_TARGET_OPENCL"})
    with pytest.raises(RuntimeError, match="this OpenCV took the CPU in place of OpenCL"):
        OpenCV.load(ModelConfig.from_model_id("reidd/person"), Accelerator.GPU, threads=1)


def test_for_an_accelerator_the_network_is_read_by_the_engine_that_knows_them():
    model = ModelConfig.from_model_id("reidd/person")
    net = reidd_opencv.classic_net(model.read(model.file(OpenCV.formats)))
    net.setInput(np.zeros((1, 3, 192, 96), np.float32))
    net.forward()
    # The other engine's description has no word about where a layer runs.
    assert "OCV/CPU" in net.dump()


def test_hardware_without_opencvs_support_is_an_obstacle(monkeypatch):
    sign = reidd_opencv.TARGETS[Accelerator.NVIDIA]._replace(signs=("proc/self",))
    monkeypatch.setitem(reidd_opencv.TARGETS, Accelerator.NVIDIA, sign)
    if "DNN_TARGET_CUDA" in reidd_opencv.targets("DNN_BACKEND_CUDA"):
        pytest.skip("this OpenCV runs CUDA")
    assert "this OpenCV does not run CUDA: PyPI's has none" in OpenCVCuda.obstacle(Accelerator.NVIDIA)


def test_asking_apart_says_the_same_as_asking_here():
    assert reidd_opencv.targets_apart("DNN_BACKEND_OPENCV") == reidd_opencv.targets("DNN_BACKEND_OPENCV")


def test_a_driver_that_hangs_is_an_obstacle_and_asked_once(monkeypatch):
    asked = []

    def hang(*_, timeout, **__):
        asked.append(timeout)
        raise subprocess.TimeoutExpired("python", timeout)

    target = reidd_opencv.TARGETS[Accelerator.NVIDIA]._replace(signs=("proc/self",))
    monkeypatch.setitem(reidd_opencv.TARGETS, Accelerator.NVIDIA, target)
    monkeypatch.setattr(reidd_opencv.subprocess, "run", hang)
    reidd_opencv.targets_apart.cache_clear()
    said = {OpenCVCuda.obstacle(Accelerator.NVIDIA) for _ in range(2)}
    reidd_opencv.targets_apart.cache_clear()
    assert said == {"asking for CUDA took more than 20 s: its driver hangs; restart the machine"}
    assert asked == [20.0]
    assert asked[0] < LOAD_S


def test_without_cv2_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(reidd_opencv, "find_spec", lambda name: None)
    assert OpenCV.obstacle(Accelerator.CPU) == "OpenCV is not installed: pip install 'reidd[opencv]'"


def test_a_file_that_takes_batches_gets_them():
    model = ModelConfig.from_model_id("reidd/person")
    loaded = OpenCV.load(model, Accelerator.CPU, threads=1)
    assert loaded._takes_batches


class FixedBatch:
    """A network that, like many, reshapes to one image; anything more is an error of OpenCV's."""

    def setInput(self, blob):
        self.blob = blob

    def forward(self):
        if len(self.blob) > 1:
            raise cv2.error("outTotal == inpTotal")
        return self.blob[:, :, ::4, ::4].reshape(1, -1)


def test_a_file_that_takes_one_image_gets_one_at_a_time():
    loaded = OpenCV(FixedBatch(), (16, 8), None)
    rows = loaded.infer(np.random.default_rng(0).random((3, 8, 16, 3)).astype(np.float32))
    assert rows.shape == (3, 24)
    assert len(np.unique(rows, axis=0)) == 3
