"""OpenCV's DNN module as a backend: any importable `cv2`, a Jetson's own build included."""

import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.model import ModelConfig
from reidd.plugins import hookimpl

NO_OPENCV = "OpenCV is not installed: pip install 'reidd[opencv]'"
ASK_S = 20.0
"""Less than a worker may take to load: its obstacle shall be told, and the next pair be tried."""
SAME = 1e-3
"""How far, of the largest value, a row of a batch may lie from the same row alone: rounding, FP16's included."""


class Target(NamedTuple):
    """What OpenCV calls an accelerator, and what shows, before OpenCV is asked, that the machine may have it."""

    backend: str
    name: str
    spoken: str
    mark: str = ""
    """How `Net.dump` says of a layer that it runs there."""
    signs: tuple[str, ...] = ()


TARGETS = {
    Accelerator.CPU: Target("DNN_BACKEND_OPENCV", "DNN_TARGET_CPU", "a CPU"),
    Accelerator.GPU: Target("DNN_BACKEND_OPENCV", "DNN_TARGET_OPENCL", "OpenCL", "/OCL", ("etc/OpenCL/vendors/*.icd",)),
    Accelerator.NVIDIA: Target(
        "DNN_BACKEND_CUDA", "DNN_TARGET_CUDA", "CUDA", "/CUDA", ("dev/nvidia0", "dev/nvhost-gpu", "dev/nvgpu")
    ),
    Accelerator.NVIDIA_FP16: Target(
        "DNN_BACKEND_CUDA",
        "DNN_TARGET_CUDA_FP16",
        "CUDA with FP16",
        "/CUDA",
        ("dev/nvidia0", "dev/nvhost-gpu", "dev/nvgpu"),
    ),
}


class OpenCV(Backend):
    """ONNX files through `cv2.dnn`, on the CPU or through OpenCL."""

    engine: ClassVar[Engine] = Engine.DNN
    accelerators: ClassVar[tuple[Accelerator, ...]] = (Accelerator.CPU, Accelerator.GPU)
    formats: ClassVar[frozenset[str]] = frozenset({"onnx"})

    def __init__(self, net: Any, input_size: tuple[int, int], output: str | None):
        self._net, self._size, self._output = net, input_size, output
        self._takes_batches = self._try_batch()

    @classmethod
    def obstacle(cls, accelerator: Accelerator) -> str | None:
        """A missing `cv2`, a machine without the hardware, or a `cv2` built without support for it."""
        if find_spec("cv2") is None:
            return NO_OPENCV
        target = TARGETS[accelerator]
        if not target.signs:
            return None
        if not any(any(Path("/").glob(sign)) for sign in target.signs):
            return f"no sign of {target.spoken} here: none of /{', /'.join(target.signs)}"
        found = targets_apart(target.backend)
        if found is None:
            return f"asking for {target.spoken} took more than {ASK_S:g} s: its driver hangs; restart the machine"
        return None if target.name in found else no_target(target)

    @classmethod
    def load(cls, model: ModelConfig, accelerator: Accelerator, *, threads: int) -> "OpenCV":
        """Read the ONNX bytes into a network.

        Raises:
            RuntimeError: this OpenCV does not run that accelerator; it would go on on the CPU without a word.
        """
        import cv2

        file = model.file(cls.formats)
        if file is None:
            raise ValueError(f"{model.id} has no ONNX file")
        target = TARGETS[accelerator]
        if target.name not in targets(target.backend):
            raise RuntimeError(no_target(target))
        cv2.setNumThreads(threads)
        names = model.parameters.output_layer_names
        output = names[0] if names else None
        if accelerator is Accelerator.CPU:
            return cls(cv2.dnn.readNetFromONNX(np.frombuffer(model.read(file), np.uint8)), model.size, output)
        net = classic_net(model.read(file))
        net.setPreferableBackend(getattr(cv2.dnn, target.backend))
        net.setPreferableTarget(getattr(cv2.dnn, target.name))
        loaded = cls(net, model.size, output)
        # It has run by now, and OpenCV only warns when it takes the CPU instead.
        if target.mark not in net.dump():
            raise RuntimeError(fell_back(target))
        return loaded

    @property
    def remark(self) -> str:
        """Which OpenCV it is, for they differ much, and whether the file takes several images at once."""
        import cv2

        return f"OpenCV {cv2.__version__}, " + ("batches in one pass" if self._takes_batches else "one image at a time")

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """In one pass where the file takes a batch, else image by image."""
        if not len(batch):
            return self._run(self._black(1))[:0]
        if self._takes_batches:
            return self._run(batch)
        return np.concatenate([self._run(image[None]) for image in batch])

    def close(self) -> None:
        """Let the network go."""
        self._net = None

    def _run(self, batch: np.ndarray) -> np.ndarray:
        self._net.setInput(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
        output = self._net.forward(self._output) if self._output else self._net.forward()
        return np.array(output, dtype=np.float32).reshape(len(output), -1)

    def _try_batch(self) -> bool:
        """Whether two images at once give what each gives alone; many files fix a batch of 1 in a reshape."""
        import cv2

        pair = self._black(2)
        pair[1, : len(pair[1]) // 2] = 255
        alone = np.concatenate([self._run(image[None]) for image in pair])
        try:
            together = self._run(pair)
        except cv2.error:
            return False
        return together.shape == alone.shape and bool(np.abs(together - alone).max() <= SAME * np.abs(alone).max())

    def _black(self, count: int) -> np.ndarray:
        width, height = self._size
        return np.zeros((count, height, width, 3), np.float32)


class OpenCVCuda(OpenCV):
    """ONNX files through `cv2.dnn` on an NVIDIA GPU: needs an OpenCV built with CUDA."""

    engine: ClassVar[Engine] = Engine.DNN_CUDA
    accelerators: ClassVar[tuple[Accelerator, ...]] = (Accelerator.NVIDIA, Accelerator.NVIDIA_FP16)


def targets(backend: str) -> set[str]:
    """The names of the targets that this OpenCV runs with one of its backends."""
    import cv2

    available = {int(target) for target in cv2.dnn.getAvailableTargets(getattr(cv2.dnn, backend))}
    return {t.name for t in TARGETS.values() if t.backend == backend and getattr(cv2.dnn, t.name) in available}


@cache
def targets_apart(backend: str) -> set[str] | None:
    """The same, found out in another process: OpenCV and its drivers are not loaded into this one. None: it hangs."""
    code = f"import reidd_opencv; print(*reidd_opencv.targets({backend!r}))"
    try:
        said = subprocess.run(  # noqa: S603  (our own interpreter and module)
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=ASK_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return set(said.stdout.split())


def no_target(target: Target) -> str:
    """Say what is missing."""
    if "CUDA" in target.name:
        return f"this OpenCV does not run {target.spoken}: PyPI's has none, JetPack's need not; build it WITH_CUDA"
    return f"this OpenCV does not run {target.spoken}: install the GPU's OpenCL driver, and look at `clinfo`"


def fell_back(target: Target) -> str:
    """Say that OpenCV did not do as it was told."""
    return (
        f"this OpenCV took the CPU in place of {target.spoken}: its device is none that OpenCV's networks run on; "
        "`OPENCV_OPENCL_DEVICE` chooses among several"
        if "OPENCL" in target.name
        else f"this OpenCV took the CPU in place of {target.spoken}: look at its warnings"
    )


def classic_net(onnx: bytes) -> Any:
    """Read a network with the engine that knows accelerators: OpenCV 5's new one knows the CPU, whatever it is told."""
    import cv2

    if not hasattr(cv2.dnn, "ENGINE_CLASSIC"):
        return cv2.dnn.readNetFromONNX(np.frombuffer(onnx, np.uint8))
    # OpenCV 5.0 heeds the choice of an engine for files only. A file in memory holds the very bytes that were checked.
    with os.fdopen(os.memfd_create("onnx"), "wb") as file:
        file.write(onnx)
        file.flush()
        return cv2.dnn.readNetFromONNX(f"/proc/self/fd/{file.fileno()}", cv2.dnn.ENGINE_CLASSIC)


@hookimpl
def reidd_backends() -> Iterable[type[Backend]]:
    """The backends of this plugin: one class for each engine."""
    return [OpenCV, OpenCVCuda]
