"""The cells that audit: ensembles of trained models under several attacks, as rows of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from mialab import attacks, audit, splits
from mialab.cells.cost import Audits, attack_steps
from mialab.cells.models import Models, evaluated
from mialab.cells.rows import devices, rows, setting
from mialab.cells.shadows import Shadows, references
from mialab.engine.store import Cell
from mialab.seeds import derive

ATTACKS = ("gap", "confidence", "neural-published")
SAME_SAMPLES = ("data", "samples", "arrangement", "seed")  # fields of Models that decide which samples are attacked


@dataclass(frozen=True)
class Attacked:
    """Audits of ensembles of `size` out of `models` trained ones, after one epoch.

    target: the cell of the first `target.count` models; the others differ from it in `first` alone. subsets: how many
    ensembles are audited; figures are their means. Ensembles are drawn from the seed, disjoint as long as models are
    left, so that `models // size` of them hold every model once; prefixes, as in the ensemble paper's released script,
    are models=size. fusion, white_box, attacks: as in `mialab.audit`. known: the attacker's share of either side, drawn
    from the seed; None for the target's own mask.

    shadow: the cell of the first `shadow.count` shadows, for attacks that need references; the others differ from it in
    `first` alone. Usually a shadow is the target's own pipeline, `Shadows(target, models=size)`; an attacker who does
    not know the defense has others. shadows: how many in all, an even number, so that each sample is in half of them.
    scores: keep the attacks' scores too.

    The cell's info: rows, one per attack, as `mialab.cells.rows` describes them, with a column `shadows` where
    there are any; skipped (reasons by attack); subsets; trained_on (the devices). Its arrays, with `scores`:
    scores_{attack} float64 [subsets, samples]; labels, member, known [samples].
    """

    KIND: ClassVar[str] = "attacked"
    VERSION: ClassVar[int] = 1

    target: Models
    epoch: int
    models: int = 1
    size: int = 1
    subsets: int = 1
    fusion: str = "confidence"
    white_box: bool = False
    attacks: tuple[str, ...] = ATTACKS
    known: float | None = None
    shadow: Shadows | None = None
    shadows: int = 0
    scores: bool = False

    def __post_init__(self):
        if self.epoch not in self.target.epochs:
            raise ValueError(f"Attacked: epoch {self.epoch} is not kept; kept: {self.target.epochs}")
        if self.target.first or self.models % self.target.count:
            raise ValueError(f"Attacked: {self.models} models do not fill cells of {self.target.count} from model 0 on")
        if not 1 <= self.size <= self.models or not 1 <= self.subsets <= math.comb(self.models, self.size):
            raise ValueError(f"Attacked: there are no {self.subsets} subsets of {self.size} of {self.models} models")
        if wrong := self._misfit():
            raise ValueError(f"Attacked: {wrong}")

    def _misfit(self) -> str | None:
        """Why the shadows do not fit the target, or are not whole."""
        shadow, number = self.shadow, self.shadows
        if shadow is None or number < 1:
            return "give both a shadow and the number of shadows, or neither" if shadow or number else None
        if shadow.first or number % shadow.count:
            return f"{number} shadows do not fill cells of {shadow.count} from shadow 0 on"
        if number % 2:
            return f"{number} shadows: choose an even number, so that each sample is in half of them"
        if shadow.models < self.size:
            return f"for ensembles of {self.size}, a shadow must have as many models, not {shadow.models}"
        if shadow.target.recipe == self.target.recipe and shadow.epoch != self.epoch:
            return f"the target is attacked after epoch {self.epoch}: take its shadows there, not at {shadow.epoch}"
        different = [name for name in SAME_SAMPLES if getattr(shadow.target, name) != getattr(self.target, name)]
        return f"shadows and target differ in {', '.join(different)}, hence in their samples" if different else None

    @property
    def data(self) -> str:
        return self.target.data

    @property
    def seed(self) -> int:
        return self.target.seed

    def needs(self) -> tuple[Models | Shadows, ...]:
        models = self.target.cells(self.models)
        if self.shadow is None:
            return models
        return (*models, *(replace(self.shadow, first=k) for k in range(0, self.shadows, self.shadow.count)))

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        count = self.models // self.target.count
        trained, shadows = inputs[:count], inputs[count:]
        held = {"references": references(shadows, size=self.size, fusion=self.fusion) if shadows else None}
        held["x"] = self._x()
        subsets = self._subsets()
        reports = [self._audit(trained, subset, number, held) for number, subset in enumerate(subsets)]
        kept = {"skipped": reports[0].skipped, "subsets": subsets, "trained_on": devices(inputs)}
        return Cell({"rows": self._rows(trained[0], reports), **kept}, self._arrays(reports))

    def work(self) -> Audits:
        """What this cell audits, found without loading any data."""
        _, members, nonmembers = self.target.rows
        share = self.target.known if self.known is None else self.known
        pairs = int(share * min(members, nonmembers))
        return Audits(self.subsets, members + nonmembers, steps=attack_steps(self.attacks, pairs))

    def _subsets(self) -> list[list[int]]:
        """Distinct ensembles: the parts of one random order of the models, and of further ones if that is too few."""
        draw, found = np.random.default_rng(derive(self.seed, "subsets", self.size)), {}
        while len(found) < self.subsets:
            parts = draw.permutation(self.models)[: self.models - self.models % self.size].reshape(-1, self.size)
            found |= {tuple(sorted(part)): None for part in parts.tolist()}
        return [list(part) for part in found][: self.subsets]

    def _audit(self, inputs: Sequence[Cell], subset: Sequence[int], number: int, held: dict) -> audit.Report:
        per_cell = self.target.count
        logits = [inputs[k // per_cell].arrays[f"logits_{self.epoch}"][k % per_cell] for k in subset]
        arrays = inputs[0].arrays  # labels and roles are the same in all
        return audit.audit(
            audit.Outputs(np.stack(logits), arrays["labels"], arrays["member"]),
            attacks=self.attacks,
            fusion=self.fusion,
            white_box=self.white_box,
            known=known_of(arrays, self.known, self.seed),
            seed=derive(self.seed, "attack", number),
            **held,
        )

    def _x(self) -> np.ndarray | None:
        """The samples themselves, if any attack looks at them."""
        needed = any("x" in attacks.get(name).needs for name in self.attacks)
        return evaluated(self.target).samples()[0].numpy() if needed else None

    def _rows(self, first: Cell, reports: Sequence[audit.Report]) -> list[dict]:
        access = "white box" if self.white_box else "black box"
        of = setting(self.target, first, self.epoch, models=self.size, fusion=self.fusion, access=access)
        return rows(of | ({"shadows": self.shadows} if self.shadows else {}), self.seed, reports)

    def _arrays(self, reports: Sequence[audit.Report]) -> dict[str, np.ndarray]:
        if not self.scores:
            return {}
        first = reports[0]
        scores = {f"scores_{name}": np.stack([each.attacks[name].scores for each in reports]) for name in first.attacks}
        return {**scores, "labels": first.labels, "member": first.member, "known": ~first.evaluated}


def known_of(arrays: dict[str, np.ndarray], share: float | None, seed: int) -> np.ndarray:
    """Which samples an attacker knows, bool [samples]: the target's own mask, or a share of either side."""
    if share is None:
        return arrays["known"]
    return splits.known(arrays["labels"], arrays["member"], share=share, seed=derive(seed, "known"))
