"""The two-branch inference network of Nasr et al. 2018, which the pruning paper attacks with (its section 5.2).

One branch sees the model's prediction, one the true label, and a joint part answers with the log-odds of membership.

`nasr-paper` follows the paper's description: prediction classes-1024-512-64, label (0 or 1) classes-512-64, joint
128-256-64-1, log-loss, on probabilities. Our choice, as the description leaves it open: torch's initial weights, Adam
at 1e-3 (as a re-implementation has it), batches of 128, 30 epochs.

`nasr-code` follows the authors' CIFAR-100 script: label (-1 or 1) classes-128-64, joint 128-256-128-64-1, squared error
of the probability, initial weights N(0, 0.01) with biases 0, Adam, steps on 100 members and 100 non-members, on logits.
An audit knows logits up to a constant per sample: here they have mean 0. The script trains within a game of 400 epochs
at a rate of 1e-5, at which a few thousand steps leave all answers at 0.5; ours are the rate 1e-4 and the 50 epochs of
the authors' attack after training in their Purchase-100 script.

`nasr-paper-x` is ours: `nasr-paper` with a third branch that sees the sample itself, features-512-64, each feature
standardised on the known samples. Seeing x, a network soon knows the known samples by heart: a fifth of their pairs is
held back, and the epoch with the least loss on those is kept. Equation 1 of the pruning paper lets the attacker look at
x; its bound on the gain does not.

Of each class, an epoch takes all known samples of the smaller side and as many of the larger one, drawn afresh; every
batch holds as many members as non-members of each class. Scores are log-odds: 0 is the boundary.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from mialab.attacks.base import Attack, Evidence, NotEnough
from mialab.attacks.neural import FEWEST_PAIRS, balanced
from mialab.fusion import SMALLEST
from mialab.seeds import derive, forked

if TYPE_CHECKING:
    import torch

    from mialab.attacks.two_branch import TwoBranch

UNDECIDED = 0.01  # a network whose probabilities all lie within this of 1/2 has collapsed


@dataclass(frozen=True)
class Variant:
    """Sizes, coding and training of a two-branch network; sizes are those of the ReLU layers after each input."""

    name: str
    prediction: tuple[int, ...] = (1024, 512, 64)
    label: tuple[int, ...] = (512, 64)
    joint: tuple[int, ...] = (256, 64)
    x: tuple[int, ...] = ()  # no such branch
    sees: str = "probabilities"  # or "logits"
    signed: bool = False  # the label's coding: -1 and 1, else 0 and 1
    squared: bool = False  # the loss: squared error of the probability, else log-loss
    initial_std: float | None = None  # of normal initial weights, with biases 0; None: as torch draws them
    rate: float = 1e-3  # of Adam
    batch: int = 128
    epochs: int = 30
    held_back: float = 0.0  # share of the known pairs that judge the epochs, of which the best is kept; 0: the last is


PAPER = Variant("nasr-paper")
CODE = Variant(
    "nasr-code",
    label=(128, 64),
    joint=(256, 128, 64),
    sees="logits",
    signed=True,
    squared=True,
    initial_std=0.01,
    rate=1e-4,
    batch=200,
    epochs=50,
)
PAPER_X = Variant("nasr-paper-x", x=(512, 64), held_back=0.2)


def network(classes: int, variant: Variant = PAPER, *, x_features: int = 0, seed: int = 0) -> TwoBranch:
    """A new torch module: (prediction, one-hot label, and x where the variant sees it) -> log-odds [n].

    prediction: [n, classes], probabilities or logits as `variant.sees` says; label: float 0 or 1 [n, classes].
    `mialab.attacks.two_branch.loss` is its loss. The seed gives the initial weights.
    """
    from mialab.attacks import two_branch

    with forked(derive(seed, variant.name, "init")):
        return two_branch.TwoBranch(classes, variant, x_features=x_features)


def score(variant: Variant, evidence: Evidence, known: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    """Log-odds from a network trained on the known samples, on a GPU where there is one.

    Warns where the network has collapsed: its order of the samples may still say something, its probabilities do not.
    NotEnough below 8 known pairs of a member and a non-member of one class.
    """
    with _one_thread():
        trained, inputs = _train(variant, evidence, known, member, seed)
        scores = trained.answers(inputs)
    if collapsed(scores):
        found = f"collapsed: all its probabilities lie within {UNDECIDED} of 1/2"
        warnings.warn(f"{variant.name} {found}; give it more known samples, or read its AUC only", stacklevel=2)
    return scores


def collapsed(log_odds: np.ndarray) -> bool:
    """Whether every answer is undecided, as after the known collapse to 1/2, where no gradient is left to learn by."""
    return bool((np.abs(expit(np.asarray(log_odds)) - 0.5) < UNDECIDED).all())


def _train(
    variant: Variant, evidence: Evidence, known: np.ndarray, member: np.ndarray, seed: int
) -> tuple[TwoBranch, tuple[torch.Tensor, ...]]:
    """The trained network and its inputs on all samples, on their device."""
    import torch

    from mialab.attacks import two_branch

    rng = np.random.default_rng(derive(seed, variant.name, "order"))
    pairs = _pairs(evidence, known, member, rng)
    if pairs.shape[1] < FEWEST_PAIRS:
        raise NotEnough(f"fewer than {FEWEST_PAIRS} known members and as many known non-members of the same classes")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = tuple(part.to(device) for part in _inputs(variant, evidence))
    features = inputs[2][0].numel() if variant.x else 0
    new = network(evidence.log_p.shape[1], variant, x_features=features, seed=seed).to(device)
    if variant.x:
        new.scale_by(inputs[2][torch.from_numpy(known).to(device)])
    judges, known = None, known.copy()
    if variant.held_back:
        judges = pairs[:, : math.ceil(variant.held_back * pairs.shape[1])].ravel()
        known[judges] = False
    truth = torch.from_numpy(member.astype(np.float32)).to(device)
    epochs = (_batches(variant, evidence, known, member, rng) for _ in range(variant.epochs))
    two_branch.train(new, variant, inputs, truth, epochs, judges=judges)
    return new, inputs


def _inputs(variant: Variant, evidence: Evidence) -> tuple[torch.Tensor, ...]:
    """The prediction, the one-hot label, and x for a variant that sees it, as tensors."""
    from mialab.attacks.queries import tensor

    seen = evidence.p
    if variant.sees == "logits":
        logits = np.maximum(evidence.log_p, SMALLEST)  # -inf would be no input
        seen = logits - logits.mean(axis=1, keepdims=True)
    label = np.eye(seen.shape[1], dtype=np.float32)[evidence.labels]
    parts = [seen.astype(np.float32), label]
    if variant.x:
        x = np.asarray(evidence.need("x"))
        parts.append(x if x.dtype == np.uint8 else x.astype(np.float32))  # images stay bytes: a quarter of the memory
    return tuple(map(tensor, parts))


def _batches(
    variant: Variant, evidence: Evidence, known: np.ndarray, member: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """The rows of each step of one epoch."""
    pairs = _pairs(evidence, known, member, rng)
    half = variant.batch // 2
    for some in np.split(pairs, range(half, pairs.shape[1], half), axis=1):
        yield some.ravel()


def _pairs(evidence: Evidence, known: np.ndarray, member: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows int [2, pairs] in random order: a known member above a known non-member of its class."""
    rows = balanced(evidence, member, rng.permutation(np.flatnonzero(known)))
    pairs = np.stack([rows[member[rows]], rows[~member[rows]]])
    return pairs[:, rng.permutation(pairs.shape[1])]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one CPU thread: at this size a second saves little, and on busy cores it took 15 times as long."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


ATTACKS = (
    Attack(PAPER.name, learns=True, score=partial(score, PAPER), costly=True),
    Attack(CODE.name, learns=True, score=partial(score, CODE), costly=True),
    Attack(PAPER_X.name, learns=True, score=partial(score, PAPER_X), needs=("x",), costly=True),
)
