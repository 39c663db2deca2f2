"""What a claim is: a sentence of a paper, the experiment that can test it, and an effect that is measured per seed.

Everything here is data. Rows are an experiment's: flat dicts, one per setting and attack, with the column `seed`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

POINTS = 3  # fewest points of a trend
DIRECTIONS = (">", "<", "=")
# Smallest effects of interest, our choice, in the units of each value; a share (of accuracy, of AUC) has `POINT`.
POINT = 0.01
SMALLEST = {
    **dict.fromkeys(("js", "level_js"), 0.005),  # nats
    **dict.fromkeys(("gain", "train_loss"), 0.01),  # nats
    **dict.fromkeys(("output_error", "worst_error"), 0.01),  # of logits
    "agreement": 0.1,  # models, of ten
    "epochs_to_converge": 1.0,
    "reduction_ratio": 0.05,
}
SMALLEST_CHANGE = 0.05  # of a relative change


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


@dataclass(frozen=True)
class Middle:
    """The number in the middle of those that the column takes: of three epochs the second, of two the first."""

    def among(self, numbers: Sequence[float]) -> float:
        return statistics.median_low(set(numbers))


# Column -> a value, a tuple of values (any of them), or a place. A row without the column does not match.
Place = First | Middle | Last
Filter = Mapping[str, Any]


@dataclass(frozen=True)
class Effect:
    """The mean of a column over the rows of one seed that match `of`, less the mean over those that match `minus`.

    value: a column, or a pair of columns whose difference counts (train less test accuracy).
    of, minus: a filter, or several whose means are added up: with two on either side, a difference of differences.
    There is no effect where a filter stands on both sides, as with the first and the last of a single epoch.
    relative: the difference counts as a share of what is taken off: -0.9 is a tenth left. draws: of a value that is a
    share of a few random draws, the column with their number. less: the column, or the pair, that is taken off, where
    it is another than `value`.
    """

    value: str | tuple[str, str]
    of: Filter | tuple[Filter, ...]
    minus: Filter | tuple[Filter, ...] = ()
    relative: bool = False
    draws: str = ""
    less: str | tuple[str, str] = ""

    @property
    def smallest(self) -> float:
        """The smallest effect of interest, in the effect's units."""
        value = self.value if isinstance(self.value, str) else self.value[0]
        return SMALLEST_CHANGE if self.relative else SMALLEST.get(value, POINT)

    def resolved(self, rows: Sequence[dict]) -> Effect:
        """The same effect with First(), Middle() and Last() replaced by what they stand for in one setting's rows.

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
        if not self.less and any(where in minus for where in of):
            return None
        values = ((self.value, of), (self.less or self.value, minus))
        sides = [[_mean(value, [row for row in rows if matches(row, w)]) for w in side] for value, side in values]
        if any(mean is None for side in sides for mean in side):
            return None
        more, less = (math.fsum(mean for mean in side if mean is not None) for side in sides)
        if not self.relative:
            return more - less
        return more / less - 1 if less else None

    def reads(self, columns: dict) -> bool:
        """Whether rows of a cell with these columns may have a part in the effect."""
        return any(_may_read(where, columns) for side in (self.of, self.minus) for where in _several(side))

    def drawn(self, rows: Sequence[dict]) -> float:
        """How many random draws the value is a share of, over all seeds; 0 of any other value."""
        counts = Effect(self.draws, self.resolved(rows).of).per_seed(rows) if self.draws else {}
        return sum(counts.values())

    def __str__(self) -> str:
        """As read aloud: "auc: models 10 minus models 1 (epoch 90, attack gap)", what all filters share coming last."""
        value = f"relative change of {_words(self.value)}" if self.relative else _words(self.value)
        filters = [*_several(self.of), *_several(self.minus)]
        if len(filters) == 1:
            return f"{value} ({_text(filters[0])})"
        shared = {
            column: wanted for column, wanted in filters[0].items() if all(f.get(column) == wanted for f in filters)
        }
        sides = [[_text(where, shared) for where in _several(side)] for side in (self.of, self.minus) if side]
        bracket = "[{}]" if len(filters) > len(sides) else "{}"
        each = [" plus ".join(bracket.format(text) for text in side) for side in sides]
        if self.less:
            terms = f"{value} [{each[0]}] minus {_words(self.less)} [{each[1]}]"
        else:
            terms = f"{value}: {' minus '.join(each)}"
        return terms + (f" ({_text(shared)})" if shared else "")


@dataclass(frozen=True)
class Trend:
    """How far one effect rises along another over the values of some columns: above 0, they rise together.

    The rise of the least-squares line from the least place to the greatest, so that it has the units of the effect.
    Not a rank correlation: over three epochs that has four values, and Student's interval is not made for it. across:
    the columns that tell the points apart, such as ("epoch",); the filters leave them free.
    """

    effect: Effect
    against: Effect
    across: tuple[str, ...]

    @property
    def smallest(self) -> float:
        """The smallest rise of interest, in the effect's units."""
        return self.effect.smallest

    def reads(self, columns: dict) -> bool:
        """Whether rows of a cell with these columns may have a part in it."""
        return self.effect.reads(columns) or self.against.reads(columns)

    def drawn(self, rows: Sequence[dict]) -> float:
        """0: a line is no share of draws."""
        return 0

    def resolved(self, rows: Sequence[dict]) -> Trend:
        """The same trend with its places replaced, as in `Effect.resolved`."""
        return replace(self, effect=self.effect.resolved(rows), against=self.against.resolved(rows))

    def per_seed(self, rows: Sequence[dict]) -> dict[int, float]:
        """The rise of each seed that has at least three points, not all of them at the same place."""
        trend = self.resolved(rows)
        measured = {seed: trend.of_one_seed(own) for seed, own in _by_seed(rows).items()}
        return {seed: value for seed, value in measured.items() if value is not None}

    def of_one_seed(self, rows: Sequence[dict]) -> float | None:
        """The rise in one seed's rows, all filters resolved; None where there is none."""
        places = _by_place(rows, self.across).values()
        pairs = [(self.against.of_one_seed(own), self.effect.of_one_seed(own)) for own in places]
        x, y = np.array([pair for pair in pairs if None not in pair]).reshape(-1, 2).T
        if len(x) < POINTS or np.ptp(x) == 0:
            return None
        centred = x - x.mean()
        return float(centred @ y / (centred @ centred) * np.ptp(x))

    def __str__(self) -> str:
        return f"rise over {' and '.join(self.across)} of {self.effect} along {self.against}"


@dataclass(frozen=True)
class Lowest:
    """An effect where it is lowest over the values of some columns: what "some are lower" says, not picked by luck.

    The lowest of many numbers is low by chance too. So the place is chosen on the first half of the seeds (of five, on
    two), by its mean, and the effect is that of the other seeds there. If it is below 0, then some place's is. If it is
    not, that speaks of the place that was found. across: the columns that tell the places apart, such as ("method",
    "strength"); the filters leave them free. A place that any seed lacks is left out.
    """

    effect: Effect
    across: tuple[str, ...]

    @property
    def smallest(self) -> float:
        """The smallest effect of interest, in the effect's units."""
        return self.effect.smallest

    def reads(self, columns: dict) -> bool:
        """Whether rows of a cell with these columns may have a part in it."""
        return self.effect.reads(columns)

    def drawn(self, rows: Sequence[dict]) -> float:
        """0: the lowest of several is no share of draws."""
        return 0

    def resolved(self, rows: Sequence[dict]) -> Lowest:
        """The same with its places replaced, as in `Effect.resolved`."""
        return replace(self, effect=self.effect.resolved(rows))

    def per_seed(self, rows: Sequence[dict]) -> dict[int, float]:
        """The effect of each seed that the place was not chosen on; none where there is a single seed."""
        effect = self.effect.resolved(rows)
        places = [effect.per_seed(own) for own in _by_place(rows, self.across).values()]
        seeds = sorted({seed for measured in places for seed in measured})
        whole = [measured for measured in places if len(measured) == len(seeds)]
        choosing, measuring = seeds[: len(seeds) // 2], seeds[len(seeds) // 2 :]
        if not choosing or not whole:
            return {}
        found = min(whole, key=lambda measured: math.fsum(measured[seed] for seed in choosing))
        return {seed: found[seed] for seed in measuring}

    def __str__(self) -> str:
        return f"{self.effect}, at the {' and '.join(self.across)} where it is lowest in the first half of the seeds"


Measure = Effect | Trend | Lowest


@dataclass(frozen=True)
class Criterion:
    """What an effect has to be.

    direction: ">" or "<", it lies above or below `null`; or "=", it lies within `margin` of it. sesoi: the smallest
    effect of interest. An effect that surely lies closer to `null` than that is no relevant one, whatever its sign; 0
    where `null` is a bound in itself, on whose sides nothing else is asked.
    """

    effect: Measure
    direction: str
    null: float = 0.0
    margin: float = 0.0
    sesoi: float = 0.0

    @property
    def kind(self) -> str:
        """What is asked for: a "direction" from no effect, a "bound" kept, or "equivalence"."""
        return "equivalence" if self.direction == "=" else "direction" if self.sesoi else "bound"

    def __str__(self) -> str:
        """Such as "> 0, relevant beyond ± 0.01", or "within 0 ± 0.02"."""
        if self.kind == "equivalence":
            return f"within {self.null:g} ± {self.margin:g}"
        relevant = f", relevant beyond ± {self.sesoi:g}" if self.sesoi else ""
        return f"{self.direction} {self.null:g}{relevant}"


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, with what decides it.

    id: a short name that never changes. paper: "ensemble" or "pruning". section: where it stands ("abstract", "3.2").
    sentence: what it says, in our words. experiment: the name of the one whose rows decide; it may not exist yet.
    test: what decides. also: what the sentence says in the same breath; it holds only if all hold. given: what the
    sentence takes for granted ("where ..."); without it, nothing follows. settings: the paper's own data and
    architecture, one filter each; each architecture found is judged by itself. stand_ins: what may speak for itself
    where the paper's own is out of reach, never in the paper's name. choice: what in the numbers of the tests is our
    reading of the words.
    """

    id: str
    paper: str
    section: str
    sentence: str
    experiment: str
    test: Criterion
    settings: tuple[Filter, ...]
    stand_ins: tuple[Filter, ...] = ()
    also: tuple[Criterion, ...] = ()
    given: tuple[Criterion, ...] = ()
    choice: str = ""

    def __post_init__(self):
        for one in (self.test, *self.also, *self.given):
            if one.direction not in DIRECTIONS or (one.direction == "=") != (one.margin > 0):
                found = f"direction is >, <, or = with a margin above 0 (found {one.direction!r})"
                raise ValueError(f"claim {self.id}: {found}")


def above(effect: Measure, null: float = 0.0) -> Criterion:
    """The test that an effect lies above the number that means none: 0, or what guessing gives."""
    return Criterion(effect, ">", null, sesoi=effect.smallest)


def below(effect: Measure, null: float = 0.0) -> Criterion:
    """The test that an effect lies below the number that means none."""
    return Criterion(effect, "<", null, sesoi=effect.smallest)


def at_least(effect: Measure, bound: float) -> Criterion:
    """The test that an effect lies above a bound that the sentence, or our reading of it, names."""
    return Criterion(effect, ">", bound)


def at_most(effect: Measure, bound: float) -> Criterion:
    """The test that an effect lies below a bound that the sentence, or our reading of it, names."""
    return Criterion(effect, "<", bound)


def near(effect: Measure, margin: float, null: float = 0.0) -> Criterion:
    """The test that an effect lies within a margin of a number: how "no difference" can be shown, not just not seen."""
    return Criterion(effect, "=", null, margin)


def matches(row: dict, where: Filter) -> bool:
    """Whether a row has what a filter without places asks for; None asks for a column that is not there."""
    return all(
        (row[column] in wanted if isinstance(wanted, tuple) else row[column] == wanted)
        if column in row
        else wanted is None
        for column, wanted in where.items()
    )


def _may_read(where: Filter, columns: dict) -> bool:
    """Whether a filter may find rows of a cell with these columns, or read off them what is first or last.

    The cell may have further columns; and what is first or last is read off rows of other kinds, but for the method.
    """
    sought = any(isinstance(wanted, Place) for wanted in where.values())
    plain = {name: wanted for name, wanted in where.items() if name in columns and not isinstance(wanted, Place)}
    return all(matches(columns, {name: plain[name]}) for name in plain if name == "method" or not sought)


def _several(where: Filter | tuple[Filter, ...]) -> tuple[Filter, ...]:
    return where if isinstance(where, tuple) else (where,)


def _resolved(where: Filter | tuple[Filter, ...], rows: Sequence[dict]) -> tuple[Filter, ...]:
    return tuple(_resolve(one, rows) for one in _several(where))


def _resolve(where: Filter, rows: Sequence[dict]) -> Filter:
    curve = [row for row in rows if "method" not in where or matches(row, {"method": where["method"]})]

    def stands_for(column, wanted):
        if not isinstance(wanted, Place):
            return wanted
        numbers = [row[column] for row in curve if isinstance(row.get(column), int | float)]
        return wanted.among(numbers) if numbers else ()  # an empty choice matches nothing

    return {column: stands_for(column, wanted) for column, wanted in where.items()}


def _by_seed(rows: Sequence[dict]) -> dict[int, list[dict]]:
    seeds: dict[int, list[dict]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], []).append(row)
    return dict(sorted(seeds.items()))


def _by_place(rows: Sequence[dict], across: Sequence[str]) -> dict[tuple, list[dict]]:
    """Rows by their values of some columns; those that lack one are left out."""
    places: dict[tuple, list[dict]] = {}
    for row in rows:
        if all(column in row for column in across):
            places.setdefault(tuple(row[column] for column in across), []).append(row)
    return places


def _mean(value: str | tuple[str, str], rows: Sequence[dict]) -> float | None:
    """The mean over rows; None where there is no row, or one that lacks the value."""
    columns = (value,) if isinstance(value, str) else value
    found: list[list[Any]] = [[row.get(column) for column in columns] for row in rows]
    if not found or any(number is None or not math.isfinite(number) for numbers in found for number in numbers):
        return None
    return math.fsum(numbers[0] - sum(numbers[1:]) for numbers in found) / len(found)


def _words(value: str | tuple[str, str]) -> str:
    return value if isinstance(value, str) else " less ".join(value)


def _text(where: Filter, without: Filter | tuple = ()) -> str:
    return ", ".join(f"{column} {_choice(wanted)}" for column, wanted in where.items() if column not in without)


def _choice(wanted: Any) -> str:
    if isinstance(wanted, Place):
        return type(wanted).__name__.lower()
    return " or ".join(map(str, wanted)) if isinstance(wanted, tuple) else str(wanted)
