"""Means over seeds, with intervals, of an experiment's rows, and what plots take of them."""

from __future__ import annotations

from collections.abc import Sequence

from mialab.metrics import Estimate, mean_interval

ACCURACIES = ("train_accuracy", "test_accuracy", "balanced_accuracy", "attack_accuracy")
SHARES = (*ACCURACIES, "auc", "tpr_0.1", "tpr_0.01", "tpr_0.001")  # columns that cannot leave 0 to 1


def summary(rows: Sequence[dict], by: Sequence[str], values: Sequence[str]) -> list[dict]:
    """One dict per line, in the order of first appearance: the columns `by`, seeds (how many), an Estimate per value.

    An estimate is the mean over seeds with Student's 95 % interval, for shares cut at 0 and 1. Of a single seed it is
    its own figure with the interval that its row has for it, or with ends that are None; where all seeds have the same
    figure, the widest of their own intervals, as no spread is no certainty. A value that no row has is None; of the
    others, seeds counts for the one that the fewest have. Raises ValueError where `by` leaves two rows of one seed in a
    line.
    """
    lines: dict[tuple, list[dict]] = {}
    for row in rows:
        lines.setdefault(tuple(row.get(column) for column in by), []).append(row)
    table = []
    for places, own in lines.items():
        line = dict(zip(by, places, strict=True))
        if len({row["seed"] for row in own}) < len(own):
            raise ValueError(f"several rows of one seed for {line}: name the column that tells them apart in `by`")
        table.append({**line, "seeds": _seeds(own, values), **{value: _estimate(own, value) for value in values}})
    return table


def _seeds(rows: list[dict], values: Sequence[str]) -> int:
    counts = [sum(row.get(value) is not None for row in rows) for value in values]
    return min(filter(None, counts), default=len(rows))


def series(lines: Sequence[dict], x: str, names: str, value: str) -> list[dict]:
    """A summary as `plots.curves` takes it: a row per value of column `x`, in it a curve per value of column `names`.

    A row holds x, and for each curve {name}, {name}_low and {name}_high; no ends where there is no interval.
    """
    rows: dict = {}
    for line in lines:
        name, (mean, low, high) = line[names], line[value]
        ends = {} if low is None else {f"{name}_low": low, f"{name}_high": high}
        rows.setdefault(line[x], {x: line[x]}).update({name: mean, **ends})
    return list(rows.values())


def _estimate(rows: list[dict], value: str) -> Estimate | None:
    measured = [row for row in rows if row.get(value) is not None]
    if len({row[value] for row in measured}) == 1:
        own = [ends for row in measured if None not in (ends := row.get(f"{value}_interval") or [None])]
        if own or len(measured) == 1:
            return Estimate(measured[0][value], *max(own, key=lambda ends: ends[1] - ends[0], default=(None, None)))
    bounds = {"least": 0.0, "greatest": 1.0} if value in SHARES else {}
    return mean_interval([row[value] for row in measured], **bounds) if measured else None
