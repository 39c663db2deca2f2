"""What an experiment is: a grid of cells at each preset, and which columns of their rows make its lines."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mialab.engine.store import Config
from mialab.names import unknown

PRESETS = ("smoke", "course", "paper")
Where = Mapping[str, Any]  # by column: a value, or several of which any will do
SEEDS = {"smoke": 3, "course": 3, "paper": 5}  # repetitions; a configuration's seed is the repetition's number, from 0


@dataclass(frozen=True)
class Experiment:
    """One table or figure. A preset chooses among configurations and is never part of one, so that cells are shared.

    title: in a few words; source: what it reproduces. cells: (preset, seed) -> the cells whose rows are the result of
    one repetition, whose `columns()` say where they stand. by: columns that tell one line from another; values:
    measured columns, any that the rows have, each of which gets an interval over seeds. reported: the paper and the
    source under which `mialab.results.reported` has its printed numbers, if they are known.
    """

    name: str
    title: str
    source: str
    cells: Callable[[str, int], tuple[Config, ...]]
    by: tuple[str, ...]
    values: tuple[str, ...]
    reported: tuple[str, str] | None = None

    def grid(
        self, preset: str, *, seeds: Sequence[int] | None = None, where: Where | None = None
    ) -> tuple[Config, ...]:
        """The cells of all repetitions, by default as many as `SEEDS` names, or those of some columns' values.

        where: {column: values}; a cell is taken whose value in each of the columns is one of those named, as a number
        or as text. ValueError for an unknown preset, column or value, and where no cell has them all.
        """
        if preset not in PRESETS:
            raise ValueError(unknown("preset", preset, PRESETS))
        chosen = range(SEEDS[preset]) if seeds is None else seeds
        cells = tuple(cell for seed in chosen for cell in self.cells(preset, seed))
        return cells if not where else _selected(cells, where)

    def data(self, preset: str) -> tuple[str, ...]:
        """The names of the data sets that are used, as far as the cells' columns tell."""
        places = [cell.columns() for cell in self.grid(preset, seeds=(0,))]
        return tuple(dict.fromkeys(columns["data"] for columns in places if "data" in columns))


def values_of(where: Where | None) -> dict[str, tuple[str, ...]]:
    """What `where` asks for, as text: columns and the values that each may have."""

    def several(values: Any) -> bool:
        return isinstance(values, Iterable) and not isinstance(values, str)

    asked = (where or {}).items()
    return {name: tuple(map(str, values if several(values) else (values,))) for name, values in asked}


def where_options(where: Where | None) -> str:
    """The same as the command line says it, with a space before each: " --where data=mnist"."""
    asked = values_of(where).items()
    return "".join(f" --where {shlex.quote(f'{name}={value}')}" for name, values in asked for value in values)


def seeds_option(seeds: Sequence[int]) -> str:
    """Repetitions as the command line says them, with a space before: " --seeds 3", or " --seeds 2-4"."""
    first, last = min(seeds), max(seeds)
    return f" --seeds {f'{first}-{last}' if first else last + 1}"


def _selected(cells: Sequence[Config], where: Where) -> tuple[Config, ...]:
    asked = values_of(where)
    placed = [(cell, {name: str(value) for name, value in cell.columns().items()}) for cell in cells]
    for column, values in asked.items():
        there = dict.fromkeys(place[column] for _, place in placed if column in place)
        if not there:
            raise ValueError(unknown("column", column, dict.fromkeys(name for _, place in placed for name in place)))
        for value in values:
            if value not in there:
                raise ValueError(unknown(column, value, there))
    found = tuple(cell for cell, place in placed if all(place.get(name) in values for name, values in asked.items()))
    if placed and not found:
        words = " and ".join(f"{name} {' or '.join(values)}" for name, values in asked.items())
        raise ValueError(f"no line has {words} at once; leave out one of these columns")
    return found
