"""The min-max game (Nasr et al. 2018): train against an inference network that is trained to find the members.

The network is the one that the pruning paper attacks with (`mialab.two_branch`). Before each step of the classifier it
takes some of its own, on members and on reference rows; the classifier then also minimises the network's gain on the
members that it is trained on. Explained in the chapter "The min-max game".
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mialab.seeds import derive, generator
from mialab.training import Defense, Hooks, Parts, TrainingRun
from mialab.training.forward import first
from mialab.training.loop import in_memory
from mialab.two_branch import network
from mialab.two_branch.settings import PAPER, Variant

JUDGED = 0.2  # share of the reference rows, and as many members, that only judge the inference network
MOST_JUDGED = 1000  # rows of either side
UNDECIDED = 0.01  # mean distance of its probabilities from 1/2 below which it has collapsed


@dataclass(frozen=True)
class MinMax(Defense):
    """Adds gamma times the inference network's gain to the loss: the min-max part of the pruning paper's Eq. 3.

    network: how the inference network is built and trained; its own epochs are the classifier's. steps: of it, before
    each one of the classifier (k of Nasr et al.), each on `network.batch` rows, half of them members. plain: epochs at
    a phase's beginning in which the classifier does not feel it yet (the network learns all the same). gamma=0 trains
    as without the game. The members' part of the gain is mean log h on the classifier's own batch; the other part does
    not depend on the batch, as Nasr et al. train the classifier on members alone.

    Needs reference rows that are no members (the D' of Eq. 1), nor evaluated, unless `splits.RELEASED` is asked for.
    Where an earlier phase has played the game, the network goes on from there. Each epoch's history has the network's
    standing on rows that it is not taught: game_accuracy (balanced, 0.5 is a coin's), game_loss (nats, log 2 is a
    coin's), undecided (mean distance of its probabilities from 1/2), collapsed, and game_gradient, how hard the penalty
    pulls: the norm of gamma times log h's gradient in a member's logits, mean over members, 0 in plain epochs. A
    collapsed network gives no gradient, and then there is no defense: that is told in a warning, once.

    The game costs time: with the defaults, LeNet-5 on 500 images in batches of 50 took about five times as long as
    plain training (9.7 s and 1.9 s for 40 epochs, one CPU thread, median of 12 and 6 runs).
    """

    NAME: ClassVar[str] = "min_max"
    VERSION: ClassVar[int] = 2

    gamma: float = 1.0
    network: Variant = PAPER
    steps: int = 1
    plain: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma < 0 or self.steps < 1 or self.plain < 0:
            found = f"{self.gamma}, {self.steps}, {self.plain}"
            raise ValueError(f"MinMax: gamma and plain are at least 0, steps at least 1, not {found}")
        if self.network.x:
            raise ValueError(
                f"MinMax: {self.network.name} looks at x, by which no gradient comes: take another network"
            )

    def start(self, parts: Parts) -> Hooks:
        return _Game(self, parts)

    def columns(self) -> dict[str, Any]:
        return {"gamma": self.gamma}


class _Game(Hooks):
    def __init__(self, settings: MinMax, parts: Parts):
        self.settings, self.classes = settings, parts.classes
        members, others = (None if rows is None else in_memory(rows) for rows in (parts.train, parts.reference))
        if members is None or others is None:
            raise ValueError(
                "MinMax needs members and reference rows in memory: choose an arrangement with a reference share, such "
                "as splits.PRUNING, and a data set that is not read from files"
            )
        (x, y), other_y = members, others[1]
        judged = max(1, min(int(JUDGED * len(other_y)), MOST_JUDGED, len(y) // 2))
        if judged >= len(other_y):
            raise ValueError(f"MinMax: {len(other_y)} reference rows are too few: give a larger reference share")
        draw = generator(parts.seed, "judged")
        mine, theirs = (torch.randperm(len(labels), generator=draw).to(labels.device) for labels in (y, other_y))
        self.sides = tuple((a[rows[judged:]], b[rows[judged:]]) for a, b, rows in ((x, y, mine), (*others, theirs)))
        self.judges = tuple(
            torch.cat([a[mine[:judged]], b[theirs[:judged]]]) for a, b in zip(members, others, strict=True)
        )
        self.truth = (torch.arange(2 * judged, device=y.device) < judged).float()
        self.net = network.build(parts.classes, settings.network, seed=derive(parts.seed, "game")).to(y.device)
        self.adam = torch.optim.Adam(self.net.parameters(), lr=settings.network.rate, fused=True)
        self.warned = False
        if before := parts.carried.get(MinMax.NAME):
            self.load_state_dict(copy.deepcopy(dict(before)))

    def before_step(self, run: TrainingRun, x: Tensor, y: Tensor) -> None:
        for _ in range(self.settings.steps):
            inputs, truth = self._drawn(run)
            self.adam.zero_grad()
            network.loss(self.settings.network, self.net(*inputs), truth).backward()
            self.adam.step()

    def penalty(self, run: TrainingRun, x: Tensor, y: Tensor, outputs: Any) -> Tensor:
        if run.epoch <= self.settings.plain:
            return torch.zeros((), device=x.device)
        return self.settings.gamma * self._log_h(first(outputs), y).mean()

    @torch.no_grad()
    def after_epoch(self, run: TrainingRun) -> None:
        x, y = self.judges
        found = torch.cat([self.net(*self._seen(run.predict(some), labels)) for some, labels in _parts(x, y)])
        right = ((found > 0) == self.truth.bool()).float()
        undecided = (found.sigmoid() - 0.5).abs().mean().item()
        run.history[-1] |= {
            "game_accuracy": right.mean().item(),
            "game_loss": F.binary_cross_entropy_with_logits(found, self.truth).item(),
            "undecided": undecided,
            "collapsed": undecided < UNDECIDED,
            "game_gradient": 0.0 if run.epoch <= self.settings.plain else self._pull(run),
        }
        if undecided < UNDECIDED and run.epoch > 1 and not self.warned:
            self.warned = True
            warnings.warn(
                f"the inference network has collapsed in epoch {run.epoch}: it answers 1/2 to everything, and no "
                "defense comes from it; raise its rate or steps, or lower gamma, unless the model leaks nothing",
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.net.state_dict(), "adam": self.adam.state_dict(), "warned": self.warned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.net.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        self.warned = state["warned"]

    def _log_h(self, logits: Tensor, y: Tensor) -> Tensor:
        """log h of each row [n], whose gradient reaches what gave the logits, not the inference network."""
        self.net.requires_grad_(False)
        log_odds = self.net(*self._seen(logits, y))
        self.net.requires_grad_(True)
        return F.logsigmoid(log_odds)

    def _pull(self, run: TrainingRun) -> float:
        """The mean norm of the penalty's gradient in the logits of one member, over the members that judge."""
        members = int(self.truth.sum())
        norms = []
        for x, y in _parts(*(part[:members] for part in self.judges)):
            logits = first(run.predict(x)).float().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(self._log_h(logits, y).sum(), logits)
            norms.append(gradient.norm(dim=1))
        return self.settings.gamma * torch.cat(norms).mean().item()

    def _drawn(self, run: TrainingRun) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """A batch for the inference network, and who of it is a member: as many of either side."""
        half = max(1, self.settings.network.batch // 2)
        picked = []
        for x, y in self.sides:
            rows = torch.randint(len(y), (half,), generator=run.generator, device=y.device)
            picked.append((x[rows], y[rows]))
        x, y = (torch.cat(parts) for parts in zip(*picked, strict=True))
        truth = (torch.arange(2 * half, device=y.device) < half).float()
        return self._seen(run.predict(x), y), truth

    def _seen(self, outputs: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        """What the inference network looks at: the prediction as its variant sees it, and the label."""
        logits = first(outputs).float()
        if self.settings.network.sees == "logits":
            seen = logits - logits.mean(dim=1, keepdim=True)
        else:
            seen = logits.softmax(dim=1)
        labels = y if y.is_floating_point() else F.one_hot(y, self.classes).float()
        return seen, labels


def _parts(x: Tensor, y: Tensor) -> zip:
    return zip(x.split(network.ANSWERED_AT_ONCE), y.split(network.ANSWERED_AT_ONCE), strict=True)
