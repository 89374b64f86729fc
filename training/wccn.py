"""Within-class covariance normalisation: in what the crops of one person differ most, crops come to be compared less.

Hatch, Kajarekar, Stolcke: Within-Class Covariance Normalization for SVM-based Speaker Recognition, Interspeech 2006.
A fixed matrix behind the last layer, so it goes into that layer's weights and costs no time.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from reidd.distances import unit
from training.crops import Crop, read
from training.export import answers
from training.network import StripeNet
from training.run import load_network, save_network

MEASURED_SHARE = 0.5
"""Of the covariance. The rest is the identity, for there are more directions than are known well from these persons."""


def normalise(checkpoint: Path, new: Path, crops: Iterator[Crop], *, height: int, width: int) -> None:
    """Write another checkpoint, of the same network but for its last layer; `crops` have persons."""
    network = load_network(checkpoint)
    features, persons = [], []
    while some := list(islice(crops, 32)):
        features.append(unit(answers(network, read(some, height=height, width=width))))
        persons += [crop.person for crop in some]
    multiply_features(network, normalisation(np.concatenate(features), persons))
    save_network(network, new)


def normalisation(features: np.ndarray, persons: Sequence[str | None]) -> np.ndarray:
    """The matrix (dim, dim) for unit features (n, dim): the inverse root of the covariance within a person."""
    _, person = np.unique(np.array(persons), return_inverse=True)
    means = np.zeros((person.max() + 1, features.shape[1]))
    np.add.at(means, person, features)
    means /= np.bincount(person)[:, None]
    within = np.cov((features - means[person]).T, bias=True)
    dim = len(within)
    measured = within * dim / np.trace(within)
    variances, directions = np.linalg.eigh(MEASURED_SHARE * measured + (1 - MEASURED_SHARE) * np.eye(dim))
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
