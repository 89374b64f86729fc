"""The colours that boxes of a model's classes are drawn in."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from reidd.errors import ConfigError


def generated_colors(count: int) -> np.ndarray:
    """`(count, 3)` uint8 BGR, far apart in hue (golden-ratio steps), the same on every run."""
    rgb = [colorsys.hsv_to_rgb((0.1 + i * 0.618034) % 1, 0.75, 0.95) for i in range(count)]
    return np.round(255 * np.array(rgb).reshape(count, 3)[:, ::-1]).astype(np.uint8)


def checked_colors(colors: Any, labels: Sequence[str] | None) -> np.ndarray:
    """`(len(labels), 3)` uint8; a ConfigError says what came instead."""
    expected = (len(labels or ()), 3)
    try:
        rows = np.asarray(colors)
    except ValueError as error:
        raise ConfigError(f"colors are no array: {error}; expected {expected}: one BGR row per label") from None
    if rows.shape != expected:
        raise ConfigError(f"colors have shape {rows.shape}, expected {expected}: one BGR row per label")
    if rows.dtype.kind not in "iuf" or not ((rows >= 0) & (rows <= 255)).all():
        raise ConfigError("colors must lie in 0 to 255")
    return rows.astype(np.uint8)
