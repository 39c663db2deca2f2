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

In none is the label an input. Scores are log-odds: 0 is the boundary. Explained in the appendix "Attacks".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from mialab.attacks.base import Evidence, Known, from_function
from mialab.attacks.lacking import NotEnough
from mialab.attacks.network import Network
from mialab.fusion import Rows, by_rows
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


def pooled(variant: Variant, evidence: Evidence, known: Known, seed: int, *, every_epoch: bool = False) -> np.ndarray:
    """Log-odds from one network for all classes; every_epoch: a row for each epoch of its training [epochs, n].

    NotEnough below 8 known pairs in the classes that take part.
    """
    pairs = _sides(evidence, known).min(axis=1)
    if pairs[pairs >= variant.fewest].sum() < FEWEST_PAIRS:
        raise NotEnough(_reason(variant))
    return _answers(variant, evidence, known, evidence.inputs, _rng(seed, variant.name), every_epoch)


def per_class(
    variant: Variant, evidence: Evidence, known: Known, seed: int, *, every_epoch: bool = False
) -> np.ndarray:
    """Log-odds from the network of the sample's class; 0 in classes too small for one. NotEnough if all are."""
    classes = np.flatnonzero(_sides(evidence, known).min(axis=1) >= variant.fewest)
    if not len(classes):
        raise NotEnough(_reason(variant))
    scores = np.zeros((EPOCHS if every_epoch else 1, len(evidence.labels)))
    for label in classes.tolist():
        alike, taught = evidence.labels == label, known.part(evidence.labels[known.rows] == label)
        rng = _rng(seed, variant.name, label)
        scores[:, alike] = _answers(variant, evidence, taught, evidence.inputs[alike], rng, every_epoch)
    return scores if every_epoch else scores[0]


def _answers(
    variant: Variant,
    evidence: Evidence,
    known: Known,
    asked: np.ndarray | Rows,
    rng: np.random.Generator,
    every_epoch: bool,
) -> np.ndarray:
    """What a network trained on the known samples says of the inputs asked, at its end or after every epoch."""
    if not every_epoch:
        return _asked(_train(variant, evidence, known, rng), asked)
    rows: list[np.ndarray] = []
    _train(variant, evidence, known, rng, after_epoch=lambda network: rows.append(_asked(network, asked)))
    return np.stack(rows)


def _asked(network: Network, inputs: np.ndarray | Rows) -> np.ndarray:
    return by_rows(lambda some: network(np.asarray(some, dtype=np.float32)), inputs)


def _train(
    variant: Variant,
    evidence: Evidence,
    known: Known,
    rng: np.random.Generator,
    *,
    after_epoch: Callable[[Network], None] | None = None,
) -> Network:
    inputs, truth = _inputs(evidence, known.rows), known.member.astype(np.float32)
    network = Network((inputs.shape[1], *variant.hidden), rng)
    if variant.batch is None:  # the same samples in every step: gathered once, as they may be many
        (places,) = _batches(variant, evidence, known, rng)
        inputs, truth = inputs[places], truth[places]
    with threadpool_limits(1, "blas"):  # on matrices this small more threads only wait for each other
        for _ in range(EPOCHS):
            if variant.batch is None:
                network.step(inputs, truth)
            else:
                for places in _batches(variant, evidence, known, rng):
                    network.step(inputs[places], truth[places])
            if after_epoch is not None:
                after_epoch(network)
    return network


def _batches(variant: Variant, evidence: Evidence, known: Known, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Each training step of one epoch: places among the known rows."""
    order = np.arange(len(known))
    drawn = rng.permutation(order) if variant.redraw else order
    places = balanced(evidence, known, drawn, fewest=variant.fewest)
    if variant.batch is None:
        yield places
    else:
        yield from np.split(rng.permutation(places), range(variant.batch, len(places), variant.batch))


def balanced(evidence: Evidence, known: Known, order: np.ndarray, *, fewest: int = 1) -> np.ndarray:
    """Of places among the known rows, in each class as many members as non-members: the first of either side.

    Class by class; classes with fewer than `fewest` on a side are left out.
    """
    group = 2 * evidence.labels[known.rows[order]] + known.member[order]
    counts = np.bincount(group, minlength=2 * evidence.log_p.shape[1])
    pairs = counts.reshape(-1, 2).min(axis=1)
    pairs[pairs < fewest] = 0
    by_group = np.argsort(group, kind="stable")
    group = group[by_group]
    place = np.arange(len(order)) - (np.cumsum(counts) - counts)[group]
    return order[by_group[place < pairs[group // 2]]]


def _sides(evidence: Evidence, known: Known) -> np.ndarray:
    """Known non-members and members of each class, int [classes, 2]."""
    group = 2 * evidence.labels[known.rows] + known.member
    return np.bincount(group, minlength=2 * evidence.log_p.shape[1]).reshape(-1, 2)


def _inputs(evidence: Evidence, rows: np.ndarray) -> np.ndarray:
    """What the network sees of some samples, float32 [k, inputs]."""
    inputs = evidence.inputs
    return np.asarray(inputs.reordered(rows) if isinstance(inputs, Rows) else inputs[rows], dtype=np.float32)


def _reason(variant: Variant) -> str:
    if variant.fewest == 1:
        return f"fewer than {FEWEST_PAIRS} known members and as many known non-members of the same classes"
    return f"no class has {variant.fewest} known members and {variant.fewest} known non-members"


def _rng(seed: int, *names: str | int) -> np.random.Generator:
    """A generator of its own for each variant and class, whatever else draws from the same seed."""
    return np.random.default_rng(derive(seed, *names))


ATTACKS = tuple(
    from_function(
        variant.name,
        partial(score, variant),
        learns=True,
        log_odds=True,
        every_epoch=partial(score, variant, every_epoch=True),
        reads=("outputs", "labels") if variant is PER_CLASS else ("outputs",),
    )
    for variant, score in ((PUBLISHED, pooled), (RELEASED, pooled), (PER_CLASS, per_class))
)
