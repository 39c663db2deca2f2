"""The cells that multiply one model's logits by a constant: the drawback of averaged logits (the paper, A.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mialab import fusion
from mialab.cells.about import About
from mialab.cells.attacked import Attacked
from mialab.cells.models import predictions
from mialab.engine.store import Cell, Config


@dataclass(frozen=True)
class Rescaled(About):
    """An audit again, with the logits of model 0 multiplied by `factor` before they are fused.

    The factor changes no label of that model, and no softmax bounds what it weighs in a mean of logits. audit: of
    ensembles that model 0 belongs to, all models or the first ones, under a rule that is not learnt. Raises ValueError
    for others, for a single model, whose label nothing sways, and for a factor that is not positive.

    The cell's info: rows, those of the audit with rescaled (True), factor, and changed: the share of samples whose
    ensemble answers another label than before.
    """

    KIND: ClassVar[str] = "rescaled"
    VERSION: ClassVar[int] = 1

    audit: Attacked
    factor: float = 10.0

    def __post_init__(self) -> None:
        of = self.audit
        if of.size < 2 or (of.size < of.models and of.choice != "first"):
            raise ValueError(f"Rescaled: give an audit of all models or of the first two or more, not of {of.size}")
        if fusion.get(of.fusion).learns or of.shadow is not None:
            raise ValueError("Rescaled: a rule that is learnt would learn the factor, and shadows lack it: leave them")
        if not 0 < self.factor < float("inf"):
            raise ValueError(f"Rescaled: the factor must be positive and finite, not {self.factor}")

    @property
    def about(self) -> Attacked:
        return self.audit

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others."""
        return {**self.audit.columns(), "rescaled": True, "factor": self.factor}

    def versions(self) -> dict[str, int]:
        """Those of the audit, which is made again here."""
        return self.audit.versions()

    def needs(self) -> tuple[Config, ...]:
        return self.audit.needs()

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        name = f"logits_{self.audit.epoch}"
        logits = inputs[0].arrays[name].copy()
        logits[0] *= self.factor
        scaled = [replace(inputs[0], arrays={**inputs[0].arrays, name: logits}), *inputs[1:]]
        found = self.audit.compute(scaled, scratch=scratch)
        before, after = (self._answers(cells, found.info["subsets"][0]) for cells in (inputs, scaled))
        added = {"rescaled": True, "factor": self.factor, "changed": float((before != after).mean())}
        rows = [{**row, **added} for row in found.info["rows"]]
        return Cell({"rows": rows, "trained_on": found.info["trained_on"]}, {})

    def _answers(self, cells: Sequence[Cell], subset: list[int]) -> np.ndarray:
        return fusion.answer(predictions(cells, self.audit.epoch)[subset], self.audit.fusion)
