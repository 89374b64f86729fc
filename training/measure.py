"""Measures a model folder: every file of it, through the backend reidd itself would use, mirror on and off."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from reidd.distances import unit
from reidd.engines import Accelerator, Engine
from reidd.features import Extractor
from reidd.model import FILE_NAME, ModelConfig
from reidd.plugins import Registry
from training.crops import Crop, crops_of, split_market
from training.figures import Acceptance, Ranking, Seen, acceptances, both_ways, ranking

ENGINE_OF = {"onnx": Engine.DNN, "tflite": Engine.TFLITE}
_TIMED_IMAGES = 200


class Sample(NamedTuple):
    """Queries named right, the farthest right answer and the nearest that a stranger comes."""

    named_right: int
    queries: int
    farthest_right: float
    nearest_stranger: float


class Row(NamedTuple):
    """One line of the table: a file, with or without the mirror."""

    engine: str
    precision: str
    mirror: bool
    milliseconds: float
    rankings: dict[str, Ranking]
    acceptances: dict[str, list[Acceptance]]
    sample: Sample | None


class Trial(NamedTuple):
    """Two lists of crops; of a set with two cameras, each is ranked against the other."""

    queries: list[Crop]
    gallery: list[Crop]
    two_cameras: bool = False
    open_set: bool = True


class Variant(NamedTuple):
    """One file of a model folder with the engine that runs it."""

    engine: str
    precision: str
    extractor: Extractor


Progress = Callable[[Sequence[Crop], str], Iterator[Crop]]


def variants(folder: Path) -> Iterator[Variant]:
    """Load each file of the folder in turn, one thread each."""
    model = ModelConfig(folder / FILE_NAME)
    published = model.parameters
    for file in model.files:
        parameters = {
            "model_file": file.file,
            "size": published.size,
            "mean": published.mean,
            "scalefactor": published.scalefactor,
            "crop": published.crop,
            "swaprb": published.swaprb,
        }
        extras = {"files": [{"file": file.file, "format": file.format, "precision": file.precision}]}
        alone = ModelConfig({"id": model.id, "model_parameters": parameters, "reidd": extras}, folder)
        engine = ENGINE_OF[file.format]
        with Extractor.load(alone, engine, Accelerator.DEFAULT, registry=Registry(), threads=1) as extractor:
            yield Variant(engine.value, file.precision, extractor)


def rows(
    folder: Path, *, data: Path, left_out: Sequence[str], sample: Path | None, progress: Progress
) -> Iterator[Row]:
    """Yield the table line by line: two for each file of the folder, without and with the mirror."""
    for engine, precision, extractor in variants(folder):
        seen = {}
        for name, trial in trials(data, left_out).items():
            label = f"{engine} {precision} {name}"
            seen[name] = (trial, *(see(extractor, crops, progress, label) for crops in trial[:2]))
        for mirror in (False, True):
            rankings, limits = {}, {}
            for name, (trial, *both) in seen.items():
                queries, gallery = (_one_view(side, mirror) for side in both)
                rankings[name] = (both_ways if trial.two_cameras else ranking)(queries, gallery)
                if trial.open_set:
                    limits[name] = acceptances(Seen(*map(np.concatenate, zip(queries, gallery, strict=True))))
            named = name_sample(extractor, sample, mirror=mirror) if sample else None
            yield Row(engine, precision, mirror, milliseconds(extractor, mirror=mirror), rankings, limits, named)


def trial_names(left_out: Sequence[str]) -> tuple[str, ...]:
    """Name the sets in the order of the table."""
    return ("Market-1501 test", "held", *left_out)


def trials(data: Path, left_out: Sequence[str]) -> dict[str, Trial]:
    """Collect the sets to measure on. All pairs of the Market-1501 test would be 200 million: no thresholds from it."""
    query, gallery = (_unprefixed(crops_of(data, f"market1501_{part}")) for part in ("query", "gallery"))
    found = [Trial(query, gallery, open_set=False), Trial(*held(data))]
    for name in left_out:
        crops = crops_of(data, name)
        cameras = ([crop for crop in crops if crop.camera == camera] for camera in (1, 2))
        found.append(Trial(*cameras, two_cameras=True))
    return dict(zip(trial_names(left_out), found, strict=True))


def held(data: Path) -> tuple[list[Crop], list[Crop]]:
    """Of Market's held persons, the first crop of each person and camera, and the rest."""
    crops = split_market(crops_of(data, "market1501-train"))[1]
    first = {(crop.person, crop.camera): crop for crop in reversed(crops)}
    queries = [crop for crop in crops if first[crop.person, crop.camera] is crop]
    return queries, [crop for crop in crops if first[crop.person, crop.camera] is not crop]


def see(extractor: Extractor, crops: Sequence[Crop], progress: Progress, label: str) -> Seen:
    """Features of the crops (n, 2, dim): as they are, and mirrored."""
    plain, mirrored = [], []
    for crop in progress(crops, label):
        image = cv2.imread(str(crop.path))
        both = extractor.features([image, np.ascontiguousarray(image[:, ::-1])], flip_horizontal=False)
        plain.append(both[0])
        mirrored.append(both[1])
    persons, cameras = np.array([c.person for c in crops]), np.array([c.camera for c in crops])
    return Seen(np.stack([plain, mirrored], 1), persons, cameras)


def name_sample(extractor: Extractor, sample: Path, *, mirror: bool) -> Sample:
    """Name the crops in `queries/` by the nearest in `gallery/`; id 0 is a stranger."""
    (gallery, known), (queries, asked) = (_sample_part(extractor, sample / p, mirror) for p in ("gallery", "queries"))
    distance = 1 - queries @ gallery.T
    named, nearest = known[distance.argmin(1)], distance.min(1)
    right = named == asked
    return Sample(
        int(right.sum()), int((asked != 0).sum()), float(nearest[right].max()), float(nearest[asked == 0].min())
    )


def milliseconds(extractor: Extractor, *, mirror: bool) -> float:
    """Median time of one image, preprocessing included."""
    image = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)
    times = []
    for _ in range(_TIMED_IMAGES):
        start = time.perf_counter()
        extractor.features([image], flip_horizontal=mirror)
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times[_TIMED_IMAGES // 10 :]))


def _one_view(seen: Seen, mirror: bool) -> Seen:
    features = unit(seen.features.sum(1)) if mirror else seen.features[:, 0]
    return seen._replace(features=features)


def _unprefixed(crops: list[Crop]) -> list[Crop]:
    """Drop the folder from the names: queries and gallery lie in two folders, but hold the same persons."""
    return [crop._replace(person=(crop.person or "").split("/")[1]) for crop in crops]


def _sample_part(extractor: Extractor, folder: Path, mirror: bool) -> tuple[np.ndarray, np.ndarray]:
    paths = sorted(folder.glob("*.jpg"))
    images = [cv2.imread(str(path)) for path in paths]
    return extractor.features(images, flip_horizontal=mirror), np.array([int(p.name.split("_")[0]) for p in paths])
