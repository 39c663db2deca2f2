"""All attacks on one target, and how those with shadow models fare with few and with many of them."""

from dataclasses import replace

from mialab import training
from mialab.cells.attacked import Attacked
from mialab.cells.models import Models
from mialab.cells.queried import Queried
from mialab.cells.shadows import Shadows
from mialab.engine.grid import Experiment
from mialab.experiments.basics import ALEXNET, SMALL

# WRN-28-2 on half of CIFAR-10's training set, as in Carlini et al. 2022; steps instead of their cosine are our choice.
WIDE = training.Recipe(
    epochs=100, batch=256, lr=0.1, weight_decay=5e-4, schedule=training.Steps((50, 75)), augment=("crop", "flip")
)

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
