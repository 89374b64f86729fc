"""Eight crops of real people, which this repository may carry, to test a model file with."""

import cv2
import numpy as np

from reidd.places import sample_folder


def golden_crops(height: int, width: int) -> np.ndarray:
    """Every other gallery crop of the sample, the first eight, (8, h, w, 3) uint8 RGB.

    Real crops and no drawn ones: on ramps, checks and noise, which no camera shows, an int8 file may differ from the
    float one (cosine below 0.98) although it agrees on every image of a person (0.994 and more).
    """
    files = sorted((sample_folder() / "gallery").glob("*.jpg"))[::2][:8]
    crops = [cv2.resize(cv2.imread(str(f)), (width, height), interpolation=cv2.INTER_LINEAR) for f in files]
    return np.stack(crops)[..., ::-1]
