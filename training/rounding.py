"""Tuning for int8: a network learns to say the same when everything is rounded as an int8 file rounds it.

Quantisation-aware training (Jacob and others: Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018): rounded forwards, gradients as if it were not; no labels, the teacher is
the network itself.
"""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.network import StripeNet, tensor_of

_LEVELS = 255  # steps of an 8-bit scale
_RATE = 4e-4  # of a step, as a share of the weights' root mean square
_OBSERVE_EVERY = 100  # steps
_BATCH = 32


class Rounded:
    """A folded network, computed as the int8 file does: each tensor has one scale, each output of a weight its own."""

    def __init__(self, network: StripeNet) -> None:
        self.network = network
        self.ranges: dict[str, tuple[float, float]] = {}
        self._observing = False

    @torch.inference_mode()
    def observe(self, images: torch.Tensor) -> None:
        """Take the ranges of all tensors from these images, (n, 3, h, w), as the converter does."""
        self.ranges, self._observing = {}, True
        for some in images.split(_BATCH):
            self(some)
        self._observing = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Turn pixels into rounded features."""
        network = self.network
        x = self._convolve("stem", x, network.stem[0])
        x = self._convolve("stem2", x, network.stem2[0])
        for number, block in enumerate(network.blocks):
            y = self._convolve(f"{number} reduce", x, block.reduce[0])
            y = self._convolve(f"{number} spatial", y, block.spatial[0])
            y = self._convolve(f"{number} expand", y, block.expand[0], relu=False)
            if block.pool is not None:  # which keeps the scale of what it averages
                x = self._round(f"{number - 1} add", block.pool(x))
            if block.shortcut is not None:
                x = self._convolve(f"{number} shortcut", x, block.shortcut[0], relu=False)
            x = self._round(f"{number} add", torch.relu(x + y))
        x = self._convolve("head", x, network.head[0])
        stripe = (x.shape[2] // network.plan.stripes, x.shape[3])
        x = self._round("stripes", functional.avg_pool2d(x, stripe)).flatten(1)
        embed = network.embed
        return self._round("embed", functional.linear(x, self._weight(embed.weight), embed.bias))

    def _convolve(self, name: str, x: torch.Tensor, layer: nn.Conv2d, *, relu: bool = True) -> torch.Tensor:
        y = functional.conv2d(x, self._weight(layer.weight), layer.bias, layer.stride, layer.padding)
        return self._round(name, torch.relu(y) if relu else y)

    def _weight(self, weight: torch.Tensor) -> torch.Tensor:
        if self._observing:
            return weight
        scale = weight.detach().abs().flatten(1).amax(1).clamp_min(1e-9) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)

    def _round(self, name: str, x: torch.Tensor) -> torch.Tensor:
        low, high = self.ranges.get(name, (0.0, 0.0))
        if self._observing:
            self.ranges[name] = min(low, x.min().item()), max(high, x.max().item())
            return x
        scale = (high - low) / _LEVELS
        return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, _LEVELS)


def tune(network: StripeNet, images: np.ndarray, *, calibration: np.ndarray, steps: int) -> Iterator[float]:
    """Tune a folded network in place; yields each step's loss, 1 - cosine to what it said before.

    Both are crops (n, h, w, 3) uint8 RGB; the ranges are taken from `calibration`, as `export` takes them.
    """
    before, rounded = deepcopy(network), Rounded(network)
    groups = [{"params": [w], "lr": _RATE * w.detach().square().mean().sqrt().item()} for w in network.parameters()]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng, seen = np.random.default_rng(0), tensor_of(calibration)
    for step in range(steps):
        if step % _OBSERVE_EVERY == 0:
            rounded.observe(seen)
        batch = tensor_of(images[rng.choice(len(images), _BATCH, replace=False)])
        with torch.no_grad():
            wanted = before(batch)
        loss = 1 - functional.cosine_similarity(rounded(batch), wanted).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield loss.item()
