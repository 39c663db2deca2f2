"""ADMM: train while the weights are drawn towards the nearest network that meets the budget (Zhang et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mialab.defenses.pruning.budget import Budget, chosen, prunable
from mialab.training import Defense, Hooks, Parts, TrainingRun


@dataclass(frozen=True)
class Admm(Defense):
    """The alternating direction method of multipliers: the pruning paper's solution of its Eq. 2, before the cut.

    W minimises the loss plus rho/2 times the squared distance to Z - U, by the recipe's optimizer; every `every` epochs
    Z becomes the projection of W + U on the budget, and U grows by W - Z. rho: one penalty for each stage, stages being
    equal parts of the epochs (the authors of the method multiply it by ten, from 1e-4 to 1e-1); where it grows, U
    shrinks by as much, as the multiplier rho U stays. Each epoch's history has `residual`, the distance of W to Z over
    the length of W: it should fall below 0.01 or so before the cut, or else accuracy falls with it.

    Follow it with a phase of `Prune(budget, by="admm")`. Explained in the chapter "Pruning".
    """

    NAME: ClassVar[str] = "pruning"
    VERSION: ClassVar[int] = 1

    budget: Budget
    rho: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rho or not all(rho > 0 for rho in self.rho) or self.every < 1:
            raise ValueError(f"Admm: rho are positive numbers and every at least 1, not {self.rho} and {self.every}")

    def start(self, parts: Parts) -> Hooks:
        return _Admm(self)

    def columns(self) -> dict[str, Any]:
        return columns(self.budget, "admm")


def columns(budget: Budget, by: str) -> dict[str, Any]:
    """keep, the share of the weights (or channels) kept; mask, how they were chosen."""
    keep = "by layer" if isinstance(budget.keep, tuple) else budget.keep
    how = [by, *(["global"] if budget.scope == "global" else []), *(["channels"] if budget.unit == "channels" else [])]
    return {"keep": keep, "mask": ", ".join(how)}


class _Admm(Hooks):
    def __init__(self, settings: Admm):
        self.settings = settings
        self.z: dict[str, Tensor] = {}
        self.u: dict[str, Tensor] = {}

    def prepare(self, run: TrainingRun) -> None:
        if run.recipe.epochs < len(self.settings.rho):
            raise ValueError(f"Admm: {run.recipe.epochs} epochs are too few for {len(self.settings.rho)} stages")
        self.weights = prunable(run.model)
        self.u = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        self._project()

    def penalty(self, run: TrainingRun, x: Tensor, y: Tensor, outputs: Any) -> Tensor:
        rho = self._rho(run, run.epoch)
        distances = [(w - self.z[name] + self.u[name]).square().sum() for name, w in self.weights.items()]
        return rho / 2 * torch.stack(distances).sum()

    @torch.no_grad()
    def after_epoch(self, run: TrainingRun) -> None:
        if run.epoch % self.settings.every == 0:
            self._project()
            for name, w in self.weights.items():
                self.u[name] += w - self.z[name]
        rho, later = (self._rho(run, epoch) for epoch in (run.epoch, min(run.epoch + 1, run.recipe.epochs)))
        run.history[-1] |= {"rho": rho, "residual": self._residual()}
        for u in self.u.values():
            u *= rho / later

    def state_dict(self) -> dict[str, Any]:
        return {"budget": repr(self.settings.budget), "z": self.z, "u": self.u}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for kept, mine in ((state["z"], self.z), (state["u"], self.u)):
            mine |= {name: value.to(self.weights[name].device) for name, value in kept.items()}

    def _rho(self, run: TrainingRun, epoch: int) -> float:
        stages = self.settings.rho
        return stages[(epoch - 1) * len(stages) // run.recipe.epochs]

    @torch.no_grad()
    def _project(self) -> None:
        near = {name: w + self.u[name] for name, w in self.weights.items()}
        self.z = {name: near[name] * mask for name, mask in chosen(near, self.settings.budget).items()}

    def _residual(self) -> float:
        apart, whole = (
            torch.stack([part.square().sum() for part in parts]).sum()
            for parts in ([w - self.z[name] for name, w in self.weights.items()], self.weights.values())
        )
        return float((apart / whole).sqrt())
