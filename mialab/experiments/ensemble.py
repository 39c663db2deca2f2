"""The ensemble paper's experiments."""

from dataclasses import replace

from mialab.cells.answered import Answered
from mialab.cells.attacked import Attacked
from mialab.cells.models import Models
from mialab.cells.released import Released
from mialab.engine.grid import Experiment
from mialab.experiments.basics import CIFAR10, TEXTURES

MODELS = 10
SIZES = (1, 2, 5, 10)

# Figure 1. The paper keeps epochs 5, 45 and 90 of AlexNet on CIFAR-10: little, half and wholly trained, the last one
# also at a lower learning rate. Sizes below ten are averaged over disjoint random subsets that use each model once
# (our choice; the released script takes the first models of the ten).
FIGURE1_EPOCHS = {"smoke": (4, 12, 24), "course": (5, 45, 90), "paper": (5, 45, 90)}
# Only these epochs' logits are kept of CIFAR-10's models, so that a cell stays small.
_CIFAR10 = replace(CIFAR10, epochs=FIGURE1_EPOCHS["paper"])
FIGURE1_TARGET = {"smoke": TEXTURES, "course": _CIFAR10, "paper": _CIFAR10}


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
