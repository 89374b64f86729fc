"""One run of training: its settings, and everything that a checkpoint keeps of it."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from training.losses import Weights
from training.network import PLANS, StripeNet, grow


class Settings(NamedTuple):
    """One run. `steps` bounds it by steps instead of minutes, which repeats it; `small_share` of it is at 128x64."""

    plan: str = "deep"
    minutes: float = 60.0
    steps: int = 0
    height: int = 192
    width: int = 96
    small_share: float = 0.55
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    persons: int = 16
    views_each: int = 4
    weights: Weights = Weights()
    seed: int = 0
    threads: int = 1
    processes: int = 1
    compiled: bool = False


class Run:
    """Everything of a run that a checkpoint keeps."""

    def __init__(self, settings: Settings, person_count: int, rank: int = 0) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.rank = settings, rank
        plan = PLANS[settings.plan]
        self.student = StripeNet(plan).to(memory_format=torch.channels_last)
        self.average = StripeNet(plan).eval()
        self.average.load_state_dict(self.student.state_dict())
        self.classifier = nn.Linear(plan.dim, person_count, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.01)
        weights = [*self.student.parameters(), *self.classifier.parameters()]
        groups = [
            {"params": [w for w in weights if w.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        self.step, self.seconds = 0, 0.0
        self.averaged_from = 0
        """The step from which on weights are averaged: those that learned from small images do not count at the end."""

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        s = self.settings
        return self.step / s.steps if s.steps else self.seconds / (60 * s.minutes)

    @property
    def full_size(self) -> bool:
        """Whether images are as large as they will be for users."""
        return self.progress >= self.settings.small_share

    @property
    def batch_number(self) -> int:
        """Number of the batch of this step, another one in every process."""
        return self.step * self.settings.processes + self.rank

    def save(self, path: Path) -> None:
        """Write a checkpoint, all of it or nothing."""
        parts = {name: getattr(self, name).state_dict() for name in ("student", "average", "classifier", "optimizer")}
        state = {"plan": self.settings.plan, "step": self.step, "seconds": self.seconds, **parts}
        state["averaged_from"] = self.averaged_from
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)  # a run killed here still has its last checkpoint

    def begin_with(self, network: StripeNet) -> None:
        """Take over the weights of a trained network, of the same plan or one with fewer blocks."""
        grown = grow(network, self.student.plan)
        for mine in (self.student, self.average):
            mine.load_state_dict(grown.state_dict())

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.step, self.seconds, self.averaged_from = state["step"], state["seconds"], state["averaged_from"]
        for name in ("student", "average", "classifier", "optimizer"):
            getattr(self, name).load_state_dict(state[name])


def load_network(checkpoint: Path) -> StripeNet:
    """Read the averaged weights of a checkpoint, ready to measure or to fold."""
    state = torch.load(checkpoint, weights_only=True)
    network = StripeNet(PLANS[state["plan"]])
    network.load_state_dict(state["average"])
    return network.eval()


def save_network(network: StripeNet, checkpoint: Path) -> None:
    """Write weights that `load_network` reads, and no run can go on from."""
    plan = next(name for name, plan in PLANS.items() if plan == network.plan)
    torch.save({"plan": plan, "average": network.state_dict()}, checkpoint)
