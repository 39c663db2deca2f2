"""What the kinds of cells that train have in common: it follows from their pipeline."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from mialab.cells import recorder
from mialab.cells.cost import Work
from mialab.cells.pipeline import Evaluated, Pipeline, evaluated
from mialab.cells.recorder import Recorder
from mialab.engine.store import Cell, Config
from mialab.training import Fitted


class OfPipeline(Config):
    """A cell about what one pipeline trains. A subclass is a frozen dataclass with this field."""

    pipeline: Pipeline

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.pipeline.data

    @property
    def seed(self) -> int:
        """The repetition."""
        return self.pipeline.seed

    def columns(self) -> dict[str, Any]:
        """What tells rows of these models from others."""
        return self.pipeline.columns()

    def seeded(self, seed: int) -> Self:
        """The same for another repetition."""
        return self._with(pipeline=self.pipeline.seeded(seed))

    def seen(self) -> Evaluated:
        """The samples that are answered, and whose they are."""
        return evaluated(self.pipeline)

    def _with(self, **changes: Any) -> Self:
        return replace(self, **changes)


def check_rising(cell: OfPipeline, epochs: tuple[int, ...]) -> None:
    """Raise ValueError unless these are one or more epochs of the pipeline's training, in rising order."""
    last, kind = cell.pipeline.last.recipe.epochs, type(cell).__name__
    if not epochs or list(epochs) != sorted({*epochs} & {*range(1, last + 1)}):
        raise ValueError(f"{kind}: epochs must be rising whole numbers from 1 to {last}, not {epochs}")


class Trained(OfPipeline):
    """A cell of `count` trainings, from number `first` on, observed after some epochs of the pipeline's last phase.

    A subclass is a frozen dataclass with these fields, too. With several phases it needs the same cell with a phase
    less, which keeps what that phase ended with.
    """

    epochs: tuple[int, ...]
    first: int
    count: int
    weights: tuple[int, ...]
    sensitivity: tuple[int, ...]

    @property
    @abstractmethod
    def seeds(self) -> tuple[int, ...]:
        """The seed of each model."""

    @property
    def numbers(self) -> range:
        """The numbers of the models, or of the shadows, in this cell."""
        return range(self.first, self.first + self.count)

    def operations(self) -> float:
        """Multiply-adds of one model's training step."""
        return self.pipeline.step_operations

    def work(self) -> Work:
        """What is trained here, found without loading any data."""
        return self.pipeline.work(len(self.seeds))

    def apart(self) -> np.ndarray | None:
        """Which of the samples a stacking pipeline keeps for its meta-learner, bool [samples]; None without any."""
        if self.pipeline.division.kind != "stacking":  # asked first, as nothing else needs the data
            return None
        seen = self.seen()
        kept = self.pipeline.division.apart(seen.dataset.y, seen.roles.target_train, seed=self.seed)
        return None if kept is None else np.isin(seen.row_ids.numpy(), kept.numpy())

    def cells(self, number: int) -> tuple[Self, ...]:
        """The cells of numbers 0 to number - 1; they differ from this one, which is the first, in `first` alone."""
        return tuple(self._with(first=first) for first in range(0, number, self.count))

    def needs(self) -> tuple[Self, ...]:
        if (parent := self.pipeline.parent) is None:
            return ()
        end = (parent.last.recipe.epochs,)
        return (self._with(pipeline=parent, epochs=end, weights=end, sensitivity=()),)

    def check_epochs(self) -> None:
        """Raise ValueError unless what is observed are epochs of the pipeline's last phase."""
        last, kind = self.pipeline.last.recipe.epochs, type(self).__name__
        for name, numbers in (("epochs", self.epochs), ("weights", self.weights), ("sensitivity", self.sensitivity)):
            rising = list(numbers) == sorted(set(numbers)) and (not numbers or numbers[0] >= min(1, last))
            if not rising or (name == "epochs" and not numbers):
                raise ValueError(f"{kind}: {name} must be rising whole numbers from 1 on, not {tuple(numbers)}")
            if numbers and numbers[-1] > last:
                raise ValueError(f"{kind}: training ends after epoch {last}; keep no epoch {numbers[-1]}")

    def start_of(self, inputs: Sequence[Cell], k: int) -> Mapping[str, Any]:
        """What model k starts from: weights and end states that the phase before has left; nothing in the first."""
        if not (needs := self.needs()):
            return {}
        (end,) = needs[0].weights
        return {"start": recorder.weights(inputs[0], end, k), "carried": recorder.carried(inputs[0], k)}

    def info(self, inputs: Sequence[Cell], recorders: Sequence[Recorder], fitted: Sequence[Fitted]) -> dict[str, list]:
        """Per model: history at the kept epochs, and training, the curve through all phases."""
        phase = len(self.pipeline.phases) - 1
        before = inputs[0].info["training"] if inputs else [[]] * len(fitted)
        curves = [
            [*past, *({"phase": phase, **row} for row in result.history)]
            for past, result in zip(before, fitted, strict=True)
        ]
        return {"history": [each.history for each in recorders], "training": curves}
