"""The cut, and training of what is left: zeros stay zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mialab.defenses.pruning.admm import columns
from mialab.defenses.pruning.budget import Budget, chosen, companions, prunable
from mialab.names import unknown
from mialab.seeds import derive, generator
from mialab.training import Defense, Hooks, Parts, TrainingRun

BY = ("admm", "magnitude", "random")


@dataclass(frozen=True)
class Prune(Defense):
    """Cuts all weights but the budget's before the first step, and holds them at zero through every further one.

    by: "admm", the weights that ADMM's Z has kept, in the phase after it; "magnitude", the largest of the weights that
    the phase starts from; "random", any, drawn from the seed. rounds: how many phases of such cuts there are up to this
    one, so 1 for one-shot pruning and 2, 3, ... for iterative pruning: what an earlier one has cut stays cut.

    Its state is the masks. ValueError where the phase before does not fit: no ADMM, or one of another budget.
    Explained in the chapter "Pruning".
    """

    NAME: ClassVar[str] = "pruning"
    VERSION: ClassVar[int] = 1

    budget: Budget
    by: str = "magnitude"
    rounds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in BY:
            raise ValueError(f"Prune: {unknown('by', self.by, BY)}")
        if self.rounds < 1 or (self.by == "admm" and self.rounds > 1):
            raise ValueError(f"Prune: rounds is at least 1, and 1 after ADMM, not {self.rounds}")

    def start(self, parts: Parts) -> Hooks:
        before = parts.carried.get(self.NAME, {})
        self._check(before)
        return _Prune(self, before, derive(parts.seed, "mask"))

    def columns(self) -> dict[str, Any]:
        return columns(self.budget, f"{self.by} x{self.rounds}" if self.rounds > 1 else self.by)

    def _check(self, before: Mapping[str, Any]) -> None:
        """Raise a ValueError unless what the phase before has left is what this one goes on from."""
        if self.by == "admm" and "z" not in before:
            raise ValueError("Prune(by='admm') goes on from a phase of Admm: put Admm(budget) before it")
        if self.by == "admm" and before["budget"] != repr(self.budget):
            raise ValueError(
                f"Prune: ADMM was trained for {before['budget']}, not for {self.budget}: give both the same"
            )
        if self.by != "admm" and before.get("rounds", 0) != self.rounds - 1:
            raise ValueError(f"Prune: {before.get('rounds', 0)} cuts came before this one: set rounds to one more")


class _Prune(Hooks):
    def __init__(self, settings: Prune, before: Mapping[str, Any], seed: int):
        self.settings, self.before, self.seed = settings, before, seed
        self.masks: dict[str, Tensor] = {}

    def prepare(self, run: TrainingRun) -> None:
        self.masks = self._with_companions(run.model, self._chosen(prunable(run.model), run.device))

    def wrap(self, run: TrainingRun, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        # Here, as other hooks may have put other weights in place while they prepared.
        named = dict(run.model.named_parameters())
        self.held = {name: named[name] for name in self.masks}
        self._hold()
        return optimizer

    def after_step(self, run: TrainingRun) -> None:
        self._hold()

    def state_dict(self) -> dict[str, Any]:
        return {"rounds": self.settings.rounds, "masks": self.masks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.masks = {name: mask.to(self.masks[name].device) for name, mask in state["masks"].items()}
        self._hold()

    def _chosen(self, weights: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        if self.settings.by == "admm":
            return {name: z.to(device) != 0 for name, z in self.before["z"].items()}
        sizes = weights
        if self.settings.by == "random":
            draw = generator(self.seed)
            sizes = {name: torch.rand(w.shape, generator=draw).to(device) for name, w in weights.items()}
        if "masks" not in self.before:
            return chosen(sizes, self.settings.budget)
        earlier = {name: self.before["masks"][name].to(device) for name in sizes}
        # What an earlier cut took ranks below all else.
        masks = chosen({name: w.detach().abs() * earlier[name] for name, w in sizes.items()}, self.settings.budget)
        if any((mask & ~earlier[name]).any() for name, mask in masks.items()):
            raise ValueError(f"Prune: an earlier cut left fewer weights than {self.settings.budget} keeps: keep less")
        return masks

    def _with_companions(self, model: nn.Module, masks: dict[str, Tensor]) -> dict[str, Tensor]:
        """With a pruned channel go its bias and its norm layer's scale and shift: what is left of it is zero."""
        if self.settings.budget.unit == "weights":
            return masks
        return masks | {name: masks[layer].flatten(1).any(1) for layer, name in companions(model)}

    @torch.no_grad()
    def _hold(self) -> None:
        for name, value in self.held.items():
            value.mul_(self.masks[name])
