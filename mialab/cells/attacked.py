"""The cells that audit: ensembles of trained models under several attacks, as rows of numbers and as curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mialab import attacks, audit, fusion, splits
from mialab.attacks import References
from mialab.cells.about import About
from mialab.cells.answered import Answered
from mialab.cells.models import predictions
from mialab.cells.rows import calibration, curve, devices, gains, rows, setting, spread
from mialab.cells.shadows import Shadows, references
from mialab.cells.trained import Trained
from mialab.engine.store import Cell, Config
from mialab.fusion import FusionRule
from mialab.seeds import derive

ATTACKS = ("gap", "confidence", "neural-published")
SAME_SAMPLES = ("data", "samples", "arrangement", "seed")  # fields of a pipeline that decide which samples are attacked
CHOICES = ("random", "first")
KNOWN = 0.8  # the ensemble paper's share (section 4.1)


@dataclass(frozen=True)
class Attacked(About):
    """Audits of ensembles of `size` out of `models` trained ones, after one epoch.

    target: the cell of the first `target.count` models; the others differ from it in `first` alone. subsets: how many
    ensembles are audited; figures are their means. Ensembles are drawn from the seed, disjoint as long as models are
    left, so that `models // size` of them hold every model once. choice: "first" takes the first `size` models alone,
    as the ensemble paper's released script does; "random" draws like None, but rows say so. fusion, white_box, attacks:
    as in `mialab.audit`. known: the attacker's share of either side, drawn from the seed.

    shadow: the cell of the first `shadow.count` shadows, for attacks that need references; the others differ from it in
    `first` alone. Usually a shadow is the target's own pipeline, `Shadows(target.pipeline, epochs, models=size)`; an
    attacker who does not know the defense has others, which are taken at their own last epoch. shadows: how many in
    all, an even number, so that each sample is in half of them. An attack on sensitivity needs single models, and a
    target and shadows that keep it. scores: keep the attacks' scores too. curves: keep the training's curve and those
    of attacks that have one. gains: rows have the columns of `mialab.cells.rows.gains`, too. With a choice they have
    `choice` ("random", "first", or "all" models there are), `ensembles` (the number of subsets) and those of
    `mialab.cells.rows.spread`. calibration: they have those of `mialab.cells.rows.calibration`, too.

    A fusion that learns is fitted for each ensemble on the samples that its target keeps apart for that (stacking), or
    else on all members, as the ensemble paper has it, although these are audited, too. Rows say which in `fitted_on`:
    "a part of its own" or "members"; of weights they have `largest_weight`.

    The cell's info: rows, one per attack, as `mialab.cells.rows` describes them, with a column `shadows` where there
    are any, and `shadow_method` where these are made otherwise than the target; curves, of the first ensemble's first
    model and of the attacks on it; skipped (reasons by attack); subsets; trained_on (the devices). Its arrays, with
    `scores`: scores_{attack} float64 [subsets, samples]; labels, member, known [samples].
    """

    KIND: ClassVar[str] = "attacked"
    VERSION: ClassVar[int] = 2

    target: Answered
    epoch: int
    models: int = 1
    size: int = 1
    subsets: int = 1
    fusion: str = "confidence"
    white_box: bool = False
    attacks: tuple[str, ...] = ATTACKS
    known: float = KNOWN
    shadow: Shadows | None = None
    shadows: int = 0
    scores: bool = False
    curves: bool = False
    gains: bool = False
    choice: str | None = None
    calibration: bool = False

    def __post_init__(self) -> None:
        if self.epoch not in self.target.epochs:
            raise ValueError(f"Attacked: epoch {self.epoch} is not kept; kept: {self.target.epochs}")
        if self.target.first or self.models % self.target.count:
            raise ValueError(f"Attacked: {self.models} models do not fill cells of {self.target.count} from model 0 on")
        if not 1 <= self.size <= self.models or not 1 <= self.subsets <= math.comb(self.models, self.size):
            raise ValueError(f"Attacked: there are no {self.subsets} subsets of {self.size} of {self.models} models")
        if self.choice not in (None, *CHOICES) or (self.choice == "first" and self.subsets > 1):
            asked = f"{self.choice!r} and {self.subsets} subsets"
            raise ValueError(f"Attacked: choice is None, 'random', or 'first' with one subset, not {asked}")
        rule = fusion.get(self.fusion)  # a ValueError, with all names, where there is no such rule
        if self.size < rule.fewest:
            raise ValueError(f"Attacked: fusion {rule.name!r} joins {rule.fewest} models or more, not {self.size}")
        if wrong := self._misfit() or self._undisturbed():
            raise ValueError(f"Attacked: {wrong}")

    def _misfit(self) -> str | None:
        """Why the shadows do not fit the target, or are not whole."""
        shadow, number = self.shadow, self.shadows
        if shadow and self._rule.learns:
            return f"nobody fits the fusion {self.fusion!r} for shadows: leave them out, or choose another fusion"
        if shadow is None or number < 1:
            return "give both a shadow and the number of shadows, or neither" if shadow or number else None
        if shadow.first or number % shadow.count:
            return f"{number} shadows do not fill cells of {shadow.count} from shadow 0 on"
        if number % 2:
            return f"{number} shadows: choose an even number, so that each sample is in half of them"
        if shadow.models < self.size:
            return f"for ensembles of {self.size}, a shadow must have as many models, not {shadow.models}"
        if not isinstance(self.target, Trained):
            return "no shadow can be trained as these models were: leave shadows out"
        own, theirs = self.target.pipeline, shadow.pipeline
        if theirs.phases == own.phases and self.epoch not in shadow.epochs:
            return f"the target is attacked after epoch {self.epoch}: take its shadows there, not at {shadow.epochs}"
        different = [name for name in SAME_SAMPLES if getattr(theirs, name) != getattr(own, name)]
        return f"shadows and target differ in {', '.join(different)}, hence in their samples" if different else None

    def _undisturbed(self) -> str | None:
        """Why an attack on sensitivity cannot be run."""
        asking = [name for name in self.attacks if "sensitivity" in attacks.get(name).needs]
        if not asking:
            return None
        if self.size > 1:
            return f"{asking[0]} asks single models: the sensitivity of {self.size} together is not kept; choose size=1"
        if self.epoch not in self.target.sensitivity:
            return f"{asking[0]} needs the target's sensitivity: Models(..., sensitivity=({self.epoch},))"
        if self.shadow is not None and (epoch := self._shadow_epoch) not in self.shadow.sensitivity:
            return f"{asking[0]} needs the shadows' sensitivity, too: Shadows(..., sensitivity=({epoch},))"
        return None

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        return {**self.target.columns(), "epoch": self.epoch, **self._own_columns()}

    def _own_columns(self) -> dict[str, Any]:
        access = "white box" if self.white_box else "black box"
        columns: dict[str, Any] = {"models": self.size, "fusion": self.fusion, "access": access}
        if self.choice is not None:
            columns |= {"choice": "all" if self.size == self.models else self.choice, "ensembles": self.subsets}
        if self._rule.learns:
            columns["fitted_on"] = _fitted_on(self.target)
        if self.shadow is not None and isinstance(self.target, Trained):
            columns["shadows"] = self.shadows
            if self.shadow.pipeline.phases != self.target.pipeline.phases:
                columns["shadow_method"] = self.shadow.pipeline.method
        return columns

    def versions(self) -> dict[str, int]:
        """The versions of the attacks that are run, and of the fusion."""
        return attacks.versions(self.attacks) | {f"fusion {self.fusion}": fusion.get(self.fusion).version}

    def needs(self) -> tuple[Config, ...]:
        models: tuple[Config, ...] = self.target.cells(self.models)
        return models if self.shadow is None else (*models, *self.shadow.cells(self.shadows))

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        count = self.models // self.target.count
        trained, shadows = inputs[:count], inputs[count:]
        logits, arrays = predictions(trained, self.epoch), trained[0].arrays  # labels and roles are the same in all
        held: dict[str, Any] = {"references": self._references(shadows), "x": self._x()}
        subsets = self._subsets()
        fitted = self._fitted(logits, arrays, subsets)
        reports = [
            audit.audit(
                audit.Outputs(logits[subset], arrays["labels"], arrays["member"]),
                attacks=self.attacks,
                fusion=fitted[number],
                white_box=self.white_box,
                published=True,
                known=known_mask(arrays, self.known, self.seed),
                seed=derive(self.seed, "attack", number),
                curves=self.curves or self.gains,
                sensitivity=self._sensitivity(trained, subset),
                **held,
            )
            for number, subset in enumerate(subsets)
        ]
        info: dict[str, Any] = {"skipped": reports[0].skipped, "subsets": subsets, "trained_on": devices(inputs)}
        of = setting(self.target, trained[0], self.epoch, **self._own_columns())
        info |= {"rows": self._rows(of, reports, fitted), "curves": self._curves(of, trained[0], reports[0])}
        return Cell(info, self._arrays(reports))

    @property
    def _rule(self) -> FusionRule:
        return fusion.get(self.fusion)

    def _fitted(
        self, logits: np.ndarray, arrays: dict[str, np.ndarray], subsets: Sequence[list[int]]
    ) -> list[FusionRule]:
        """The rule of each ensemble."""
        if not self._rule.learns:
            return [self._rule] * len(subsets)
        apart = self.target.apart()
        rows = np.flatnonzero(arrays["member"] if apart is None else apart)
        seeds = [derive(self.seed, "fusion", number) for number in range(len(subsets))]
        each = [logits[subset][:, rows] for subset in subsets]
        return [self._rule.fit(some, arrays["labels"][rows], seed) for some, seed in zip(each, seeds, strict=True)]

    def _rows(self, of: dict, reports: Sequence[audit.Report], rules: Sequence[FusionRule]) -> list[dict]:
        found = rows(of, self.seed, reports)
        for row in found:
            row |= gains(row["attack"], reports) if self.gains else {}
            row |= spread(row["attack"], reports) if self.choice else {}
            row |= calibration(reports) if self.calibration else {}
            row |= _largest_weight(rules)
        return found

    def _references(self, shadows: Sequence[Cell]) -> References | None:
        if self.shadow is None:
            return None
        return references(shadows, self._shadow_epoch, size=self.size, fusion=self.fusion)

    @property
    def _shadow_epoch(self) -> int:
        assert self.shadow is not None
        return self.epoch if self.epoch in self.shadow.epochs else self.shadow.epochs[-1]

    def _sensitivity(self, trained: Sequence[Cell], subset: list[int]) -> np.ndarray | None:
        """How far the answers of a single model move, if any attack looks at that."""
        if not any("sensitivity" in attacks.get(name).needs for name in self.attacks):
            return None
        (k,) = subset
        kept: np.ndarray = trained[k // self.target.count].arrays[f"sensitivity_{self.epoch}"][k % self.target.count]
        return kept

    def _subsets(self) -> list[list[int]]:
        """The models of each ensemble: drawn, or the first ones alone."""
        if self.choice == "first":
            return [list(range(self.size))]
        return ensembles(self.models, self.size, self.subsets, self.seed)

    def _x(self) -> np.ndarray | None:
        """The samples themselves, if any attack looks at them."""
        needed = any("x" in attacks.get(name).needs for name in self.attacks)
        return self.target.seen().x().numpy() if needed else None

    def _curves(self, of: dict, first: Cell, report: audit.Report) -> list[dict]:
        if not self.curves:
            return []
        named = {"training": first.info["training"][0]}
        named |= {f"attack {name}": result.curve for name, result in report.attacks.items() if result.curve}
        return [curve(of, self.seed, name, points) for name, points in named.items()]

    def _arrays(self, reports: Sequence[audit.Report]) -> dict[str, np.ndarray]:
        if not self.scores:
            return {}
        first = reports[0]
        scores = {f"scores_{name}": np.stack([each.attacks[name].scores for each in reports]) for name in first.attacks}
        return {**scores, "labels": first.labels, "member": first.member, "known": ~first.evaluated}


def ensembles(models: int, size: int, number: int, seed: int) -> list[list[int]]:
    """Distinct ensembles: the parts of one random order of the models, and of further ones if that is too few."""
    draw = np.random.default_rng(derive(seed, "subsets", size))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < number:
        parts = draw.permutation(models)[: models - models % size].reshape(-1, size)
        found |= {tuple(sorted(part)): None for part in parts.tolist()}
    return [list(part) for part in found][:number]


def _fitted_on(target: Answered) -> str:
    """What rows say of the samples that a rule is fitted on, known before anything is loaded."""
    stacking = isinstance(target, Trained) and target.pipeline.division.kind == "stacking"
    return "a part of its own" if stacking else "members"


def _largest_weight(rules: Sequence[FusionRule]) -> dict[str, float]:
    """largest_weight: of one model among its ensemble's learnt weights, the mean over ensembles."""
    largest = [max(rule.weights) for rule in rules if isinstance(rule, fusion.Weighted)]
    return {"largest_weight": float(np.mean(largest))} if largest else {}


def known_mask(arrays: dict[str, np.ndarray], share: float, seed: int) -> np.ndarray:
    """Whose membership an attacker knows, bool [samples]: a share of either side."""
    return splits.known(arrays["labels"], arrays["member"], share=share, seed=derive(seed, "known"))
