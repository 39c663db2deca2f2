"""What a claim is: a sentence of a paper, the experiment that can test it, and an effect that is measured per seed.

Everything here is data. Rows are an experiment's: flat dicts, one per setting and attack, with the column `seed`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

POINTS = 3  # fewest points of a trend
DIRECTIONS = (">", "<", "=")
# Columns that a configuration fixes. They are counted, not sampled: that all seeds agree on one is no accident.
COUNTED = frozenset({"weights", "reduction_ratio", "storage_bytes", "multiply_adds", "training_multiply_adds"})
# The smallest effect of interest where a claim names no other, our choice: one point of a share, 0.01 nats.
MATTERS = 0.01
SHARES = frozenset(
    {
        *("auc", "balanced_accuracy", "train_accuracy", "test_accuracy", "js", "confidence", "level_js"),
        *("correct_confidence", "misclassified_confidence", "train_certainty", "test_certainty", "auc_above_plain"),
    }
)


@dataclass(frozen=True)
class First:
    """The least number that the column takes: the earliest epoch, the smallest ensemble."""

    def among(self, numbers: Sequence[float]) -> float:
        return min(numbers)


@dataclass(frozen=True)
class Last:
    """The greatest number that the column takes: the latest epoch, the largest ensemble."""

    def among(self, numbers: Sequence[float]) -> float:
        return max(numbers)


# Column -> a value, a tuple of values (any of them), First() or Last(). A row without the column does not match.
Filter = Mapping[str, Any]


@dataclass(frozen=True)
class Effect:
    """The mean of a column over the rows of one seed that match `of`, less the mean over those that match `minus`.

    value: a column, or a pair of columns whose difference counts (train less test accuracy).
    of, minus: a filter, or several whose means are added up: with two on either side, a difference of differences.
    There is no effect where a filter stands on both sides, as with the first and the last of a single epoch.
    """

    value: str | tuple[str, str]
    of: Filter | tuple[Filter, ...]
    minus: Filter | tuple[Filter, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether a configuration fixes the effect, so that it may well be the same in every seed."""
        return {self.value} <= COUNTED if isinstance(self.value, str) else set(self.value) <= COUNTED

    @property
    def share(self) -> bool:
        """Whether it is a share, or a difference of shares."""
        return {self.value} <= SHARES if isinstance(self.value, str) else set(self.value) <= SHARES

    def concerns(self, columns: dict) -> bool:
        """Whether a cell with these columns, not computed yet, may change the effect or its ends."""
        return any(_may_match(columns, where) for where in (*_several(self.of), *_several(self.minus)))

    def trials(self, rows: Sequence[dict]) -> int | None:
        """Of how many draws or samples the value is the share, all seeds together: what rows hold as {value}_of.

        None for a difference, and where a row does not say.
        """
        if self.minus or not isinstance(self.value, str):
            return None
        counted = replace(self, value=f"{self.value}_of").per_seed(rows)
        return round(sum(counted.values())) if counted.keys() == self.per_seed(rows).keys() != set() else None

    def resolved(self, rows: Sequence[dict]) -> Effect:
        """The same effect with First() and Last() replaced by what they stand for in the rows of one setting.

        All seeds' rows count, whatever else the filter asks for, so that two sides of an effect mean the same epoch and
        a seed that lacks it is left out rather than read at another one. Only methods are kept apart: where a filter
        names one, its own first and last count, since a defense may train for longer.
        """
        return replace(self, of=_resolved(self.of, rows), minus=_resolved(self.minus, rows))

    def per_seed(self, rows: Sequence[dict]) -> dict[int, float]:
        """The effect of each seed for which every filter finds a row, and no row found lacks the value."""
        effect = self.resolved(rows)
        measured = {seed: effect.of_one_seed(own) for seed, own in _by_seed(rows).items()}
        return {seed: value for seed, value in measured.items() if value is not None}

    def of_one_seed(self, rows: Sequence[dict]) -> float | None:
        """The effect in one seed's rows, all filters resolved; None where one is missing or set against itself."""
        of, minus = _several(self.of), _several(self.minus)
        if any(where in minus for where in of):
            return None
        signed = [*((1, where) for where in of), *((-1, where) for where in minus)]
        means = [(sign, _mean(self.value, [row for row in rows if matches(row, where)])) for sign, where in signed]
        known = [sign * mean for sign, mean in means if mean is not None]
        return sum(known) if len(known) == len(means) else None

    def __str__(self) -> str:
        """As read aloud: "auc: models 10 minus models 1 (epoch 90, attack gap)", what all filters share coming last."""
        value = self.value if isinstance(self.value, str) else " less ".join(self.value)
        filters = [*_several(self.of), *_several(self.minus)]
        if len(filters) == 1:
            return f"{value} ({_text(filters[0])})"
        shared = {
            column: wanted for column, wanted in filters[0].items() if all(f.get(column) == wanted for f in filters)
        }
        sides = [[_text(where, shared) for where in _several(side)] for side in (self.of, self.minus) if side]
        bracket = "[{}]" if len(filters) > len(sides) else "{}"
        terms = " minus ".join(" plus ".join(bracket.format(text) for text in side) for side in sides)
        return f"{value}: {terms}" + (f" ({_text(shared)})" if shared else "")


@dataclass(frozen=True)
class Trend:
    """The slope of one effect on another over the values of some columns (least squares): above 0, they rise together.

    A slope rather than a rank correlation: over three epochs the latter has four values, and Student's interval is not
    made for that. across: the columns that tell the points apart, such as ("epoch",); the filters leave them free.
    """

    effect: Effect
    against: Effect
    across: tuple[str, ...]

    @property
    def counted(self) -> bool:
        """Whether a configuration fixes the slope."""
        return self.effect.counted and self.against.counted

    @property
    def share(self) -> bool:
        """A slope is none."""
        return False

    def concerns(self, columns: dict) -> bool:
        """Whether a cell with these columns may be a point of it."""
        return self.effect.concerns(columns) or self.against.concerns(columns)

    def trials(self, rows: Sequence[dict]) -> None:
        """A slope has none."""

    def resolved(self, rows: Sequence[dict]) -> Trend:
        """The same trend with First() and Last() replaced, as in `Effect.resolved`."""
        return replace(self, effect=self.effect.resolved(rows), against=self.against.resolved(rows))

    def per_seed(self, rows: Sequence[dict]) -> dict[int, float]:
        """The slope of each seed that has at least three points, not all of them at the same place."""
        trend = self.resolved(rows)
        measured = {seed: trend.of_one_seed(own) for seed, own in _by_seed(rows).items()}
        return {seed: value for seed, value in measured.items() if value is not None}

    def of_one_seed(self, rows: Sequence[dict]) -> float | None:
        """The slope in one seed's rows, all filters resolved; None where there is none."""
        places: dict[tuple, list[dict]] = {}
        for row in rows:
            if all(column in row for column in self.across):
                places.setdefault(tuple(row[column] for column in self.across), []).append(row)
        pairs = [(self.against.of_one_seed(own), self.effect.of_one_seed(own)) for own in places.values()]
        x, y = np.array([pair for pair in pairs if None not in pair]).reshape(-1, 2).T
        if len(x) < POINTS or np.ptp(x) == 0:
            return None
        centred = x - x.mean()
        return float(centred @ y / (centred @ centred))

    def __str__(self) -> str:
        return f"slope over {' and '.join(self.across)} of {self.effect} on {self.against}"


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, with what decides it.

    id: a short name that never changes. paper: "ensemble" or "pruning". section: where it stands ("abstract", "3.2").
    sentence: what it says, in our words. experiment: the name of the one whose rows decide; it may not exist yet.
    direction: ">" or "<", the effect lies above or below `null`; or "=", it lies within `margin` of it.
    settings: the paper's own data and architecture, one filter each; each architecture found is judged by itself.
    stand_ins: what may speak for itself where the paper's own is out of reach, never in the paper's name.
    choice: what in null and margin is our reading of the words. least: the smallest effect of interest, above or below
    a null of 0; None takes 0.01 for shares and nats, and none for others.
    """

    id: str
    paper: str
    section: str
    sentence: str
    experiment: str
    effect: Effect | Trend
    direction: str
    settings: tuple[Filter, ...]
    stand_ins: tuple[Filter, ...] = ()
    null: float = 0.0
    margin: float = 0.0
    choice: str = ""
    least: float | None = None

    def __post_init__(self):
        if self.direction not in DIRECTIONS or (self.direction == "=") != (self.margin > 0):
            raise ValueError(
                f"claim {self.id}: direction is >, <, or = with a margin above 0 (found {self.direction!r})"
            )

    @property
    def matters(self) -> float:
        """The smallest effect of interest; 0 where a border or a margin of the claim's own says what matters."""
        if self.direction == "=" or self.null:
            return 0.0
        return self.least if self.least is not None else MATTERS if self.effect.share else 0.0

    @property
    def test(self) -> str:
        """What the effect has to be, such as "> 0" or "within 0 ± 0.02"."""
        if self.direction == "=":
            return f"within {self.null:g} ± {self.margin:g}"
        return f"{self.direction} {self.null:g}"


def above(effect: Effect | Trend, null: float = 0.0) -> dict:
    """The test that an effect lies above a number."""
    return {"effect": effect, "direction": ">", "null": null}


def below(effect: Effect | Trend, null: float = 0.0) -> dict:
    """The test that an effect lies below a number."""
    return {"effect": effect, "direction": "<", "null": null}


def near(effect: Effect | Trend, margin: float, null: float = 0.0) -> dict:
    """The test that an effect lies within a margin of a number: how "no difference" can be shown, not just not seen."""
    return {"effect": effect, "direction": "=", "null": null, "margin": margin}


def matches(row: dict, where: Filter) -> bool:
    """Whether a row has what a filter without First() and Last() asks for."""
    return all(
        column in row and (row[column] in wanted if isinstance(wanted, tuple) else row[column] == wanted)
        for column, wanted in where.items()
    )


def _may_match(columns: dict, where: Filter) -> bool:
    """Whether rows of a cell may match; where an end is asked for, any cell of the filter's method may be it."""
    if any(isinstance(wanted, First | Last) for wanted in where.values()):
        where = {"method": where["method"]} if "method" in where else {}
    return matches(columns, {name: wanted for name, wanted in where.items() if name in columns})


def _several(where: Filter | tuple[Filter, ...]) -> tuple[Filter, ...]:
    return where if isinstance(where, tuple) else (where,)


def _resolved(where: Filter | tuple[Filter, ...], rows: Sequence[dict]) -> tuple[Filter, ...]:
    return tuple(_resolve(one, rows) for one in _several(where))


def _resolve(where: Filter, rows: Sequence[dict]) -> Filter:
    curve = [row for row in rows if "method" not in where or matches(row, {"method": where["method"]})]

    def stands_for(column, wanted):
        if not isinstance(wanted, First | Last):
            return wanted
        numbers = [row[column] for row in curve if isinstance(row.get(column), int | float)]
        return wanted.among(numbers) if numbers else ()  # an empty choice matches nothing

    return {column: stands_for(column, wanted) for column, wanted in where.items()}


def _by_seed(rows: Sequence[dict]) -> dict[int, list[dict]]:
    seeds: dict[int, list[dict]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], []).append(row)
    return dict(sorted(seeds.items()))


def _mean(value: str | tuple[str, str], rows: Sequence[dict]) -> float | None:
    """The mean over rows; None where there is no row, or one that lacks the value."""
    columns = (value,) if isinstance(value, str) else value
    found: list[list[Any]] = [[row.get(column) for column in columns] for row in rows]
    if not found or any(number is None or not math.isfinite(number) for numbers in found for number in numbers):
        return None
    return math.fsum(numbers[0] - sum(numbers[1:]) for numbers in found) / len(found)


def _text(where: Filter, without: Filter | tuple = ()) -> str:
    return ", ".join(f"{column} {_choice(wanted)}" for column, wanted in where.items() if column not in without)


def _choice(wanted: Any) -> str:
    if isinstance(wanted, First | Last):
        return type(wanted).__name__.lower()
    return " or ".join(map(str, wanted)) if isinstance(wanted, tuple) else str(wanted)
