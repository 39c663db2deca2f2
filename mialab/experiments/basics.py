"""Single models: how the leak grows with training."""

from dataclasses import dataclass, field, replace

from mialab import training
from mialab.audit import Outputs
from mialab.experiments.attacked import Attacked
from mialab.experiments.grid import PRESETS, Experiment
from mialab.experiments.models import Models
from mialab.names import unknown
from mialab.store import Cell, Store, open_store

SMALL = training.Recipe(epochs=24, batch=50, optimizer="adam", lr=2e-3)
DENSE = training.Recipe(epochs=60, batch=32, optimizer="adam", lr=1e-3)
# bearpaw's recipe for AlexNet on CIFAR as far as the ensemble paper goes (90 of 164 epochs, so past the first drop of
# the learning rate but not the second), with the learning rate that its author advises where there is no batch norm.
ALEXNET = training.Recipe(epochs=90, lr=0.01, weight_decay=5e-4, milestones=(81, 122), augment=("crop", "flip"))

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


@dataclass(frozen=True)
class Run:
    """What came of training a target: its outputs at the kept epochs, and how accurate it was there."""

    target: Models
    cell: Cell = field(repr=False)

    @property
    def epochs(self) -> tuple[int, ...]:
        return self.target.epochs

    @property
    def history(self) -> list[dict]:
        """One row per kept epoch: epoch, learning rate, accuracy on members and on non-members."""
        return self.cell.info["history"][0]

    def outputs(self, epoch: int) -> Outputs:
        """Logits [1, samples, classes], labels and membership after this epoch."""
        if epoch not in self.epochs:
            raise KeyError(f"no outputs were kept after epoch {epoch}; kept: {', '.join(map(str, self.epochs))}")
        arrays = self.cell.arrays
        return Outputs(arrays[f"logits_{epoch}"], arrays["labels"], arrays["member"])


def targets(preset: str) -> dict[str, Models]:
    """The single models of this preset by name, which is their data's."""
    if preset not in PRESETS:
        raise ValueError(unknown("preset", preset, PRESETS))
    return {target.data: target for target in TARGETS[preset]}


def target(name: str, *, preset: str = "smoke", seed: int = 0, store: Store | None = None) -> Run:
    """Train the named target, or read it from the store, and return its run.

    Repetitions differ in `seed`: data draw, split, initial weights and the order of batches all change with it. A
    training that was interrupted goes on after its last whole epoch. `basics/overfitting` audits the same models.
    """
    known = targets(preset)
    if name not in known:
        raise ValueError(unknown(f"target (preset {preset!r})", name, known))
    config = replace(known[name], seed=seed)
    return Run(config, (store or open_store()).get(config))
