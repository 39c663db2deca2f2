"""What an experiment is: a grid of cells at each preset, and which columns of their rows make its lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mialab.engine.store import Config
from mialab.names import unknown

PRESETS = ("smoke", "course", "paper")
SEEDS = {"smoke": 3, "course": 3, "paper": 5}  # repetitions; a configuration's seed is the repetition's number, from 0


@dataclass(frozen=True)
class Experiment:
    """One table or figure. A preset chooses among configurations and is never part of one, so that cells are shared.

    title: in a few words; source: what it reproduces. cells: (preset, seed) -> the cells whose rows are the result of
    one repetition; each kind of cell has the attribute `data`. by: columns that tell one line from another; values:
    measured columns, each of which gets an interval over seeds. reported: the paper and the source under which
    `mialab.results.reported` has its printed numbers, if they are known.
    """

    name: str
    title: str
    source: str
    cells: Callable[[str, int], tuple[Config, ...]]
    by: tuple[str, ...]
    values: tuple[str, ...]
    reported: tuple[str, str] | None = None

    def grid(self, preset: str, *, seeds: Sequence[int] | None = None) -> tuple[Config, ...]:
        """The cells of all repetitions, by default as many as `SEEDS` names. ValueError for an unknown preset."""
        if preset not in PRESETS:
            raise ValueError(unknown("preset", preset, PRESETS))
        chosen = range(SEEDS[preset]) if seeds is None else seeds
        return tuple(cell for seed in chosen for cell in self.cells(preset, seed))

    def data(self, preset: str) -> tuple[str, ...]:
        """The names of the data sets that are used."""
        return tuple(dict.fromkeys(cell.data for cell in self.grid(preset, seeds=(0,))))
