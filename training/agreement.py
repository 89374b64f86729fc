"""How nearly the files of a model folder say what their checkpoint says."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from reidd.distances import unit
from training.crops import Crop
from training.export import answers
from training.measure import variants
from training.run import load_network


def agreement(checkpoint: Path, folder: Path, crops: Sequence[Crop]) -> Iterator[str]:
    """Yield a line per file: cosine to the checkpoint's own features, over these crops."""
    network = load_network(checkpoint)
    images = [cv2.imread(str(crop.path)) for crop in crops]
    for engine, precision, extractor in variants(folder):
        size = extractor.model.size
        rgb = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)[..., ::-1] for image in images])
        cosine = (extractor.features(images, flip_horizontal=False) * unit(answers(network, rgb))).sum(1)
        lowest = f"{np.percentile(cosine, 1):.6f} | {cosine.min():.6f}"
        yield f"| {engine} | {precision} | {cosine.mean():.6f} | {lowest} |"
