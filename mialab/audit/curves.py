"""An attack's scores after every epoch of its own training: which epoch counts, and the curve.

The pruning paper's Figure 2 draws such a curve, of `nasr-paper`, below the target's own. Explained in the appendix
"Attacks".
"""

from __future__ import annotations

import numpy as np

from mialab import metrics
from mialab.audit.figures import threshold


def chosen(scores: np.ndarray, member: np.ndarray, known_mask: np.ndarray) -> int:
    """The epoch, from 0 on, whose scores [epochs, n] tell the known samples apart best, of equals the first.

    By balanced accuracy at each epoch's best threshold. The evaluated samples have no say: where the known ones are
    not of both sides, the last epoch counts.
    """
    truth = member[known_mask]
    found = [metrics.best_balanced_accuracy(row[known_mask], truth) for row in scores]
    accuracies = [estimate.value for estimate in found if estimate is not None]
    return int(np.argmax(accuracies)) if accuracies else len(scores) - 1


def points(
    scores: np.ndarray, member: np.ndarray, known_mask: np.ndarray, *, log_odds: bool, best: bool
) -> tuple[dict[str, float], ...]:
    """The curve of scores [epochs, n]: one dict per epoch, shares in [0, 1].

    epoch, from 1 on; known_accuracy and accuracy, of the right answers among the known and among the evaluated samples,
    at the threshold that an audit takes; auc, of the evaluated ones; and if the scores are log-odds, loss, the log-loss
    on the known samples in nats, both sides counted alike. best: as in `threshold`. What cannot be told, as a side is
    empty, is left out.
    """
    rows = []
    for epoch, row in enumerate(scores, start=1):
        at = threshold(row, member, known_mask, best=best)
        at = metrics.best_threshold(row, member) if at is None else at
        (known, known_truth), (judged, truth) = ((row[part], member[part]) for part in (known_mask, ~known_mask))
        told = {
            "loss": _log_loss(known, known_truth) if log_odds else None,
            "known_accuracy": _accuracy(known, known_truth, at),
            "accuracy": _accuracy(judged, truth, at),
            "auc": metrics.auc(judged, truth),
        }
        rows.append({"epoch": epoch, **{name: value for name, value in told.items() if value is not None}})
    return tuple(rows)


def _accuracy(scores: np.ndarray, member: np.ndarray, at: float) -> float | None:
    found = None if np.isnan(at) else metrics.accuracy(scores, member, at)
    return None if found is None else found.value


def _log_loss(odds: np.ndarray, member: np.ndarray) -> float | None:
    """The mean of both sides' mean log-losses."""
    if not member.any() or member.all():
        return None
    losses = np.logaddexp(0, np.where(member, -odds, odds))
    return float((losses[member].mean() + losses[~member].mean()) / 2)
