"""The cells that look at confidence among right and among wrong answers: the ensemble paper's Figure 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mialab import agreement
from mialab.agreement import Answers, Part
from mialab.cells.about import About
from mialab.cells.answered import Answered
from mialab.cells.attacked import ensembles
from mialab.cells.models import predictions
from mialab.cells.rows import curve, devices, setting
from mialab.engine.store import Cell
from mialab.names import unknown
from mialab.outputs import Outputs
from mialab.seeds import derive

SUBSETS = {"all": "everyone", "correct": "correct", "misclassified": "misclassified"}
BINS = 20  # of a drawn histogram, from 0 to 1
RESAMPLES = 200
EVERY = "all"


@dataclass(frozen=True)
class Parted(About):
    """Confidence on members and on non-members: of all samples, of those classified correctly, and of the others.

    target: the cell of the first `target.count` models; the others differ from it in `first` alone. models, size,
    subsets: how many ensembles of which size are looked at, drawn as in `Attacked`; figures are their means. label: the
    class whose histograms are kept beside those of all samples, as 2 in Figure 2; None for none.

    The cell's info: rows, one for each `subset` ("all", "correct", "misclassified") of each `label` (a class's number,
    or "all"), with attack "confidence": auc of the confidence in the true class; js (nats, bias removed), and the same
    as js_bits, js_distance and js_distance_bits; printed_js, that of a histogram of 20 bins as it stands, and
    printed_distance, its root; confidence, members_confidence, nonmembers_confidence (means; the first of the sides'
    two); members, nonmembers (mean numbers of samples). auc and js have an interval over samples. A figure that any of
    the ensembles lacks, for want of samples, is None. curves: "confidence, {subset}" with columns label and points
    left, right, members, nonmembers (shares of a side's samples), of the first ensemble. Explained in the chapter "Deep
    ensembles".
    """

    KIND: ClassVar[str] = "parted"
    VERSION: ClassVar[int] = 1

    target: Answered
    epoch: int
    models: int = 1
    size: int = 1
    subsets: int = 1
    reading: str = "true"
    label: int | None = 2

    def __post_init__(self) -> None:
        if self.epoch not in self.target.epochs:
            raise ValueError(f"Parted: epoch {self.epoch} is not kept; kept: {self.target.epochs}")
        if self.target.first or self.models % self.target.count:
            raise ValueError(f"Parted: {self.models} models do not fill cells of {self.target.count} from model 0 on")
        if not 1 <= self.size <= self.models or not 1 <= self.subsets <= math.comb(self.models, self.size):
            raise ValueError(f"Parted: there are no {self.subsets} subsets of {self.size} of {self.models} models")
        if self.reading not in agreement.READINGS:
            raise ValueError(f"Parted: {unknown('reading', self.reading, agreement.READINGS)}")

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        return {**self.target.columns(), "epoch": self.epoch, **self._own_columns()}

    def _own_columns(self) -> dict[str, Any]:
        return {"models": self.size, "fusion": "confidence", "access": "black box", "reading": self.reading}

    def needs(self) -> tuple[Answered, ...]:
        return self.target.cells(self.models)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        arrays, logits = inputs[0].arrays, predictions(inputs, self.epoch)
        chosen = ensembles(self.models, self.size, self.subsets, self.seed)
        answered = [
            agreement.answers(Outputs(logits[subset], arrays["labels"], arrays["member"]), reading=self.reading)
            for subset in chosen
        ]
        of = {**setting(self.target, inputs[0], self.epoch, **self._own_columns()), "attack": "confidence"}
        labels = [None, *np.unique(arrays["labels"]).tolist()]
        rows = [{**of, "seed": self.seed, **row} for label in labels for row in self._rows(answered, label)]
        curves = [one for label in dict.fromkeys((None, self.label)) for one in self._curves(of, answered[0], label)]
        return Cell({"rows": rows, "curves": curves, "subsets": chosen, "trained_on": devices(inputs)}, {})

    def _rows(self, answered: Sequence[Answers], label: int | None) -> list[dict[str, Any]]:
        found = [self._split(one, label, None) for one in answered]
        drawn = [self._split(one, label, BINS) for one in answered]
        rows = []
        for name, part in SUBSETS.items():
            each = [
                _columns(getattr(fine, part), getattr(coarse, part)) for fine, coarse in zip(found, drawn, strict=True)
            ]
            rows.append({"subset": name, "label": EVERY if label is None else label, **_mean(each)})
        return rows

    def _split(self, answers: Answers, label: int | None, bins: int | None) -> agreement.Split:
        seed = derive(self.seed, "parted", self.epoch)
        return agreement.split(answers, label=label, bins=bins, resamples=RESAMPLES if bins is None else 1, seed=seed)

    def _curves(self, of: dict[str, Any], answers: Answers, label: int | None) -> list[dict[str, Any]]:
        if label is not None and label not in answers.labels:
            return []
        split, where = self._split(answers, label, BINS), EVERY if label is None else label
        return [
            curve({**of, "label": where}, self.seed, f"confidence, {name}", _histogram(getattr(split, part)))
            for name, part in SUBSETS.items()
        ]


def _columns(fine: Part, coarse: Part) -> dict[str, Any]:
    """The figures of one part: divergences by bins of equal mass, and as a drawn histogram of wide bins prints it."""
    members, nonmembers = (None if math.isnan(mean) else mean for mean in fine.means)
    columns: dict[str, Any] = {
        "members": len(fine.members),
        "nonmembers": len(fine.nonmembers),
        "members_confidence": members,
        "nonmembers_confidence": nonmembers,
        "confidence": None if members is None or nonmembers is None else (members + nonmembers) / 2,
        "auc": fine.auc and fine.auc.value,
        "auc_interval": None if fine.auc is None else list(fine.auc[1:]),
    }
    units, printed, js = fine.units, coarse.plug_in, fine.js
    names = {"nats": "js", "bits": "js_bits", "distance": "js_distance", "distance_bits": "js_distance_bits"}
    columns |= {name: units and getattr(units, unit) for unit, name in names.items()}
    columns |= {"js_interval": js and [js.low, js.high]}
    return columns | {"printed_js": printed and printed.nats, "printed_distance": printed and printed.distance}


def _mean(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each column, and of intervals their ends; None where one lacks it."""
    found: dict[str, Any] = {}
    for name in each[0]:
        values = [columns[name] for columns in each]
        if any(value is None or (isinstance(value, list) and None in value) for value in values):
            found[name] = None
        else:
            found[name] = np.mean(np.asarray(values, dtype=np.float64), axis=0).tolist()
    return found


def _histogram(part: Part) -> list[dict[str, float]]:
    edges = np.linspace(0, 1, BINS + 1)
    sides = [np.histogram(side, edges)[0] / max(1, len(side)) for side in (part.members, part.nonmembers)]
    return [
        {"left": float(left), "right": float(right), "members": float(inside), "nonmembers": float(outside)}
        for left, right, inside, outside in zip(edges, edges[1:], *sides, strict=False)
    ]
