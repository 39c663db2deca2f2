"""The cells of trained networks that others have published: what they answer on their members and on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from mialab import data, models, splits, training
from mialab.cells.answered import Answered
from mialab.cells.cost import Work
from mialab.cells.pipeline import Evaluated
from mialab.data import known
from mialab.engine.store import Cell
from mialab.models import released
from mialab.splits import Arrangement
from mialab.training.loop import default_device, placed

BATCH = 250  # images that are answered at once: more do not fit a processor's cache, and take twice as long
_PASSES = 3  # a training step's multiply-adds by those of an answer


@dataclass(frozen=True)
class Released(Answered):
    """What `count` published networks answer on all samples of their data set, whose official training set they saw.

    published: the name of a set in `mialab.models.released` (a checksum over all its files is added). first: number of
    the first model. samples: so many of the official training and of the official test set, the first ones; None for
    all, where each model's test accuracy must be the one that its file carries.

    There is one training, hence one repetition, number 0: what varies is which models and samples an audit takes.

    The cell's arrays and info are those of `Answered`; history has carried_accuracy too, as the file says it, and
    learning_rate is None, as nobody says it. Raises DataError as `released.checkpoint` and `released.check_accuracy`.
    """

    KIND: ClassVar[str] = "released"
    VERSION: ClassVar[int] = 1

    published: str
    first: int = 0
    count: int = 1
    samples: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        there, size = len(self._set.files), known.known(self.data)
        if self.count < 1 or self.first < 0 or self.first + self.count > there:
            asked = f"{self.count} from number {self.first} on"
            raise ValueError(f"Released: {self._name} has models 0 to {there - 1}: choose from these, not {asked}")
        official = size.train or 0
        if self.samples and not (1 <= self.samples[0] <= official and 1 <= self.samples[1] <= size.rows - official):
            most = f"{official} and {size.rows - official}"
            raise ValueError(f"Released: samples are 1 or more of each side, at most {most}, not {self.samples}")
        if "@" not in self.published:
            object.__setattr__(self, "published", f"{self.published}@{self._set.checksum}")

    @property
    def _name(self) -> str:
        """The set's name without the checksum."""
        return self.published.partition("@")[0]

    @property
    def _set(self) -> released.Published:
        return released.get(self._name)

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self._set.data

    @property
    def seed(self) -> int:
        """The repetition: there is one."""
        return 0

    @property
    def epochs(self) -> tuple[int, ...]:  # type: ignore[override]
        """The epoch after which the models were published."""
        return (self._set.epoch,)

    def columns(self) -> dict[str, Any]:
        """What tells rows of these models from others."""
        return {"data": self.data, "model": self._set.model, "method": "none", "published": self._name}

    def cells(self, number: int) -> tuple[Self, ...]:
        """The cells of models 0 to number - 1; they differ from this one, which is the first, in `first` alone."""
        return tuple(replace(self, first=first) for first in range(0, number, self.count))

    def needs(self) -> tuple[()]:
        return ()

    def operations(self) -> float:
        """Multiply-adds of one batch's answers."""
        size = known.known(self.data)
        return BATCH * models.multiply_adds(self._set.model, size.shape, size.classes)

    def work(self) -> Work:
        """What answering takes, as a training that takes as long."""
        size = known.known(self.data)
        rows = sum(self.samples or (size.rows,)) // _PASSES
        return Work(self._set.model, size.shape, size.classes, BATCH, rows, 1, self.count)

    def seen(self) -> Evaluated:
        """The official training set's rows, then the test set's, in the order of their files."""
        dataset = _load(self.data)
        roles = splits.arrange(Arrangement(), dataset, seed=0)
        rows, member = roles.evaluation()
        if self.samples:
            sides = [rows[member][: self.samples[0]], rows[~member][: self.samples[1]]]
            rows, member = torch.cat(sides), torch.arange(sum(self.samples)) < self.samples[0]
        return Evaluated(dataset, roles, rows, member)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        seen = self.seen()
        x, labels, member = seen.x(), seen.y.numpy(), seen.member.numpy()
        found = [self._answered(number, x, labels, member) for number in range(self.first, self.first + self.count)]
        (epoch,) = self.epochs
        arrays = {f"logits_{epoch}": np.stack([logits for logits, _ in found]), "labels": labels, "member": member}
        return Cell({"history": [[row] for _, row in found], "training": [[] for _ in found]}, arrays)

    def _answered(
        self, number: int, x: torch.Tensor, labels: np.ndarray, member: np.ndarray
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """One model's logits float32 [samples, classes], and how often it is right."""
        held = released.checkpoint(self._name, number)
        model = placed(released.network(self._set, held.state), default_device(None))
        logits = training.logits(model, x, batch=BATCH)
        assert isinstance(logits, torch.Tensor)
        right = logits.numpy().argmax(axis=1) == labels
        inside, outside = (float(right[member == side].mean()) for side in (True, False))
        if self.samples is None:
            released.check_accuracy(self._name, number, measured=outside, carried=held.accuracy)
        row = {"epoch": held.epoch, "learning_rate": None, "train_accuracy": inside, "test_accuracy": outside}
        return logits.numpy(), row | {"carried_accuracy": held.accuracy}


# The models of an ensemble are as many cells on the same images.
@lru_cache(maxsize=1)
def _load(name: str) -> data.Dataset | data.Folder:
    return data.load(name)
