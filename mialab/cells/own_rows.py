"""The cells that look at one model of a divided ensemble by itself: its members are the rows that it saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from mialab.cells.answered import Answered
from mialab.cells.models import Models
from mialab.cells.pipeline import Evaluated, rows_of
from mialab.engine.store import Cell


@dataclass(frozen=True)
class OwnRows(Answered):
    """Model `number` of an ensemble whose models see parts or bags, on its own rows and on the non-members.

    A member of the ensemble is a member of any part; of one model alone, a sample of another part is none. Such samples
    are left out, so that non-members are the same in both audits. target: the cell of the first models. Raises
    ValueError where all models see all members, and below 0.

    The cell's arrays and info are those of `Answered` for this one model. Rows have `membership`: "its own rows".
    """

    KIND: ClassVar[str] = "own_rows"
    VERSION: ClassVar[int] = 1

    target: Models
    number: int = 0

    def __post_init__(self) -> None:
        if self.target.pipeline.division.kind == "all":
            raise ValueError("OwnRows: each of these models saw all members: audit the model itself")
        if self.target.first or self.number < 0:
            asked = f"{self.number} of a cell that begins at {self.target.first}"
            raise ValueError(f"OwnRows: give the cell of model 0, and a number from 0 on, not {asked}")

    @property
    def epochs(self) -> tuple[int, ...]:  # type: ignore[override]
        """The epochs that the target keeps."""
        return self.target.epochs

    @property
    def first(self) -> int:  # type: ignore[override]
        """The number of the cell's first model: there is one."""
        return 0

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many models there are."""
        return 1

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.target.data

    @property
    def seed(self) -> int:
        """The repetition."""
        return self.target.seed

    def columns(self) -> dict[str, Any]:
        """What tells rows of this model from others."""
        return {**self.target.columns(), "membership": "its own rows"}

    def cells(self, number: int) -> tuple[Self, ...]:
        """This one cell."""
        return (self,)

    def seen(self) -> Evaluated:
        """The model's own rows, then the non-members."""
        seen = self.target.seen()
        kept = self._kept(seen)
        return seen._replace(row_ids=seen.row_ids[kept], member=seen.member[kept])

    def needs(self) -> tuple[Models]:
        return (self.target.cells(self.number + 1)[-1],)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        (cell,), k = inputs, self.number % self.target.count
        kept = self._kept(self.target.seen())
        arrays = {name: cell.arrays[name][kept] for name in ("labels", "member")}
        arrays |= {name: cell.arrays[name][[k]][:, kept] for name in (f"logits_{epoch}" for epoch in self.epochs)}
        history = [self._counted(row, arrays) for row in cell.info["history"][k] if row["epoch"] in self.epochs]
        return Cell({"history": [history], "training": [cell.info["training"][k]]}, arrays)

    def _kept(self, seen: Evaluated) -> np.ndarray:
        own = rows_of(self.target.pipeline, seen.roles, seen.dataset.y, self.number)
        return np.isin(seen.row_ids.numpy(), own.numpy()) | ~seen.member.numpy()

    def _counted(self, row: dict, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """A row of the history with the accuracy on the rows that are left."""
        right = arrays[f"logits_{row['epoch']}"][0].argmax(axis=1) == arrays["labels"]
        return {**row, "train_accuracy": float(right[arrays["member"]].mean())}
