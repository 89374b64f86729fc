"""Normalisation of trained features: in what crops differ for no good reason, they come to be compared less.

That is, how the crops of one person differ (Hatch, Kajarekar, Stolcke: Within-Class Covariance Normalization for
SVM-based Speaker Recognition, Interspeech 2006), and how bad images of one crop do. A fixed matrix behind the last
layer, so it goes into that layer's weights and costs no time.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from reidd.distances import unit
from training.crops import Crop, read
from training.export import answers
from training.network import StripeNet
from training.run import load_network, save_network

PERSON_SHARE = 0.4
"""Of the covariance within a person."""
IMAGE_SHARE = 0.3
"""Of the covariance within a crop. The rest is the identity, for there are more directions than are known well."""


def normalise(checkpoint: Path, new: Path, crops: Iterator[Crop], *, height: int, width: int) -> None:
    """Write another checkpoint, of the same network but for its last layer; `crops` have persons."""
    network, rng = load_network(checkpoint), np.random.default_rng(0)
    features, persons, spoilt = [], [], []
    while some := list(islice(crops, 32)):
        images = read(some, height=height, width=width)
        features.append(unit(answers(network, images)))
        persons += [crop.person for crop in some]
        one, other = (unit(answers(network, np.stack([spoil(image, rng) for image in images]))) for _ in range(2))
        spoilt.append(one - other)
    matrix = normalisation(within_person(np.concatenate(features), persons), np.cov(np.concatenate(spoilt).T))
    multiply_features(network, matrix)
    save_network(network, new)


def spoil(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give an image as a bad camera might: 18 to 39 pixels wide, blurred, shifted by a twentieth, mirrored or not."""
    height, width = image.shape[:2]
    small = int(rng.integers(18, 40))
    image = cv2.resize(image, (small, small * height // width), interpolation=cv2.INTER_AREA)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5))
    down, right = (int(rng.integers(-side // 20, side // 20 + 1)) for side in (height, width))
    image = np.roll(image, (down, right), (0, 1))
    return image[:, ::-1] if rng.random() < 0.5 else image


def within_person(features: np.ndarray, persons: Sequence[str | None]) -> np.ndarray:
    """Covariance (dim, dim) of the features (n, dim) of a person about their mean."""
    _, person = np.unique(np.array(persons), return_inverse=True)
    means = np.zeros((person.max() + 1, features.shape[1]))
    np.add.at(means, person, features)
    means /= np.bincount(person)[:, None]
    return np.cov((features - means[person]).T)


def normalisation(person: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The matrix (dim, dim) for unit features: the inverse root of the two covariances and the identity, mixed."""
    dim = len(person)
    person, image = (covariance * dim / np.trace(covariance) for covariance in (person, image))
    mixed = PERSON_SHARE * person + IMAGE_SHARE * image + (1 - PERSON_SHARE - IMAGE_SHARE) * np.eye(dim)
    variances, directions = np.linalg.eigh(mixed)
    return np.asarray(directions / np.sqrt(variances) @ directions.T)


def multiply_features(network: StripeNet, matrix: np.ndarray) -> None:
    """Make every feature of a trained network the product of the matrix with what it was."""
    folded = nn.utils.fuse_linear_bn_eval(network.embed, network.norm)
    by = torch.from_numpy(matrix.astype(np.float32))
    norm = network.norm
    with torch.no_grad():
        network.embed.weight.copy_(by @ folded.weight)
        nn.init.zeros_(norm.running_mean)
        nn.init.constant_(norm.running_var, 1 - norm.eps)
        nn.init.ones_(norm.weight)
        norm.bias.copy_(by @ folded.bias)
