"""MMD + Mixup (Li, Li and Ribeiro 2021): answers to members are made to look like answers to others.

Explained in the chapter "Defenses of ensembles".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mialab.seeds import derive, generator
from mialab.training import Defense, Hooks, Parts, TrainingRun
from mialab.training.forward import first
from mialab.training.loop import in_memory

AT_ONCE = 1000  # rows that are answered together


@dataclass(frozen=True)
class MmdMixup(Defense):
    """Trains on mixed samples, and pulls the softmaxes of members towards those of reference rows.

    Mixup: a batch becomes m x + (1 - m) x', with x' the same batch in another order, labels likewise, and one m a step
    from Beta(alpha, alpha); alpha=0 mixes nothing. MMD: weight times `mmd2` is added to the loss, between the model's
    softmaxes of the batch as it was before mixing, and of as many reference rows of the same classes, which are held
    fixed. It is added from an epoch on at whose end the accuracy on members is more than `margin` above the one on
    reference rows (as many of either), and left out while it is not. sigma: the kernel's width.

    The authors' code has the MMD in steps of its own, after each epoch's steps on mixed samples; here it is a part of
    each step's loss, as their paper writes the objective, so that the weight counts with Adam too. Their accuracy on
    members is taken with the network in training mode; ours is not.

    Needs reference rows of each class that is trained on: no members, nor evaluated. Each epoch's history has gap, the
    members' accuracy less that on reference rows, and mmd_on, whether the epoch had the MMD in its loss. Raises
    ValueError for settings that make no sense, and at the start of a training without such rows.
    """

    NAME: ClassVar[str] = "mmd_mixup"
    VERSION: ClassVar[int] = 1

    weight: float = 3.0
    alpha: float = 1.0
    margin: float = 0.03
    sigma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight < 0 or self.alpha < 0 or self.sigma <= 0:
            found = f"{self.weight}, {self.alpha}, {self.sigma}"
            raise ValueError(f"MmdMixup: weight and alpha are at least 0, sigma above 0, not {found}")

    def start(self, parts: Parts) -> Hooks:
        return _Matching(self, parts)

    def columns(self) -> dict[str, Any]:
        return {"mmd": self.weight, "mixup": self.alpha}


def mmd2(p: Tensor, q: Tensor, sigma: float = 1.0) -> Tensor:
    """The squared maximum mean discrepancy of samples p [n, d] and q [m, d]: a scalar, at least 0, 0 if they are equal.

    Biased, with the kernel exp(-|u - v|^2 / (2 sigma^2)): each sample's pair with itself counts.
    """

    def mean(u: Tensor, v: Tensor) -> Tensor:
        square = u.square().sum(1)[:, None] + v.square().sum(1) - 2 * u @ v.T
        return torch.exp(-square.clamp(min=0) / (2 * sigma**2)).mean()

    return mean(p, p) + mean(q, q) - 2 * mean(p, q)


def mixed(x: Tensor, y: Tensor, order: Tensor, share: float, classes: int) -> tuple[Tensor, Tensor]:
    """share of the batch x [n, ...] and 1 - share of it in another order [n], and class probabilities [n, classes]."""
    truth = F.one_hot(y, classes).float()
    return share * x + (1 - share) * x[order], share * truth + (1 - share) * truth[order]


class _Matching(Hooks):
    def __init__(self, settings: MmdMixup, parts: Parts):
        self.settings, self.classes, self.on = settings, parts.classes, False
        members, others = (None if rows is None else in_memory(rows) for rows in (parts.train, parts.reference))
        if members is None or others is None:
            raise ValueError(
                "MmdMixup needs members and reference rows in memory: choose an arrangement with a reference share, "
                "such as Arrangement(reference=0.2), and a data set that is not read from files"
            )
        self.others = others
        self.counts = others[1].bincount(minlength=parts.classes)
        if missing := sorted(set(members[1].unique().tolist()) - set(others[1].unique().tolist())):
            raise ValueError(f"MmdMixup: no reference rows of class {missing[0]}: give a larger reference share")
        self.by_class = others[1].argsort(stable=True)
        self.starts = self.counts.cumsum(0) - self.counts
        draw = generator(parts.seed, "compared")
        sides = ((part, torch.randperm(len(part[1]), generator=draw)) for part in (members, others))
        fewest = min(len(members[1]), len(others[1]))
        self.compared = [tuple(a[rows[:fewest].to(a.device)] for a in part) for part, rows in sides]

    def batch(self, run: TrainingRun, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.clean = x, y
        if not self.settings.alpha:
            return x, y
        alpha = self.settings.alpha
        share = np.random.default_rng(derive(run.seed, "mixup", run.step)).beta(alpha, alpha)
        order = torch.randperm(len(y), generator=run.generator, device=y.device)
        return mixed(_standardised(run, x), y, order, float(share), self.classes)

    def penalty(self, run: TrainingRun, x: Tensor, y: Tensor, outputs: Any) -> Tensor:
        if not self.on or not self.settings.weight:
            return torch.zeros((), device=x.device)
        x, y = self.clean
        theirs = self._softmax(run, self.others[0][self._like(run, y)])
        return self.settings.weight * mmd2(self._softmax(run, x, grad=True), theirs, self.settings.sigma)

    def after_epoch(self, run: TrainingRun) -> None:
        inside, outside = (self._accuracy(run, x, y) for x, y in self.compared)
        run.history[-1] |= {"gap": inside - outside, "mmd_on": self.on}
        self.on = inside - outside > self.settings.margin

    def state_dict(self) -> dict[str, Any]:
        return {"on": self.on}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.on = bool(state["on"])

    def _like(self, run: TrainingRun, y: Tensor) -> Tensor:
        """A reference row of the same class for each label."""
        place = torch.rand(len(y), generator=run.generator, device=y.device)
        return self.by_class[self.starts[y] + (place * self.counts[y]).long()]

    def _softmax(self, run: TrainingRun, x: Tensor, *, grad: bool = False) -> Tensor:
        return first(run.predict(x, training=True, grad=grad)).float().softmax(1)

    def _accuracy(self, run: TrainingRun, x: Tensor, y: Tensor) -> float:
        answers = torch.cat([first(run.predict(some)).argmax(1) for some in x.split(AT_ONCE)])
        return (answers == y).float().mean().item()


def _standardised(run: TrainingRun, x: Tensor) -> Tensor:
    """Images as floats, by the model's own part; other inputs as they are."""
    return x if x.is_floating_point() else run.model.get_submodule("scale")(x)
