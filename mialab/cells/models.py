"""The cells that train: some models of one pipeline, and their logits at several epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mialab import models
from mialab.cells import recorder
from mialab.cells.cost import Work
from mialab.cells.pipeline import Member, Pipeline, evaluated, rows_of, train
from mialab.cells.recorder import Recorder
from mialab.engine.store import OBSERVED, Cell, Config
from mialab.seeds import forked
from mialab.training import Fitted
from mialab.training.loop import convolves


@dataclass(frozen=True)
class Models(Config):
    """`count` models that come to be as the pipeline says, and what they answer after the named epochs.

    epochs: of the last phase, counted from 1, after which logits are kept. weights: epochs after which the models
    themselves are kept; `rebuild` makes modules of them. Both are merely observed: they make no other training. first:
    number of the first model; model k has the seed `pipeline.seed_of("target", k)` however it is trained. More than one
    model are trained by `fit_many`. With several phases the cell needs the one with a phase less, which is trained
    once, whoever goes on from it.

    The cell's arrays: logits_{epoch} float32 [count, samples, classes]; labels, member [samples], members first;
    weights_{epoch}_{k}.{name}, each parameter and buffer of the k-th model here; carried_{k}, the end states of its
    defenses. Its info: history, per model a list of dicts, one per kept epoch: epoch, learning_rate (of its last step),
    train_accuracy, test_accuracy; training, per model a list of dicts, one per epoch of every phase: phase, epoch, lr,
    loss, accuracy, and what defenses add.
    """

    KIND: ClassVar[str] = "models"
    VERSION: ClassVar[int] = 2

    pipeline: Pipeline
    epochs: tuple[int, ...] = field(metadata=OBSERVED)
    first: int = 0
    count: int = 1
    weights: tuple[int, ...] = field(default=(), metadata=OBSERVED)

    def __post_init__(self) -> None:
        check_epochs("Models", self.pipeline, self.epochs, self.weights)
        if self.count < 1 or self.first < 0:
            raise ValueError(f"Models: count must be at least 1 and first at least 0, not {self.count}, {self.first}")

    @property
    def numbers(self) -> range:
        """The numbers of the models in this cell."""
        return range(self.first, self.first + self.count)

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.pipeline.data

    @property
    def seed(self) -> int:
        """The repetition."""
        return self.pipeline.seed

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each model."""
        return tuple(self.pipeline.seed_of("target", number) for number in self.numbers)

    def operations(self) -> float:
        """Multiply-adds of one model's training step."""
        return self.pipeline.step_operations

    def work(self) -> Work:
        """What is trained here, found without loading any data."""
        return self.pipeline.work(self.count)

    def seeded(self, seed: int) -> Models:
        """The same for another repetition."""
        return replace(self, pipeline=self.pipeline.seeded(seed))

    def cells(self, number: int) -> tuple[Models, ...]:
        """The cells of models 0 to number - 1; they differ from this one, which is the first, in `first` alone."""
        return tuple(replace(self, first=first) for first in range(0, number, self.count))

    def columns(self) -> dict[str, Any]:
        """What tells rows of these models from others."""
        return self.pipeline.columns()

    def needs(self) -> tuple[Models, ...]:
        if (parent := self.pipeline.parent) is None:
            return ()
        end = (parent.last.recipe.epochs,)
        return (replace(self, pipeline=parent, epochs=end, weights=end),)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        seen = evaluated(self.pipeline)
        recorders = [Recorder(seen, seen.member, self.epochs, self.weights) for _ in self.numbers]
        members = [
            Member(
                self.seeds[k],
                rows_of(self.pipeline, seen.roles, seen.dataset.y, number),
                **parts_of(self.needs(), inputs, k),
                watch=(recorders[k],),
            )
            for k, number in enumerate(self.numbers)
        ]
        fitted = train(self.pipeline, seen, members, scratch / "training.pt")
        arrays = {"labels": seen.y.numpy(), "member": seen.member.numpy(), **recorder.kept(recorders, fitted)}
        return Cell(histories(self.pipeline, inputs, recorders, fitted), arrays)


def check_epochs(kind: str, pipeline: Pipeline, epochs: Sequence[int], weights: Sequence[int]) -> None:
    """Raise ValueError, naming the kind of cell, unless these are epochs of the pipeline's last phase."""
    last = pipeline.last.recipe.epochs
    for name, numbers in (("epochs", epochs), ("weights", weights)):
        if list(numbers) != sorted(set(numbers)) or (numbers and numbers[0] < 1) or (name == "epochs" and not numbers):
            raise ValueError(f"{kind}: {name} must be rising whole numbers from 1 on, not {tuple(numbers)}")
        if numbers and numbers[-1] > last:
            raise ValueError(f"{kind}: training ends after epoch {last}; keep no epoch {numbers[-1]}")


def parts_of(needs: Sequence[Any], inputs: Sequence[Cell], k: int) -> Mapping[str, Any]:
    """What model k starts from: the weights and end states that its parent's cell holds; nothing without one."""
    if not needs:
        return {}
    (end,) = needs[0].weights
    return {"start": recorder.weights(inputs[0], end, k), "carried": recorder.carried(inputs[0], k)}


def histories(
    pipeline: Pipeline, inputs: Sequence[Cell], recorders: Sequence[Recorder], fitted: Sequence[Fitted]
) -> dict[str, list]:
    """A training cell's info: history at the kept epochs, and training, the curve through all phases; per model."""
    phase = len(pipeline.phases) - 1
    before = inputs[0].info["training"] if inputs else [[]] * len(fitted)
    curves = [
        [*past, *({"phase": phase, **row} for row in result.history)]
        for past, result in zip(before, fitted, strict=True)
    ]
    return {"history": [each.history for each in recorders], "training": curves}


def predictions(cells: Sequence[Cell], *epochs: int) -> np.ndarray:
    """The logits of all members of an ensemble, float32 [members, samples, classes], whatever was trained.

    Ten cells of a model each, one cell of ten models or heads, one run with ten snapshots (ten epochs): members come
    cell by cell, and in a cell model by model; with several epochs, all members of the first epoch come first.
    """
    return np.concatenate([cell.arrays[f"logits_{epoch}"] for epoch in epochs for cell in cells])


def rebuild(target: Models, cell: Cell, epoch: int | None = None) -> list[nn.Module]:
    """The trained models of a cell, in eval mode on the CPU; on the device that trained them, their logits are its own.

    epoch: of the last phase, by default its end. Raises ValueError where only logits were kept of them.
    """
    epoch = target.pipeline.last.recipe.epochs if epoch is None else epoch
    return [_rebuilt(target.pipeline, recorder.weights(cell, epoch, k)) for k in range(target.count)]


def _rebuilt(pipeline: Pipeline, state: dict[str, Tensor]) -> nn.Module:
    size = pipeline.size
    scale = [state[f"scale.{part}"].flatten().tolist() for part in ("mean", "std")]
    channels = size.shape[0]
    with forked(0):  # the weights that are drawn here are replaced
        model = models.build(
            pipeline.model,
            size.shape,
            size.classes,
            norm=pipeline.norm,
            scale=(scale[0], scale[1]) if len(scale[0]) == channels else None,
        )
    model.load_state_dict(state)
    # The layout that `fit` trains in: another one rounds differently.
    return (model.to(memory_format=torch.channels_last) if convolves(model) else model).eval()
