"""The cells that place a defense in the accuracy-privacy plane, beside what no defense gives at equal accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mialab.cells.about import About
from mialab.cells.attacked import Attacked
from mialab.engine.store import Cell

Point = tuple[float, float]  # test accuracy and the attack's AUC


@dataclass(frozen=True)
class Defended(About):
    """An audit as a point of the ensemble paper's Figure 5, compared with plain ensembles of the same accuracy.

    audit: of the defended ensemble. method: the defense's name in rows, since not all defenses are hooks. strength: 0
    is no defense, 1 the weakest there is; dial: what is turned, such as lambda, epsilon or the epoch. plain: audits of
    ensembles of as many undefended models after rising epochs, on the same samples and with the same attacks.

    The cell's info: rows, those of the audit with method, strength, dial, and auc_above_plain: the attack's AUC less
    that of the plain ensemble at the same test accuracy (`at_accuracy`), None where it is never that accurate. The
    comparison looks at evaluated samples, so it protects nobody. Explained in the chapter "Defenses of ensembles".
    Raises ValueError for plain audits that differ in more than the epoch, or whose epochs do not rise.
    """

    KIND: ClassVar[str] = "defended"
    VERSION: ClassVar[int] = 1

    audit: Attacked
    method: str
    strength: int
    dial: float
    plain: tuple[Attacked, ...]

    def __post_init__(self) -> None:
        own, epochs = self.audit, [one.epoch for one in self.plain]
        if len(epochs) < 2 or epochs != sorted(set(epochs)):
            raise ValueError(f"Defended: give plain audits after two epochs or more, rising, not {epochs}")
        for one in self.plain:
            if (one.size, one.attacks, one.seed, one.data) != (own.size, own.attacks, own.seed, own.data):
                raise ValueError("Defended: plain audits are of the same data, seed, number of models and attacks")

    @property
    def about(self) -> Attacked:
        return self.audit

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        return {**self.audit.columns(), "method": self.method, "strength": self.strength, "dial": self.dial}

    def needs(self) -> tuple[Attacked, ...]:
        return (self.audit, *self.plain)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        own, *plain = inputs
        placed = []
        for row in own.info["rows"]:
            curve = [_point(next(r for r in cell.info["rows"] if r["attack"] == row["attack"])) for cell in plain]
            accuracy, auc = _point(row)
            other = at_accuracy(accuracy, curve)
            above = {"auc_above_plain": None if other is None else auc - other}
            placed.append({**row, **self.columns(), **above})
        return Cell({"rows": placed, "trained_on": own.info["trained_on"]}, {})


def _point(row: dict[str, Any]) -> Point:
    return float(row["test_accuracy"]), float(row["auc"])


def at_accuracy(accuracy: float, curve: Sequence[Point]) -> float | None:
    """The AUC where a training's path first has this accuracy, straight lines between its points; None if nowhere.

    curve: (accuracy, AUC) after rising epochs. The first place counts: who wants this accuracy stops there.
    """
    for (before, low), (after, high) in zip(curve[:-1], curve[1:], strict=True):
        if min(before, after) <= accuracy <= max(before, after):
            share = (accuracy - before) / (after - before) if after != before else 0.0
            return low + share * (high - low)
    return None
