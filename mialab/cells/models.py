"""The cells that train: some models of one pipeline, and their logits at several epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mialab import models
from mialab.cells import recorder
from mialab.cells.answered import Answered
from mialab.cells.pipeline import Member, Pipeline, evaluated, rows_of, train
from mialab.cells.recorder import Recorder
from mialab.cells.trained import Trained
from mialab.engine.store import OBSERVED, Cell
from mialab.seeds import forked
from mialab.training.loop import convolves


@dataclass(frozen=True)
class Models(Trained, Answered):
    """`count` models that come to be as the pipeline says, and what they answer after the named epochs.

    epochs: of the last phase, counted from 1, after which logits are kept; 0 for a phase without epochs. weights:
    epochs after which the models themselves are kept; `rebuild` makes modules of them. sensitivity: epochs after which
    it is measured how far answers move under noise. All three are merely observed: they make no other training. first:
    number of the first model; model k has the seed `pipeline.seed_of("target", k)` however it is trained. More than one
    model are trained by `fit_many`. With several phases the cell needs the one with a phase less, which is trained
    once, whoever goes on from it.

    The cell's arrays: logits_{epoch} and sensitivity_{epoch} (of `mialab.attacks.sensitivity`, its noise added to
    standardised inputs) float32 [count, samples, classes]; labels, member [samples], members first;
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
    sensitivity: tuple[int, ...] = field(default=(), metadata=OBSERVED)

    def __post_init__(self) -> None:
        self.check_epochs()
        if self.count < 1 or self.first < 0:
            raise ValueError(f"Models: count must be at least 1 and first at least 0, not {self.count}, {self.first}")

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each model."""
        return tuple(self.pipeline.seed_of("target", number) for number in self.numbers)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        seen = evaluated(self.pipeline)
        recorders = [Recorder(seen, seen.member, self.epochs, self.weights, self.sensitivity) for _ in self.numbers]
        members = [
            Member(
                self.seeds[k],
                rows_of(self.pipeline, seen.roles, seen.dataset.y, number),
                **self.start_of(inputs, k),
                watch=(recorders[k],),
            )
            for k, number in enumerate(self.numbers)
        ]
        fitted = train(self.pipeline, seen, members, scratch / "training.pt")
        arrays = {"labels": seen.y.numpy(), "member": seen.member.numpy(), **recorder.kept(recorders, fitted)}
        return Cell(self.info(inputs, recorders, fitted), arrays)


def predictions(cells: Sequence[Cell], *epochs: int) -> np.ndarray:
    """The logits of all members of an ensemble, float32 [members, samples, classes], whatever was trained.

    Ten cells of a model each, one cell of ten models or heads, one run with ten snapshots (ten epochs): members come
    cell by cell, and in a cell model by model; with several epochs, all members of the first epoch come first. Raises
    ValueError for models that answer other samples, or have other classes, than the first.
    """
    each = [cell.arrays[f"logits_{epoch}"] for epoch in epochs for cell in cells]
    if len(shapes := dict.fromkeys(one.shape[1:] for one in each)) > 1:
        found = " and ".join(f"{samples} samples of {classes} classes" for samples, classes in shapes)
        raise ValueError(f"models of one ensemble answer the same samples with the same classes; found {found}")
    return np.concatenate(each)


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
