"""Means over seeds, with intervals, of an experiment's curves: what was measured along epochs, and histograms.

A curve is {columns that identify it, "seed", "curve": its name, "points": {column: [one number per point]}}. A
histogram is a curve with the points left, right, members, nonmembers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mialab.metrics import Estimate
from mialab.results.means import mean_of

AXES = ("phase", "epoch", "level", "left", "right")  # columns that say where a point lies, and are no measurement


def mean_curves(curves: Sequence[dict], name: str | None = None) -> list[dict]:
    """Curves with an Estimate at each point: the mean over seeds with its 95 % interval; in the order of appearance.

    name: of the curves wanted; None: all. The columns that say where a point lies, such as the epoch, stay; points and
    columns that a seed lacks are left out, so that every mean is of all seeds. Raises ValueError where they have no
    point in common, as histograms of different bins, or nothing says which points belong together.
    """
    groups: dict[str, list[dict]] = {}
    for curve in curves:
        if name in (None, curve["curve"]):
            groups.setdefault(json.dumps(_shared(curve), sort_keys=True), []).append(curve)
    return [_mean(group) for group in groups.values()]


def _shared(curve: dict) -> dict[str, Any]:
    return {column: value for column, value in curve.items() if column not in ("seed", "points")}


def _mean(group: Sequence[dict]) -> dict:
    name = group[0]["curve"]
    columns = [column for column in group[0]["points"] if all(column in curve["points"] for curve in group)]
    axes = [column for column in columns if column in AXES]
    lengths = {len(curve["points"][column]) for curve in group for column in columns}
    if not axes and len(lengths) > 1:
        raise ValueError(f"curves {name!r} of several seeds differ in length and have none of {', '.join(AXES)}")
    placed = [_by_place(curve, axes) for curve in group]
    places = [place for place in placed[0] if all(place in points for points in placed)]
    if placed[0] and not places:
        raise ValueError(f"curves {name!r} of several seeds have no point in common: give them the same {axes}")
    points = {}
    for column in columns:
        at = [[points_of[place][column] for points_of in placed] for place in places]
        points[column] = (
            [values[0] for values in at] if column in axes else [_estimate(column, values) for values in at]
        )
    return {**_shared(group[0]), "seeds": len(group), "points": points}


def _by_place(curve: dict, axes: Sequence[str]) -> dict[tuple, dict]:
    """The points of a curve by their place: the values of the axes, or else their number."""
    columns = curve["points"]
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    placed = {tuple(row[axis] for axis in axes) if axes else (number,): row for number, row in enumerate(rows)}
    if len(placed) < len(rows):
        raise ValueError(f"curve {curve['curve']!r} has two points at one place: tell them apart by {', '.join(AXES)}")
    return placed


def _estimate(column: str, values: Sequence[float | None]) -> Estimate | None:
    return None if None in values else mean_of(column, [value for value in values if value is not None])
