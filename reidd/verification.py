"""Whether the engine/accelerator pairs of this machine make the same features of a model's images."""

import platform
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np

from reidd import certificates, golden, trials
from reidd.certificates import Certificate, Failure, PairFigures
from reidd.errors import BackendError, BackendUnavailableError
from reidd.features import preprocess
from reidd.model import ModelConfig, ModelFile
from reidd.plugins import InstalledPair, Registry
from reidd.trials import Trial

PACKAGES = (
    "reidd",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "ai-edge-litert",
    "tflite-runtime",
    "onnxruntime",
)
RANK_AGREEMENT = 0.9
"""Where all images look alike to the network, cosines are high and only the order of the nearest tells: with pixels
scaled wrongly the embedded int8 file kept a worst cosine of 0.990, and agreed on 72 % of the
nearest. Right, it has 100 %.
"""
NEARLY = 0.01
"""Of how far the nearest image stands out from the middle one. Images that follow one another are all nearly as near:
over 200, five of each crop, the embedded int8 file, which is right, had 92 % without this and 100 % with it; with
pixels scaled wrongly 36 and 45 %.
"""


def verify(model: ModelConfig, images: Sequence[np.ndarray], *, registry: Registry) -> Certificate:
    """Run every ready pair over images, `(h, w, 3)` uint8 BGR each, and compare it with the pair of `model_file`.

    Raises:
        BackendUnavailableError: no pair that is ready here runs the model.
    """
    batch = np.stack([preprocess(image, model) for image in images])
    done: list[tuple[InstalledPair, ModelFile, Trial]] = []
    failures = []
    for pair, file in candidates(model, registry):
        try:
            done.append((pair, file, trials.run(model, file, pair.engine, pair.accelerator, batch)))
        except BackendError as error:
            failures.append(Failure(pair.engine, pair.accelerator, file.file, str(error)))
    if not done:
        reasons = "; ".join(failure.reason for failure in failures) or "no pair is ready here"
        raise BackendUnavailableError(f"nothing here runs {model.id}: {reasons}")
    # The file that the model's author calls the model is right by definition.
    done.sort(key=lambda d: d[1].file != model.parameters.model_file)
    first, _, reference = done[0]
    return Certificate(
        model=model.id,
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=f"{platform.machine()}, {platform.platform()}",
        versions=trials.versions(PACKAGES),
        images=len(images),
        bar=golden.WORST_COSINE,
        reference=str(first),
        pairs=[figures(model, pair, file, trial, reference.outputs) for pair, file, trial in done],
        failures=failures,
    )


def candidates(model: ModelConfig, registry: Registry) -> list[tuple[InstalledPair, ModelFile]]:
    """Every pair that is ready here, with each of the model's files that it reads."""
    ready = [p for p in registry.pairs(model) if p.obstacle is None]
    return [(pair, file) for pair in ready for file in model.files if file.format in pair.backend.formats]


def figures(
    model: ModelConfig, pair: InstalledPair, file: ModelFile, trial: Trial, reference: np.ndarray
) -> PairFigures:
    """Compare one pair's outputs `(n, dim)` with the reference's."""
    if trial.outputs.shape != reference.shape:
        cosines = np.zeros(len(reference))
    else:
        cosines = golden.cosines(trial.outputs, reference)
    ranks = rank_agreement(trial.outputs, reference)
    return PairFigures(
        engine=pair.engine,
        accelerator=pair.accelerator,
        file=file.file,
        sha256=certificates.checksum(model, file),
        mean_cosine=round(float(cosines.mean()), 6),
        worst_cosine=round(float(np.min(cosines)), 6),
        rank_agreement=round(ranks, 4),
        ms=round(trial.ms, 2),
        agrees=bool(np.min(cosines) >= golden.WORST_COSINE) and ranks >= RANK_AGREEMENT,
        remark=trial.remark,
    )


def rank_agreement(outputs: np.ndarray, reference: np.ndarray) -> float:
    """The share of images whose nearest other image is to the reference the nearest too, or `NEARLY` as near."""
    judged = _between(reference)
    nearest = judged.max(axis=1)
    found = judged[np.arange(len(judged)), _between(outputs).argmax(axis=1)]
    return float((found >= nearest - NEARLY * (nearest - np.median(judged, axis=1))).mean())


def _between(outputs: np.ndarray) -> np.ndarray:
    """The cosine of each row with each other one, `(n, n)`, and -1 with itself."""
    rows = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    dots = rows @ rows.T
    np.fill_diagonal(dots, -1)
    return np.asarray(dots)
