"""How a user's file of a network becomes a model folder, or joins one."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from reidd import certificates, golden, trials
from reidd.certificates import PairFigures
from reidd.engines import Accelerator
from reidd.errors import BackendError, BackendUnavailableError, ConfigError
from reidd.features import fitted, preprocess
from reidd.model import FILE_NAME, PURPOSE, ModelConfig, ModelFile
from reidd.model_files import MAX_BYTES
from reidd.plugins import InstalledPair, Registry
from reidd.trials import Trial
from reidd.verification import RANK_AGREEMENT, figures

GOLDEN = "golden.npz"
GOLDEN_CROPS = 8
ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
EDGE_TPU_OP = b"edgetpu-custom-op"
ONNX_ELSEWHERE = b"\x0a\x08location\x12"
"""The key under which a tensor of an ONNX file names the file of its values, as new exporters of PyTorch do."""


class Adopted(NamedTuple):
    """A model with a file that came in, the pair that ran it first, and whether that was cut from the network."""

    model: ModelConfig
    pair: InstalledPair
    network: str
    """As `Trial.network` says."""


def adopt(
    file: Path,
    *,
    id: str,
    folder: Path,
    size: tuple[int, int],
    licence: str,
    images: Sequence[np.ndarray],
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scalefactor: float = 1.0,
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    swaprb: bool = False,
    registry: Registry,
) -> Adopted:
    """Make a model folder of one file, below `folder`.

    The file is run in a throw-away process before anything of it is kept, over some of the images, `(h, w, 3)` uint8
    BGR each. What that gives becomes the golden vectors, with which every later load, on any pair, is compared.

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
    parameters = {
        "purpose": PURPOSE,
        "framework_type": file.suffix.removeprefix("."),
        "model_file": file.name,
        "size": list(size),
        "mean": list(mean),
        "scalefactor": scalefactor,
        "swaprb": swaprb,
        "crop": False,
    }
    extras: dict[str, Any] = {"licence": licence, "std": list(std), "files": [_entry(content, file.name, registry)]}
    document = {"id": id, "license": licence, "model_parameters": parameters, "reidd": extras}
    with _folder_in_the_making(target) as made:
        (made / file.name).write_bytes(content)
        _write(made, document)
        model = ModelConfig(made / FILE_NAME)
        crops = np.stack([fitted(image, model) for image in _few(images)])
        pair, trial = _first_run(model, model.files[0], golden.batch(crops, model), registry)
        np.savez_compressed(made / GOLDEN, crops=crops, embeddings=trial.outputs)
        extras.update(dim=trial.outputs.shape[1], golden=GOLDEN)
        _write(made, document)
    return Adopted(ModelConfig(target / FILE_NAME), pair, trial.network)


def extend(
    model: ModelConfig, file: Path, *, images: Sequence[np.ndarray], registry: Registry
) -> tuple[Adopted, PairFigures]:
    """Give a model a file in another format, if it makes the features of the model's own over these images.

    Raises:
        ConfigError: the file is not right, or the model has it already.
        BackendUnavailableError: no backend here runs it, or the model's own; says why.
        BackendError: it makes other features; nothing is changed.
    """
    content = _read(file)
    entry = _entry(content, file.name, registry)
    path = _free_path(model, entry)
    batch = np.stack([preprocess(image, model) for image in images])
    _, reference = _first_run(model, model.files[0], batch, registry)
    _put(path, content)
    try:
        came = msgspec.convert(entry, ModelFile)
        pair, trial = _first_run(model, came, batch, registry)
        found = figures(model, pair, came, trial, reference.outputs)
        _check_agreement(model, found)
        if model.extras.golden is None:
            # Without them a further file would make the gallery another model's.
            crops = np.stack([fitted(image, model) for image in _few(images)])
            np.savez_compressed(model.base_dir / GOLDEN, crops=crops, embeddings=_few(reference.outputs))
        _list(model, {**entry, "precision": "float32" if found.worst_cosine >= golden.SAME_COSINE else "reduced"})
    except BaseException:
        path.unlink()
        raise
    return Adopted(ModelConfig(model.origin), pair, trial.network), found


def file_format(content: bytes, name: str, known: Set[str]) -> str:
    """The format of a network's file: "tflite" or "edgetpu" by what is in it, else one of those known by its ending.

    Raises:
        ConfigError: it is none of these, or not the whole of one.
    """
    if content[4:8] == b"TFL3":
        return "edgetpu" if EDGE_TPU_OP in content else "tflite"
    ending = Path(name).suffix.removeprefix(".").lower()
    others = sorted(known - {"tflite", "edgetpu"})
    if not content or ending not in others:
        raise ConfigError(
            f"{name}: is no TFLite file, and none that a plugin here reads ({', '.join(others) or 'no other'}); "
            "convert it first, or install the plugin that reads it"
        )
    if ending == "onnx" and ONNX_ELSEWHERE in content:
        raise ConfigError(
            f"{name}: has its weights in another file; put them into this one, with "
            f"onnx.save(onnx.load({name!r}), {name!r}), or torch.onnx.export(..., external_data=False)"
        )
    return ending


def _free_path(model: ModelConfig, entry: dict[str, Any]) -> Path:
    """Where a file that comes to a model shall lie; refused when the model has it, or another of its name."""
    path = Path(model.base_dir, entry["file"])
    if any(entry["sha256"] == certificates.checksum(model, file) for file in model.files):
        raise ConfigError(f"{path.name}: {model.id} has this very file already")
    if path.exists():
        raise ConfigError(f"{path}: there is a file of this name already; choose another name")
    return path


def _check_agreement(model: ModelConfig, found: PairFigures) -> None:
    if not found.agrees:
        raise BackendError(
            f"{found.file} makes other features than {model.files[0].file}: worst cosine {found.worst_cosine:.3f} "
            f"(bar {golden.WORST_COSINE}), the same nearest image for {found.rank_agreement:.0%} "
            f"(bar {RANK_AGREEMENT:.0%}); was it made of the same network, for the same pixels?"
        )


def _few(rows: Any) -> Any:
    """Some for the golden vectors, from all over the images, or over what they gave."""
    return rows[:: max(1, len(rows) // GOLDEN_CROPS)][:GOLDEN_CROPS]


def _list(model: ModelConfig, entry: dict[str, Any]) -> None:
    """Name one more file in a model's document, and the golden vectors."""
    document = msgspec.json.decode(model.origin.read_bytes())
    files = [*(msgspec.to_builtins(f) for f in model.files), entry]
    document["reidd"] = {**document.get("reidd", {}), "golden": model.extras.golden or GOLDEN, "files": files}
    _write(model.base_dir, document)


def _first_run(
    model: ModelConfig, file: ModelFile, batch: np.ndarray, registry: Registry
) -> tuple[InstalledPair, Trial]:
    """Run one file on the first ready pair that takes it, apart."""
    pairs = [p for p in registry.pairs() if file.format in p.backend.formats]
    failures = []
    for pair in pairs:
        if pair.obstacle is not None:
            continue
        # A device's driver hears from the kernel through the network's name space that it was plugged in.
        network = pair.accelerator is not Accelerator.CPU
        try:
            return pair, trials.run(model, file, pair.engine, pair.accelerator, batch, network=network)
        except BackendError as error:
            failures.append(f"{error}; is the file whole, and the size right (WIDTHxHEIGHT)?")
    # Once some pair has tried, what the others lack helps nobody.
    reasons = failures or [f"{p}: {p.obstacle}" for p in pairs]
    reason = "; ".join(reasons) or f"no installed plugin reads {file.format}"
    raise BackendUnavailableError(f"nothing here runs {file.file}: {reason}")


@contextmanager
def _folder_in_the_making(target: Path) -> Iterator[Path]:
    """A folder beside `target` that becomes it at the end, or is gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        yield made
        made.chmod(0o755)
        os.rename(made, target)  # noqa: PTH104
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _entry(content: bytes, name: str, registry: Registry) -> dict[str, Any]:
    known = {f for backend in registry.backends for f in backend.formats}
    return {"file": name, "format": file_format(content, name, known), "sha256": hashlib.sha256(content).hexdigest()}


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file}: is larger than {MAX_BYTES >> 20} MiB")
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _write(folder: Path, document: dict[str, Any]) -> None:
    """Write the document whole or not at all: a daemon may be reading it."""
    new = (folder / FILE_NAME).with_suffix(".new")
    _put(new, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    os.replace(new, folder / FILE_NAME)  # noqa: PTH105


def _put(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; run as the owner of the folder") from None
