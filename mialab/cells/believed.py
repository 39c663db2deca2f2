"""The cells that audit an ensemble's answers with an attacker who believes in some fusion rule, rightly or wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mialab import audit, fusion
from mialab.attacks import References
from mialab.cells.about import About
from mialab.cells.attacked import Attacked, known_mask
from mialab.cells.models import predictions
from mialab.cells.rows import devices, rows, setting
from mialab.cells.shadows import references
from mialab.engine.store import Cell, Config
from mialab.seeds import derive


@dataclass(frozen=True)
class Believed(About):
    """An ensemble answers by its rule, and the attacker learns from what another rule would have answered.

    audit: of all its models at once, black box, whose `fusion` is the rule that answers. believed: the rule that the
    attacker takes for it. On what he learns from, the known samples and his shadows, the models are fused by the rule
    that he believes in; on the samples that he is judged on, by the true one. So with `believed` the true rule, this is
    the attacker who knows it, and the audit itself. With another one, he learnt before the rule was put in place.

    The cell's info: rows, those of the audit with `believed`; skipped; trained_on. Explained in the chapter "Between
    the papers". Raises ValueError for a white box, where no rule stands before the models, for several ensembles, and
    for a rule that must be fitted.
    """

    KIND: ClassVar[str] = "believed"
    VERSION: ClassVar[int] = 1

    audit: Attacked
    believed: str

    def __post_init__(self) -> None:
        one = self.audit
        if one.white_box or one.size < one.models:
            raise ValueError("Believed: give a black-box audit of all models at once; a white box sees behind any rule")
        for name in (one.fusion, self.believed):
            if fusion.get(name).learns:  # a ValueError, with all names, where there is no such rule
                raise ValueError(f"Believed: the rule {name!r} must be fitted first: choose one that need not be")

    @property
    def about(self) -> Attacked:
        return self.audit

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        return {**self.audit.columns(), "believed": self.believed}

    def versions(self) -> dict[str, int]:
        """The versions of the attacks and of both rules."""
        return self.audit.versions() | {f"fusion {self.believed}": fusion.get(self.believed).version}

    def needs(self) -> tuple[Config, ...]:
        return self.audit.needs()

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        one = self.audit
        count = one.models // one.target.count
        trained, shadows = inputs[:count], inputs[count:]
        logits, arrays = predictions(trained, one.epoch), trained[0].arrays
        known = known_mask(arrays, one.known, self.seed)
        shown = np.where(known[:, None], fusion.fuse(logits, self.believed), fusion.fuse(logits, one.fusion))
        report = audit.audit(
            audit.Outputs(shown[None], arrays["labels"], arrays["member"]),
            attacks=one.attacks,
            known=known,
            seed=derive(self.seed, "attack", 0),
            published=True,
            references=self._references(shadows),
        )
        columns = {name: value for name, value in self.columns().items() if name != "epoch"}
        of = setting(one.target, trained[0], one.epoch, **columns)
        accuracy = self._accuracy(logits, arrays)
        found = [row | accuracy for row in rows(of, self.seed, [report])]
        return Cell({"rows": found, "skipped": report.skipped, "trained_on": devices(inputs)}, {})

    def _references(self, shadows: Sequence[Cell]) -> References | None:
        one = self.audit
        if one.shadow is None:
            return None
        epoch = one.epoch if one.epoch in one.shadow.epochs else one.shadow.epochs[-1]
        return references(shadows, epoch, size=one.size, fusion=self.believed)

    def _accuracy(self, logits: np.ndarray, arrays: dict[str, np.ndarray]) -> dict[str, float]:
        """The accuracies of the true rule on all samples, those that the attacker saw otherwise included."""
        right = fusion.answer(logits, self.audit.fusion) == arrays["labels"]
        sides = {"train_accuracy": arrays["member"], "test_accuracy": ~arrays["member"]}
        return {name: float(right[side].mean()) for name, side in sides.items()}
