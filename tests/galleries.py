"""Small galleries, and what to put into them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from reidd.gallery import Gallery, Retention

DIM = 8
SPACE = bytes(range(32))


def feature(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, DIM)).astype(np.float32)


def features(count: int) -> np.ndarray:
    return np.concatenate([feature(seed) for seed in range(count)])


def opened(folder: Path | None = None, **options) -> Gallery:
    """A gallery of ten: in a folder, or in this process's memory."""
    if folder is not None:
        options = {"ring_path": folder / "gallery", "store_path": folder / "gallery.sqlite", **options}
    return Gallery.open(**{"dim": DIM, "space": SPACE, "capacity": 10, **options})


def change(folder: Path, statement: str, *values: object) -> None:
    """Change the store of a closed gallery behind its back."""
    with closing(sqlite3.connect(folder / "gallery.sqlite")) as connection, connection:
        connection.execute(statement, values)


def held(gallery: Gallery) -> list[tuple[int, int]]:
    """Number and id of each instance, oldest first."""
    rows = gallery.reader.rows()
    return list(zip(rows.numbers.tolist(), rows.ids.tolist(), strict=True))


def everything(gallery: Gallery) -> tuple:
    """All that searching a gallery and asking it about ids gives."""
    rows = gallery.reader.rows(limit=1000)
    return held(gallery), rows.features.tobytes(), rows.times_ns.tolist(), labels_of(gallery), retention_of(gallery)


IDS = range(100)
"""Those that tests use: asked one by one, so that nothing stays known about one that is gone."""


def labels_of(gallery: Gallery) -> dict[int, str]:
    """The label of every id that has one."""
    return {id: label for id in IDS if (label := gallery.label(id)) is not None}


def pinned_of(gallery: Gallery) -> list[int]:
    return [id for id in IDS if gallery.identity(id).pinned]


def retention_of(gallery: Gallery) -> Retention:
    """What holds beside instances and labels."""
    ttls_s = {id: ttl_s for id in IDS if (ttl_s := gallery.identity(id).ttl_s) is not None}
    return Retention(tuple(pinned_of(gallery)), ttls_s, gallery.limit, gallery.ttl_s)
