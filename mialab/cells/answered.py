"""What an audit is of: cells of models whose answers are kept, however they came to be."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np

from mialab.cells.pipeline import Evaluated
from mialab.engine.store import Config


class Answered(Config):
    """A cell of `count` models, from number `first` on, with their answers after some epochs.

    A subclass is a frozen dataclass with these fields. Its cell's arrays: logits_{epoch} float32 [count, samples,
    classes]; labels, member [samples], the same in all cells of the ensemble. Its info: history, per model a list of
    dicts, one per kept epoch: epoch, learning_rate (None where nobody knows it), train_accuracy, test_accuracy;
    training, per model its curve, [] where nobody has it.
    """

    epochs: tuple[int, ...]
    first: int
    count: int
    sensitivity: tuple[int, ...] = ()  # epochs after which it is kept how far answers move under noise

    @property
    @abstractmethod
    def data(self) -> str:
        """The name of the data set."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """The repetition."""

    @abstractmethod
    def columns(self) -> dict[str, Any]:
        """What tells rows of these models from others."""

    @abstractmethod
    def cells(self, number: int) -> tuple[Self, ...]:
        """The cells of models 0 to number - 1; they differ from this one, which is the first, in `first` alone."""

    @abstractmethod
    def seen(self) -> Evaluated:
        """The samples that are answered, and whose they are."""

    def apart(self) -> np.ndarray | None:
        """Which of the samples no model was trained on but a fusion rule is to be fitted on, bool [samples].

        None where there are none: then a rule is fitted on all members.
        """
        return None
