"""Penalties on the weights: L1 and L2, two of the defenses in the ensemble paper's Figure 5.

Explained in the chapter "Defenses of ensembles".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mialab.training import Defense, Hooks, Parts, TrainingRun


@dataclass(frozen=True)
class L1(Defense):
    """Adds weight times the sum of the absolute values of all trained parameters to the loss.

    Its gradient is the weight times the parameter's sign, 0 at 0. The paper states neither its weights nor whether
    biases count: that they do is our choice, as in `L2`. Raises ValueError for a weight below 0.
    """

    NAME: ClassVar[str] = "l1"
    VERSION: ClassVar[int] = 1

    weight: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("L1", self.weight)

    def start(self, parts: Parts) -> Hooks:
        return _Absolute(self.weight)

    def columns(self) -> dict[str, Any]:
        return {"l1": self.weight}


class _Absolute(Hooks):
    def __init__(self, weight: float):
        self.weight = weight
        self.trained: list[Tensor] = []

    def prepare(self, run: TrainingRun) -> None:
        self.trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]

    def penalty(self, run: TrainingRun, x: Tensor, y: Tensor, outputs: Any) -> Tensor:
        return self.weight * torch.cat([parameter.flatten() for parameter in self.trained]).abs().sum()


@dataclass(frozen=True)
class L2(Defense):
    """Weight decay of this strength in place of the recipe's: the gradient grows by weight times the parameter.

    So weight / 2 times the sum of all squared parameters belongs to what is minimised, as in `Recipe.weight_decay`;
    an author who writes lambda times that sum means half our weight. It goes through Adam's scaling where Adam is the
    optimizer. The history's loss leaves it out. It looks at no sample, so that it may stand beside `DpSgd`. Raises
    ValueError for a weight below 0.
    """

    NAME: ClassVar[str] = "l2"
    VERSION: ClassVar[int] = 1

    weight: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("L2", self.weight)

    def start(self, parts: Parts) -> Hooks:
        return _Squares(self.weight)

    def columns(self) -> dict[str, Any]:
        return {"l2": self.weight}


class _Squares(Hooks):
    def __init__(self, weight: float):
        self.weight = weight

    def wrap(self, run: TrainingRun, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        for group in optimizer.param_groups:
            group["weight_decay"] = self.weight
        return optimizer


def _check(name: str, weight: float) -> None:
    if weight < 0:
        raise ValueError(f"{name}: weight must be at least 0, not {weight}")
