"""The cells that match: of a defense in several strengths, the audit that stands where another model's does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mialab.cells.attacked import Attacked
from mialab.engine.store import Cell, Config

BY = {"attack": "balanced_accuracy", "accuracy": "test_accuracy"}


@dataclass(frozen=True)
class Matched(Config):
    """Of several audits, the one whose figure is nearest to the pattern's: defenses at the same attack or accuracy.

    audits: of one data set, network and method, which differ in `strength`, a column of theirs. pattern: the audit that
    is to be matched. by: "attack", the balanced accuracy of `attack`; or "accuracy", the test accuracy. The choice
    looks at evaluated samples, so it compares and protects nobody.

    The cell's info: rows, those of the audit chosen, with its strength as matched_{strength} in place of the column;
    matched, which is `by`; apart, the chosen figure less the pattern's. Explained in the chapter "The min-max game".
    Raises ValueError for fewer than two audits, for a column that they do not differ in, an attack that one of them
    lacks, and another `by`.
    """

    KIND: ClassVar[str] = "matched"
    VERSION: ClassVar[int] = 1

    audits: tuple[Attacked, ...]
    pattern: Attacked
    strength: str
    attack: str
    by: str = "attack"

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise ValueError(f"Matched: by must be one of {', '.join(BY)}, not {self.by!r}")
        strengths = {audit.columns().get(self.strength) for audit in self.audits}
        if len(self.audits) < 2 or len(strengths) < len(self.audits):
            raise ValueError(f"Matched: give two audits or more, each with another {self.strength!r}")
        if any(self.attack not in one.attacks for one in (*self.audits, self.pattern)):
            raise ValueError(f"Matched: an audit lacks the attack {self.attack}, by which they are compared")

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.pattern.data

    @property
    def seed(self) -> int:
        """The repetition."""
        return self.pattern.seed

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        own = {name: value for name, value in self.audits[0].columns().items() if name != self.strength}
        return own | {"matched": self.by}

    def needs(self) -> tuple[Attacked, ...]:
        return (*self.audits, self.pattern)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        *found, wanted = (self._figure(cell) for cell in inputs)
        apart = [figure - wanted for figure in found]
        chosen = min(range(len(apart)), key=lambda number: abs(apart[number]))
        rows = [dict(row) for row in inputs[chosen].info["rows"]]
        for row in rows:
            row[f"matched_{self.strength}"] = row.pop(self.strength)
            row |= {"matched": self.by, "apart": apart[chosen]}
        return Cell({"rows": rows, "trained_on": inputs[chosen].info["trained_on"]}, {})

    def _figure(self, cell: Cell) -> float:
        row = next(row for row in cell.info["rows"] if row["attack"] == self.attack)
        return float(row[BY[self.by]])
