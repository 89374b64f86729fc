"""ONNX Runtime as a backend of reidd: its execution providers are the accelerators."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.model import ModelConfig
from reidd.plugins import hookimpl

PROVIDERS = {
    Accelerator.CPU: "CPUExecutionProvider",
    Accelerator.NVIDIA: "CUDAExecutionProvider",
    Accelerator.NVIDIA_FP16: "TensorrtExecutionProvider",
}
NVIDIA_NODES = ("nvidia0", "nvhost-gpu", "nvgpu")


class OnnxRuntime(Backend):
    """ONNX files through ONNX Runtime."""

    engine: ClassVar[Engine] = Engine.ONNX_RT
    accelerators: ClassVar[tuple[Accelerator, ...]] = tuple(PROVIDERS)
    formats: ClassVar[frozenset[str]] = frozenset({"onnx"})

    def __init__(self, session: Any, output: str | None):
        self._session = session
        self._input = session.get_inputs()[0]
        self._output = output or session.get_outputs()[0].name
        # A file with a fixed batch has a number here, one that takes any has a name.
        self._step = self._input.shape[0] if isinstance(self._input.shape[0], int) else None

    @classmethod
    def obstacle(cls, accelerator: Accelerator) -> str | None:
        """A missing runtime or card; whether this build has the provider is found out by `load`, which imports it."""
        if find_spec("onnxruntime") is None:
            return "ONNX Runtime is not installed: pip install onnxruntime, or onnxruntime-gpu"
        if accelerator is not Accelerator.CPU and not any((Path("/dev") / node).exists() for node in NVIDIA_NODES):
            return "no NVIDIA GPU here: none of /dev/" + ", /dev/".join(NVIDIA_NODES)
        return None

    @classmethod
    def load(cls, model: ModelConfig, accelerator: Accelerator, *, threads: int) -> "OnnxRuntime":
        """Build a session over the model's bytes, on this provider alone.

        Raises:
            RuntimeError: this build lacks the provider; ONNX Runtime itself would go on on the CPU.
        """
        import onnxruntime

        provider = PROVIDERS[accelerator]
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeError(
                f"this build of ONNX Runtime has no {provider}: install onnxruntime-gpu, or the board's own"
            )
        file = model.file(cls.formats)
        if file is None:
            raise ValueError(f"{model.id} has no ONNX file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only: the daemon's log is for its operator
        fp16 = {"trt_fp16_enable": True} if accelerator is Accelerator.NVIDIA_FP16 else {}
        session = onnxruntime.InferenceSession(model.read(file), options, providers=[(provider, fp16)])
        if session.get_providers()[0] != provider:
            raise RuntimeError(f"ONNX Runtime fell back from {provider} to {session.get_providers()[0]}")
        names = model.parameters.output_layer_names
        return cls(session, names[0] if names else None)

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """In one pass where the file takes any batch, else in steps of its own."""
        if not len(batch):
            return self._run(np.zeros((1, *batch.shape[1:]), np.float32))[:0]
        step = self._step or len(batch)
        return np.concatenate([self._run(batch[at : at + step]) for at in range(0, len(batch), step)])

    def close(self) -> None:
        """Let the session go."""
        self._session = None

    def _run(self, images: np.ndarray) -> np.ndarray:
        missing = (self._step or len(images)) - len(images)
        padded = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
        blob = np.ascontiguousarray(padded.transpose(0, 3, 1, 2))
        (output,) = self._session.run([self._output], {self._input.name: blob})
        return np.array(output[: len(images)], dtype=np.float32).reshape(len(images), -1)


@hookimpl
def reidd_backends() -> Iterable[type[Backend]]:
    """The one backend of this plugin."""
    return [OnnxRuntime]
