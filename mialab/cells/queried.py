"""The cells that ask a trained model itself: label-only and gradient attacks, as rows of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mialab import attacks as registry
from mialab import audit, fusion, splits
from mialab.attacks.target import Target
from mialab.cells.about import About
from mialab.cells.attacked import KNOWN, known_mask
from mialab.cells.models import Models, predictions, rebuild
from mialab.cells.pipeline import evaluated
from mialab.cells.rows import devices, rows, setting
from mialab.engine.store import Cell
from mialab.names import unknown
from mialab.seeds import derive
from mialab.training.loop import default_device


@dataclass(frozen=True)
class Queried(About):
    """Attacks on `models` trained models as one ensemble, after their last epoch, that ask more than their logits.

    target: the cell of the first `target.count` models, with `weights`; the others differ from it in `first` alone.
    attacks: names of `mialab.attacks.QUERIES`. samples: how many to ask about, drawn from the seed with classes, sides
    and what is known in proportion, as some attacks take a thousand queries each; None for all. fusion, known: as in
    `Attacked`.

    The cell's info: rows, one per attack, as `mialab.cells.rows` describes them, where `access` is "label only"
    or "white box", with a column `samples`; trained_on (the devices). Its arrays: scores_{attack} float64 [asked];
    asked int64 (places among the target's samples, rising); labels, member, known [asked].
    """

    KIND: ClassVar[str] = "queried"
    VERSION: ClassVar[int] = 2

    target: Models
    attacks: tuple[str, ...]
    models: int = 1
    samples: int | None = None
    fusion: str = "confidence"
    known: float = KNOWN

    def __post_init__(self):
        if self._epoch not in self.target.weights or self._epoch not in self.target.epochs:
            wanted = f"epochs=(..., {self._epoch}), weights=({self._epoch},)"
            raise ValueError(f"Queried: the models themselves are needed: train them with Models(..., {wanted})")
        if self.target.first or self.models < 1 or self.models % self.target.count:
            raise ValueError(f"Queried: {self.models} models do not fill cells of {self.target.count} from model 0 on")
        for name in self.attacks:
            if name not in registry.QUERIES:
                raise ValueError(f"Queried: {unknown('attack', name, registry.QUERIES)}")
        if self.samples is not None and not 1 <= self.samples <= self._evaluated:
            raise ValueError(f"Queried: {self.samples} of {self._evaluated} samples; choose from 1 to all, or None")

    @property
    def _epoch(self) -> int:
        return self.target.pipeline.last.recipe.epochs

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        return {**self.target.columns(), "epoch": self._epoch, "models": self.models, "fusion": self.fusion}

    def versions(self) -> dict[str, int]:
        """The versions of the attacks that are run, and of the fusion."""
        return registry.versions(self.attacks) | {f"fusion {self.fusion}": fusion.get(self.fusion).version}

    def needs(self) -> tuple[Models, ...]:
        return self.target.cells(self.models)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        models = [one.to(default_device(None)) for cell in inputs for one in rebuild(self.target, cell)]
        target = Target(models, how=self.fusion)
        arrays = inputs[0].arrays
        known = known_mask(arrays, self.known, self.seed)
        asked = self._asked(arrays["labels"], arrays["member"], known)
        x = evaluated(self.target.pipeline).x()[asked].numpy()
        logits = predictions(inputs, self._epoch)
        outputs = audit.Outputs(logits[:, asked], arrays["labels"][asked], arrays["member"][asked])
        how = {"fusion": self.fusion, "known": known[asked], "seed": derive(self.seed, "queried")}
        report = audit.audit(outputs, attacks=self.attacks, x=x, target=target, published=True, **how)
        info = {"rows": self._rows(inputs[0], report), "trained_on": devices(inputs)}
        scores = {f"scores_{name}": result.scores for name, result in report.attacks.items()}
        of = {"asked": asked, "labels": outputs.labels, "member": outputs.member, "known": known[asked]}
        return Cell(info, scores | of)

    @property
    def _evaluated(self) -> int:
        return sum(self.target.pipeline.row_counts[1:])

    def _asked(self, labels: np.ndarray, member: np.ndarray, known: np.ndarray) -> np.ndarray:
        if self.samples is None:
            return np.arange(len(labels))
        strata = 2 * labels.astype(np.int64) + known
        share, seed = self.samples / len(labels), derive(self.seed, "queried", "samples")
        return np.flatnonzero(splits.known(strata, member, share=share, seed=seed))

    def _rows(self, first: Cell, report: audit.Report) -> list[dict]:
        of = setting(self.target, first, self._epoch, models=self.models, fusion=self.fusion, access="")
        found = rows(of | {"samples": len(report.labels)}, self.seed, [report])
        return [{**row, "access": registry.QUERIES[row["attack"]].access} for row in found]
