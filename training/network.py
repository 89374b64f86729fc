"""StripeNet: a small person re-identification network for edge devices.

Plain convolutions, batch norm, ReLU, add, average pooling and one fully connected layer, so that it maps to the Edge
TPU and keeps its accuracy in full int8. Every stride-2 convolution has a 4x4 kernel with padding 1, which TensorFlow's
SAME padding reproduces exactly. The last map is averaged in horizontal stripes, so that the feature knows head from
shirt from legs from shoes. Raw RGB pixels, 0-255, go in: the scale stands in front of the first convolution while
training and inside its weights after `fold`.
"""

from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

PIXEL_SCALE = 1 / 128


class Stage(NamedTuple):
    """Residual bottlenecks of one resolution; every stage but the first begins by halving the map."""

    channels: int
    middle: int
    blocks: int


class Plan(NamedTuple):
    """The widths and depths of one network."""

    stem: tuple[int, int]
    stages: tuple[Stage, ...]
    head: int
    stripes: int = 4
    dim: int = 256


PLANS = {
    "first": Plan((16, 24), (Stage(40, 24, 2), Stage(96, 32, 3), Stage(192, 64, 4)), 128),
    "deep": Plan((16, 24), (Stage(40, 24, 2), Stage(112, 40, 5), Stage(192, 64, 5)), 128),
    "deeper": Plan((16, 24), (Stage(40, 24, 2), Stage(96, 32, 6), Stage(192, 64, 6)), 128),
    "wide": Plan((24, 32), (Stage(64, 32, 2), Stage(128, 48, 3), Stage(224, 72, 3)), 128),
    "tiny": Plan((16, 24), (Stage(32, 16, 2), Stage(64, 24, 3), Stage(128, 32, 3)), 64),
}


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Build a convolution and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Block(nn.Module):
    """Residual bottleneck: 1x1 down, 3x3 (4x4 when it halves the map), 1x1 up."""

    def __init__(self, inputs: int, stage: Stage, *, halve: bool) -> None:
        super().__init__()
        self.reduce = convolution(inputs, stage.middle, 1)
        self.spatial = convolution(stage.middle, stage.middle, 4 if halve else 3, 2 if halve else 1)
        self.expand = convolution(stage.middle, stage.channels, 1)
        self.pool = nn.AvgPool2d(2) if halve else None
        self.shortcut = convolution(inputs, stage.channels, 1) if inputs != stage.channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keep or halve the map."""
        y = self.expand(torch.relu(self.spatial(torch.relu(self.reduce(x)))))
        x = x if self.pool is None else self.pool(x)
        x = x if self.shortcut is None else self.shortcut(x)
        return torch.relu(x + y)


class StripeNet(nn.Module):
    """Images (n, 3, h, w) to features (n, dim), not normalised. `h` is a multiple of 16 times the stripes."""

    def __init__(self, plan: Plan, *, pixel_scale: float = PIXEL_SCALE) -> None:
        super().__init__()
        self.plan, self.pixel_scale = plan, pixel_scale
        self.stem = convolution(3, plan.stem[0], 4, 2)
        self.stem2 = convolution(plan.stem[0], plan.stem[1], 4, 2)
        blocks, channels = [], plan.stem[1]
        for depth, stage in enumerate(plan.stages):
            for number in range(stage.blocks):
                blocks.append(Block(channels, stage, halve=depth > 0 and number == 0))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = convolution(channels, plan.head, 1)
        self.embed = nn.Linear(plan.head * plan.stripes, plan.dim, bias=False)
        self.norm = nn.BatchNorm1d(plan.dim)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Run the convolutional part, which may run in bfloat16."""
        x = x * self.pixel_scale if self.pixel_scale != 1 else x
        x = torch.relu(self.stem2(torch.relu(self.stem(x))))
        return torch.relu(self.head(self.blocks(x)))

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Stripe averages and the fully connected layer."""
        height, width = int(x.shape[2]), int(x.shape[3])  # constants for the exporter
        x = nn.functional.avg_pool2d(x, (height // self.plan.stripes, width))
        return self.norm(self.embed(x.flatten(1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn pixels into features."""
        return self.pooled(self.maps(x))


def grow(network: StripeNet, plan: Plan) -> StripeNet:
    """Return the same function with as many blocks as `plan` has: a new one begins as the identity.

    Goyal and others: Accurate, Large Minibatch SGD, 2017, section 5.1 (the last batch norm of a block begins at 0).
    """
    grown = StripeNet(plan)
    for name, part in network.named_children():
        if name != "blocks":
            grown.get_submodule(name).load_state_dict(part.state_dict())
    old, new = iter(network.blocks), iter(grown.blocks)
    for before, after in zip(network.plan.stages, plan.stages, strict=True):
        for number, block in enumerate(islice(new, after.blocks)):
            if number < before.blocks:
                block.load_state_dict(next(old).state_dict())
            else:
                nn.init.zeros_(block.expand[1].weight)
    return grown


def fold(network: StripeNet) -> StripeNet:
    """Return the same function with the pixel scale and every batch norm folded into the weights."""
    folded = StripeNet(network.plan, pixel_scale=1)
    folded.load_state_dict(network.state_dict())
    folded.eval()
    with torch.no_grad():
        for pair in [m for m in folded.modules() if isinstance(m, nn.Sequential) and isinstance(m[0], nn.Conv2d)]:
            pair[0], pair[1] = nn.utils.fuse_conv_bn_eval(pair[0], pair[1]), nn.Identity()
        folded.stem[0].weight *= network.pixel_scale
        folded.embed, folded.norm = nn.utils.fuse_linear_bn_eval(folded.embed, folded.norm), nn.Identity()
    return folded


def tensor_of(images: np.ndarray) -> torch.Tensor:
    """Bring (n, h, w, 3) uint8 into the network's order, (n, 3, h, w) float32."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()


def cost(network: StripeNet, height: int, width: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a folded network, for one image."""
    multiplications = 0

    def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal multiplications
        weight = layer.weight
        multiplications += weight.numel() if isinstance(layer, nn.Linear) else out[0].numel() * weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.inference_mode():
        network(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    return sum(p.numel() for p in network.parameters()), multiplications
