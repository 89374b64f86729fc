"""A pair run over images in a throw-away process, where a hostile file or a broken driver can do no harm."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np

from reidd import certificates, confinement, distances, golden
from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError, FeatureError, ReiddError
from reidd.features import Extractor
from reidd.model import ModelConfig, ModelFile
from reidd.plugins import Registry
from reidd.protocol import MAX_PARTS

LIMIT_S = 120.0
TIMED_CALLS = 20


class Trial(NamedTuple):
    """What one pair made of the images: `(n, dim)` outputs as the network gave them, and the median of one in ms."""

    outputs: np.ndarray
    ms: float
    remark: str = ""
    """What the backend says of how it ran them."""
    network: str = ""
    """Whether it ran cut from the network: "cut", why that was not possible, or "" when it was not asked for."""


class Examination(NamedTuple):
    """How a pair did on the golden crops: the worst cosine, None without golden vectors, and an image's median ms."""

    worst_cosine: float | None
    ms: float
    remark: str


def run(
    model: ModelConfig,
    file: ModelFile,
    engine: Engine,
    accelerator: Accelerator,
    batch: np.ndarray,
    *,
    network: bool = True,
) -> Trial:
    """Run a pair with one of the model's files over a preprocessed batch, `(n, h, w, 3)` float32.

    Without `network` the process is cut from it, for files that nobody knows yet.

    Raises:
        BackendError: it failed, crashed or hung; says how.
    """
    given = io.BytesIO()
    np.savez(
        given,
        folder=str(model.base_dir.absolute()),
        pair=[engine.value, accelerator.value],
        batch=batch,
        document=_only(model, file),
    )
    pair = f"{engine}/{accelerator}"
    said = _said(pair, model, given.getvalue(), network=network)
    with np.load(io.BytesIO(said), allow_pickle=False) as arrays:
        trial = Trial(arrays["outputs"], float(arrays["ms"]), str(arrays["remark"]), str(arrays["network"]))
    try:
        distances.unit(trial.outputs)
    except FeatureError as error:
        raise BackendError(f"{pair} gave a broken feature: {error}") from None
    if len(batch) > 1 and (trial.outputs == trial.outputs[0]).all():
        raise BackendError(f"{pair} gave the same output for different images")
    return trial


def _said(pair: str, model: ModelConfig, given: bytes, *, network: bool) -> bytes:
    """Have a process of its own try a pair; return the arrays that it made, or raise with why there are none."""
    # No pipe: what a runtime forks may keep one open, or fill it.
    with _file_in_memory() as answer, _file_in_memory() as complaints:
        try:
            process = subprocess.run(  # noqa: S603  (our own interpreter and module)
                [*confinement.command(sys.executable, "-m", __name__, network=network), str(answer.fileno())],
                input=given,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=[answer.fileno()],
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BackendError(f"{pair} gave no answer within {LIMIT_S:g} s") from None
        if process.returncode < 0:
            name = confinement.signal_name(-process.returncode)
            raise BackendError(f"{pair} crashed ({name}) on {model.id}")
        said, complained = _content(answer), _content(complaints)
    if process.returncode or not said:
        last = complained.decode(errors="replace").strip().rpartition("\n")[2]
        ended = f"{pair} ended its process (status {process.returncode}) on {model.id}: {last or 'no reason given'}"
        raise BackendError(" ".join(said.decode().split()) or ended)
    return said


def examine(model: ModelConfig, file: ModelFile, engine: Engine, accelerator: Accelerator) -> Examination:
    """Load one of a model's files on a pair apart, and compare it with the golden vectors.

    Raises:
        BackendError: it failed, crashed, hung, or makes other features than it should.
    """
    if objection := certificates.objection(model, file, engine, accelerator):
        raise BackendError(objection)
    known = golden.read(model)
    crops = golden.noise(model) if known is None else known.crops
    trial = run(model, file, engine, accelerator, golden.batch(crops, model))
    if known is None:
        return Examination(None, trial.ms, trial.remark)
    if trial.outputs.shape != known.embeddings.shape:
        raise BackendError(f"gives {trial.outputs.shape[1]} values, {model.id} has {known.embeddings.shape[1]}")
    worst = float(golden.cosines(trial.outputs, known.embeddings).min())
    if worst < golden.WORST_COSINE:
        raise BackendError(f"worst cosine {worst:.3f} with the golden vectors, expected {golden.WORST_COSINE} or more")
    return Examination(worst, trial.ms, trial.remark)


def _file_in_memory() -> BinaryIO:
    return os.fdopen(os.memfd_create("trial"), "r+b")


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those of these packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Do what standard input says, and write the outputs, or why there are none, to the file that `run` gave."""
    status, said = _tried()
    with os.fdopen(int(sys.argv[1]), "wb") as answer:
        answer.write(said)
    # At once: what a runtime does at its end, or its threads never do, is not on trial.
    os._exit(status)


def _tried() -> tuple[int, bytes]:
    """The status to end with, and what to say: the outputs as arrays, else a sentence."""
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as arrays:
        document, folder, batch = str(arrays["document"]), str(arrays["folder"]), arrays["batch"]
        engine, accelerator = arrays["pair"]
    try:
        model = ModelConfig(msgspec.json.decode(document), base_dir=folder)
        pair = Registry().choose(model, Engine(engine), Accelerator(accelerator))
        backend = pair.load(model, threads=1)
        with Extractor(model, backend, pair.accelerator) as extractor:
            remark, outputs, ms = _remark(backend), _outputs(extractor, batch), _median_ms(extractor, batch[:1])
    except ReiddError as error:
        return 1, str(error).encode(errors="backslashreplace")
    except (Exception, SystemExit) as error:  # the net around one plugin
        reason = f"{engine}/{accelerator} cannot run it: {type(error).__name__}: {error}"
        return 1, reason.encode(errors="backslashreplace")
    made = io.BytesIO()
    np.savez(made, outputs=outputs, ms=ms, remark=remark, network=os.environ.get(confinement.NETWORK, ""))
    return 0, made.getvalue()


def _only(model: ModelConfig, file: ModelFile) -> str:
    """The model's document with this one of its files."""
    document = msgspec.json.decode(model.origin.read_bytes())
    document["model_parameters"]["model_file"] = file.file
    document["reidd"] = {**document.get("reidd", {}), "files": [msgspec.to_builtins(file)]}
    return msgspec.json.encode(document).decode()


def _outputs(extractor: Extractor, batch: np.ndarray) -> np.ndarray:
    """In steps of a full request, which is all that a backend has to take at once."""
    return np.concatenate([extractor.outputs(batch[at : at + MAX_PARTS]) for at in range(0, len(batch), MAX_PARTS)])


def _remark(backend: Backend) -> str:
    remark: Any = backend.remark
    if not isinstance(remark, str):
        raise TypeError(f"remark is {remark!r}; expected words, or '' when there is nothing to say")
    return remark


def _median_ms(extractor: Extractor, crop: np.ndarray) -> float:
    seconds = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        extractor.outputs(crop)
        seconds.append(time.perf_counter() - start)
    return float(1000 * np.median(seconds))


if __name__ == "__main__":
    main()
