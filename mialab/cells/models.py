"""The cells that train: some models of one kind, and their logits at several epochs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mialab import data, models, splits, training
from mialab.cells.cost import Work
from mialab.data.known import known as size_of
from mialab.engine.store import Cell
from mialab.seeds import derive, forked
from mialab.training.forward import convolves


@dataclass(frozen=True)
class Models:
    """`count` models of one kind, trained on the same members, and what they answer after the named epochs.

    samples: rows of the official training and test sets of a data set that is drawn afresh; None for its usual size.
    arrangement: who is a member, by a name of `splits.ARRANGEMENTS`. known: the attacker's share of either side; it
    does not touch the training. defenses: settings whose hooks are started anew for each model. first: number
    of the first model; model k has the seed
    `derive(seed, "target", k)` however it is trained. The seed decides draw, split and training. More than one model
    are trained by `fit_many`, a single one with a checkpoint. weights: keep the models themselves, as they are at the
    end of training, for attacks that need more than logits; `rebuild` makes modules of them.

    The cell's arrays: logits_{epoch} float32 [count, samples, classes]; labels, member, known [samples], members first;
    weights_{k}.{name}, each parameter and buffer of the k-th model here. Its info: history, per model a list of dicts,
    one per kept epoch: epoch, learning_rate (of its last step), train_accuracy, test_accuracy.
    """

    KIND: ClassVar[str] = "models"
    VERSION: ClassVar[int] = 1

    data: str
    model: str
    recipe: training.Recipe
    epochs: tuple[int, ...]
    samples: tuple[int, int] | None = None
    arrangement: str = "ensemble_paper"
    known: float = 0.8
    defenses: tuple = ()
    first: int = 0
    count: int = 1
    seed: int = 0
    weights: bool = False

    def __post_init__(self):
        if not self.epochs or list(self.epochs) != sorted(set(self.epochs)) or self.epochs[0] < 1:
            raise ValueError(f"Models: epochs must be rising whole numbers from 1 on, not {self.epochs}")
        if self.epochs[-1] > self.recipe.epochs:
            raise ValueError(f"Models: training ends after epoch {self.recipe.epochs}; keep no epoch {self.epochs[-1]}")
        if self.count < 1 or self.first < 0:
            raise ValueError(f"Models: count must be at least 1 and first at least 0, not {self.count}, {self.first}")
        if self.weights and self.epochs[-1] != self.recipe.epochs:
            raise ValueError(f"Models: weights are those of the end: keep epoch {self.recipe.epochs}, or no weights")

    @property
    def method(self) -> str:
        """The defenses' names joined by "+", or "none"."""
        return training.Phase(self.recipe, self.defenses).method

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each model."""
        return tuple(derive(self.seed, "target", self.first + k) for k in range(self.count))

    @property
    def rows(self) -> tuple[int, int, int]:
        """How many are trained on, and how many members and non-members are evaluated; no data is loaded for it."""
        return _rows(self.arrangement, size_of(self.data, samples=self.samples))

    def cells(self, number: int) -> tuple["Models", ...]:
        """The cells of models 0 to number - 1; they differ from this one, which is the first, in `first` alone."""
        return tuple(replace(self, first=first) for first in range(0, number, self.count))

    def needs(self) -> tuple:
        return ()

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        seen = evaluated(self)
        x, y = seen.samples()
        recorders = [Recorder(x, y, seen.member, self.epochs) for _ in range(self.count)]
        roles = [seen.roles] * self.count
        fitted = train(self, seen.dataset, roles, seeds=self.seeds, recorders=recorders, scratch=scratch)
        arrays = {"labels": y.numpy(), "member": seen.member.numpy(), "known": seen.known.numpy()}
        for epoch in self.epochs:
            arrays[f"logits_{epoch}"] = np.stack([answers(recorder, epoch) for recorder in recorders])
        for k, one in enumerate(fitted if self.weights else ()):
            arrays |= {f"weights_{k}.{name}": each.cpu().numpy() for name, each in one.model.state_dict().items()}
        return Cell({"history": [recorder.history for recorder in recorders]}, arrays)

    def work(self) -> Work:
        """What this cell trains and scores, found without loading any data."""
        size = size_of(self.data, samples=self.samples)
        trained, members, nonmembers = self.rows
        return Work(
            self.model,
            size.shape,
            size.classes,
            rows=trained,
            batch=self.recipe.batch,
            epochs=self.recipe.epochs,
            scored=(members + nonmembers) * len(self.epochs),
            models=self.count,
        )


class Evaluated(NamedTuple):
    """The data of a target, and the rows that attacks on it see: rows int64 [n], member and known bool [n]."""

    dataset: data.Dataset
    roles: splits.Roles
    rows: Tensor
    member: Tensor
    known: Tensor

    def samples(self) -> tuple[Tensor, Tensor]:
        """Inputs x [n, ...] and labels [n] of these rows."""
        return self.dataset.x[self.rows], self.dataset.y[self.rows]


def evaluated(target: Models) -> Evaluated:
    """The data of a target and its roles, from its seed alone."""
    dataset = _load(target.data, target.samples, derive(target.seed, "data"))
    roles = splits.arrange(target.arrangement, dataset, known=target.known, seed=derive(target.seed, "split"))
    return Evaluated(dataset, roles, *roles.evaluation())


def train(
    target: Models,
    dataset: data.Dataset,
    roles: Sequence[splits.Roles],
    *,
    seeds: Sequence[int],
    recorders: Sequence["Recorder"],
    scratch: Path,
) -> list[training.Fitted]:
    """Train models of the target's kind with its defenses, the k-th on the members of `roles[k]`."""
    build = partial(models.build, target.model, dataset.shape, dataset.classes, scale=(dataset.mean, dataset.std))

    def part(rows: Tensor) -> tuple[Tensor, Tensor] | None:
        return (dataset.x[rows], dataset.y[rows]) if len(rows) else None

    options = {"defenses": target.defenses, "checkpoint": scratch / "training.pt"}
    options |= {"reference": part(roles[0].reference), "validation": part(roles[0].validation)}
    if len(seeds) == 1:
        pair = part(roles[0].target_train)
        return [training.fit(build, pair, target.recipe, seed=seeds[0], hooks=recorders, **options)]
    return training.fit_many(
        build,
        (dataset.x, dataset.y),
        target.recipe,
        seeds=seeds,
        indices=[each.target_train for each in roles],
        hooks=lambda k: [recorders[k]],
        **options,
    )


def rebuild(target: Models, cell: Cell) -> list[nn.Module]:
    """The trained models of a cell, in eval mode on the CPU; on the device that trained them, their logits are its own.

    Raises ValueError for a cell that was trained without `weights`.
    """
    if not target.weights:
        raise ValueError("only logits were kept of these models: train them with Models(..., weights=True)")
    size = size_of(target.data, samples=target.samples)
    return [_rebuilt(target.model, size, _state(cell, k)) for k in range(target.count)]


def _state(cell: Cell, k: int) -> dict[str, Tensor]:
    prefix = f"weights_{k}."
    named = {name.removeprefix(prefix): array for name, array in cell.arrays.items() if name.startswith(prefix)}
    return {name: torch.from_numpy(array.copy()) for name, array in named.items()}


def _rebuilt(name: str, size: splits.Pool, state: dict[str, Tensor]) -> nn.Module:
    scale = [state[f"scale.{part}"].flatten().tolist() for part in ("mean", "std")]
    with forked(0):  # the weights that are drawn here are replaced
        model = models.build(name, size.shape, size.classes, scale=scale if len(scale[0]) == size.shape[0] else None)
    model.load_state_dict(state)
    # The layout that `fit` trains in: another one rounds differently.
    return (model.to(memory_format=torch.channels_last) if convolves(model) else model).eval()


# The ten members of an ensemble are ten cells on the same draw.
@lru_cache(maxsize=1)
def _load(name: str, samples: tuple[int, int] | None, seed: int) -> data.Dataset:
    return data.load(name, samples=samples, seed=seed)


@lru_cache
def _rows(arrangement: str, pool: splits.Pool) -> tuple[int, int, int]:
    roles = splits.arrange(arrangement, pool, known=0.5, seed=0)  # neither share nor seed changes the numbers
    member = roles.evaluation()[1]
    return len(roles.target_train), int(member.sum()), int((~member).sum())


class Recorder(training.Hooks):
    """Hooks that keep the logits of given samples after given epochs. They change nothing in the training."""

    observes = True

    def __init__(self, x: Tensor, labels: Tensor, member: Tensor, epochs: tuple[int, ...]):
        self.x, self.labels, self.member, self.epochs = x, labels, member, epochs
        self.seen = 0
        self.logits: dict[int, Tensor] = {}
        self.history: list[dict] = []

    def after_epoch(self, run: training.TrainingRun) -> None:
        self.seen = run.epoch
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
        return {"seen": self.seen, "logits": self.logits, "history": self.history}

    def load_state_dict(self, state: dict) -> None:
        if any(epoch <= state["seen"] and epoch not in state["logits"] for epoch in self.epochs):
            raise training.Missed
        self.seen = state["seen"]
        self.logits = {epoch: logits.cpu() for epoch, logits in state["logits"].items() if epoch in self.epochs}
        self.history = [row for row in state["history"] if row["epoch"] in self.epochs]


def answers(recorder: Recorder, epoch: int) -> np.ndarray:
    """The logits after this epoch; ValueError where training had stopped before."""
    if epoch not in recorder.logits:
        raise ValueError(f"a defense stopped the training before epoch {epoch}, which was to be kept: name fewer")
    return recorder.logits[epoch].numpy()
