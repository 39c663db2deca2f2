"""How columns of results are headed and written in a table, with the paper's printed numbers beside ours."""

from __future__ import annotations

from collections.abc import Sequence

from mialab.engine.grid import Experiment
from mialab.metrics import Estimate
from mialab.results import reported
from mialab.results.lines import Result
from mialab.results.tables import table

SETTING = {"dataset": "data", "model": "model", "method": "method"}  # a printed number's columns, and those of the rows
Printed = dict[tuple, float]  # by data, model, method (in the names of our rows) and metric


def printed_numbers(experiment: Experiment) -> Printed:
    """The paper's numbers by data, model, method (in the names of our rows) and metric."""
    rows = reported.rows(*experiment.reported) if experiment.reported else []
    return {
        (
            *(row["dataset"], row["model"], reported.METHODS.get(row["method"], row["method"])),
            reported.METRICS.get(row["metric"], row["metric"]),
        ): row["value"]
        for row in rows
    }


def measured(name: str, lines: Sequence[dict], printed: Printed) -> list[list[str]]:
    """A measured column, and beside it the paper's where it prints something for one of the lines."""
    theirs = [printed.get((*_setting(line), name)) for line in lines]
    column = [[heading(name), *(shown(name, line[name]) for line in lines)]]
    if any(value is not None for value in theirs):
        column.append(["paper", *("" if value is None else f"{value:g}" for value in theirs)])
    return column


def _setting(line: dict) -> tuple:
    return line.get("data"), line.get("model"), line.get("method", "none")


def also_printed(experiment: Experiment, results: Sequence[Result], printed: Printed) -> list[str]:
    """What the paper prints and no line above stands beside."""
    if not printed:
        return ["paper: prints no numbers for this"]
    there = {_setting(row) for result in results for row in result.rows}
    left = {key: value for key, value in printed.items() if key[:3] not in there or key[3] not in experiment.values}
    settings = list(dict.fromkeys(key[:3] for key in left))
    metrics = [metric for metric in dict.fromkeys(key[3] for key in printed) if any(key[3] == metric for key in left)]
    names = [[name, *(setting[k] for setting in settings)] for k, name in enumerate(SETTING.values())]
    cells = [
        [[heading(metric), *(f"{left[key]:g}" if (key := (*each, metric)) in left else "" for each in settings)]]
        for metric in metrics
    ]
    return ["paper: also prints", *table(names, cells)] if left else []


def words(name: str) -> str:
    """A column's name as it is read."""
    return name.replace("_", " ")


def plain(value: object) -> str:
    """What stands in a column that is not measured; "-" where a row has no such column."""
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def heading(name: str) -> str:
    """A measured column's name as it is read, with its unit where that is per cent."""
    if name.startswith("tpr_"):
        return f"TPR % at {100 * float(name.removeprefix('tpr_')):g} % FPR"
    return "AUC" if name == "auc" else words(name).replace("accuracy", "acc.") + " %" * _in_per_cent(name)


def _in_per_cent(name: str) -> bool:
    return name.endswith("accuracy") or name.startswith("tpr_")


def shown(name: str, estimate: Estimate | None) -> str:
    """An estimate as it is written, with its interval where it has one; "-" where there is none."""
    if estimate is None or estimate.value is None:
        return "-"
    value, ends = _number(name, estimate.value), [_number(name, end) for end in estimate[1:] if end is not None]
    return f"{value} [{', '.join(ends)}]" if len(ends) == 2 else value


def _number(name: str, value: float) -> str:
    if _in_per_cent(name):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if name.startswith("auc") else f"{value:.4g}"
