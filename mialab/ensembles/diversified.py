"""Diversified ensembles: backbones under one shared layer, trained together and pushed apart. Our stand-in.

Zhang, Liu and Yan (2020) describe such networks, but their formula of diversity is in no public text that we know, nor
is their code. So this is ours, after the ensemble paper's A.5: each of K backbones feeds one shared layer of 128 units
with batch norm and ReLU, whose output goes to one shared linear layer. The loss is the sum of all backbones'
cross-entropies, plus that of their mean prediction, less a weight times the mean squared distance between the shared
layer's outputs. Rows of it say "our stand-in". Explained in the chapter "Other ensembles".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mialab.fusion import Confidence
from mialab.training import Hooks, TrainingRun

WIDTH = 128  # of the shared layer (A.5)


class Network(nn.Module):
    """`count` backbones of one architecture, the shared layer, and the layer of logits.

    build makes one model with the final linear layer that is left out. The backbones draw one after another from
    torch's random state, so that they differ. Raises ValueError for fewer than one, and for a model without a linear
    layer.

    Returns log-probabilities of the mean prediction [n, classes]; each backbone's logits [count, n, classes]; the
    shared layer's outputs [count, n, 128]. Batch norm sees all backbones' features in one batch.
    """

    def __init__(self, build: Callable[[], nn.Module], count: int, classes: int):
        super().__init__()
        if count < 1:
            raise ValueError(f"a diversified ensemble has one backbone or more, not {count}")
        cut = [_without_head(build()) for _ in range(count)]
        self.backbones = nn.ModuleList(backbone for backbone, _ in cut)
        self.shared = nn.Sequential(nn.Linear(cut[0][1], WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = torch.stack([backbone(x) for backbone in self.backbones])
        hidden = self.shared(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        logits = self.head(hidden)
        return Confidence().differentiable(logits), logits, hidden


class Alone(nn.Module):
    """One backbone of a trained network with the layers that all share, as a model of its own; it shares weights."""

    def __init__(self, network: Network, number: int):
        super().__init__()
        self.net = nn.Sequential(network.backbones[number], network.shared, network.head)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits


class Diversity(Hooks):
    """The loss of a diversified network: see the module. weight: of the distance, 0 for plain joint training.

    The ensemble paper states 0.01 for CIFAR-10 and SVHN and 0.001 for CIFAR-100. Raises ValueError below 0.
    """

    def __init__(self, weight: float):
        if not 0 <= weight < float("inf"):
            raise ValueError(f"diversity: the weight must be 0 or more, and finite, not {weight}")
        self.weight = self.identity = weight

    def loss(self, run: TrainingRun, outputs: Any, y: Tensor) -> Tensor:
        together, logits, hidden = outputs
        apart = sum(F.cross_entropy(own, y) for own in logits)
        total = apart + F.nll_loss(together, y)
        return total - self.weight * spread(hidden) if self.weight and len(hidden) > 1 else total


def spread(hidden: Tensor) -> Tensor:
    """The mean squared distance between outputs of two backbones, per sample and unit, over all pairs: a scalar.

    hidden: [count, n, units]. ValueError for a single backbone, which has nothing to differ from.
    """
    count = len(hidden)
    if count < 2:
        raise ValueError("spread: found one backbone; the distance needs two or more")
    # Over all ordered pairs, that is twice the variance over backbones, times count / (count - 1).
    return 2 * hidden.var(dim=0, unbiased=True).mean()


def _without_head(model: nn.Module) -> tuple[nn.Module, int]:
    """The model with nothing in its last linear layer's place, and how many numbers it gives."""
    linear = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    if not linear or not linear[-1][0]:
        raise ValueError("a backbone is a model without its last linear layer, and this one has none within it")
    name, last = linear[-1]
    parent, _, place = name.rpartition(".")
    setattr(model.get_submodule(parent), place, nn.Identity())
    return model, last.in_features
