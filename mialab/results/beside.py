"""A table of a paper with our results in it: each printed line, and below it what was measured of the same setting.

Everything is in the units of our rows: shares, not per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mialab.engine.grid import PRESETS, Experiment
from mialab.metrics import Estimate
from mialab.names import unknown
from mialab.results.columns import heading, plain, printed_numbers, shown, words
from mialab.results.lines import Result
from mialab.results.means import summary

PRINTED = "printed"
SETTING = ("data", "model", "method")
ATTACK = "nasr-paper"  # by which the pruning paper's tables are (section 5.2), except for:
ATTACKS = {"cnn4": "shadow-rahman"}
TRAININGS = {"none": "plain", "min_max": "min-max", "pruning+min_max": "pruning and min-max", "dp": "DP-SGD"}
HIDDEN = ("attack", "label")  # of which a table has one each: all classes together
LARGE = 1000
_SHARES = {"test_accuracy", "train_accuracy", "balanced_accuracy"}


@dataclass(frozen=True)
class Beside:
    """One line of a paper's table, or what stands beside it.

    data, model, method: as our rows say. source: "printed", or where ours comes from: "local", "recorded",
    "superseded". preset, seeds: of ours, "" and 0 of a printed line. detail: further columns that tell its rows from
    others, such as {"epsilon": 6.28}. values: an estimate for each column; a printed number has no interval.
    """

    data: str
    model: str
    method: str
    source: str
    values: dict[str, Estimate]
    preset: str = ""
    seeds: int = 0
    detail: tuple[tuple[str, object], ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """The data set and the network."""
        return self.data, self.model

    @property
    def training(self) -> str:
        """The method and what else tells how it was trained, in words."""
        name = TRAININGS.get(self.method, self.method)
        more = ", ".join(f"{words(column)} {plain(value)}" for column, value in self.detail)
        return f"{name} ({more})" if more else name

    @property
    def origin(self) -> str:
        """Whose numbers these are, in words: "paper", or ours with preset and repetitions."""
        if self.source == PRINTED:
            return "paper"
        seeds = f"{self.seeds} seed{'s' * (self.seeds != 1)}"
        return f"ours (preset {self.preset}, {seeds}" + ", superseded" * (self.source == "superseded") + ")"


def beside(experiment: Experiment, results: Sequence[Result], values: Sequence[str]) -> list[Beside]:
    """All lines that the paper prints, and of each setting ours after it: larger presets first, then the stand-ins.

    results: of this experiment, whatever their presets and origins. values: the columns that are wanted; lines without
    any of them are left out. Raises ValueError for a column that the experiment does not have.
    """
    for name in values:
        if name not in experiment.values:
            raise ValueError(unknown(f"value of {experiment.name}", name, experiment.values))
    printed = _printed(experiment, values)
    ours = [line for result in sorted(results, key=_standing) for line in _measured(experiment, result, values)]
    places = dict.fromkeys(line.place for line in (*printed, *ours))
    return [line for place in places for line in _of_place(place, printed, ours)]


def _standing(result: Result) -> tuple:
    return -PRESETS.index(result.preset), result.origin != "recorded", result.device


def _of_place(place: tuple[str, str], printed: Sequence[Beside], ours: Sequence[Beside]) -> list[Beside]:
    """The lines of one data set and network: method by method, the printed one first."""
    own = [line for line in (*printed, *ours) if line.place == place]
    methods = dict.fromkeys(line.method for line in own)
    return [line for method in methods for line in own if line.method == method]


def _printed(experiment: Experiment, values: Sequence[str]) -> list[Beside]:
    lines: dict[tuple, dict[str, Estimate]] = {}
    for (*setting, metric), number in printed_numbers(experiment).items():
        if metric in values:
            value = number / 100 if metric in _SHARES else number
            lines.setdefault(tuple(setting), {})[metric] = Estimate(value, None, None)
    return [Beside(data, model, method, source=PRINTED, values=found) for (data, model, method), found in lines.items()]


def _measured(experiment: Experiment, result: Result, values: Sequence[str]) -> list[Beside]:
    chosen = [row for row in result.rows if _in_table(row)]
    there = [name for name in values if any(name in row for row in chosen)]
    lines: dict[tuple, Beside] = {}
    for line in summary(chosen, experiment.by, there):
        found = {name: line[name] for name in there if line[name] is not None}
        names = [name for name in experiment.by if name not in (*SETTING, *HIDDEN) and line[name] is not None]
        detail = tuple((name, line[name]) for name in names)
        key = (line["data"], line["model"], line.get("method") or "none", detail)
        if found:  # an audit's numbers and those of a look inside make one line
            seen = lines[key].values if key in lines else {}
            lines[key] = Beside(*key[:3], result.origin, found | seen, result.preset, line["seeds"], detail)
    return list(lines.values())


def _in_table(row: dict) -> bool:
    """Whether a row is by the attack of the paper's tables, if by any, and of all classes together."""
    attack = ATTACKS.get(row["model"], ATTACK)
    return row.get("attack", attack) == attack and row.get("label", "all") == "all"


def rows(lines: Sequence[Beside], values: Sequence[str]) -> list[dict]:
    """Lines as `notebook.table` takes them: a row each, accuracies in per cent; printed numbers as they are printed."""
    return [
        {
            "network": f"{line.model} on {line.data}",
            "training": line.training,
            "whose": line.origin,
            **{heading(name): _written(name, line) for name in values},
        }
        for line in lines
    ]


def _written(name: str, line: Beside) -> str | None:
    estimate = line.values.get(name)
    if estimate is None:
        return None
    if estimate.value >= LARGE:
        return f"{estimate.value:,.0f}"  # a count, the same in all repetitions
    if line.source == PRINTED:
        return f"{100 * estimate.value if name in _SHARES else estimate.value:g}"
    exact = estimate.low is not None and estimate.low == estimate.high
    return shown(name, Estimate(estimate.value, None, None) if exact else estimate)
