"""The ensemble paper's experiments."""

from dataclasses import replace

from mialab.cells.attacked import Attacked
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
