"""All attacks on one target, and how those with shadow models fare with few and with many of them."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mialab import training
from mialab.attacks import References
from mialab.audit import Outputs
from mialab.experiments.attacked import Attacked
from mialab.experiments.basics import ALEXNET, SMALL
from mialab.experiments.executors import open_executor
from mialab.experiments.grid import Experiment
from mialab.experiments.models import Models, evaluated
from mialab.experiments.queried import Queried
from mialab.experiments.run import run
from mialab.experiments.shadows import Shadows, references
from mialab.store import Cell, Store, open_store

# WRN-28-2 on half of CIFAR-10's training set, as in Carlini et al. 2022; steps instead of their cosine are our choice.
WIDE = training.Recipe(epochs=100, batch=256, lr=0.1, weight_decay=5e-4, milestones=(50, 75), augment=("crop", "flip"))

# Half of the rows are members, and the attacker knows a fifth of either side: of `textures` 1,000 non-members are left
# to judge by, so that a TPR at 1 % FPR stands on ten of them. The share and all but `paper`'s sizes are ours.
HALF = {"arrangement": "carlini", "known": 0.2, "weights": True}
TARGET = {
    "smoke": Models("textures", "small_cnn", SMALL, epochs=(24,), samples=(2500, 0), **HALF),
    "course": Models("cifar10", "alexnet", replace(ALEXNET, epochs=30), epochs=(30,), **HALF),
    "paper": Models("cifar10", "wrn28_2", WIDE, epochs=(100,), **HALF),
}
SHADOWS = {"smoke": (8, 16, 32, 64), "course": (8, 16), "paper": (8, 16, 32, 64, 128, 256)}
PER_CELL = {"smoke": 8, "course": 1, "paper": 1}  # a single one has a checkpoint
MOST_SEARCHED = 500  # samples whose distance to the boundary is looked for, at 1,273 queries each

LIKELIHOODS = ("lira-online", "lira-offline", "lira-online-fixed", "lira-offline-fixed", "rmia-online", "rmia-offline")
WITH_SHADOWS = (*LIKELIHOODS, "shadow-thresholds", "shadow-shokri", "shadow-rahman")
WITHOUT = (
    *("gap", "confidence", "loss", "entropy", "modified-entropy"),
    *("confidence-per-class", "loss-per-class", "entropy-per-class", "modified-entropy-per-class", "privacy-risk"),
    *("neural-published", "neural-released", "neural-per-class", "nasr-paper", "nasr-code", "nasr-paper-x"),
)
CHEAP_QUERIES = ("label-augmentation", "label-noise", "gradient-weights", "gradient-input")


def _attacks(preset: str, seed: int) -> tuple[Attacked | Queried, ...]:
    target = replace(TARGET[preset], seed=seed)
    return (
        replace(_with_shadows(preset, seed, SHADOWS[preset][-1]), attacks=(*WITHOUT, *WITH_SHADOWS), scores=True),
        Queried(target, CHEAP_QUERIES),
        Queried(target, ("label-boundary",), samples=MOST_SEARCHED),
    )


def _shadows(preset: str, seed: int) -> tuple[Attacked, ...]:
    return tuple(_with_shadows(preset, seed, number) for number in SHADOWS[preset])


def _with_shadows(preset: str, seed: int, number: int) -> Attacked:
    target = replace(TARGET[preset], seed=seed)
    shadow = Shadows(target, count=PER_CELL[preset])
    chosen = (*LIKELIHOODS, "shadow-thresholds")  # those that train a network take seconds, with any number
    return Attacked(target, target.epochs[-1], attacks=chosen, shadow=shadow, shadows=number)


_VALUES = ("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "tpr_0.01", "tpr_0.001")

ATTACKS = Experiment(
    "basics/attacks",
    title="All attacks on one target, from the gap to LiRA",
    source="ours; the paper preset after Carlini et al. 2022",
    cells=_attacks,
    by=("data", "model", "epoch", "access", "attack"),
    values=_VALUES,
)
BY_SHADOWS = Experiment(
    "basics/shadows",
    title="Attacks with shadow models by how many there are",
    source="ours",
    cells=_shadows,
    by=("data", "model", "epoch", "shadows", "attack"),
    values=_VALUES,
)


@dataclass(frozen=True)
class Suite:
    """One target under all attacks, with what they saw and what they said. Arrays are over the target's samples."""

    target: Models
    rows: tuple[dict, ...]
    _trained: Cell = field(repr=False)
    _shadows: tuple[Cell, ...] = field(repr=False)
    _attacked: tuple[Cell, ...] = field(repr=False)

    @property
    def outputs(self) -> Outputs:
        """The target's logits [1, samples, classes], labels and membership [samples]."""
        arrays = self._trained.arrays
        return Outputs(arrays[f"logits_{self.target.epochs[-1]}"], arrays["labels"], arrays["member"])

    @property
    def known(self) -> np.ndarray:
        """Whose membership the attacker knows, bool [samples]; attacks are judged on all others."""
        return self._trained.arrays["known"]

    @property
    def x(self) -> np.ndarray:
        """The samples themselves, [samples, ...]."""
        return evaluated(self.target).samples()[0].numpy()

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """What each attack said, float64 [samples] by its name; NaN for samples that it did not ask about."""
        found = {}
        for cell in self._attacked:
            places = cell.arrays.get("asked", slice(None))
            for name in (row["attack"] for row in cell.info["rows"]):
                found[name] = scores = np.full(len(self.known), np.nan)
                scores[places] = cell.arrays[f"scores_{name}"].reshape(-1)
        return found

    def references(self, shadows: int | None = None) -> References:
        """The first so many shadows, all by default: logits and member [shadows, samples, ...]. ValueError if odd.

        Of an even number, each sample is in the training sets of half.
        """
        every = references(self._shadows)
        number = len(every.member) if shadows is None else shadows
        if number % 2 or not 2 <= number <= len(every.member):
            raise ValueError(f"found {number} shadows; choose an even number from 2 to {len(every.member)}")
        return References(every.logits[:number], every.member[:number], every.labels)


def suite(*, preset: str = "smoke", seed: int = 0, store: Store | None = None, jobs: int | None = None) -> Suite:
    """One repetition of `basics/attacks` with all that went into it, computed as far as the store lacks it.

    jobs: processes to compute in, as in `open_executor`; two train the shadows of `smoke` in about a minute on two
    cores.
    """
    store = store or open_store()
    grid = ATTACKS.grid(preset, seeds=(seed,))
    with open_executor(jobs=jobs) as executor:
        run(grid, store, executor=executor)
    attacked = tuple(map(store.get, grid))
    target, *shadows = grid[0].needs()
    rows = tuple(row for cell in attacked for row in cell.info["rows"])
    return Suite(target, rows, store.get(target), tuple(map(store.get, shadows)), attacked)
