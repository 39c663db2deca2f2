"""The ensemble paper's experiments on other ensembles than the mean of independent networks: Figures 10 to 13; ours.

Data, networks and their ordinary training are those of `ensemble_places`; what the figures change about the training is
said here. The paper states no batch, rate or weight decay for snapshots and diversified networks: they keep those of
the ordinary training. Ensembles of independent networks are averaged over subsets that use each model once.
"""

from __future__ import annotations

from dataclasses import replace

from mialab import fusion
from mialab.cells.attacked import Attacked
from mialab.cells.diversified import Diversified
from mialab.cells.models import Models
from mialab.cells.own_rows import OwnRows
from mialab.cells.pipeline import Pipeline
from mialab.cells.rescaled import Rescaled
from mialab.cells.snapshots import Snapshots
from mialab.engine.grid import Experiment
from mialab.engine.store import Config
from mialab.ensembles import Division
from mialab.experiments.basics import CIFAR10, TEXTURES
from mialab.experiments.ensemble import MODELS, SIZES
from mialab.experiments.ensemble_places import Place, places
from mialab.training import Cyclic, Phase, Recipe, Steps

VIEWS = (False, True)  # a white-box attacker sees each model's answers
PHOTOGRAPHS = ("svhn", "cifar10", "cifar100", "textures")  # of Figures 11 and 13; the last one stands in at smoke


def _audits(target: Models, epoch: int, rule: str, *, sizes: tuple[int, ...] = SIZES) -> tuple[Attacked, ...]:
    """The black box, averaged over subsets that use each model once, as in Figure 6, whose cells the mean's are."""
    one = Attacked(target, epoch, models=MODELS, choice="random")
    return tuple(replace(one, size=size, subsets=MODELS // size, fusion=rule) for size in sizes)


def _in_white_box(audit: Attacked) -> Attacked:
    return replace(audit, white_box=True)


def _images(preset: str) -> tuple[Place, ...]:
    return tuple(place for place in places(preset) if place.data in PHOTOGRAPHS)


# Figure 10. The softmax of the mean logit is what the released script audits; the caption's "aggregated logits" may be
# the mean logits themselves, so that both are here. For appendix A.3's drawback model 0's logits are multiplied by ten:
# our choice, the paper states no factor.
FACTOR = 10.0


def _figure10(preset: str, seed: int) -> tuple[Config, ...]:
    return tuple(cell for place in places(preset) for cell in _logits(place.target.seeded(seed), place.epochs[-1]))


def _logits(target: Models, epoch: int) -> tuple[Config, ...]:
    black = [_audits(target, epoch, rule) for rule in ("confidence", "logit", "raw-logit")]
    whole = [audits[-1] for audits in black[:2]]
    further = [*map(_in_white_box, whole), *(Rescaled(audit, FACTOR) for audit in whole)]
    return (*(audit for audits in black for audit in audits), *further)


_BY = ("data", "model", "method", "epoch", "learning_rate", "access", "fusion", "models", "attack")
_VALUES = ("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "tpr_0.01")

FIGURE10 = Experiment(
    "ensemble/figure10",
    title="Mean logits and their softmax against the mean of confidences, and one model's logits rescaled",
    source="ensemble paper, Figure 10 and appendix A.3",
    cells=_figure10,
    by=(*_BY, "rescaled", "factor"),
    values=(*_VALUES, "changed"),
)


# Figure 11. The weights are learnt on the whole training set, as the paper says, which is audited, too.
def _figure11(preset: str, seed: int) -> tuple[Attacked, ...]:
    black = [
        audit for place in _images(preset) for audit in _audits(place.target.seeded(seed), place.epochs[-1], "weighted")
    ]
    return (*black, *map(_in_white_box, black))


FIGURE11 = Experiment(
    "ensemble/figure11",
    title="Weights learnt on the training set, by number of models",
    source="ensemble paper, Figure 11 and appendix A.4",
    cells=_figure11,
    by=(*_BY, "fitted_on"),
    values=(*_VALUES, "largest_weight"),
)


# Figure 12. 500 epochs, a restart each 50, ten snapshots (A.5); the ensemble of size m is the last m of them. The paper
# names no data but "several": CIFAR is Huang et al.'s, and ImageNet and tables are left out, which is our choice. SVHN
# is too. The rate that it restarts from is the ordinary training's.
CYCLES = {"smoke": 60, "course": 100, "paper": 500}  # epochs in all; ten cycles
SNAPSHOT_DATA = ("cifar10", "cifar100", "textures")


def _figure12(preset: str, seed: int) -> tuple[Attacked, ...]:
    targets = [
        Snapshots(_with(place.target.pipeline, schedule=Cyclic(MODELS), epochs=CYCLES[preset])).seeded(seed)
        for place in places(preset)
        if place.data in SNAPSHOT_DATA
    ]
    return tuple(
        Attacked(target, target.epochs[-1], models=MODELS, size=size, choice="first", white_box=white_box)
        for target in targets
        for white_box in VIEWS
        for size in SIZES
    )


def _with(pipeline: Pipeline, **changes: object) -> Pipeline:
    """The same pipeline with other settings in its only recipe."""
    (phase,) = pipeline.phases
    recipe: Recipe = replace(phase.recipe, **changes)  # type: ignore[arg-type]
    return replace(pipeline, phases=(Phase(recipe, phase.defenses),))


FIGURE12 = Experiment(
    "ensemble/figure12",
    title="Snapshots of one training, by number of models",
    source="ensemble paper, Figure 12 and appendix A.5",
    cells=_figure12,
    by=_BY,
    values=_VALUES,
)


# Figure 13. SGD for 60 epochs, the rate times 0.1 after 20 and 40, each number of backbones trained from new weights
# (A.5). The weight of the diversity is the paper's; what it weighs is our stand-in.
DIVERSITY = {"cifar10": 0.01, "svhn": 0.01, "cifar100": 0.001, "textures": 0.01}
DIVERSIFIED = {"smoke": (12, Steps((4, 8))), "course": (60, Steps((20, 40))), "paper": (60, Steps((20, 40)))}
SMALL_SGD = {"optimizer": "sgd", "lr": 0.05}  # the ordinary training of smoke's network is with Adam


def _figure13(preset: str, seed: int) -> tuple[Attacked, ...]:
    targets = [_diversified(place, preset, count, seed) for place in _images(preset) for count in SIZES]
    return tuple(
        Attacked(target, target.epochs[-1], models=target.count, size=target.count, white_box=white_box)
        for target in targets
        for white_box in VIEWS
    )


def _diversified(place: Place, preset: str, count: int, seed: int) -> Diversified:
    epochs, schedule = DIVERSIFIED[preset]
    small = SMALL_SGD if preset == "smoke" else {}
    pipeline = _with(place.target.pipeline, epochs=epochs, schedule=schedule, **small).seeded(seed)
    return Diversified(pipeline, (epochs,), count, DIVERSITY[place.data])


FIGURE13 = Experiment(
    "ensemble/figure13",
    title="Diversified networks (our stand-in), by number of backbones, each number trained anew",
    source="ensemble paper, Figure 13 and appendix A.5; the diversity is ours",
    cells=_figure13,
    by=(*_BY, "diversity", "formula"),
    values=_VALUES,
)


# Every rule on the same ten networks: what it keeps of the accuracy, what its confidences are worth, and what it leaks.
# A white-box attacker sees each model's answers whatever the rule, so that the network attack cannot differ there.
RULES = (*fusion.RULES, *fusion.FURTHER)
FUSIONS_TARGET = {"smoke": TEXTURES, "course": CIFAR10, "paper": CIFAR10}


def _fusions(preset: str, seed: int) -> tuple[Attacked, ...]:
    target = FUSIONS_TARGET[preset].seeded(seed)
    single = Attacked(target, target.epochs[-1], models=MODELS, subsets=MODELS, calibration=True)
    whole = replace(single, size=MODELS, subsets=1)
    return (
        single,
        *(replace(whole, fusion=rule, white_box=white_box) for white_box in VIEWS for rule in RULES),
    )


FUSIONS = Experiment(
    "ensemble/fusions",
    title="Ten networks under every fusion rule: accuracy, calibration, leak",
    source="ours; the ensemble paper has the mean of confidences and of logits, and learnt weights",
    cells=_fusions,
    by=(*_BY, "fitted_on"),
    values=(*_VALUES, "train_ece", "test_ece", "largest_weight"),
)


# Who is trained on what: ten networks on all members, on bags, on tenths, on elevenths of which the last one teaches a
# meta-learner. A member of the ensemble is a member of any part; one model is audited by its own rows, too.
DIVISIONS = (Division(), Division("bagging"), Division("partition", MODELS), Division("stacking", MODELS))


def _divisions(preset: str, seed: int) -> tuple[Attacked, ...]:
    target = FUSIONS_TARGET[preset].seeded(seed)
    return tuple(cell for division in DIVISIONS for cell in _divided(target, division))


def _divided(target: Models, division: Division) -> tuple[Attacked, ...]:
    epoch = target.epochs[-1]
    if division.kind == "all":
        return _audits(target, epoch, "confidence")
    dealt = replace(target, pipeline=replace(target.pipeline, division=division), epochs=(epoch,))
    own = Attacked(OwnRows(dealt), epoch)
    if division.kind != "stacking":
        return (*_audits(dealt, epoch, "confidence"), own)
    several = _audits(dealt, epoch, "stacking", sizes=SIZES[1:])
    return (*_audits(dealt, epoch, "confidence"), *several, own)


DIVIDED = Experiment(
    "ensemble/divisions",
    title="Bags, parts and stacking against training all networks on all members",
    source="ensemble paper, section 4.2; sizes below ten and the audit of one model's own rows are ours",
    cells=_divisions,
    by=(*_BY, "division", "membership", "fitted_on"),
    values=_VALUES,
)

ALL: tuple[Experiment, ...] = (FIGURE10, FIGURE11, FIGURE12, FIGURE13, FUSIONS, DIVIDED)
