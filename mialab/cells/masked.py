"""The cells that audit what a mask leaves of an ensemble's confidences, and say what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mialab import audit, fusion, training
from mialab.cells.about import About
from mialab.cells.attacked import Attacked, known_mask
from mialab.cells.models import Models, predictions, rebuild
from mialab.cells.pipeline import evaluated
from mialab.cells.rows import devices, rows, setting
from mialab.engine.store import Cell, Config
from mialab.masking import Mask, distortion
from mialab.seeds import derive


@dataclass(frozen=True)
class Masked(About):
    """The audit of an ensemble whose fused confidences pass a mask first, by attackers who learn from masked answers.

    audit: of all its models at once, black box. mask: None shows the confidences as they are. One that learns is fitted
    to the audited members, which are the owner's own, and to the reference rows; the target must be kept whole at this
    epoch (`weights`), since what it answers to reference rows is not stored.

    The cell's info: rows, one per attack, as `mialab.cells.rows` describes them, with mask ("none" without one), dial,
    calibration_error (of what is shown, on evaluated non-members and all others of them), and distortion, the mean sum
    of absolute changes. Explained in the chapter "Defenses of ensembles". Raises ValueError for a white box, before
    which no mask stands, for several ensembles, and for a mask that lacks what it learns from.
    """

    KIND: ClassVar[str] = "masked"
    VERSION: ClassVar[int] = 2

    audit: Attacked
    mask: Mask | None = None

    def __post_init__(self) -> None:
        one = self.audit
        if one.white_box or one.size < one.models:
            raise ValueError("Masked: give a black-box audit of all models at once; a white box sees behind any mask")
        if self.mask is not None and self.mask.LEARNS and not self._learnable:
            raise ValueError(
                f"Masked: {self.mask.NAME} learns from reference rows: train the target with weights=({one.epoch},), "
                "its last epoch, and an arrangement with a reference share"
            )

    @property
    def _learnable(self) -> bool:
        target = self.audit.target
        return (
            isinstance(target, Models)
            and self.audit.epoch in target.weights
            and target.pipeline.arrangement.reference > 0
        )

    @property
    def about(self) -> Attacked:
        return self.audit

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        return {**self.audit.columns(), **self._own_columns()}

    def _own_columns(self) -> dict[str, Any]:
        return {"mask": self.mask.NAME, "dial": self.mask.dial} if self.mask else {"mask": "none", "dial": None}

    def versions(self) -> dict[str, int]:
        """The versions of the attacks and of the fusion."""
        return self.audit.versions()

    def needs(self) -> tuple[Config, ...]:
        needed: tuple[Config, ...] = self.audit.target.cells(self.audit.models)
        return needed

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        one, arrays = self.audit, inputs[0].arrays
        p = fusion.predict(predictions(inputs, one.epoch), one.fusion)
        shown = p if self.mask is None else self._fitted(inputs, p[arrays["member"]])(p, derive(self.seed, "mask"))
        report = audit.audit(
            audit.Outputs.from_probabilities(shown[None], arrays["labels"], arrays["member"]),
            attacks=one.attacks,
            known=known_mask(arrays, one.known, self.seed),
            seed=derive(self.seed, "attack", 0),
            published=True,
        )
        of = setting(one.target, inputs[0], one.epoch, models=one.size, fusion=one.fusion, access="black box")
        outside = ~arrays["member"]
        costs = {
            "calibration_error": fusion.calibration_error(shown[outside], arrays["labels"][outside]),
            "distortion": distortion(shown, p),
        }
        found = [row | costs for row in rows(of | self._own_columns(), self.seed, [report])]
        return Cell({"rows": found, "skipped": report.skipped, "trained_on": devices(inputs)}, {})

    def _fitted(self, inputs: Sequence[Cell], members: np.ndarray) -> Mask:
        """The mask, taught by the owner's members and reference rows if it learns."""
        assert self.mask is not None
        if not self.mask.LEARNS:
            return self.mask
        target = self.audit.target
        assert isinstance(target, Models)
        seen = evaluated(target.pipeline)
        rows_apart = seen.dataset.rows(seen.roles.reference)
        models = [model for cell in inputs for model in rebuild(target, cell, self.audit.epoch)]
        x = rows_apart[0] if isinstance(rows_apart, tuple) else rows_apart
        answers = [training.logits(model, x) for model in models]
        logits = np.stack([(one[0] if isinstance(one, tuple) else one).numpy() for one in answers])
        return self.mask.fit(members, fusion.predict(logits, self.audit.fusion), derive(self.seed, "mask", "fit"))
