"""The cells that ask a trained model itself: label-only and gradient attacks, as rows of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mialab import audit, splits
from mialab.attacks import Attack
from mialab.attacks.boundary import Search, boundary_distances
from mialab.attacks.gradients import input_scores, weight_scores
from mialab.attacks.label_only import augmentation_scores, bit_flip_scores, noise_scores
from mialab.attacks.target import Target
from mialab.cells.attacked import KNOWN, known_mask
from mialab.cells.models import Models, predictions, rebuild
from mialab.cells.pipeline import evaluated
from mialab.cells.rows import devices, rows, setting
from mialab.engine.store import Cell, Config
from mialab.names import unknown
from mialab.seeds import derive
from mialab.training.loop import default_device

# Our choice, as the papers tune theirs per data set. Units of standardised inputs, whose standard deviation is near 1.
NOISE_STDS = (0.1, 0.2, 0.4, 0.8)
FLIP_RATES = (0.01, 0.02, 0.05, 0.1)
REPEATS = 10  # of a random direction
SEARCH = Search()


class Query(NamedTuple):
    """An attack on the model itself: what it may see of it, its forward passes per sample, and how it scores."""

    access: str
    passes: int
    score: Callable[[Target, Tensor, Tensor, int], np.ndarray]  # target, raw x, labels, seed -> float64 [n]


def _augmentation(target: Target, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    return augmentation_scores(target.probabilities, x, labels)


def _noise(target: Target, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    x = _floats(target, x)
    return noise_scores(target.probabilities, x, labels, stds=NOISE_STDS, repeats=REPEATS, seed=seed)


def _flips(target: Target, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    return bit_flip_scores(target.probabilities, x, labels, rates=FLIP_RATES, repeats=REPEATS, seed=seed)


def _boundary(target: Target, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    return boundary_distances(target.probabilities, _floats(target, x), labels, search=SEARCH, seed=seed)


def _weights(target: Target, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    return weight_scores(target.log_p, target.params, x, labels)


def _inputs(target: Target, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    return input_scores(target.loss_of, _floats(target, x), labels)


def _floats(target: Target, x: Tensor) -> Tensor:
    """Images as the network gets them, so that small steps do not vanish; a model takes them as they are."""
    return target.models[0].scale(x.to(target.device))


QUERIES = {
    "label-augmentation": Query("label only", 6, _augmentation),
    "label-noise": Query("label only", len(NOISE_STDS) * REPEATS, _noise),
    "label-flips": Query("label only", len(FLIP_RATES) * REPEATS, _flips),
    "label-boundary": Query("label only", SEARCH.queries, _boundary),
    "gradient-weights": Query("white box", 1 + BACKWARD, _weights),
    "gradient-input": Query("white box", 1 + BACKWARD, _inputs),
}


@dataclass(frozen=True)
class Queried(Config):
    """Attacks on `models` trained models as one ensemble, after their last epoch, that ask more than their logits.

    target: the cell of the first `target.count` models, with `weights`; the others differ from it in `first` alone.
    attacks: names of `QUERIES`. samples: how many to ask about, drawn from the seed with classes, sides and what is
    known in proportion, as some attacks take a thousand queries each; None for all. fusion, known: as in `Attacked`.

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
            if name not in QUERIES:
                raise ValueError(f"Queried: {unknown('attack', name, QUERIES)}")
        if self.samples is not None and not 1 <= self.samples <= self._evaluated:
            raise ValueError(f"Queried: {self.samples} of {self._evaluated} samples; choose from 1 to all, or None")

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.target.pipeline.data

    @property
    def seed(self) -> int:
        """The repetition."""
        return self.target.pipeline.seed

    @property
    def _epoch(self) -> int:
        return self.target.pipeline.last.recipe.epochs

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        return {**self.target.columns(), "epoch": self._epoch, "models": self.models, "fusion": self.fusion}

    def needs(self) -> tuple[Models, ...]:
        return self.target.cells(self.models)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        models = [one.to(default_device(None)) for cell in inputs for one in rebuild(self.target, cell)]
        target = Target(models, how=self.fusion)
        arrays = inputs[0].arrays
        known = known_mask(arrays, self.known, self.seed)
        asked = self._asked(arrays["labels"], arrays["member"], known)
        x = evaluated(self.target.pipeline).x()[asked]
        logits = predictions(inputs, self._epoch)
        outputs = audit.Outputs(logits[:, asked], arrays["labels"][asked], arrays["member"][asked])
        chosen = [_attack(name, target, x) for name in self.attacks]
        seed = derive(self.seed, "queried")
        report = audit.audit(outputs, attacks=chosen, fusion=self.fusion, known=known[asked], seed=seed)
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
        return [{**row, "access": QUERIES[row["attack"]].access} for row in found]


def _attack(name: str, target: Target, x: Tensor) -> Attack:
    """The attack as an audit takes it: it asks about the very samples of which the audit has the outputs."""
    return Attack(name, learns=False, score=partial(_score, QUERIES[name], target, x))


def _score(query: Query, target: Target, x: Tensor, evidence, known: np.ndarray, member: np.ndarray, seed: int):
    return query.score(target, x, torch.from_numpy(evidence.labels), seed)
