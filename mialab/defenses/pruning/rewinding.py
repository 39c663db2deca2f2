"""Rewinding: what is left of a network starts again from its weights of an early epoch (Frankle et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mialab.training import Defense, Hooks, Parts, TrainingRun


@dataclass(frozen=True)
class Rewind(Defense):
    """Remembers the weights after `epoch` epochs of the first phase (0: as drawn); later phases start from them.

    Put it in every phase, after `Prune`, whose mask is then chosen by the trained weights and laid on the early ones:
    with epoch=0 that is the lottery ticket's procedure (Frankle and Carbin 2019).
    """

    NAME: ClassVar[str] = "rewinding"
    VERSION: ClassVar[int] = 1

    epoch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epoch < 0:
            raise ValueError(f"Rewind: epoch is at least 0, not {self.epoch}")

    def start(self, parts: Parts) -> Hooks:
        return _Rewind(self, parts.carried.get(self.NAME))

    def columns(self) -> dict[str, Any]:
        return {"rewound_to": self.epoch}


class _Rewind(Hooks):
    def __init__(self, settings: Rewind, before: dict[str, Any] | None):
        self.settings, self.before = settings, before
        self.early: dict[str, Tensor] = before["early"] if before else {}

    def prepare(self, run: TrainingRun) -> None:
        if self.before:
            run.model.load_state_dict(self.early)
        elif run.recipe.epochs < self.settings.epoch:
            raise ValueError(
                f"Rewind: the first phase ends after {run.recipe.epochs} epochs, before {self.settings.epoch}"
            )
        elif not self.settings.epoch:
            self._remember(run)

    def after_epoch(self, run: TrainingRun) -> None:
        if not self.before and run.epoch == self.settings.epoch:
            self._remember(run)

    def state_dict(self) -> dict[str, Any]:
        return {"early": self.early}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.early = state["early"]

    def _remember(self, run: TrainingRun) -> None:
        self.early = {name: value.detach().cpu().clone() for name, value in run.model.state_dict().items()}
