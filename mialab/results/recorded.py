"""What a record holds, and whether the code still makes it.

A record holds lines: what the cells of one setting gave, complete for each of its seeds, with what made them. So part
of an experiment can be recorded, and more lines and seeds of it later. Where the code no longer makes a line's cells,
the line is stale: still shown, as superseded, but no longer what the code gives. `mialab.results.records` reads and
writes records, `mialab.results.recording` makes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mialab import experiments
from mialab.engine.store import Config, Store, closure, settings, versions
from mialab.results.lines import Result

RECORDED, SUPERSEDED = "recorded", "superseded"
_CELL_NAME = re.compile(r"[a-z_]+-[0-9a-f]{16}")


@dataclass(frozen=True)
class Line:
    """What the cells of one setting gave, complete for each of the seeds.

    columns: what tells its cells from others. code: the commit; made_with: versions; all that had a part in it.
    cells: their names. rows, curves: as the cells gave them, rounded to six significant digits.
    """

    columns: dict[str, Any]
    seeds: tuple[int, ...]
    code: str
    made_with: dict[str, str]
    cells: tuple[str, ...]
    rows: tuple[dict, ...]
    curves: tuple[dict, ...] = ()

    @property
    def key(self) -> str:
        """The columns as one text."""
        return key_of(self.columns)


@dataclass(frozen=True)
class Record:
    """Results of one experiment at one preset, computed on one device.

    device: what trained. cells: {"name", "kind", "versions", "config", "seconds"} of each cell of the lines, and of
    those that they need. absent: the columns of the lines that the grid had when this was written and that are not
    here. origin: "recorded", or "superseded" where it has been replaced.
    """

    experiment: str
    preset: str
    device: str
    cells: tuple[dict, ...]
    lines: tuple[Line, ...]
    absent: tuple[dict, ...] = ()
    origin: str = RECORDED

    @property
    def file(self) -> str:
        """The name of its file."""
        return file_name(self.experiment, self.preset, re.sub(r"[^a-z0-9]+", "-", self.device.lower()).strip("-"))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of all lines."""
        return tuple(sorted({seed for line in self.lines for seed in line.seeds}))

    @property
    def rows(self) -> tuple[dict, ...]:
        """The rows of all lines."""
        return tuple(row for line in self.lines for row in line.rows)

    @property
    def seconds(self) -> float:
        """What all cells took together."""
        return round(sum(cell["seconds"] for cell in self.cells), 1)

    @property
    def code(self) -> str:
        """The commits that made it."""
        return together({"code": line.code} for line in self.lines)["code"]

    @property
    def made_with(self) -> dict[str, str]:
        """The versions that made it."""
        return together(line.made_with for line in self.lines)

    def results(self) -> tuple[Result, ...]:
        """The lines as results to show: those that the code still makes, then those superseded; none of no line."""
        gone = {line.key for line in (self.lines if self.origin == SUPERSEDED else outdated(self))}
        fresh = [line for line in self.lines if line.key not in gone]
        superseded = [line for line in self.lines if line.key in gone]
        found = []
        if fresh:
            found.append(self._result(RECORDED, fresh, self._lacks(fresh)))
        if superseded:
            others = (*self.absent, *(line.columns for line in fresh))  # of each, one cell per seed at the least
            found.append(self._result(SUPERSEDED, superseded, tuple(other for other in others for _ in self.seeds)))
        return tuple(found)

    def _result(self, origin: str, lines: Sequence[Line], lacks: tuple[dict, ...]) -> Result:
        rows = tuple(row for line in lines for row in line.rows)
        curves = tuple(curve for line in lines for curve in line.curves)
        return Result(self.experiment, self.preset, origin, self.device, rows, len(lacks), lacks, curves)

    def _lacks(self, lines: Sequence[Line]) -> tuple[dict, ...]:
        there = {line.key for line in lines}
        grid = experiments.get(self.experiment).grid(self.preset, seeds=self.seeds)
        return tuple(columns for config in grid if key_of(columns := config.columns()) not in there)


def file_name(experiment: str, preset: str, device: str) -> str:
    """The name of a record's file."""
    return f"{experiment.replace('/', '-')}.{preset}.{device}.json"


def key_of(columns: dict[str, Any]) -> str:
    """Columns as one text, whatever their order."""
    return json.dumps(columns, sort_keys=True)


def together(several: Iterable[dict[str, str]]) -> dict[str, str]:
    """What made cells, as one: where they differ, all of it."""
    found: dict[str, dict] = {}
    for used in several:
        for name, version in used.items():
            found.setdefault(name, {})[version] = None
    return {name: " + ".join(sorted(kinds)) for name, kinds in found.items()}


def cells_by_line(grid: Iterable[Config]) -> dict[str, list[Config]]:
    """The cells of a grid by the key of their line, in order."""
    groups: dict[str, list[Config]] = {}
    for config in grid:
        groups.setdefault(key_of(config.columns()), []).append(config)
    return groups


def described(grid: Iterable[Config]) -> list[dict]:
    """What each cell of a grid, and each that these need, is made from; a cell within another one by its name."""
    cells: dict[str, dict] = {}
    for config in closure(grid):
        own = {"name": cell_name(config), "kind": config.KIND, "versions": versions(config)}
        cells[json.dumps(settings(config))] = own | {"config": _by_name(settings(config), cells)}
    return list(cells.values())


def _by_name(value: Any, cells: dict[str, dict]) -> Any:
    if not isinstance(value, dict):
        return value
    if (known := json.dumps(value)) in cells:
        return cells[known]["name"]
    return {key: _by_name(part, cells) for key, part in value.items()}


def cell_name(config: Config, known: dict[Config, dict[str, int]] | None = None) -> str:
    """The cell's name in any store; known: see `mialab.engine.store.versions`."""
    return Store(Path()).name(config, known)


def outdated(record: Record) -> tuple[Line, ...]:
    """The lines whose cells are not exactly those that the code makes of their setting."""
    if record.experiment not in experiments.ALL:
        return record.lines
    experiment = experiments.get(record.experiment)
    known: dict[Config, dict[str, int]] = {}
    made = {
        seeds: {
            key: {cell_name(config, known) for config in group}
            for key, group in cells_by_line(experiment.grid(record.preset, seeds=seeds)).items()
        }
        for seeds in {line.seeds for line in record.lines}
    }
    return tuple(line for line in record.lines if made[line.seeds].get(line.key) != set(line.cells))


def stale(record: Record) -> str | None:
    """Why the code no longer makes some of the record's lines: other versions, or settings. None if it makes all."""
    if record.experiment not in experiments.ALL:
        return f"there is no experiment {record.experiment} any more"
    if not (lines := outdated(record)):
        return None
    part = f"{len(lines)} of its {len(record.lines)} lines: " if len(lines) < len(record.lines) else ""
    concerned = _with_needs(record, {name for line in lines for name in line.cells})
    grid = experiments.get(record.experiment).grid(record.preset, seeds=record.seeds)
    groups = cells_by_line(grid)
    now = described([config for line in lines for config in groups.get(line.key, ())] or grid)
    then_versions, now_versions = _all_versions(concerned), _all_versions(now)
    for name, version in then_versions.items():
        if now_versions.get(name, version) != version:
            return f"{part}they are made with {name} of version {version}, the code makes version {now_versions[name]}"
    present = {cell["name"] for cell in now}
    known = {cell["name"] for cell in record.cells}
    gone = [cell for cell in concerned if cell["name"] not in present]
    new = [cell for cell in now if cell["name"] not in known]
    counts = f"{len(gone)} of its {len(record.cells)} cells are no longer in the grid, {len(new)} are new"
    return f"{part}{counts}{_difference(gone, new)}"


def _with_needs(record: Record, names: set[str]) -> list[dict]:
    """The cells of these names, and those that their settings name."""
    by_name = {cell["name"]: cell for cell in record.cells}
    found: dict[str, dict] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name in by_name and name not in found:
            found[name] = by_name[name]
            left += _CELL_NAME.findall(json.dumps(by_name[name]["config"]))
    return [cell for cell in record.cells if cell["name"] in found]


def _all_versions(cells: Iterable[dict]) -> dict[str, int]:
    return {name: version for cell in cells for name, version in cell["versions"].items()}


def _difference(gone: list[dict], new: list[dict]) -> str:
    """The settings in which the first cell gone differs from the first new one of its kind."""
    pairs = ((old, cell) for old in gone for cell in new if cell["kind"] == old["kind"])
    for old, cell in pairs:
        before, after = _flat(old["config"]), _flat(cell["config"])
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return ": " + ", ".join(
            f"{name} {before.get(name, 'default')} -> {after.get(name, 'default')}" for name in names
        )
    return ""


def _flat(config: dict, prefix: str = "") -> dict:
    parts: dict = {}
    for name, value in config.items():
        parts |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return parts
