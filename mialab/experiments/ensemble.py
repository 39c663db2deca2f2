"""The ensemble paper's experiments on deep ensembles: Figures 1 to 4 and 6 to 9, and the authors' own models."""

from collections.abc import Callable

from mialab.cells.agreed import Agreed
from mialab.cells.answered import Answered
from mialab.cells.attacked import Attacked
from mialab.cells.models import Models
from mialab.cells.parted import Parted
from mialab.cells.released import Released
from mialab.engine.grid import Experiment
from mialab.engine.store import Config
from mialab.experiments.basics import CIFAR10, TEXTURES
from mialab.experiments.ensemble_places import places

MODELS = 10
SIZES = (1, 2, 5, 10)

# Figure 1. The paper keeps epochs 5, 45 and 90 of AlexNet on CIFAR-10: little, half and wholly trained, the last one
# also at a lower learning rate. Sizes below ten are averaged over disjoint random subsets that use each model once
# (our choice; the released script takes the first models of the ten).
FIGURE1_EPOCHS = {"smoke": (4, 12, 24), "course": (5, 45, 90), "paper": (5, 45, 90)}
FIGURE1_TARGET = {"smoke": TEXTURES, "course": CIFAR10, "paper": CIFAR10}


def _figure1(preset: str, seed: int) -> tuple[Attacked, ...]:
    target = FIGURE1_TARGET[preset].seeded(seed)
    return tuple(
        Attacked(target, epoch, models=MODELS, size=size, subsets=MODELS // size)
        for epoch in FIGURE1_EPOCHS[preset]
        for size in SIZES
    )


FIGURE1 = Experiment(
    "ensemble/figure1",
    title="Accuracy and privacy by number of models and epoch",
    source="ensemble paper, Figure 1",
    cells=_figure1,
    by=("data", "model", "epoch", "learning_rate", "models", "attack"),
    values=("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "tpr_0.01"),
)


# Figure 2. Of single models the mean over all ten; class 2 is the paper's.
PART_SIZES = (1, MODELS)


def _figure2(preset: str, seed: int) -> tuple[Parted, ...]:
    target = FIGURE1_TARGET[preset].seeded(seed)
    return _parted(target, target.epochs[-1])


def _parted(target: Answered, epoch: int, reading: str = "true") -> tuple[Parted, ...]:
    return tuple(
        Parted(target, epoch, models=MODELS, size=size, subsets=MODELS // size, reading=reading) for size in PART_SIZES
    )


FIGURE2 = Experiment(
    "ensemble/figure2",
    title="Confidence in members and non-members, by correctness",
    source="ensemble paper, Figure 2",
    cells=_figure2,
    by=("data", "model", "epoch", "models", "subset", "label", "attack"),
    values=("js", "js_bits", "js_distance", "printed_js", "printed_distance", "confidence", "auc"),
)


# Figures 3, 4 and 6 to 9 are read off one grid: ten models of each place, audited at each of four sizes over subsets
# that use each model once, and asked what they agree on. The first models alone are the released script's arrangement.
VIEWS = (False, True)  # a white-box attacker sees each model's answers


def _audits(
    target: Models, epoch: int, *, sizes: tuple[int, ...] = SIZES, views: tuple[bool, ...] = VIEWS
) -> tuple[Attacked, ...]:
    return tuple(
        Attacked(target, epoch, models=MODELS, size=size, subsets=MODELS // size, choice="random", white_box=white_box)
        for white_box in views
        for size in sizes
    )


def _first_models(target: Models, epoch: int) -> tuple[Attacked, ...]:
    return tuple(
        Attacked(target, epoch, models=MODELS, size=size, choice="first", white_box=white_box)
        for white_box in VIEWS
        for size in SIZES
        if size < MODELS
    )


def _agreement(target: Models, epoch: int) -> tuple[Config, ...]:
    """What Figures 3 and 7 to 9 tell of an ensemble: levels, factors, and the attack on one model and on all."""
    return (Agreed(target, epoch, models=MODELS), *_audits(target, epoch, sizes=(1, MODELS), views=(False,)))


def _figure3(preset: str, seed: int) -> tuple[Config, ...]:
    target = FIGURE1_TARGET[preset].seeded(seed)
    return tuple(cell for epoch in target.epochs for cell in _agreement(target, epoch))


def _figures_7_to_9(figure: int) -> Callable[[str, int], tuple[Config, ...]]:
    def cells(preset: str, seed: int) -> tuple[Config, ...]:
        chosen = places(preset, figure=figure)
        return tuple(cell for p in chosen for epoch in p.epochs for cell in _agreement(p.target.seeded(seed), epoch))

    return cells


def _figure4(preset: str, seed: int) -> tuple[Attacked, ...]:
    ends = [(place.target.seeded(seed), place.epochs[-1]) for place in places(preset)]
    return tuple(cell for end in ends for cell in (*_audits(*end), *_first_models(*end)))


def _figure6(preset: str, seed: int) -> tuple[Attacked, ...]:
    chosen = places(preset)
    return tuple(cell for p in chosen for epoch in p.epochs for cell in _audits(p.target.seeded(seed), epoch))


_OF_AUDITS = ("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "tpr_0.01")
_BY_AUDITS = ("data", "model", "epoch", "learning_rate", "access", "choice", "models", "attack")
_OF_LEVELS = (
    *("train_accuracy", "test_accuracy", "auc", "share", "agreement", "confidence", "correct_confidence"),
    *("misclassified_confidence", "lead", "confidence_auc", "unanimous", "level_js", "js_of_accuracy"),
    *("level_auc", "common", "contribution", "contribution_share"),
)
_BY_LEVELS = ("data", "model", "epoch", "learning_rate", "models", "attack", "part", "level", "side", "factor")

FIGURE3 = Experiment(
    "ensemble/figure3",
    title="How many models agree, and what that adds to the leak, over epochs",
    source="ensemble paper, Figure 3",
    cells=_figure3,
    by=_BY_LEVELS,
    values=_OF_LEVELS,
)
FIGURE4 = Experiment(
    "ensemble/figure4",
    title="The attack and the gap attack by number of models, fully trained",
    source="ensemble paper, Figure 4",
    cells=_figure4,
    by=_BY_AUDITS,
    values=_OF_AUDITS,
)
FIGURE6 = Experiment(
    "ensemble/figure6",
    title="Accuracy and attack by number of models and epoch, on all data",
    source="ensemble paper, Figure 6",
    cells=_figure6,
    by=_BY_AUDITS,
    values=_OF_AUDITS,
)
FIGURE7, FIGURE8, FIGURE9 = (
    Experiment(
        f"ensemble/figure{figure}",
        title=f"How many models agree, and what that adds to the leak: {on}",
        source=f"ensemble paper, Figure {figure}",
        cells=_figures_7_to_9(figure),
        by=_BY_LEVELS,
        values=_OF_LEVELS,
    )
    for figure, on in (
        (7, "SVHN and CIFAR-10"),
        (8, "CIFAR-100 and ImageNet"),
        (9, "Adult, Purchase, Texas, MNIST and Fashion-MNIST"),
    )
)


# The ten networks that the authors released. Nobody can train them again, so that there is one repetition: intervals
# are over samples, and the deviation is over ensembles. Of each size ten random ensembles, in which every
# model stands equally often, or the first models alone, as in the released script. The smoke preset has Figure 1's ten
# networks instead, under their own name.
RELEASED_TARGET: dict[str, Answered] = {
    "smoke": TEXTURES,
    "course": Released("resnet20-cifar10"),
    "paper": Released("resnet20-cifar10"),
}
RELEASED_ATTACKS = ("gap", "confidence", "modified-entropy", "neural-published", "neural-released", "neural-per-class")
# A white-box attacker sees each model's answers, whatever rule then fuses them.
RELEASED_VIEWS = (("confidence", False), ("logit", False), ("vote", False), ("confidence", True))


def _released(preset: str, seed: int) -> tuple[Attacked, ...]:
    target = RELEASED_TARGET[preset]
    if isinstance(target, Models):
        target = target.seeded(seed)
    elif seed > 0:
        return ()
    chosen = [(size, "random", MODELS if size < MODELS else 1) for size in SIZES]
    chosen += [(size, "first", 1) for size in SIZES if size < MODELS]
    return tuple(
        Attacked(
            target,
            target.epochs[-1],
            models=MODELS,
            size=size,
            subsets=subsets,
            choice=choice,
            fusion=fusion,
            white_box=white_box,
            attacks=RELEASED_ATTACKS,
        )
        for fusion, white_box in RELEASED_VIEWS
        for size, choice, subsets in chosen
    )


RELEASED = Experiment(
    "ensemble/released",
    title="The authors' own ten networks, by number, fusion and access (trained once: intervals are over samples)",
    source="ensemble paper, section 4 and appendix A.3, released models",
    cells=_released,
    by=("data", "model", "epoch", "fusion", "access", "choice", "models", "ensembles", "attack"),
    values=("train_accuracy", "test_accuracy", "auc", "auc_deviation", "balanced_accuracy", "tpr_0.01"),
)


def _released_agreement(preset: str, seed: int) -> tuple[Config, ...]:
    target = RELEASED_TARGET[preset]
    if isinstance(target, Models):
        target = target.seeded(seed)
    elif seed > 0:
        return ()
    end = target.epochs[-1]
    readings = ("true", "max")  # the paper does not say whose confidence it draws
    return tuple(
        cell
        for reading in readings
        for cell in (Agreed(target, end, models=MODELS, reading=reading), *_parted(target, end, reading))
    )


RELEASED_AGREEMENT = Experiment(
    "ensemble/released_agreement",
    title="How many of the authors' own ten networks agree (trained once: intervals are over samples)",
    source="ensemble paper, Figures 2 and 3, released models",
    cells=_released_agreement,
    by=("data", "model", "epoch", "models", "reading", "attack", "part", "subset", "label", "level", "side", "factor"),
    values=(*FIGURE2.values, *(name for name in _OF_LEVELS[3:] if name not in FIGURE2.values)),
)
