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
batch holds as many members as non-members of each class. Scores are log-odds: 0 is the boundary. Explained in the
appendix "Attacks".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from mialab.attacks.base import Evidence, Known, from_function
from mialab.attacks.lacking import NotEnough
from mialab.attacks.neural import FEWEST_PAIRS, balanced
from mialab.fusion import SMALLEST
from mialab.seeds import derive
from mialab.two_branch.settings import CODE, PAPER, PAPER_X, Variant

if TYPE_CHECKING:
    import torch

    from mialab.two_branch.network import TwoBranch

UNDECIDED = 0.01  # a network whose probabilities all lie within this of 1/2 has collapsed


def score(variant: Variant, evidence: Evidence, known: Known, seed: int, *, every_epoch: bool = False) -> np.ndarray:
    """Log-odds from a network trained on the known samples, on a GPU where there is one.

    every_epoch: a row for each epoch of its training [epochs, n], what the attack would say if it ended there: with
    samples held back, that is the network of the best epoch so far.
    Warns where the network has collapsed: its order of the samples may still say something, its probabilities do not.
    NotEnough below 8 known pairs of a member and a non-member of one class.
    """
    rows: list[np.ndarray] = []

    def after_epoch(network: TwoBranch, kept: bool) -> None:
        if every_epoch:
            rows.append(network.answers(inputs) if kept or not rows else rows[-1])

    with one_thread():
        inputs = _inputs(variant, evidence)
        trained = _train(variant, evidence, inputs, known, seed, after_epoch=after_epoch)
        scores = np.stack(rows) if every_epoch else trained.answers(inputs)
    if collapsed(scores[-1] if every_epoch else scores):
        found = f"collapsed: all its probabilities lie within {UNDECIDED} of 1/2"
        warnings.warn(f"{variant.name} {found}; give it more known samples, or read its AUC only", stacklevel=2)
    return scores


def collapsed(log_odds: np.ndarray) -> bool:
    """Whether every answer is undecided, as after the known collapse to 1/2, where no gradient is left to learn by."""
    return bool((np.abs(expit(np.asarray(log_odds)) - 0.5) < UNDECIDED).all())


def _train(
    variant: Variant,
    evidence: Evidence,
    inputs: tuple[torch.Tensor, ...],
    known: Known,
    seed: int,
    *,
    after_epoch: Callable[[TwoBranch, bool], None] | None = None,
) -> TwoBranch:
    """The network, trained on the inputs of the known samples."""
    import torch

    from mialab.two_branch import network

    rng = np.random.default_rng(derive(seed, variant.name, "order"))
    pairs = _pairs(evidence, known, rng)
    if pairs.shape[1] < FEWEST_PAIRS:
        raise NotEnough(f"fewer than {FEWEST_PAIRS} known members and as many known non-members of the same classes")
    new = network.build(evidence.log_p.shape[1], variant, x_features=_features(variant, inputs), seed=seed)
    new.to(inputs[0].device)
    if variant.x:
        new.scale_by(inputs[2][torch.from_numpy(known.rows).to(inputs[2].device)])
    truth = torch.zeros(len(evidence.labels))  # of rows that nobody knows it is never read
    truth[torch.from_numpy(known.rows)] = torch.from_numpy(known.member.astype(np.float32))
    judges, taught = _judges(variant, known, pairs)
    epochs = (_batches(variant, evidence, taught, rng) for _ in range(variant.epochs))
    network.train(new, variant, inputs, truth.to(inputs[0].device), epochs, judges=judges, after_epoch=after_epoch)
    return new


def _judges(variant: Variant, known: Known, pairs: np.ndarray) -> tuple[np.ndarray | None, Known]:
    """The rows that are held back to judge the epochs, and what is known beside them."""
    if not variant.held_back:
        return None, known
    rows = pairs[:, : math.ceil(variant.held_back * pairs.shape[1])].ravel()
    return rows, known.part(~np.isin(known.rows, rows))


def _features(variant: Variant, inputs: tuple[torch.Tensor, ...]) -> int:
    return inputs[2][0].numel() if variant.x else 0


def _inputs(variant: Variant, evidence: Evidence) -> tuple[torch.Tensor, ...]:
    """The prediction, the one-hot label, and x for a variant that sees it, as tensors on the device to train on."""
    import torch

    from mialab.attacks.queries import tensor

    seen = evidence.shown
    if variant.sees == "logits" and evidence.scale is None:
        logits = np.maximum(evidence.log_p, SMALLEST)  # -inf would be no input
        seen = logits - logits.mean(axis=1, keepdims=True)
    label = np.eye(seen.shape[1], dtype=np.float32)[evidence.labels]
    parts = [np.asarray(seen, dtype=np.float32), label]
    if variant.x:
        x = np.asarray(evidence.need("x"))
        parts.append(x if x.dtype == np.uint8 else x.astype(np.float32))  # images stay bytes: a quarter of the memory
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return tuple(tensor(part).to(device) for part in parts)


def _batches(variant: Variant, evidence: Evidence, known: Known, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The rows of each step of one epoch."""
    pairs = _pairs(evidence, known, rng)
    half = variant.batch // 2
    for some in np.split(pairs, range(half, pairs.shape[1], half), axis=1):
        yield some.ravel()


def _pairs(evidence: Evidence, known: Known, rng: np.random.Generator) -> np.ndarray:
    """Rows int [2, pairs] in random order: a known member above a known non-member of its class."""
    places = balanced(evidence, known, rng.permutation(len(known)))
    pairs = np.stack([known.rows[places[known.member[places] == side]] for side in (True, False)])
    return pairs[:, rng.permutation(pairs.shape[1])]


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one CPU thread: at this size a second saves little, and on busy cores it took 15 times as long."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


ATTACKS = tuple(
    from_function(
        variant.name,
        partial(score, variant),
        learns=True,
        needs=("x",) if variant.x else (),
        costly=True,
        log_odds=True,
        every_epoch=partial(score, variant, every_epoch=True),
    )
    for variant in (PAPER, CODE, PAPER_X)
)
