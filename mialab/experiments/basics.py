"""Single models: how the leak grows with training."""

from mialab.cells.attacked import Attacked
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.engine.grid import Experiment
from mialab.splits import Arrangement
from mialab.training import Phase, Recipe, Steps

SMALL = Recipe(epochs=24, batch=50, optimizer="adam", lr=2e-3)
LENET = Recipe(epochs=40, batch=50, optimizer="adam", lr=1e-3)
DENSE = Recipe(epochs=60, batch=32, optimizer="adam", lr=1e-3)
# bearpaw's recipe for AlexNet on CIFAR as far as the ensemble paper goes (90 of 164 epochs, so past the first drop of
# the learning rate but not the second), with the learning rate that its author advises where there is no batch norm.
ALEXNET = Recipe(epochs=90, lr=0.01, weight_decay=5e-4, schedule=Steps((81, 122)), augment=("crop", "flip"))

TEXTURES_EPOCHS = (1, 2, 4, 8, 12, 16, 24)
TEXTURES = Models(Pipeline("textures", "small_cnn", (Phase(SMALL),), samples=(1000, 10_000)), TEXTURES_EPOCHS)
MORE_TEXTURES = Models(Pipeline("textures", "small_cnn", (Phase(SMALL),), samples=(4000, 40_000)), TEXTURES_EPOCHS)
DIGITS = Models(Pipeline("digits", "tabular", (Phase(DENSE),)), epochs=(1, 2, 5, 15, 30, 60))
# The target that the book's chapters follow. Half of its records are members, so that shadows can be trained as it is.
FASHION = Models(
    Pipeline("fashion", "lenet5", (Phase(LENET),), samples=(2500, 0), arrangement=Arrangement("carlini")),
    epochs=(1, 2, 5, 10, 20, 40),
    weights=(40,),
)
CIFAR10 = Models(Pipeline("cifar10", "alexnet", (Phase(ALEXNET),)), epochs=(1, 5, 15, 30, 45, 60, 90))

TARGETS = {
    "smoke": (FASHION, TEXTURES, DIGITS),
    "course": (FASHION, MORE_TEXTURES, DIGITS, CIFAR10),
    "paper": (FASHION, MORE_TEXTURES, DIGITS, CIFAR10),
}
ATTACKS = ("gap", "confidence", "neural-published", "neural-per-class")
KNOWN = 0.5  # enough to learn from, and enough left to judge by


def _overfitting(preset: str, seed: int) -> tuple[Attacked, ...]:
    targets = [target.seeded(seed) for target in TARGETS[preset]]
    return tuple(Attacked(target, epoch, attacks=ATTACKS, known=KNOWN) for target in targets for epoch in target.epochs)


OVERFITTING = Experiment(
    "basics/overfitting",
    title="Attack success against epochs, single models",
    source="ours",
    cells=_overfitting,
    by=("data", "model", "epoch", "learning_rate", "attack"),
    values=("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "tpr_0.01"),
)
