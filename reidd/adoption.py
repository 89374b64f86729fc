"""How a user's ONNX or TFLite file becomes a model folder."""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from reidd import golden, trials
from reidd.errors import BackendError, BackendUnavailableError, ConfigError
from reidd.model import FILE_NAME, PURPOSE, ModelConfig
from reidd.plugins import Pair, Registry
from reidd.trials import Trial

GOLDEN = "golden.npz"
GOLDEN_CROPS = 8
MAX_BYTES = 1 << 30
ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
EDGE_TPU_OP = b"edgetpu-custom-op"


def adopt(
    file: Path,
    *,
    id: str,
    folder: Path,
    size: tuple[int, int],
    licence: str,
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scalefactor: float = 1.0,
    swaprb: bool = False,
    crop: bool = False,
    registry: Registry,
) -> tuple[ModelConfig, Pair]:
    """Make a model folder of one file, below `folder`; return it, and the pair that ran it first.

    The file is run in a throw-away process before anything of it is kept. What that gives becomes the golden
    vectors, with which every later load, on any pair, is compared.

    Raises:
        ConfigError: the file, the id or the size is not right, or there is such a model already.
        BackendUnavailableError: no backend here runs the file; says why.
    """
    content = _read(file)
    if not ID.fullmatch(id):
        raise ConfigError(f"{id!r} is no model id; expected <publisher>/<name>, letters, digits, dots, - and _")
    target = folder / id
    if target.exists():
        raise ConfigError(f"{target}: there is a model {id} already; choose another id, or remove the folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        (made / file.name).write_bytes(content)
        parameters = {
            "purpose": PURPOSE,
            "framework_type": file.suffix.removeprefix("."),
            "model_file": file.name,
            "size": list(size),
            "mean": list(mean),
            "scalefactor": scalefactor,
            "swaprb": swaprb,
            "crop": crop,
        }
        listed = {
            "file": file.name,
            "format": file_format(content, file.name),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        extras: dict[str, Any] = {"licence": licence, "files": [listed]}
        document = {"id": id, "license": licence, "model_parameters": parameters, "reidd": extras}
        _write(made, document)
        pair, trial, crops = _first_run(ModelConfig(made / FILE_NAME), registry)
        np.savez(made / GOLDEN, crops=crops, embeddings=trial.outputs)
        extras.update(dim=trial.outputs.shape[1], golden=GOLDEN)
        _write(made, document)
        made.chmod(0o755)
        os.rename(made, target)  # noqa: PTH104
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return ModelConfig(target / FILE_NAME), pair


def file_format(content: bytes, name: str) -> str:
    """The format of a network's file, by what is in it: "tflite", "edgetpu" or "onnx".

    Raises:
        ConfigError: it is none of these.
    """
    if content[4:8] == b"TFL3":
        return "edgetpu" if EDGE_TPU_OP in content else "tflite"
    if name.endswith(".onnx") and content:
        return "onnx"
    raise ConfigError(f"{name}: is neither a TFLite nor an ONNX file; convert it to one of them first")


def _first_run(model: ModelConfig, registry: Registry) -> tuple[Pair, Trial, np.ndarray]:
    crops = golden.noise(model, GOLDEN_CROPS)
    reasons = []
    for pair in registry.pairs(model):
        if pair.obstacle is not None:
            continue
        try:
            trial = trials.run(model, model.files[0], pair.engine, pair.accelerator, golden.batch(crops, model))
        except BackendError as error:
            reasons.append(str(error))
            continue
        return pair, trial, crops
    formats = ", ".join(f.format for f in model.files)
    reason = "; ".join(reasons) or f"no backend that is ready reads {formats}"
    raise BackendUnavailableError(f"nothing here runs {model.parameters.model_file}: {reason}")


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file}: is larger than {MAX_BYTES >> 20} MiB")
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _write(folder: Path, document: dict[str, Any]) -> None:
    (folder / FILE_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
