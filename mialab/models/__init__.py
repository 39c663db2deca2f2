"""Every architecture of both papers, under the names of their tables, for any image size and number of classes."""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

from mialab.models import cifar, small, torchvision_nets
from mialab.models.layers import Normalise, norm_free_init, norm_layer
from mialab.names import unknown


class _Family(NamedTuple):
    pattern: str  # of its names, whose numbers are passed on
    make: Callable[..., nn.Module]
    usual: tuple[str, ...] = ()  # () if the pattern is a name itself
    least: int = 0  # pixels on a side; 0 takes tables too
    norm: bool = False
    stem: bool = False


_RESNETS = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
_FAMILIES = (
    _Family(r"small_cnn", small.small_cnn, least=4),
    _Family(r"tabular", small.tabular),
    _Family(r"mlp([1-9]\d*)(?:_([1-9]\d*))?", small.mlp, ("mlp32", "mlp64_32")),
    _Family(r"lenet5", small.lenet5, least=32),
    _Family(r"lenet5_caffe", small.lenet5_caffe, least=16),
    _Family(r"cnn4", small.cnn4, least=4),
    _Family(r"alexnet", cifar.alexnet, least=32),
    _Family(r"vgg(11|13|16|19)", cifar.vgg, ("vgg11", "vgg13", "vgg16", "vgg19"), least=32, norm=True),
    _Family(r"resnet18", torchvision_nets.resnet18, least=8, norm=True, stem=True),
    _Family(r"mobilenet_v2", torchvision_nets.mobilenet_v2, least=8, norm=True, stem=True),
    _Family(r"resnet(\d+)", cifar.resnet, _RESNETS, least=8, norm=True),
    _Family(r"preresnet(\d+)", cifar.preresnet, tuple(f"pre{name}" for name in _RESNETS), least=8, norm=True),
    _Family(r"wrn(\d+)_(\d+)", cifar.wrn, ("wrn16_4", "wrn28_2", "wrn28_10"), least=8, norm=True),
    _Family(r"resnext29(?:_(\d+)x(\d+)d)?", cifar.resnext29, ("resnext29",), least=8, norm=True),
    _Family(r"densenet(\d+)(?:_(\d+))?", cifar.densenet, ("densenet100",), least=8, norm=True),
)


def names() -> tuple[str, ...]:
    """The usual names; families also take other numbers: resnet8, wrn40_2, mlp100, densenet190_40."""
    return tuple(name for family in _FAMILIES for name in family.usual or (family.pattern,))


def build(
    name: str,
    shape: Sequence[int],
    classes: int,
    *,
    norm: str | None = None,
    stem: str | None = None,
    scale: tuple[Sequence[float], Sequence[float]] | None = None,
) -> nn.Sequential:
    """Builds an untrained model that turns a raw batch [batch, *shape] into logits [batch, classes].

    Its children are `scale`, a `Normalise` that takes uint8 images to floats and lets floats pass as they are, and
    `net`. Weights are drawn from torch's current random state, on its current default device.

    Args:
        name: one of `names()` or of their families.
        shape: of one sample, (channels, height, width) or (features,). `tabular` and `mlp` alone take features, and
            flatten images. Nets made for 32x32 take 28x28 images too, with their border repeated twice.
        classes: at least 2.
        norm: what stands where the architecture has BatchNorm: "batch", "group", "none" (nothing, not even a bias;
            weights are then drawn by `norm_free_init`), or None for its own. Architectures without BatchNorm stay
            as they are, and refuse "batch".
        stem: "cifar" or "imagenet" for resnet18 and mobilenet_v2; None takes "cifar" up to 64 pixels on a side.
        scale: (mean, std) per channel of images scaled to [0, 1]; None or empty for neither.

    Raises ValueError for an unknown name, listing close ones, and for what the architecture cannot take.
    """
    family, numbers = _parse(name)
    shape = tuple(shape)
    stem = _check(name, family, shape, classes, norm, stem)
    options: dict[str, Any] = {"norm": norm_layer(norm or "batch")} if family.norm else {}
    options |= {"stem": stem} if stem else {}
    pad = family.least == 32 and shape[1:] == (28, 28)
    net = family.make((shape[0], 32, 32) if pad else shape, classes, *numbers, **options)
    if norm == "none" and family.norm:
        norm_free_init(net)
    if pad:
        net = nn.Sequential(OrderedDict(pad=nn.ReplicationPad2d(2), net=net))
    return nn.Sequential(OrderedDict(scale=Normalise(shape, *(scale or ())), net=net))


def weights(model: nn.Module) -> int:
    """Number of convolutional and linear weights, without biases and norm layers: what the pruning paper's Table 4
    counts."""
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def parameters(model: nn.Module) -> int:
    """Number of all trainable parameters, without buffers."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(name: str, shape: Sequence[int], classes: int) -> float:
    """Multiply-adds of one sample's forward pass, in convolutions and linear layers; nothing is computed for it, and
    no memory taken."""
    return _multiply_adds(name, tuple(shape), classes)


@cache
def _multiply_adds(name: str, shape: tuple[int, ...], classes: int) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as flops:
        build(name, shape, classes).eval()(torch.empty(1, *shape))
    return flops.get_total_flops() / 2


def _parse(name: str) -> tuple[_Family, list[int]]:
    for family in _FAMILIES:
        if match := re.fullmatch(family.pattern, name):
            return family, [int(number) for number in match.groups() if number]
    raise ValueError(unknown("model", name, names()))


def _check(
    name: str, family: _Family, shape: tuple[int, ...], classes: int, norm: str | None, stem: str | None
) -> str | None:
    """Refuses what the family cannot take; returns the stem to build, None for a family without a choice."""
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, got {classes}")
    if norm is not None:
        norm_layer(norm)
        if norm == "batch" and not family.norm:
            raise ValueError(f"{name} has no normalisation layers; leave norm out")
    if stem not in (None, "cifar", "imagenet"):
        raise ValueError(f"unknown stem {stem!r}; choose from cifar, imagenet, or None to choose by image size")
    if stem and not family.stem:
        raise ValueError(f"{name} has one stem only; stem is a choice of resnet18 and mobilenet_v2")
    if not shape or not all(side >= 1 for side in shape):
        raise ValueError(f"shape must be (channels, height, width) or (features,), got {shape}")
    if not family.least:
        return None
    if len(shape) != 3:
        raise ValueError(f"{name} takes images (channels, height, width), got shape {shape}; use tabular for tables")
    if family.stem and stem is None:
        stem = "cifar" if max(shape[1:]) <= 64 else "imagenet"
    least = 32 if stem == "imagenet" else family.least
    if min(shape[1:]) < least and not (family.least == 32 and shape[1:] == (28, 28)):
        raise ValueError(f"{name} needs images of at least {least}x{least}, got {shape[1]}x{shape[2]}; enlarge them")
    return stem
