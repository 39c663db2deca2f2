"""Attacks that learn on shadows what members look like, and judge the target by it.

`shadow-shokri` (Shokri et al. 2017): for each class one network, from confidences to membership, trained on what the
shadows answered on samples of that class that they were trained on, and on as many others. One hidden layer of 64 ReLU
units is theirs as we remember it; Adam 1e-3 and 30 epochs in batches of 256, on at most 100,000 answers drawn at
random, are our choice.

`shadow-rahman` (Rahman et al. 2018, whose attack the pruning paper takes for a row of its Table 2): of that paper we
have the abstract only; as we remember it, its attack is Shokri's. Our choice: the layers of `neural-per-class`, 128-64,
so that the two differ in where they learn, on shadows or on known members, and in the size of a batch.

`shadow-thresholds` (after Song and Mittal 2021): for each class the loss's best threshold, found on the shadows.

None of them looks at the target's membership, known or not. Scores are above 0 for members; a class that the shadows
do not show on both sides scores 0, which is no opinion. Inputs are the fused confidences, also of an ensemble.
Explained in the chapter "The attack suite".
"""

from __future__ import annotations

from functools import partial

import numpy as np

from mialab.attacks.base import Evidence, Known, from_function
from mialab.attacks.lacking import DESIGN, NotEnough
from mialab.attacks.neural import Variant, per_class
from mialab.metrics import best_threshold
from mialab.seeds import derive

MOST_ANSWERS = 100_000  # of shadows on samples, all classes together: some seconds of training
FEWEST_ANSWERS = 8  # of shadows on either side of a class, without which it has no network
SHOKRI = Variant("shadow-shokri", (64,), batch=256, redraw=True, fewest=FEWEST_ANSWERS)
RAHMAN = Variant("shadow-rahman", (128, 64), batch=256, redraw=True, fewest=FEWEST_ANSWERS)


def network(variant: Variant, evidence: Evidence, known: Known, seed: int, *, every_epoch: bool = False) -> np.ndarray:
    """Log-odds of membership, float64 [n]: the neural attack per class, its known samples being the shadows' answers.

    NotEnough without references, or where no class has 8 answers on either side.
    """
    answers, labels, inside = _answers(evidence, derive(seed, variant.name))
    own, learnt = len(evidence.labels), len(labels)
    features = np.concatenate([evidence.shown, answers], dtype=np.float32, casting="same_kind")
    together = Evidence(features, features, features, np.concatenate([evidence.labels, labels]))
    of_shadows = Known(np.arange(own, own + learnt), inside)
    try:
        return per_class(variant, together, of_shadows, seed, every_epoch=every_epoch)[..., :own]
    except NotEnough:
        sides = f"{variant.fewest} answers on samples in a shadow's training set and {variant.fewest} on others"
        raise NotEnough(f"no class has {sides}: {DESIGN}") from None


def thresholds(evidence: Evidence, known: Known, seed: int) -> np.ndarray:
    """Log-odds of the true class less its best threshold on the shadows, float64 [n]. NotEnough if no class has one."""
    references = evidence.need("references")
    scores, found = np.zeros(len(evidence.labels)), evidence.odds
    judged = 0
    for label in np.unique(evidence.labels):
        own = evidence.labels == label
        inside = references.member[:, own].ravel()
        if inside.any() and not inside.all():
            scores[own] = found[own] - best_threshold(references.log_odds[:, own].ravel(), inside)
            judged += 1
    if not judged:
        raise NotEnough(f"no class has answers on samples in a shadow's training set and on others: {DESIGN}")
    return scores


def _answers(evidence: Evidence, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shadows' answers as shown [m, classes], their labels [m] and membership [m]: a random draw if there are many."""
    references = evidence.need("references")
    total = references.member.size
    drawn = np.arange(total)
    if total > MOST_ANSWERS:
        drawn = np.random.default_rng(seed).choice(total, MOST_ANSWERS, replace=False, shuffle=False)
    shadow, sample = np.divmod(drawn, references.member.shape[1])
    answers = evidence.shown_of(references.logits[shadow, sample])
    return answers, references.labels[sample], references.member[shadow, sample]


ATTACKS = (
    *(
        from_function(
            variant.name,
            partial(network, variant),
            needs=("references",),
            version=2,  # since then samples come shuffled, hence in other batches
            log_odds=True,
            every_epoch=partial(network, variant, every_epoch=True),
        )
        for variant in (SHOKRI, RAHMAN)
    ),
    from_function("shadow-thresholds", thresholds, needs=("references",)),
)
