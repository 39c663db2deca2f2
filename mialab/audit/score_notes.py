"""What looks like a mistake in a loss or score per sample, and in those of reference models.

The tests are those of `notes` and `reference_notes`, as far as they need no outputs per class.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from mialab import metrics
from mialab.attacks.reference_scores import ReferenceScores
from mialab.audit import reference_notes, repeats
from mialab.audit.notes import ALPHA, LEAST_INVERTED, Note, Z, repeated_note
from mialab.outputs import Outputs
from mialab.per_sample import Scores


def of_scores(outputs: Scores, odds: np.ndarray, references: Any = None) -> list[Note]:
    """What a number per sample gives reason to remark on, and shadows beside it: odds float64 [n]."""
    notes = _inverted(outputs, odds)
    sure = np.zeros((len(odds), 1))
    found = repeats.find(np.moveaxis(outputs.values, 2, 0)[0][..., None], outputs.member, sure, alpha=ALPHA)
    if found is not None:
        notes.append(repeated_note(found, outputs.kind))
    return notes + ([] if references is None else of_reference_scores(references, outputs, odds))


def of_reference_scores(references: ReferenceScores, outputs: Outputs | Scores, odds: np.ndarray) -> list[Note]:
    """What shadows give reason to remark on, beside the model's odds [n]."""
    own, shadows = _scaled(odds, references.log_odds)
    labels = outputs.labels
    seen: Any = SimpleNamespace(
        references=SimpleNamespace(member=references.member, labels=labels),
        outputs=outputs,
        odds=shadows,
        own_odds=own,
        answers=np.zeros(shadows.shape, np.int64),
    )
    notes = [*reference_notes.the_model_itself(seen), *reference_notes.twice(seen)]
    order = list(reference_notes.order(seen, answers=False))
    inverted = [] if order else list(reference_notes.inverted(seen))
    return [*notes, *order, *inverted, *([] if order or inverted else reference_notes.unlike(seen, accuracy=False))]


def _scaled(own: np.ndarray, shadows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both on one scale on which half of all numbers lie within 1 of the middle, cut off where log-odds are."""
    everything = np.concatenate([own, shadows.ravel()])
    low, middle, high = np.quantile(everything, [0.25, 0.5, 0.75])
    unit = (high - low) / 2 or 1.0
    most = reference_notes.MOST_ODDS
    return np.clip((own - middle) / unit, -most, most), np.clip((shadows - middle) / unit, -most, most)


def _inverted(outputs: Scores, odds: np.ndarray) -> list[Note]:
    """Members that do worse; if membership says nothing, a false alarm in ALPHA."""
    member = outputs.member
    area = metrics.auc(odds, member)
    members, others = int(member.sum()), int((~member).sum())
    spread = math.sqrt((members + others + 1) / (12 * members * others))
    if area is None or area > 0.5 - max(Z * spread, LEAST_INVERTED):
        return []
    what, above = ("losses", "larger") if outputs.kind == "losses" else ("scores", "lower")
    seen = f"members have the {above} {what}: a member's speaks for membership more than a non-member's in {area:.1%}"
    sign = "scores must be higher for members: give -scores" if outputs.kind == "scores" else "a loss is -log p, not p"
    meaning = f"member is most likely the wrong way round (1 is for samples that the model was trained on), or {sign}"
    return [Note("membership-inverted", f"{seen} of pairs; {meaning}", {"auc": area})]
