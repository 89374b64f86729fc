"""What a student is punished for: another feature than the teacher's, other neighbours, and mistaken persons."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

_NEIGHBOUR_TEMPERATURE = 0.1
_TRIPLET_SHARPNESS = 5.0


class Weights(NamedTuple):
    """How much each loss counts."""

    cosine: float = 10.0
    neighbours: float = 2.0
    person: float = 0.2
    triplet: float = 0.5


def losses(features: torch.Tensor, teacher: torch.Tensor, persons: torch.Tensor, classifier: nn.Linear) -> torch.Tensor:
    """Compute the losses of a batch, in the order of `Weights`; `persons` is -1 where there is no label."""
    unit, labelled = functional.normalize(features), persons >= 0
    return torch.stack(
        [
            (1 - (unit * teacher).sum(1)).mean(),
            neighbour_loss(unit, teacher),
            functional.cross_entropy(classifier(features[labelled]), persons[labelled], label_smoothing=0.1),
            triplet_loss(unit[labelled], persons[labelled]),
        ]
    )


def neighbour_loss(unit: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Which other images of the batch are near: the student's softmax must match the teacher's (KL divergence)."""
    itself = torch.eye(len(unit), dtype=torch.bool)
    mine, theirs = ((u @ u.T / _NEIGHBOUR_TEMPERATURE).masked_fill(itself, -1e4) for u in (unit, teacher))
    return functional.kl_div(mine.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="batchmean")


def triplet_loss(unit: torch.Tensor, persons: torch.Tensor) -> torch.Tensor:
    """Soft-margin triplets of the farthest image of the same person and the nearest of another.

    Hermans, Beyer, Leibe: In Defense of the Triplet Loss for Person Re-Identification, 2017.
    """
    same = persons[:, None] == persons[None]
    distance = (2 - 2 * unit @ unit.T).clamp_min(1e-6).sqrt()
    farthest, nearest = (distance - 9.0 * ~same).amax(1), (distance + 9.0 * same).amin(1)
    return functional.softplus((farthest - nearest) * _TRIPLET_SHARPNESS).mean() / _TRIPLET_SHARPNESS
