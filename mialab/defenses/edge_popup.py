"""Edge-popup: a subnetwork of frozen random weights, found by training a score for each of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mialab.training import Defense, Hooks, Parts, TrainingRun


@dataclass(frozen=True)
class EdgePopup(Defense):
    """Train which random weights are kept, never the weights themselves (Ramanujan et al. 2020, edge-popup).

    keep: share of the weights that are kept in each layer, those with the largest scores. It is no defense made for
    privacy: it stands beside Theorem 1 of the pruning paper, which speaks of subnetworks of random networks too. Needs
    a model without biases or norm layers, all of whose parameters are weights of convolutions or linear layers.
    """

    NAME: ClassVar[str] = "edge_popup"
    VERSION: ClassVar[int] = 1

    keep: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.keep <= 1:
            raise ValueError(f"EdgePopup: keep must be above 0 and at most 1, not {self.keep}")

    def start(self, parts: Parts) -> Hooks:
        return _Scores(self.keep)

    def columns(self) -> dict[str, Any]:
        return {"keep": self.keep}


def largest(scores: Tensor, keep: float) -> Tensor:
    """Mark the share `keep` of all scores that are largest, at least one: bool of the same shape."""
    count = max(1, round(keep * scores.numel()))
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[scores.flatten().topk(count).indices] = True
    return mask.view(scores.shape)


class _Scores(Hooks):
    """The model always holds its masked weights; the optimizer's step is taken by the scores.

    The gradient of a score is, straight through the choice of the largest, that of the masked weight times the weight.
    """

    def __init__(self, keep: float):
        self.keep = keep
        self.frozen: list[Tensor] = []
        self.scores: list[Tensor] = []

    def prepare(self, run: TrainingRun) -> None:
        """Draw weights and scores, both uniform; what is kept has the variance 2 / fan-in (He)."""
        for parameter in _weights(run.model):
            fan_in = parameter[0].numel()
            side = math.sqrt(6 / (self.keep * fan_in))
            self.frozen.append(torch.empty_like(parameter).uniform_(-side, side, generator=run.generator))
            self.scores.append(torch.empty_like(parameter).uniform_(0, 1 / math.sqrt(fan_in), generator=run.generator))
        self._show(run)

    def wrap(self, run: TrainingRun, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        optimizer.register_step_pre_hook(lambda *_: self._lend(run))
        return optimizer

    def after_step(self, run: TrainingRun) -> None:
        for parameter, score in zip(_weights(run.model), self.scores, strict=True):
            score.copy_(parameter.detach())
        self._show(run)

    def state_dict(self) -> dict[str, Any]:
        return {"frozen": self.frozen, "scores": self.scores}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("frozen", "scores"):
            for own, kept in zip(getattr(self, name), state[name], strict=True):
                own.copy_(kept)

    @torch.no_grad()
    def _lend(self, run: TrainingRun) -> None:
        """Put the scores and their gradients where the optimizer looks."""
        for parameter, frozen, score in zip(_weights(run.model), self.frozen, self.scores, strict=True):
            parameter.copy_(score)
            if parameter.grad is not None:
                parameter.grad.mul_(frozen)

    @torch.no_grad()
    def _show(self, run: TrainingRun) -> None:
        """Put the masked weights where the model looks."""
        for parameter, frozen, score in zip(_weights(run.model), self.frozen, self.scores, strict=True):
            parameter.copy_(frozen * largest(score, self.keep))


def _weights(model: nn.Module) -> list[Tensor]:
    found = [part.weight for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    if not found or len(found) < len(list(model.parameters())):
        raise ValueError(
            "EdgePopup: the model has biases, norm layers or no weights, which scores cannot choose among: take one "
            "without, such as mlp64_32"
        )
    return found
