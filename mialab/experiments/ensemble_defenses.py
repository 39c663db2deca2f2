"""Defenses of ensembles: the ensemble paper's Figure 5, and what it leaves out.

The paper states two strengths, L2's lambda of 1 and bagging after 30 epochs. All others are our choice. All ensembles
are of one arrangement: the official training set against the official test set, a fifth of which is set apart as
reference rows, of which MMD + Mixup and the min-max game learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from mialab import fusion
from mialab.cells.attacked import Attacked
from mialab.cells.defended import Defended
from mialab.cells.masked import Masked
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.cells.queried import Queried
from mialab.defenses.dp import DpSgd
from mialab.defenses.dropout import Dropout
from mialab.defenses.min_max import MinMax
from mialab.defenses.mmd import MmdMixup
from mialab.defenses.penalties import L1, L2
from mialab.defenses.pruning import Budget, Prune
from mialab.engine.grid import Experiment
from mialab.engine.store import Config
from mialab.ensembles import Division
from mialab.experiments.basics import ALEXNET, SMALL
from mialab.masking import LabelOnly, Mask, MemGuard, Rounded, TopK
from mialab.splits import Arrangement
from mialab.training import Defense, Phase, Recipe

ARRANGEMENT = Arrangement("ensemble_paper", reference=0.2)
BAGGED = 30  # epochs, after which the paper looks at bagging


@dataclass(frozen=True)
class Grid:
    """Each defense's strengths, from weak to strong.

    l2 takes the place of the recipe's weight decay, and counts as `L2` says. epsilon: of each model, not of all that
    are published together. mmd, gamma: of reference rows. keep: the share of weights that magnitude leaves when
    training is over, before a second, shorter one.
    """

    l1: tuple[float, ...]
    l2: tuple[float, ...]
    epsilon: tuple[float, ...]
    mmd: tuple[float, ...]
    dropout: tuple[float, ...]
    gamma: tuple[float, ...]
    keep: tuple[float, ...]

    def hooks(self) -> dict[str, tuple[tuple[float, Defense], ...]]:
        """The defenses that change the one phase of training, by name: (what is turned, the defense)."""
        return {
            "l1": tuple((weight, L1(weight)) for weight in self.l1),
            "l2": tuple((weight, L2(weight)) for weight in self.l2),
            "dp": tuple((epsilon, DpSgd(epsilon)) for epsilon in self.epsilon),
            "mmd_mixup": tuple((weight, MmdMixup(weight)) for weight in self.mmd),
            "dropout": tuple((rate, Dropout(rate)) for rate in self.dropout),
            "min_max": tuple((gamma, MinMax(gamma)) for gamma in self.gamma),
        }


@dataclass(frozen=True)
class Setting:
    """Ensembles of `models` networks, each trained by `recipe`, looked at after `epochs`.

    private: the recipe under differential privacy. later: what follows the cut of pruning.
    """

    data: str
    model: str
    recipe: Recipe
    private: Recipe
    later: Recipe
    epochs: tuple[int, ...]
    models: int
    grid: Grid
    samples: tuple[int, int] | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """One model, and all of them."""
        return (1, self.models)

    @property
    def end(self) -> int:
        """The last epoch."""
        return self.recipe.epochs

    def pipeline(self, seed: int, *phases: Phase, division: Division | None = None) -> Pipeline:
        """Training in these phases; without any, the plain one."""
        chosen = phases or (Phase(self.recipe),)
        own = division or Division()
        return Pipeline(self.data, self.model, chosen, seed, self.samples, ARRANGEMENT, division=own)

    def target(self, pipeline: Pipeline) -> Models:
        """The first model, with what it answers after the epochs; the plain one is kept whole after the last."""
        end = pipeline.last.recipe.epochs
        several = pipeline.method == "none"
        plain = several and pipeline.division.kind == "all"
        return Models(pipeline, self.epochs if several else (end,), weights=(end,) if plain else ())

    def audit(self, pipeline: Pipeline, size: int, epoch: int | None = None) -> Attacked:
        """The attack on an ensemble, joined by a meta-learner where one was left a part; on one model, the mean."""
        at = pipeline.last.recipe.epochs if epoch is None else epoch
        stacked = pipeline.division.kind == "stacking" and size > 1
        rule = "stacking" if stacked else "confidence"
        subsets = self.models // size
        return Attacked(self.target(pipeline), at, models=self.models, size=size, subsets=subsets, fusion=rule)


class Point(NamedTuple):
    """A defense at one strength: its name, its strength's rank, what is turned, the training, and the epoch."""

    method: str
    strength: int
    dial: float
    pipeline: Pipeline
    epoch: int


def points(setting: Setting, seed: int) -> Iterator[Point]:
    """All points of the plane; early stopping, bags and parts are turned by the epoch."""
    plain = setting.pipeline(seed)
    for epoch in sorted({BAGGED, setting.end}):
        yield Point("none", 0, epoch, plain, epoch)
    for strength, epoch in enumerate(reversed(setting.epochs[:-1]), start=1):
        yield Point("early_stop", strength, epoch, plain, epoch)
    divided = {
        "bagging": Division("bagging"),
        "partitioning": Division("partition", of=setting.models),
        "stacking": Division("stacking", of=setting.models),
    }
    for method, division in divided.items():
        for epoch in setting.epochs:
            yield Point(method, 1, epoch, setting.pipeline(seed, division=division), epoch)
    for method, turned in setting.grid.hooks().items():
        recipe = setting.private if method == "dp" else setting.recipe
        for strength, (dial, defense) in enumerate(turned, start=1):
            yield Point(method, strength, dial, setting.pipeline(seed, Phase(recipe, (defense,))), recipe.epochs)
    for strength, keep in enumerate(setting.grid.keep, start=1):
        cut = Phase(setting.later, (Prune(Budget(keep)),))
        pruned = setting.pipeline(seed, Phase(setting.recipe), cut)
        yield Point("pruning", strength, keep, pruned, setting.later.epochs)


WIDE = Grid(
    l1=(1e-6, 1e-5, 1e-4, 1e-3),
    l2=(1e-3, 5e-3, 1e-2, 5e-2, 1e-1, 1.0),
    epsilon=(1000.0, 100.0, 10.0, 3.0),
    mmd=(1.0, 3.0, 10.0),
    dropout=(0.25, 0.5, 0.75),
    gamma=(1.0, 3.0, 6.0),
    keep=(0.3, 0.1),
)
NARROW = Grid(l1=(1e-5, 1e-4), l2=(1e-2, 1.0), epsilon=(100.0,), mmd=(3.0,), dropout=(0.5,), gamma=(3.0,), keep=(0.1,))
# Of the small network on textures, which needs other strengths than AlexNet.
TINY = Grid(
    l1=(1e-4, 1e-3, 2e-3),
    l2=(1e-2, 3e-2, 1.0),
    epsilon=(1000.0, 6.28),
    mmd=(3.0, 30.0),
    dropout=(0.3, 0.6, 0.8),
    gamma=(1.0, 6.0),
    keep=(0.3, 0.1),
)
_TEXTURES = replace(SMALL, epochs=30)
# Clipped gradients and noise want larger batches and rates; the epochs are those of all others.
_PRIVATE = replace(ALEXNET, batch=512, lr=0.05, weight_decay=0.0)
_CIFAR10 = Setting(
    *("cifar10", "alexnet", ALEXNET, _PRIVATE, replace(ALEXNET, epochs=30, lr=1e-3), (5, 15, 30, 45, 60, 90), 10),
    grid=WIDE,
)
SETTINGS = {
    "smoke": Setting(
        *("textures", "small_cnn", _TEXTURES, _TEXTURES, replace(SMALL, epochs=12), (2, 4, 8, 12, 20, 30), 5),
        grid=TINY,
        samples=(1000, 5000),
    ),
    "course": replace(_CIFAR10, grid=NARROW),
    "paper": _CIFAR10,
}


def _figure5(preset: str, seed: int) -> tuple[Defended, ...]:
    setting = SETTINGS[preset]
    plain = setting.pipeline(seed)
    curves = {size: tuple(setting.audit(plain, size, epoch) for epoch in setting.epochs) for size in setting.sizes}
    return tuple(
        Defended(setting.audit(at.pipeline, size, at.epoch), at.method, at.strength, at.dial, curves[size])
        for at in points(setting, seed)
        for size in setting.sizes
    )


FIGURE5 = Experiment(
    "ensemble/figure5",
    title="Defenses of ensembles: accuracy, the attack, and the attack on plain ensembles of the same accuracy",
    source="ensemble paper, Figure 5; dropout, the min-max game and pruning beside it are ours",
    cells=_figure5,
    by=("data", "model", "method", "strength", "dial", "epoch", "models", "attack"),
    values=("train_accuracy", "test_accuracy", "auc", "auc_above_plain", "balanced_accuracy", "tpr_0.01"),
)


# The plain ensemble of Figure 5, fully trained, behind masks and under all fusion rules that nothing has to be fitted
# for. The label-only attack asks the models themselves: whatever the mask, their labels are the same.
MASKS: tuple[Mask, ...] = (
    *(LabelOnly(), TopK(3), TopK(1), Rounded(2), Rounded(1)),
    *(MemGuard(budget) for budget in (0.1, 0.5, 1.0)),
)
MASKED_ATTACKS = ("gap", "confidence", "modified-entropy", "neural-published")
ASKED = {"smoke": 500, "course": 1000, "paper": 2000}  # samples, as each takes many queries
BY_LABELS = ("label-noise",)


def _masking(preset: str, seed: int) -> tuple[Config, ...]:
    setting = SETTINGS[preset]
    plain = replace(setting.audit(setting.pipeline(seed), setting.models), attacks=MASKED_ATTACKS)
    one = replace(plain, models=1, size=1)
    masks = [Masked(audit, mask) for audit in (plain, one) for mask in (None, *MASKS)]
    fused = [Masked(replace(plain, fusion=rule)) for rule in fusion.RULES if rule != plain.fusion]
    assert isinstance(plain.target, Models)
    asked = [Queried(plain.target, BY_LABELS, models=n, samples=ASKED[preset]) for n in setting.sizes]
    return (*masks, *fused, *asked)


MASKING = Experiment(
    "ensemble/masking",
    title="What masks and fusion rules leave of the attack, and what they cost in calibration",
    source="ours; masks as in the ensemble paper's section 2.3, MemGuard of Jia et al. 2019",
    cells=_masking,
    by=("data", "model", "models", "fusion", "mask", "dial", "access", "attack"),
    values=("test_accuracy", "calibration_error", "distortion", "auc", "balanced_accuracy", "tpr_0.01"),
)
