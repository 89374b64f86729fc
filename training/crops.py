"""The labelled and unlabelled crops of the data sets, and which of them training may see.

A data folder holds one folder per set, named as the set's archive. None of it belongs to this repository.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

TRAINING_SETS = (
    "market1501-train",
    "cuhk01",
    "cuhk03p1_labeled",
    "pku_reid74",
    "prid450s",
    "unl_inria",
    "unl_mit",
    "unl_pennfudan",
)
MARKET_HELD_PERSONS = 151  # the last of Market's 751 training persons are measured, never trained on

_NAME = re.compile(r"(?:[a-z0-9]+_)?(\d{4}|none)_c(\d)")


class Crop(NamedTuple):
    """One image of one person; `person` is None where the set has no labels."""

    path: Path
    set_name: str
    person: str | None
    camera: int


def crops_of(data: Path, set_name: str) -> list[Crop]:
    """All crops of a set, sorted by file name."""
    found = []
    for path in (data / set_name).rglob("*.jpg"):
        if name := _NAME.match(path.name):
            person = None if name[1] == "none" else f"{set_name}/{name[1]}"
            found.append(Crop(path, set_name, person, int(name[2])))
    if not found:
        raise FileNotFoundError(f"no crops of {set_name!r} in {data}: unpack its archive into a folder of that name")
    return sorted(found, key=lambda crop: crop.path.name)


def split_market(crops: list[Crop]) -> tuple[list[Crop], list[Crop]]:
    """Market-1501's training crops: those to train on, and those of the held persons."""
    held = set(sorted({crop.person or "" for crop in crops})[-MARKET_HELD_PERSONS:])
    return [c for c in crops if c.person not in held], [c for c in crops if c.person in held]


def training_crops(data: Path, *, left_out: Iterable[str] = ()) -> list[Crop]:
    """Choose what the network may learn from: every training set but those left out, Market's held persons removed."""
    unknown = set(left_out) - set(TRAINING_SETS)
    if unknown:
        raise ValueError(f"no such training set: {', '.join(sorted(unknown))}; there are {', '.join(TRAINING_SETS)}")
    chosen: list[Crop] = []
    for set_name in TRAINING_SETS:
        if set_name not in left_out:
            crops = crops_of(data, set_name)
            chosen += split_market(crops)[0] if set_name == "market1501-train" else crops
    return chosen


def read(crops: Iterable[Crop], *, height: int, width: int) -> np.ndarray:
    """Read the crops as (n, height, width, 3) uint8 RGB."""
    size = (width, height)
    resized = (cv2.resize(cv2.imread(str(c.path)), size, interpolation=cv2.INTER_LINEAR) for c in crops)
    return np.stack([image[..., ::-1] for image in resized])
