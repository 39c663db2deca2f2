"""The cells that make an ensemble of one training: its snapshots, the last one first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from mialab.cells.answered import Answered
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.cells.trained import OfPipeline
from mialab.engine.store import Cell
from mialab.ensembles import ends


@dataclass(frozen=True)
class Snapshots(OfPipeline, Answered):
    """The models at the ends of a training's cycles: model 0 is the last one, model 1 the one before, and so on.

    So the first m models are the ensemble of size m that the paper takes (A.5, after Huang et al. 2017): audit it with
    `choice="first"`. pipeline: one whose last recipe has `schedule=Cyclic(...)`; it is trained once, as model 0 of
    `Models`. Raises ValueError as `mialab.ensembles.ends`.

    The cell's arrays and info are those of `Answered`, all under the training's last epoch; history has `snapshot`, the
    epoch that the model is of. Explained in the chapter "Other ensembles".
    """

    KIND: ClassVar[str] = "snapshots"
    VERSION: ClassVar[int] = 1

    pipeline: Pipeline

    def __post_init__(self) -> None:
        ends(self.pipeline.last.recipe)

    @property
    def epochs(self) -> tuple[int, ...]:  # type: ignore[override]
        """The training's last epoch."""
        return (self.pipeline.last.recipe.epochs,)

    @property
    def first(self) -> int:  # type: ignore[override]
        """The number of the cell's first model."""
        return 0

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many snapshots there are."""
        return len(ends(self.pipeline.last.recipe))

    def columns(self) -> dict[str, Any]:
        """What tells rows of these models from others."""
        method = self.pipeline.method
        return {**self.pipeline.columns(), "method": "snapshot" if method == "none" else f"snapshot+{method}"}

    def cells(self, number: int) -> tuple[Self, ...]:
        """This one cell, which has all of them."""
        return (self,)

    def needs(self) -> tuple[Models]:
        return (Models(self.pipeline, ends(self.pipeline.last.recipe)),)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        (run,), (last,) = inputs, self.epochs
        latest_first = ends(self.pipeline.last.recipe)[::-1]
        rows = {row["epoch"]: row for row in run.info["history"][0]}
        history = [[{**rows[epoch], "epoch": last, "snapshot": epoch}] for epoch in latest_first]
        curves = [run.info["training"][0], *([] for _ in latest_first[1:])]
        logits = np.concatenate([run.arrays[f"logits_{epoch}"] for epoch in latest_first])
        kept = {name: run.arrays[name] for name in ("labels", "member")}
        return Cell({"history": history, "training": curves}, {f"logits_{last}": logits, **kept})
