"""Single models: how the leak grows with training."""

from dataclasses import replace

from mialab import training
from mialab.cells.attacked import Attacked
from mialab.cells.models import Models
from mialab.engine.grid import Experiment

SMALL = training.Recipe(epochs=24, batch=50, optimizer="adam", lr=2e-3)
DENSE = training.Recipe(epochs=60, batch=32, optimizer="adam", lr=1e-3)
# bearpaw's recipe for AlexNet on CIFAR as far as the ensemble paper goes (90 of 164 epochs, so past the first drop of
# the learning rate but not the second), with the learning rate that its author advises where there is no batch norm.
ALEXNET = training.Recipe(
    epochs=90, lr=0.01, weight_decay=5e-4, schedule=training.Steps((81, 122)), augment=("crop", "flip")
)

TEXTURES = Models("textures", "small_cnn", SMALL, epochs=(1, 2, 4, 8, 12, 16, 24), samples=(1000, 10_000))
MORE_TEXTURES = replace(TEXTURES, samples=(4000, 40_000))
DIGITS = Models("digits", "tabular", DENSE, epochs=(1, 2, 5, 15, 30, 60))
CIFAR10 = Models("cifar10", "alexnet", ALEXNET, epochs=(1, 5, 15, 30, 45, 60, 90))

TARGETS = {
    "smoke": (TEXTURES, DIGITS),
    "course": (MORE_TEXTURES, DIGITS, CIFAR10),
    "paper": (MORE_TEXTURES, DIGITS, CIFAR10),
}
ATTACKS = ("gap", "confidence", "neural-published", "neural-per-class")
KNOWN = 0.5  # enough to learn from, and enough left to judge by


def _overfitting(preset: str, seed: int) -> tuple[Attacked, ...]:
    targets = [replace(target, seed=seed) for target in TARGETS[preset]]
    return tuple(Attacked(target, epoch, attacks=ATTACKS, known=KNOWN) for target in targets for epoch in target.epochs)


OVERFITTING = Experiment(
    "basics/overfitting",
    title="Attack success against epochs, single models",
    source="ours",
    cells=_overfitting,
    by=("data", "model", "epoch", "learning_rate", "attack"),
    values=("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "tpr_0.01"),
)
