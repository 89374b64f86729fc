"""Golden vectors: crops with the outputs that a right network gives for them, so that a backend can be judged."""

import zlib
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from reidd.errors import ConfigError
from reidd.model import ModelConfig

WORST_COSINE = 0.98
"""Below this, what two backends make of one crop is not one feature: they must not share a gallery.

Measured over 40 crops, worst: float files 1.0000, dynamic range 0.9996, int8 0.9964; two networks of one family -0.11.
"""

SAME_COSINE = 0.9999
"""One network in float twice: batches, runtimes and their rounding make less of a difference."""
FLOAT_COSINE = 0.999
"""What a float file reaches on any sound runtime: 0.999999 or more wherever it was measured (docs/backends.md)."""


UNREADABLE = (OSError, KeyError, ValueError, EOFError, MemoryError, BadZipFile, zlib.error, NotImplementedError)
"""What an archive of arrays may raise when it is damaged, or none."""


class Golden(NamedTuple):
    """What a model folder's golden file holds.

    `crops` is `(n, h, w, 3)` uint8, already of the network's size and in its order of channels; `embeddings` is
    `(n, dim)` float32, as the network gives them.
    """

    crops: np.ndarray
    embeddings: np.ndarray


def read(model: ModelConfig) -> Golden | None:
    """Read the golden vectors of a model folder, or None when it has none.

    Raises:
        ConfigError: the file is not what it should be.
    """
    if model.extras.golden is None:
        return None
    path = model.base_dir / model.extras.golden
    try:
        # Opened here, for numpy leaves open what turns out to be cut short, and takes one array for an archive.
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
            golden = Golden(arrays["crops"], arrays["embeddings"].astype(np.float32))
    except UNREADABLE as error:
        raise ConfigError(
            f"{path}: is no file of golden vectors: {error}; expected crops and embeddings, as np.savez writes them"
        ) from None
    if not _are_rows(golden.embeddings, model.extras.dim):
        raise ConfigError(
            f"{path}: embeddings are {golden.embeddings.shape}, expected a finite row with a length for each crop, "
            f"as long as the network's"
        )
    width, height = model.size
    if golden.crops.shape != (len(golden.embeddings), height, width, 3) or golden.crops.dtype != np.uint8:
        raise ConfigError(
            f"{path}: crops are {golden.crops.shape}, expected uint8 ({len(golden.embeddings)}, {height}, {width}, 3)"
        )
    return golden


def _are_rows(embeddings: np.ndarray, dim: int | None) -> bool:
    """Whether a cosine with each of them means something."""
    if embeddings.ndim != 2 or not len(embeddings) or dim not in (None, embeddings.shape[1]):
        return False
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    return bool((np.isfinite(lengths) & (lengths > 0)).all())


def batch(crops: np.ndarray, model: ModelConfig) -> np.ndarray:
    """Turn crops into what the network takes: `(crop - mean) * scalefactor / std`, float32."""
    values = crops.astype(np.float32) - np.array(model.parameters.mean, np.float32)
    return np.asarray(values * (np.float32(model.parameters.scalefactor) / np.array(model.extras.std, np.float32)))


def noise(model: ModelConfig, count: int = 4) -> np.ndarray:
    """`(count, h, w, 3)` uint8 crops for a model without golden ones: blocks of colour, the same on every run."""
    width, height = model.size
    coarse = np.random.default_rng(0).integers(0, 256, (count, -(-height // 16), -(-width // 16), 3), np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]


def cosines(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosine of each row `(n, dim)` with the same row of `others`: `(n,)` float64."""
    rows, others = rows.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    return np.asarray((rows * others).sum(axis=1) / lengths)
