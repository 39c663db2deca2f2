"""Audits as rows: long, one per attack, with what tells it from others first and then shares with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mialab import attacks, audit, fusion, metrics
from mialab.cells.answered import Answered
from mialab.engine.store import Cell


def rows(setting: dict, seed: int, reports: Sequence[audit.Report]) -> list[dict]:
    """One row per attack: the setting, attack and seed; then figures, which are means where there are several audits.

    train_accuracy and test_accuracy of the ensemble; of the attack auc, balanced_accuracy, attack_accuracy, and
    tpr_0.1, tpr_0.01, tpr_0.001 by FPR. Each share with {name}_interval [low, high] at 95 %, both None where samples
    are too few. And member_share: what always saying "member" gets.
    """
    return [{**setting, "attack": name, "seed": seed, **_columns(reports, name)} for name in reports[0].attacks]


def spread(attack: str, reports: Sequence[audit.Report]) -> dict[str, float | None]:
    """auc_deviation: the standard deviation of the attack's AUC over several audits of other models.

    None for one audit, and where an AUC cannot be told.
    """
    found = [report.attacks[attack].everyone.auc for report in reports]
    values = [auc.value for auc in found if auc is not None]
    told = len(values) == len(reports) > 1
    return {"auc_deviation": float(np.std(values, ddof=1)) if told else None}


def gains(attack: str, reports: Sequence[audit.Report]) -> dict[str, float | None]:
    """What Algorithm 1 of the pruning paper looks at, means over the audits; None where it cannot be told.

    gain: the attack's, nats (Eq. 1), of one that answers with log-odds: -log 4 is a coin's, 0 the most. js: nats, of
    the true class's confidence between evaluated members and non-members (Eq. 10), from a histogram, its bias taken
    off. best_epoch_accuracy: the attack's accuracy on the evaluated samples after the epoch of its own training that is
    best for these very samples, which flatters it, as papers do that choose so.
    """
    found = [(_gain(attack, report), _js(report), _best_epoch(report.attacks[attack])) for report in reports]
    names = ("gain", "js", "best_epoch_accuracy")
    columns = zip(names, zip(*found, strict=True), strict=True)
    return {name: None if None in values else float(np.mean(values)) for name, values in columns}


def calibration(reports: Sequence[audit.Report]) -> dict[str, float]:
    """train_ece and test_ece: the fused confidences' expected calibration error on either side, means over audits."""
    columns = {}
    for name, side in (("train_ece", True), ("test_ece", False)):
        parts = [(each.log_p[where], each.labels[where]) for each in reports for where in [each.member == side]]
        columns[name] = float(np.mean([fusion.calibration_error(np.exp(log_p), labels) for log_p, labels in parts]))
    return columns


def _gain(attack: str, report: audit.Report) -> float | None:
    if not attacks.get(attack).log_odds:
        return None
    odds, member = (part[report.evaluated] for part in (report.attacks[attack].scores, report.member))
    return -sum(float(np.logaddexp(0, side).mean()) for side in (-odds[member], odds[~member]))


def _js(report: audit.Report) -> float | None:
    estimate = report.divergence.confidence
    return None if estimate is None else estimate.value


def _best_epoch(result: audit.Result) -> float | None:
    return max((point["accuracy"] for point in result.curve if "accuracy" in point), default=None)


def setting(target: Answered, first: Cell, epoch: int, **columns: Any) -> dict[str, Any]:
    """What an audit is of: the target's columns, epoch, learning_rate (at its end), then the columns given.

    first: the cell of the target's first models.
    """
    kept = next(row for row in first.info["history"][0] if row["epoch"] == epoch)
    return {**target.columns(), "epoch": epoch, "learning_rate": kept["learning_rate"], **columns}


def curve(setting: dict, seed: int, name: str, points: Sequence[dict]) -> dict[str, Any]:
    """A named curve as an experiment's `curves` holds it: the setting, seed and name, and points column by column.

    points: one dict per epoch, all with the same columns; a column that some lack is left out.
    """
    shared = [column for column in points[0] if all(column in point for point in points)] if points else []
    columns = {column: [point[column] for point in points] for column in shared}
    return {**setting, "seed": seed, "curve": name, "points": columns}


def devices(cells: Sequence[Cell]) -> list[str]:
    """What the cells' models were trained on."""
    return sorted({cell.info["made_with"]["device"] for cell in cells})


def _columns(reports: Sequence[audit.Report], attack: str) -> dict:
    """Means over the audits of an attack's figures, and of their intervals' ends: never too narrow for a mean."""
    audits = [_figures(report, attack) for report in reports]
    columns: dict[str, Any] = {}
    for name in audits[0]:
        figures = [figure[:3] for found in audits if (figure := found[name]) is not None]
        mean = np.mean(figures, axis=0).tolist() if len(figures) == len(audits) else None
        columns |= {name: mean and mean[0], f"{name}_interval": mean and mean[1:]}
    return {**columns, "member_share": float(reports[0].member[reports[0].evaluated].mean())}


def _figures(report: audit.Report, attack: str) -> dict[str, metrics.Estimate | metrics.Accuracy | None]:
    train, test = report.accuracies
    everyone = report.attacks[attack].everyone
    return {
        "train_accuracy": train,
        "test_accuracy": test,
        "auc": everyone.auc,
        "balanced_accuracy": everyone.balanced_accuracy,
        "attack_accuracy": everyone.accuracy,
        **{f"tpr_{fpr}": tpr for fpr, tpr in everyone.tpr.items()},
    }
