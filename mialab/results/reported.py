"""The numbers that both papers print, as typed rows. Accuracies are in per cent here, as printed."""

import csv
import re
from functools import cache
from importlib import resources

from mialab.names import unknown

METHODS = {"baseline": "none", "mia_pruning": "pruning", "mia_pruning+min_max": "pruning+min_max"}  # as our rows say
METRICS = {  # as our rows say; the pruning paper's attack is taken to be measured on equal sides
    "attack_accuracy": "balanced_accuracy",
    "weights": "all_weights",
    "weights_after_pruning": "weights",
}
FILE = "mialab/results/reported.csv"
TEXT = ("paper", "source", "dataset", "model", "method", "metric")


def rows(paper: str | None = None, source: str | None = None) -> list[dict]:
    """The printed numbers of one paper and one table, figure or section (`None`: of all), in the order of print.

    Each row has text fields `paper` (pruning, ensemble), `source` (table1, figure2a, text_5.3), `dataset`, `model`,
    `method`, `metric`, `qualifier` (the words before the number: "up to", "approximately", or ""), and the float
    `value`, which is 0 where a difference has no number but "close to". "any" stands for all data sets or models. A
    figure's name takes its panels along: figure2 is figure2a to figure2f.
    Raises ValueError for a paper or source of which nothing is known, with close names.
    """
    found = _table()
    if paper is not None:
        found = _matching(found, "paper", paper)
    if source is not None:
        found = _matching(found, "source", source)
    return [dict(row) for row in found]


def _matching(found: list[dict], column: str, name: str) -> list[dict]:
    panels = re.compile(re.escape(name) + ("[a-z]?" if column == "source" else ""))
    if not (kept := [row for row in found if panels.fullmatch(row[column])]):
        raise ValueError(unknown(column, name, dict.fromkeys(row[column] for row in found)))
    return kept


@cache
def _table() -> list[dict]:
    text = resources.files("mialab.results").joinpath("reported.csv").read_text("utf-8")
    return [_typed(number, row) for number, row in enumerate(csv.DictReader(text.splitlines()), 2)]


def _typed(number: int, row: dict) -> dict:
    """Raises ValueError naming the line where a field is missing, empty or no number."""
    if None in row or row.get("qualifier") is None or not all(row.get(name) for name in (*TEXT, "value")):
        raise ValueError(f"{FILE}, line {number}: expected {', '.join(TEXT)}, value and qualifier; mend the line")
    try:
        return {**row, "value": float(row["value"])}
    except ValueError:
        raise ValueError(f"{FILE}, line {number}: {row['value']!r} is no number; mend the line") from None
