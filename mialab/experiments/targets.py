"""One target model, trained once and asked at several epochs: what an audit needs, kept in the store."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from mialab import data, models, seeds, splits, training
from mialab.audit import Outputs
from mialab.names import unknown
from mialab.store import Cell, Store, open_store

PRESETS = ("smoke", "course", "paper")
CELL_VERSION = 1


@dataclass(frozen=True)
class Target:
    """A model to attack: data, architecture, recipe, and the epochs after which its outputs are kept.

    `samples` is (members, non-members) of a data set that is drawn afresh; None takes the official split, or half and
    half where there is none. The seed decides draw, split and training.
    """

    data: str
    model: str
    recipe: training.Recipe
    epochs: tuple[int, ...]
    samples: tuple[int, int] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """What came of training a target: its outputs at the kept epochs, and how accurate it was there."""

    target: Target
    cell: Cell = field(repr=False)

    @property
    def epochs(self) -> tuple[int, ...]:
        return self.target.epochs

    @property
    def history(self) -> list[dict]:
        """One row per kept epoch: epoch, learning rate, accuracy on members and on non-members."""
        return self.cell.info["history"]

    def outputs(self, epoch: int) -> Outputs:
        """Logits [1, samples, classes], labels and membership after this epoch."""
        if epoch not in self.epochs:
            raise KeyError(f"no outputs were kept after epoch {epoch}; kept: {', '.join(map(str, self.epochs))}")
        arrays = self.cell.arrays
        return Outputs(arrays[f"logits_{epoch}"][None], arrays["labels"], arrays["member"])


SMALL = training.Recipe(epochs=24, batch=50, optimizer="adam", lr=2e-3)
DENSE = training.Recipe(epochs=60, batch=32, optimizer="adam", lr=1e-3)
# bearpaw's recipe for AlexNet on CIFAR, with the learning rate that its author advises where there is no batch norm.
ALEXNET = training.Recipe(epochs=164, lr=0.01, weight_decay=5e-4, milestones=(81, 122), augment=("crop", "flip"))

TEXTURES = Target("textures", "small_cnn", SMALL, epochs=(1, 2, 4, 8, 12, 16, 24), samples=(1000, 10_000))
DIGITS = Target("digits", "tabular", DENSE, epochs=(1, 2, 5, 15, 30, 60))
CIFAR10 = Target("cifar10", "alexnet", ALEXNET, epochs=(1, 5, 15, 45, 90, 164))

BY_PRESET = {
    "smoke": {"textures": TEXTURES, "digits": DIGITS},
    "course": {
        "textures": replace(TEXTURES, samples=(4000, 40_000)),
        "digits": DIGITS,
        "cifar10": replace(CIFAR10, recipe=replace(ALEXNET, epochs=90), epochs=(1, 5, 15, 45, 90)),
    },
    "paper": {"textures": replace(TEXTURES, samples=(4000, 40_000)), "digits": DIGITS, "cifar10": CIFAR10},
}


def names(preset: str) -> tuple[str, ...]:
    """The targets that exist at this preset."""
    if preset not in PRESETS:
        raise ValueError(unknown("preset", preset, PRESETS))
    return tuple(BY_PRESET[preset])


def configuration(name: str, preset: str, *, seed: int = 0) -> Target:
    """The configuration of a named target at this preset."""
    known = names(preset)
    if name not in known:
        raise ValueError(unknown(f"target (preset {preset!r})", name, known))
    return replace(BY_PRESET[preset][name], seed=seed)


def target(name: str, *, preset: str = "smoke", seed: int = 0, store: Store | None = None) -> Run:
    """Train the named target (or read it from the store) and return its run.

    Repetitions differ in `seed`: data draw, split, initial weights and the order of batches all change with it. A
    training that was interrupted goes on after its last whole epoch.
    """
    config, store = configuration(name, preset, seed=seed), store or open_store()
    folder = store.folder("target", config, version=CELL_VERSION)
    checkpoint = store.root / "checkpoints" / f"{folder.name}.pt"
    cell = store.cell("target", config, partial(train, config, checkpoint), version=CELL_VERSION)
    checkpoint.unlink(missing_ok=True)
    return Run(config, cell)


def train(config: Target, checkpoint: Path | None = None) -> Cell:
    """Load, split, fit, and keep the logits of all members and non-members at the named epochs."""
    dataset = data.load(config.data, samples=config.samples, seed=seeds.derive(config.seed, "data"))
    roles = splits.ensemble_paper(dataset, seed=seeds.derive(config.seed, "split"))
    rows, member, _ = roles.evaluation()
    recorder = Recorder(dataset.x[rows], dataset.y[rows], member, config.epochs)
    scale = dataset.mean, dataset.std
    build = partial(models.build, config.model, dataset.shape, dataset.classes, scale=scale)
    training.fit(
        build,
        (dataset.x[roles.target_train], dataset.y[roles.target_train]),
        config.recipe,
        seed=seeds.derive(config.seed, "target", 0),
        defenses=[recorder],
        checkpoint=checkpoint,
    )
    arrays = {"labels": dataset.y[rows].numpy(), "member": member.numpy()}
    logits = {f"logits_{epoch}": kept.numpy() for epoch, kept in recorder.logits.items()}
    return Cell({"history": recorder.history}, arrays | logits)


class Recorder:
    """A hook that keeps the logits of given samples after given epochs. It changes nothing in the training."""

    def __init__(self, x: Tensor, labels: Tensor, member: Tensor, epochs: tuple[int, ...]):
        self.x, self.labels, self.member, self.epochs = x, labels, member, epochs
        self.logits: dict[int, Tensor] = {}
        self.history: list[dict] = []

    def after_epoch(self, run) -> None:
        if run.epoch not in self.epochs:
            return
        logits = training.logits(run.model, self.x)
        right = (logits.argmax(1) == self.labels).double()
        self.logits[run.epoch] = logits
        self.history.append(
            {
                "epoch": run.epoch,
                "learning_rate": run.history[-1]["lr"],
                "train_accuracy": right[self.member].mean().item(),
                "test_accuracy": right[~self.member].mean().item(),
            }
        )

    def state_dict(self) -> dict:
        return {"logits": self.logits, "history": self.history}

    def load_state_dict(self, state: dict) -> None:
        self.logits, self.history = state["logits"], state["history"]
