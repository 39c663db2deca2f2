"""What came of an experiment, wherever it lies: its rows and curves, and what of it is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mialab.engine.grid import Experiment, Where
from mialab.engine.store import Cell, Store


@dataclass(frozen=True)
class Result:
    """An experiment's rows at a preset, wherever they come from.

    origin: "local" (from the store), "recorded", or "superseded" (recorded with cells that are no longer made so).
    device: what the models were trained on, several joined by ", ". missing: how many of its cells are not there;
    lacks: the columns of each of those, as far as they are known. left_out: the columns of each cell of the grid that
    was not asked for. curves: what was measured along epochs, and histograms, as `curves` of `mialab.cells.rows` makes
    them.
    """

    experiment: str
    preset: str
    origin: str
    device: str
    rows: tuple[dict, ...]
    missing: int
    lacks: tuple[dict, ...] = ()
    curves: tuple[dict, ...] = ()
    left_out: tuple[dict, ...] = ()

    def missing_at(self, place: dict, matters: Callable[[dict], bool] = lambda columns: True) -> int:
        """How many cells a place may lack, such as {"data": "mnist", "model": "lenet5"}, asked for or not.

        matters: whether a cell with these columns counts.
        """
        absent = (columns for columns in (*self.lacks, *self.left_out) if matters(columns))
        fits = (all(columns.get(name, value) == value for name, value in place.items()) for columns in absent)
        return self.missing - len(self.lacks) + sum(fits)

    def missing_lines(self) -> list[dict]:
        """The columns of each line that lacks a cell, once."""
        return list({json.dumps(columns, sort_keys=True): columns for columns in self.lacks}.values())

    def missing_where(self) -> dict[str, list]:
        """What to ask for in order to get just the missing lines: a column with its values; {} where none does."""
        for name in self.lacks[0] if self.rows and self.lacks else ():
            values = list(dict.fromkeys(columns.get(name) for columns in self.lacks))
            if None not in values and not {row.get(name) for row in self.rows}.intersection(values):
                return {name: values}
        return {}


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
    whole, asked = experiment.grid(preset, seeds=seeds) if where else grid, set(grid)
    left_out = tuple(config.columns() for config in whole if config not in asked)
    return Result(experiment.name, preset, "local", ", ".join(devices), rows, len(lacks), lacks, curves, left_out)


def trained_on(cell: Cell) -> list[str]:
    """The devices behind a cell: of the models that it audits, else its own."""
    return cell.info.get("trained_on") or [cell.info["made_with"]["device"]]
