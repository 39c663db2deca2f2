"""What came of an experiment: its rows and curves, and their means over seeds with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mialab.engine.grid import Experiment, Where
from mialab.engine.store import Cell, Store
from mialab.metrics import Estimate, mean_interval

ACCURACIES = ("train_accuracy", "test_accuracy", "balanced_accuracy", "attack_accuracy")
AXES = ("phase", "epoch", "left", "right")  # columns of a curve that say where a point lies
SHARES = (*ACCURACIES, "auc", "tpr_0.1", "tpr_0.01", "tpr_0.001")  # columns that cannot leave 0 to 1


@dataclass(frozen=True)
class Result:
    """An experiment's rows at a preset, wherever they come from.

    origin: "local" (from the store), "recorded", or "superseded" (recorded with cells that are no longer made so).
    device: what the models were trained on, several joined by ", ". missing: how many of its cells are not there;
    lacks: the columns of each of those, as far as they are known. curves: what was measured along epochs, and
    histograms, as `curves` of `mialab.cells.rows` makes them.
    """

    experiment: str
    preset: str
    origin: str
    device: str
    rows: tuple[dict, ...]
    missing: int
    lacks: tuple[dict, ...] = ()
    curves: tuple[dict, ...] = ()

    def missing_at(self, place: dict) -> int:
        """How many of the missing cells may belong to a place, such as {"data": "mnist", "model": "lenet5"}."""
        fits = (all(columns.get(name, value) == value for name, value in place.items()) for columns in self.lacks)
        return self.missing - len(self.lacks) + sum(fits)


def local(
    experiment: Experiment,
    preset: str,
    store: Store,
    *,
    seeds: Sequence[int] | None = None,
    where: Where | None = None,
) -> Result:
    """What the store has of an experiment, by default of its usual seeds and all its lines; computes nothing."""
    grid = experiment.grid(preset, seeds=seeds, where=where)
    pairs = [(config, store.find(config)) for config in grid]
    found = [cell for _, cell in pairs if cell is not None]
    lacks = tuple(config.columns() for config, cell in pairs if cell is None)
    devices = sorted({device for cell in found for device in trained_on(cell)})
    rows = tuple(row for cell in found for row in cell.info["rows"])
    curves = tuple(curve for cell in found for curve in cell.info.get("curves", ()))
    return Result(experiment.name, preset, "local", ", ".join(devices), rows, len(lacks), lacks, curves)


def trained_on(cell: Cell) -> list[str]:
    """The devices behind a cell: of the models that it audits, else its own."""
    return cell.info.get("trained_on") or [cell.info["made_with"]["device"]]


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


def mean_curves(curves: Sequence[dict], name: str | None = None) -> list[dict]:
    """Curves with an Estimate at each point: the mean over seeds with its 95 % interval; in the order of appearance.

    name: of the curves wanted; None: all. Columns that say where a point lies, such as the epoch, stay.
    Raises ValueError where the seeds' curves are of different lengths or columns.
    """
    groups: dict[str, list[dict]] = {}
    for curve in curves:
        if name in (None, curve["curve"]):
            key = {column: value for column, value in curve.items() if column not in ("seed", "points")}
            groups.setdefault(json.dumps(key, sort_keys=True), []).append(curve)
    return [_mean_curve(group) for group in groups.values()]


def _mean_curve(group: Sequence[dict]) -> dict:
    shapes = {tuple((column, len(values)) for column, values in curve["points"].items()) for curve in group}
    if len(shapes) > 1:
        name = group[0]["curve"]
        raise ValueError(f"curves {name!r} of several seeds differ in columns or lengths: {sorted(shapes)}")
    points = {}
    for column, first in group[0]["points"].items():
        values = [curve["points"][column] for curve in group]
        along = column in AXES and all(own == first for own in values)
        points[column] = list(first) if along else [mean_interval(list(at)) for at in zip(*values, strict=True)]
    shared = {column: value for column, value in group[0].items() if column not in ("seed", "points")}
    return {**shared, "seeds": len(group), "points": points}


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
