"""What pruning has left of a network: weights by layer, operations, and seconds for an answer."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mialab.defenses.pruning.budget import PRUNED, prunable


class Layer(NamedTuple):
    """A convolution or linear layer: its weights, those that are not zero, and its multiply-adds for one sample, of all
    weights and of those."""

    name: str
    weights: int
    kept: int
    multiply_adds: int
    multiply_adds_kept: int


def layers(model: nn.Module, sample: Tensor) -> list[Layer]:
    """Counts layer by layer; sample: one input [1, ...], by which the size of each layer's output is found.

    A weight that is not zero is used once for each place of its layer's output.
    """
    places: dict[str, int] = {}

    def note(name: str):
        def hook(part: nn.Module, inputs: tuple, output: Tensor) -> None:
            places[name] = output[0].numel() // output.shape[1]

        return hook

    hooks = [
        part.register_forward_hook(note(f"{name}.weight"))
        for name, part in model.named_modules()
        if isinstance(part, PRUNED)
    ]
    with torch.no_grad():
        model(sample)
    for hook in hooks:
        hook.remove()
    counted = [(name, w.numel(), int(w.count_nonzero())) for name, w in prunable(model).items()]
    return [Layer(name, all_, kept, all_ * places[name], kept * places[name]) for name, all_, kept in counted]


def reduction_ratio(model: nn.Module) -> float:
    """All weights over those that are not zero: the last column of the pruning paper's Table 4."""
    weights = prunable(model).values()
    return sum(w.numel() for w in weights) / sum(int(w.count_nonzero()) for w in weights)


def inference_seconds(model: nn.Module, x: Tensor, *, repeats: int = 15) -> float:
    """The median over repeats of the seconds that answers to x [n, ...] take, all n at once, after two to warm up.

    Zeros among the weights are multiplied like other numbers: only a smaller network is faster (see `narrowed`).
    """
    seconds = []
    with torch.no_grad():
        for _ in range(repeats + 2):
            before = time.perf_counter()
            model(x)
            if x.device.type == "cuda":
                torch.cuda.synchronize(x.device)
            seconds.append(time.perf_counter() - before)
    return statistics.median(seconds[2:])
