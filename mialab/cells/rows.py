"""Audits as rows: long, one per attack, with what tells it from others first and then shares with their intervals."""

from collections.abc import Sequence

import numpy as np

from mialab import audit, metrics
from mialab.cells.models import Models
from mialab.engine.store import Cell


def rows(setting: dict, seed: int, reports: Sequence[audit.Report]) -> list[dict]:
    """One row per attack: the setting, attack and seed; then figures, which are means where there are several audits.

    train_accuracy and test_accuracy of the ensemble; of the attack auc, balanced_accuracy, attack_accuracy, and
    tpr_0.1, tpr_0.01, tpr_0.001 by FPR. Each share with {name}_interval [low, high] at 95 %, both None where samples
    are too few. And member_share: what always saying "member" gets.
    """
    return [{**setting, "attack": name, "seed": seed, **_columns(reports, name)} for name in reports[0].attacks]


def setting(target: Models, first: Cell, epoch: int, *, models: int, fusion: str, access: str) -> dict:
    """What an audit is of: data, model, method (defenses), epoch, learning_rate (at its end), models, fusion, access.

    first: the cell of the target's first models.
    """
    kept = next(row for row in first.info["history"][0] if row["epoch"] == epoch)
    return {
        "data": target.data,
        "model": target.model,
        "method": target.method,
        "epoch": epoch,
        "learning_rate": kept["learning_rate"],
        "models": models,
        "fusion": fusion,
        "access": access,
    }


def devices(cells: Sequence[Cell]) -> list[str]:
    """What the cells' models were trained on."""
    return sorted({cell.info["made_with"]["device"] for cell in cells})


def _columns(reports: Sequence[audit.Report], attack: str) -> dict:
    """Means over the audits of an attack's figures, and of their intervals' ends: never too narrow for a mean."""
    audits = [_figures(report, attack) for report in reports]
    columns = {}
    for name in audits[0]:
        each = [figures[name] for figures in audits]
        mean = None if None in each else np.mean([figure[:3] for figure in each], axis=0).tolist()
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
