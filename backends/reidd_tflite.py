"""TensorFlow Lite on the CPU as a backend, through ai-edge-litert or its predecessor tflite-runtime."""

import logging
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.model import ModelConfig
from reidd.plugins import hookimpl

log = logging.getLogger(__name__)

# Same API; the first that is installed counts.
RUNTIMES = {"ai_edge_litert": "ai_edge_litert.interpreter", "tflite_runtime": "tflite_runtime.interpreter"}
WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
"""The ops that take nearly all of a network's time; the second input of each is its weights."""
NO_RUNTIME = "no TFLite runtime is installed: pip install 'reidd[tflite]'"


class TFLite(Backend):
    """TFLite files, float, dynamic-range or fully quantised, on the CPU."""

    engine: ClassVar[Engine] = Engine.TFLITE
    accelerators: ClassVar[tuple[Accelerator, ...]] = (Accelerator.CPU,)
    formats: ClassVar[frozenset[str]] = frozenset({"tflite"})

    def __init__(self, interpreter: Any):
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]
        self._output = interpreter.get_output_details()[0]
        shape = self._input["shape"].tolist()
        self._step = max(1, shape[0])
        # (n, 3, h, w), as PyTorch's converter leaves it; TensorFlow's has (n, h, w, 3).
        self._channels_first = shape[1:2] == [3] != shape[-1:]

    @classmethod
    def obstacle(cls, accelerator: Accelerator) -> str | None:
        """Only a missing runtime is in the way of the CPU."""
        del accelerator
        return None if has_runtime() else NO_RUNTIME

    @classmethod
    def load(cls, model: ModelConfig, accelerator: Accelerator, *, threads: int) -> "TFLite":
        """Build an interpreter over the model's bytes."""
        del accelerator
        file = model.file(cls.formats)
        if file is None:
            raise ValueError(f"{model.id} has no TFLite file")
        loaded = cls(cpu_interpreter(model.read(file), threads))
        if (taken := loaded.layers_taken()) < (every := loaded.layers()):
            log.warning(
                "XNNPACK runs %d of the %d layers of %s, the rest several times slower: can /proc/cpuinfo be read, "
                "and does this runtime's XNNPACK take a file of its kind?", taken, every, file.file,
            )  # fmt: skip
        return loaded

    @property
    def remark(self) -> str:
        """How much of the network XNNPACK runs; it turns itself off without a word."""
        return f"XNNPACK runs {self.layers_taken()} of {self.layers()} layers"

    def layers(self) -> int:
        """How many layers with weights the network has, and at least one, if it has none."""
        return max(1, len(self._weights()))

    def layers_taken(self) -> int:
        """How many of them XNNPACK, or another delegate, took over."""
        # Nothing public says so. A delegate is an op whose inputs are all that it reads, the weights among them.
        delegates = [op for op in self._interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
        read = {int(i) for op in delegates for i in op["inputs"]}
        weights = self._weights()
        return sum(w in read for w in weights) if weights else min(1, len(delegates))

    def _weights(self) -> list[int]:
        """The tensor of weights of each layer; those in float16 are what a DEQUANTIZE in front of the layer reads."""
        ops = self._interpreter._get_ops_details()
        halves = {int(op["outputs"][0]): int(op["inputs"][0]) for op in ops if op["op_name"] == "DEQUANTIZE"}
        found = [int(op["inputs"][1]) for op in ops if op["op_name"] in WEIGHTED]
        return [halves.get(weights, weights) for weights in found]

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """In steps of the file's own batch size, nearly always 1.

        Most files fix it in a RESHAPE, and where it may be changed (`resize_tensor_input`), more than one image at
        once took 1.0 to 1.4 times as long for each: docs/backends.md has the figures.
        """
        values = quantised(batch, self._input)
        if self._channels_first:
            values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        steps = [self._run(values[at : at + self._step]) for at in range(0, len(values), self._step)]
        if not steps:
            return np.empty((0, int(np.prod(self._output["shape"])) // self._step), np.float32)
        return np.concatenate(steps)

    def close(self) -> None:
        """Let the interpreter go."""
        self._interpreter = None

    def run_once(self) -> None:
        """Run the network on black, to see whether it runs at all."""
        self._run(np.zeros(self._input["shape"], self._input["dtype"]))

    def _run(self, values: np.ndarray) -> np.ndarray:
        wanted = len(values)
        if wanted < self._step:
            values = np.concatenate([values, np.repeat(values[-1:], self._step - wanted, axis=0)])
        self._interpreter.set_tensor(self._input["index"], values)
        self._interpreter.invoke()
        # get_tensor copies, where tensor() would hand out a view of the interpreter's own buffer.
        output = self._interpreter.get_tensor(self._output["index"])
        return dequantised(output, self._output).reshape(self._step, -1)[:wanted]


def has_runtime() -> bool:
    """Whether either runtime is installed; imports neither."""
    return any(map(find_spec, RUNTIMES))


def runtime() -> Any:
    """Import the runtime's module, which has `Interpreter` and `load_delegate`."""
    return import_module(next(module for name, module in RUNTIMES.items() if find_spec(name)))


def cpu_interpreter(content: bytes, threads: int) -> Any:
    """Build an interpreter with XNNPACK, or without where XNNPACK refuses the file."""
    try:
        return interpreter(content, num_threads=threads)
    except RuntimeError:
        # XNNPACK refuses some int8 files that the plain kernels run.
        plain = runtime().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        return interpreter(content, num_threads=threads, experimental_op_resolver_type=plain)


def interpreter(content: bytes, **options: Any) -> Any:
    """Build an interpreter that is ready to run.

    Raises:
        RuntimeError: the file is none that the runtime takes, or tflite-runtime meets numpy 2.
    """
    try:
        built = runtime().Interpreter(model_content=content, **options)
        built.allocate_tensors()
    except SystemError as error:
        # tflite-runtime was built for numpy 1: it imports with numpy 2 and fails only here.
        raise RuntimeError("tflite-runtime needs numpy<2: pip install 'reidd[tflite-runtime]'") from error
    except ValueError as error:
        raise RuntimeError(refusal(str(error))) from error
    return built


def refusal(said: str) -> str:
    """What a runtime's words on a file that it does not take mean, and what to do."""
    if "Didn't find op" in said:
        missing, _, _ = said.partition(". ")
        return f"the file is newer than this runtime: {missing}; use ai-edge-litert, or an older converter"
    return f"it is no TFLite file: {said}"


def quantised(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Real values as the tensor holds them: `round(value / scale) + zero point` where it holds integers."""
    kind = np.dtype(tensor["dtype"])
    if kind == np.float32:
        return values
    scale, zero = tensor["quantization"]
    limits = np.iinfo(kind)
    rounded = np.clip(np.round(values / (scale or 1) + zero), limits.min, limits.max)
    return np.asarray(rounded, kind)


def dequantised(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """What the tensor holds as real values: `(value - zero point) * scale` where it holds integers."""
    if values.dtype == np.float32:
        return values
    scale, zero = tensor["quantization"]
    return np.asarray((values.astype(np.float32) - np.float32(zero)) * np.float32(scale or 1))


@hookimpl
def reidd_backends() -> Iterable[type[Backend]]:
    """The one backend of this plugin."""
    return [TFLite]
