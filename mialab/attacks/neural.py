"""The ensemble paper's neural attack on confidences, in three variants.

`neural-published`: section 4.1, hidden layers 128-128-64. The section states no loss, optimiser, batch, epochs or
balance: binary cross-entropy, Adam 1e-3, batches of 32 and 30 epochs are the parent's (Rezaei and Liu 2021); our choice
against the 5:1 majority of members is that each epoch takes, within each class, all of the smaller side and as many
of the larger one, drawn afresh.

`neural-released`: the authors' script. Hidden layers 128-64; within each class the larger side is cut to the length
of the smaller one, in file order; classes pooled; 30 full-batch steps of Adam. (The script also leaves classes with
fewer than 10 samples on a side out of its evaluation; here all attacks are evaluated on the same samples.)

`neural-per-class`: the parent's attack. One 128-64 network per class, batches of 32, 30 epochs, balanced as
`neural-published`. Samples of a class without a network score 0, which is no opinion.

In none is the label an input. Scores are log-odds: 0 is the boundary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from mialab.attacks.base import Attack, Evidence, NotEnough
from mialab.attacks.network import Network
from mialab.seeds import derive

EPOCHS = 30
FEWEST_PAIRS = 8  # known members, and as many non-members, without which no network is trained


@dataclass(frozen=True)
class Variant:
    """One way to train the attack network."""

    name: str
    hidden: tuple[int, ...]
    batch: int | None  # None: one step per epoch, on everything
    redraw: bool  # balance by a fresh draw each epoch, else by cutting in file order
    fewest: int  # known samples on each side for a class to take part


PUBLISHED = Variant("neural-published", (128, 128, 64), batch=32, redraw=True, fewest=1)
# Both scripts count a class before its first 80 % (rounded down) become known: 8 of 10 there, 12 of 15 in the parent's.
RELEASED = Variant("neural-released", (128, 64), batch=None, redraw=False, fewest=8)
PER_CLASS = Variant("neural-per-class", (128, 64), batch=32, redraw=True, fewest=12)


def pooled(variant: Variant, evidence: Evidence, known: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    """Log-odds from one network for all classes. NotEnough below 8 known pairs in the classes that take part."""
    pairs = _sides(evidence, known, member).min(axis=1)
    if pairs[pairs >= variant.fewest].sum() < FEWEST_PAIRS:
        raise NotEnough(_reason(variant))
    return _train(variant, evidence, known, member, _rng(seed, variant.name))(_inputs(evidence))


def per_class(variant: Variant, evidence: Evidence, known: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    """Log-odds from the network of the sample's class; 0 in classes too small for one. NotEnough if all are."""
    classes = np.flatnonzero(_sides(evidence, known, member).min(axis=1) >= variant.fewest)
    if not len(classes):
        raise NotEnough(_reason(variant))
    scores, inputs = np.zeros(len(known)), _inputs(evidence)
    for label in classes:
        own = evidence.labels == label
        network = _train(variant, evidence, known & own, member, _rng(seed, variant.name, label))
        scores[own] = network(inputs[own])
    return scores


def _train(variant: Variant, evidence: Evidence, known: np.ndarray, member: np.ndarray, rng) -> Network:
    inputs, truth = _inputs(evidence), member.astype(np.float32)
    network = Network((inputs.shape[1], *variant.hidden), rng)
    with threadpool_limits(1, "blas"):  # on matrices this small more threads only wait for each other
        for rows in _batches(variant, evidence, known, member, rng):
            network.step(inputs[rows], truth[rows])
    return network


def _batches(variant: Variant, evidence: Evidence, known: np.ndarray, member: np.ndarray, rng) -> Iterator[np.ndarray]:
    """The rows of each training step."""
    order = np.flatnonzero(known)
    for _ in range(EPOCHS):
        drawn = rng.permutation(order) if variant.redraw else order
        rows = balanced(evidence, member, drawn, fewest=variant.fewest)
        if variant.batch is None:
            yield rows
        else:
            yield from np.split(rng.permutation(rows), range(variant.batch, len(rows), variant.batch))


def balanced(evidence: Evidence, member: np.ndarray, order: np.ndarray, *, fewest: int = 1) -> np.ndarray:
    """Of the rows in `order`, in each class as many members as non-members: the first of either side, class by class.

    Classes with fewer than `fewest` on a side are left out.
    """
    group = 2 * evidence.labels[order] + member[order]
    counts = np.bincount(group, minlength=2 * evidence.log_p.shape[1])
    pairs = counts.reshape(-1, 2).min(axis=1)
    pairs[pairs < fewest] = 0
    by_group = np.argsort(group, kind="stable")
    group = group[by_group]
    place = np.arange(len(order)) - (np.cumsum(counts) - counts)[group]
    return order[by_group[place < pairs[group // 2]]]


def _sides(evidence: Evidence, known: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Known non-members and members of each class, int [classes, 2]."""
    group = 2 * evidence.labels[known] + member[known]
    return np.bincount(group, minlength=2 * evidence.log_p.shape[1]).reshape(-1, 2)


def _inputs(evidence: Evidence) -> np.ndarray:
    return np.asarray(evidence.features, dtype=np.float32)


def _reason(variant: Variant) -> str:
    if variant.fewest == 1:
        return f"fewer than {FEWEST_PAIRS} known members and as many known non-members of the same classes"
    return f"no class has {variant.fewest} known members and {variant.fewest} known non-members"


def _rng(seed: int, *names: str | int) -> np.random.Generator:
    """A generator of its own for each variant and class, whatever else draws from the same seed."""
    return np.random.default_rng(derive(seed, *names))


ATTACKS = (
    Attack(PUBLISHED.name, learns=True, score=partial(pooled, PUBLISHED)),
    Attack(RELEASED.name, learns=True, score=partial(pooled, RELEASED)),
    Attack(PER_CLASS.name, learns=True, score=partial(per_class, PER_CLASS)),
)
