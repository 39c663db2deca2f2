"""The few layers that several architectures share."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)
Norm = Callable[[int], nn.Module]  # channels -> layer


class Normalise(nn.Module):
    """Turns raw uint8 images into floats: x / 255, then (x - mean) / std per channel.

    Floating-point input is taken as already prepared and passes unchanged, with or without mean and std, so that
    float data and batches that an augmentation or Mixup has made float must be normalised by whoever made them so.

    Shapes: [batch, *shape] in and out. Raises TypeError on any other integer type.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int], mean: Sequence[float] = (), std: Sequence[float] = ()):
        super().__init__()
        if not len(mean) == len(std) in (0, shape[0]):
            raise ValueError(f"scale needs {shape[0]} means and {shape[0]} stds, got {len(mean)} and {len(std)}")
        if not all(value > 0 for value in std):
            raise ValueError(f"every std of scale must be positive, got {tuple(std)}")
        per_channel = (-1, *[1] * (len(shape) - 1))
        self.register_buffer("mean", torch.tensor([float(value) for value in mean] or [0.0]).view(per_channel))
        self.register_buffer("std", torch.tensor([float(value) for value in std] or [1.0]).view(per_channel))

    def forward(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            return x
        if x.dtype != torch.uint8:
            raise TypeError(f"a model takes uint8 images or floating-point input, got {x.dtype}")
        return (x.to(self.mean.dtype) / 255 - self.mean) / self.std


class Residual(nn.Module):
    """after(shortcut(x) + branch(x)), written out of place for per-sample gradients."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None):
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut or nn.Identity()
        self.after = after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.shortcut(x) + self.branch(x))


def norm_layer(kind: str) -> Norm:
    """Returns the maker of normalisation layers for "batch", "group" or "none".

    "group" takes the largest power of two up to 32 that divides the channels, as Opacus does when it repairs a model.
    """
    kinds: dict[str, Norm] = {
        "batch": nn.BatchNorm2d,
        "group": lambda channels: nn.GroupNorm(math.gcd(32, channels), channels),
        "none": lambda channels: nn.Identity(),
    }
    if kind not in kinds:
        raise ValueError(f"unknown norm {kind!r}; choose from {', '.join(kinds)}, or None for the architecture's own")
    return kinds[kind]


def conv(entering: int, leaving: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the image's size at stride 1."""
    return nn.Conv2d(entering, leaving, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def head(features: int, classes: int) -> list[nn.Module]:
    """Global average pooling and one fully connected layer."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)]


def he_init(net: Net) -> Net:
    """Draws every convolution from He's normal distribution by fan-out, its bias zero; returns the net."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


def norm_free_init(net: nn.Module) -> None:
    """Redraws the convolutions of a net whose norm layers were left out, so that its logits start near order one.

    He's normal distribution by fan-in (by fan-out, depthwise convolutions would vanish), and the last convolution of
    each of L residual branches divided by sqrt(L): else the variance doubles with every block, to 1e16 in ResNet-110.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    branches = [module.branch for module in net.modules() if isinstance(module, Residual)]
    for branch in branches:
        last = [module for module in branch.modules() if isinstance(module, nn.Conv2d)][-1]
        last.weight.data /= math.sqrt(len(branches))
