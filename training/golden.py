"""Eight synthetic crops, which anybody may carry, to test a model file with."""

import numpy as np

_CELL = 12  # pixels
_FIGURES = (  # head, shirt, trousers
    ((200, 160, 130), (190, 30, 40), (40, 50, 110)),
    ((90, 60, 45), (240, 240, 235), (20, 20, 20)),
)
_PARTS = ((0.03, 0.17, 0.12), (0.17, 0.52, 0.3), (0.52, 0.97, 0.2))  # top, bottom, half width


def golden_crops(height: int, width: int) -> np.ndarray:
    """Ramps, checks, stripes, a disc, fine and coarse noise and two crude figures, (8, h, w, 3) uint8 RGB."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    across, down = x / (width - 1), y / (height - 1)
    rng = np.random.default_rng(7)
    checks = 255.0 * ((x // _CELL + y // _CELL) % 2)
    disc = 255.0 * (np.hypot(across - 0.5, (down - 0.5) * 2) < 0.4)
    fine = rng.integers(0, 256, (height, width, 3)).astype(np.float32)
    coarse = rng.integers(0, 256, (height // 24, width // 24, 3))
    waves = [127 + 127 * np.sin(angle) for angle in (down * 40, down * 40 + 2, across * 30)]
    crops = [
        np.stack([255 * across, 255 * down, 255 * (1 - across)], -1),
        np.stack([checks, 255 - checks, np.full_like(checks, 40)], -1),
        np.stack(waves, -1),
        np.stack([disc, 255 * down, 255 - disc], -1),
        fine,
        _enlarge(coarse, height, width),
        *(_figure(across, down, colours) for colours in _FIGURES),
    ]
    return np.stack(crops).clip(0, 255).astype(np.uint8)


def _enlarge(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest neighbour, the same to the last bit everywhere."""
    rows = np.arange(height) * len(cells) // height
    columns = np.arange(width) * cells.shape[1] // width
    return cells[rows][:, columns].astype(np.float32)


def _figure(across: np.ndarray, down: np.ndarray, colours: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    image = np.full((*across.shape, 3), 110.0, np.float32)
    for colour, (top, bottom, half) in zip(colours, _PARTS, strict=True):
        image[(down >= top) & (down < bottom) & (abs(across - 0.5) < half)] = colour
    return image
