"""The cells that ask how many models of an ensemble are right, and what that has to do with membership."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mialab import agreement
from mialab.agreement import Answers, Levels, Side
from mialab.cells.about import About
from mialab.cells.answered import Answered
from mialab.cells.models import predictions
from mialab.cells.rows import curve, devices, setting
from mialab.engine.store import Cell
from mialab.metrics import Estimate
from mialab.names import unknown
from mialab.outputs import Outputs
from mialab.seeds import derive

LOWEST = 2  # levels, from none right on, that the ensemble paper sets apart in Figure 3(b): its "first two points"
SIDES = ("members", "nonmembers")


@dataclass(frozen=True)
class Agreed(About):
    """The level of correct agreement among all `models` of an ensemble, after one epoch.

    target: the cell of the first `target.count` models; the others differ from it in `first` alone. reading: of
    confidence, as in `mialab.agreement`; the fused prediction is the mean of confidences, which Eq. 1 is about.

    The cell's info: rows, curves, trained_on. Rows have a column `part`, which says what they are about:

    - "sides": one for each `side` ("members", "nonmembers", "both") and `level` ("all" samples; "lowest", where one
      model or none is right; "matched", both sides weighted to one distribution of levels). Of a side: share of its
      samples, agreement (mean level), confidence and confidence_deviation (mean and standard deviation),
      correct_confidence and misclassified_confidence (y^c and y^m over all pairs of a sample and a model). Of both:
      lead (members' mean confidence less non-members'), confidence_auc, the means of the sides' columns; at "all" also
      agreement_gap, correct_gap and misclassified_gap (members' less non-members'), generalisation_gap (the models'
      mean, which is agreement_gap / models), unanimous (the share of samples on which all models or none are right,
      sides weighing alike), level_js and js_of_accuracy in nats, level_auc and gap_auc (what accuracy alone gives); at
      "matched" also absolute_lead, which chance alone makes chance_lead, and common, the smaller side's share of
      samples at levels that both have.
    - "factors": one for each `factor` ("agreement", "correct", "misclassified"): its contribution to the lead, and
      contribution_share.

    Estimates have an interval over samples, {name}_interval. What nothing can be said of is None. Of one model alone
    nothing is asked that needs two. The curve "levels": by level, its share of either side's samples, and members and
    non-members' mean confidence with its deviation; lead and auc. Explained in the chapter "Agreement".
    """

    KIND: ClassVar[str] = "agreed"
    VERSION: ClassVar[int] = 1

    target: Answered
    epoch: int
    models: int = 10
    reading: str = "true"

    def __post_init__(self) -> None:
        if self.epoch not in self.target.epochs:
            raise ValueError(f"Agreed: epoch {self.epoch} is not kept; kept: {self.target.epochs}")
        if self.target.first or self.models < 2 or self.models % self.target.count:
            found = (
                f"{self.models} models do not fill cells of {self.target.count} from model 0 on, two models at least"
            )
            raise ValueError(f"Agreed: {found}")
        if self.reading not in agreement.READINGS:
            raise ValueError(f"Agreed: {unknown('reading', self.reading, agreement.READINGS)}")

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        return {**self.target.columns(), "epoch": self.epoch, **self._own_columns()}

    def _own_columns(self) -> dict[str, Any]:
        return {"models": self.models, "fusion": "confidence", "reading": self.reading}

    def needs(self) -> tuple[Answered, ...]:
        return self.target.cells(self.models)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        arrays = inputs[0].arrays
        outputs = Outputs(predictions(inputs, self.epoch), arrays["labels"], arrays["member"])
        answers = agreement.answers(outputs, reading=self.reading)
        of = setting(self.target, inputs[0], self.epoch, **self._own_columns())
        found, within = agreement.levels(answers), agreement.auc_at_equal_level(answers, seed=self._seed)
        rows = [*self._sides(answers, found, within), *self._factors(answers)]
        points = _points(found, within)
        info = {
            "rows": [{**of, "seed": self.seed, **row} for row in rows],
            "curves": [curve(of, self.seed, "levels", points)],
            "trained_on": devices(inputs),
        }
        return Cell(info, {})

    @property
    def _seed(self) -> int:
        return derive(self.seed, "agreed", self.epoch)

    def _factors(self, answers: Answers) -> list[dict[str, Any]]:
        parts = agreement.decompose(answers, seed=self._seed)
        return [
            {"part": "factors", "factor": factor, **_figure("contribution", one), "contribution_share": share}
            for (factor, one), share in zip(parts.contributions.items(), parts.shares.values(), strict=True)
        ]

    def _sides(self, answers: Answers, found: Levels, within: agreement.EqualAuc) -> list[dict[str, Any]]:
        pair = (found.members, found.nonmembers)
        equal = agreement.lead_at_equal_level(answers, seed=self._seed)
        matched = [{"confidence": value} for value in equal.confidence]
        groups = {
            "all": ([_of(side) for side in pair], self._everyone(answers, found, within)),
            "lowest": ([_lowest(side) for side in pair], {}),
            "matched": (
                matched,
                {
                    **_figure("lead", equal.signed),
                    **_figure("absolute_lead", equal.absolute),
                    "chance_lead": equal.chance.mean,
                    "common": min(equal.common),
                    **_figure("confidence_auc", within.matched),
                },
            ),
        }
        return [
            {"part": "sides", "side": side, "level": level, **row}
            for level, (sides, both) in groups.items()
            for side, row in zip((*SIDES, "both"), (*sides, _joined(*sides) | both), strict=True)
        ]

    def _everyone(self, answers: Answers, found: Levels, within: agreement.EqualAuc) -> dict[str, Any]:
        shape = agreement.shape(answers, seed=self._seed)
        return {
            **_figure("lead", found.lead),
            **_figure("confidence_auc", within.plain),
            "agreement_gap": found.level_gap,
            "correct_gap": _number(found.correct_gap),
            "misclassified_gap": _number(found.misclassified_gap),
            "generalisation_gap": found.generalisation_gap,
            "unanimous": (shape.members.unanimous + shape.nonmembers.unanimous) / 2,
            "level_js": shape.js.value,
            "level_js_interval": [shape.js.low, shape.js.high],
            "js_of_accuracy": shape.js_of_accuracy,
            **_figure("level_auc", shape.auc),
            "gap_auc": shape.auc_of_accuracy,
        }


def _of(side: Side) -> dict[str, Any]:
    return {
        "share": 1.0,
        "agreement": side.mean_level,
        "confidence": side.mean_confidence,
        "confidence_deviation": side.sd_confidence,
        "correct_confidence": _number(side.correct_confidence),
        "misclassified_confidence": _number(side.misclassified_confidence),
    }


def _lowest(side: Side) -> dict[str, Any]:
    counts = side.counts[:LOWEST]
    mean = float(counts @ np.nan_to_num(side.mean[:LOWEST]) / counts.sum()) if counts.sum() else None
    return {"share": float(counts.sum() / side.samples), "confidence": mean}


def _joined(members: dict[str, Any], nonmembers: dict[str, Any]) -> dict[str, Any]:
    """Both sides, weighing alike, and the members' lead."""
    sides = {name: (members[name], nonmembers[name]) for name in members}
    joined = {name: None if None in pair else sum(pair) / 2 for name, pair in sides.items()}
    inside, outside = sides["confidence"]
    return joined | {"lead": None if None in (inside, outside) else inside - outside}


def _points(found: Levels, within: agreement.EqualAuc) -> list[dict[str, Any]]:
    return [_point(c, found, within) for c in range(len(found.leads))]


def _point(c: int, found: Levels, within: agreement.EqualAuc) -> dict[str, Any]:
    lead, auc = found.leads[c], within.within[c]
    point: dict[str, Any] = {"level": c, "lead": lead and lead.value, "auc": auc and auc.value}
    for name, side in zip(SIDES, (found.members, found.nonmembers), strict=True):
        point |= {name: float(side.shares[c]), f"{name}_confidence": _number(side.mean[c])}
        point[f"{name}_deviation"] = _number(side.sd[c])
    return point


def _figure(name: str, estimate: Estimate) -> dict[str, Any]:
    """A value with its interval, as columns."""
    ends = [None if end is None else float(end) for end in estimate[1:]]
    return {name: float(estimate.value), f"{name}_interval": ends}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
