"""Dropout as a defense, for networks that have none. Explained in the chapter "Defenses of ensembles"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from mialab.training import Defense, Hooks, Parts, TrainingRun

_WEIGHTED = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Dropout(Defense):
    """Sets each input of a linear layer to 0 with the chance `rate` in training, and divides the rest by 1 - rate.

    A linear layer that sees the samples themselves is left alone. When training ends, so does dropout: the model has
    the layers that it had before. Raises ValueError for a rate outside [0, 1), and at the start of a training for a
    model without a linear layer behind another.
    """

    NAME: ClassVar[str] = "dropout"
    VERSION: ClassVar[int] = 1

    rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rate < 1:
            raise ValueError(f"Dropout: rate must be at least 0 and below 1, not {self.rate}")

    def start(self, parts: Parts) -> Hooks:
        return _Dropping(self.rate)

    def columns(self) -> dict[str, Any]:
        return {"dropout": self.rate}


class _Dropping(Hooks):
    def __init__(self, rate: float):
        self.rate = rate
        self.placed: list[Any] = []

    def prepare(self, run: TrainingRun) -> None:
        self.run = run
        weighted = [part for part in run.model.modules() if isinstance(part, _WEIGHTED)]
        later = [part for part in weighted[1:] if isinstance(part, nn.Linear)]
        if not later:
            raise ValueError("Dropout: the model has no linear layer behind another: take a network that has one")
        self.placed = [part.register_forward_pre_hook(self._drop) for part in later]

    def end(self, run: TrainingRun) -> None:
        self._detach()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.run.ended:
            self._detach()

    def _drop(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (F.dropout(inputs[0], self.rate, layer.training), *inputs[1:])

    def _detach(self) -> None:
        for handle in self.placed:
            handle.remove()
        self.placed = []
