"""The cells that say what a training took: operations, counted, and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from mialab import models, training
from mialab.cells.about import About
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.cells.rows import devices
from mialab.engine.store import Cell
from mialab.seeds import derive, generator
from mialab.training import Phase

COUNTED = 3  # steps of each phase, the first of which is left out


@dataclass(frozen=True)
class Costed(About):
    """What it takes to train one model, all phases together.

    target: a cell of one model. The cell's info: rows, one, with the target's columns, epoch, seed;
    training_multiply_adds, half the floating-point operations of matrix products and convolutions, forward and
    backward, what defenses compute in a step included: counted on some steps of each phase with random rows, and times
    the phase's steps; training_seconds, what training took on this machine, answers on evaluated rows included.
    Explained in the chapter "The min-max game". Raises ValueError for more than one model.
    """

    KIND: ClassVar[str] = "costed"
    VERSION: ClassVar[int] = 1

    target: Models

    def __post_init__(self) -> None:
        if self.target.count > 1:
            raise ValueError(f"Costed: the target is one model, not {self.target.count}")

    def columns(self) -> dict[str, Any]:
        """What tells its row from others."""
        return {**self.target.columns(), "epoch": self.target.pipeline.last.recipe.epochs}

    def needs(self) -> tuple[Models, ...]:
        """The cells of all phases, the last one first."""
        chain = [self.target]
        while before := chain[-1].needs():
            chain += before
        return tuple(chain)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        row = {
            **self.columns(),
            "seed": self.seed,
            "training_multiply_adds": multiply_adds(self.target.pipeline),
            "training_seconds": sum(cell.info["seconds"] for cell in inputs),
        }
        return Cell({"rows": [row], "trained_on": devices(inputs)}, {})


class _Counter(training.Hooks):
    """Notes after each step how many operations there have been, and stops after an epoch."""

    def __init__(self, counter: FlopCounterMode):
        self.counter = counter
        self.after: list[int] = []

    def after_step(self, run: training.TrainingRun) -> None:
        self.after.append(self.counter.get_total_flops())

    def after_epoch(self, run: training.TrainingRun) -> None:
        run.stop = True


def multiply_adds(pipeline: Pipeline) -> float:
    """Those of training one model through all phases, counted by the very loop that trains it."""
    rows, total = pipeline.row_counts[0], 0.0
    carried: Mapping[str, Any] = {}
    for phase in pipeline.phases:
        per_step, carried = _per_step(pipeline, phase, carried)
        total += per_step * phase.recipe.epochs * -(-rows // phase.recipe.batch)
    return total


def _per_step(pipeline: Pipeline, phase: Phase, carried: Mapping[str, Any]) -> tuple[float, Mapping[str, Any]]:
    """The mean multiply-adds of a step, and what the phase's defenses end with."""
    size, draw = pipeline.size, generator(derive(0, "cost"))
    rows = COUNTED * phase.recipe.batch
    data = torch.randn(rows, *size.shape, generator=draw), torch.randint(size.classes, (rows,), generator=draw)
    build = partial(models.build, pipeline.model, size.shape, size.classes, norm=pipeline.norm)
    with FlopCounterMode(display=False) as counter:
        count = _Counter(counter)
        how: dict[str, Any] = {"defenses": phase.defenses, "carried": carried, "hooks": [count], "progress": False}
        fitted = training.fit(build, data, phase.recipe, reference=data, validation=data, device="cpu", **how)
    return (count.after[-1] - count.after[0]) / (len(count.after) - 1) / 2, fitted.carried
