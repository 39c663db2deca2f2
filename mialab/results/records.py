"""Recorded results: one small JSON file per experiment, preset and device, which the book and every clone can read.

A record holds lines: what the cells of one setting gave, complete over its seeds, with what made them. So part of an
experiment can be recorded, and more of it later. Where the code no longer makes a line's cells, the line is stale:
still shown, as superseded, but no longer what the code gives. `mialab.results.recording` makes records.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import mialab
from mialab import experiments
from mialab.engine.grid import PRESETS
from mialab.engine.store import Config, Store, closure, settings, versions
from mialab.results.lines import Result

FORMAT = 2
SUPERSEDED = "superseded"
_SHARE = "share/mialab/results"  # where a wheel puts them


class RecordError(ValueError):
    """A record cannot be read or made; one line that names the file or the cells, and the remedy."""


@dataclass(frozen=True)
class Line:
    """What the cells of one setting gave, complete over the seeds: it is kept, or replaced, as a whole.

    columns: what tells its cells from others. code: the commit; made_with: versions, where several made it all of them.
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
    those that they need. origin: "recorded", or "superseded" where it has been replaced.
    """

    experiment: str
    preset: str
    device: str
    cells: tuple[dict, ...]
    lines: tuple[Line, ...]
    origin: str = "recorded"

    @property
    def file(self) -> str:
        """The name of its file."""
        device = re.sub(r"[^a-z0-9]+", "-", self.device.lower()).strip("-")
        return f"{self.experiment.replace('/', '-')}.{self.preset}.{device}.json"

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
        stale_lines = self.lines if self.origin == SUPERSEDED else outdated(self)
        fresh = [line for line in self.lines if line not in stale_lines]
        parts = (("recorded", fresh), (SUPERSEDED, stale_lines))
        return tuple(self._result(origin, lines) for origin, lines in parts if lines)

    def _result(self, origin: str, lines: Sequence[Line]) -> Result:
        lacks = () if origin == SUPERSEDED else self._lacks({line.key for line in lines})
        rows = tuple(row for line in lines for row in line.rows)
        curves = tuple(curve for line in lines for curve in line.curves)
        return Result(self.experiment, self.preset, origin, self.device, rows, len(lacks), lacks, curves)

    def _lacks(self, held: set[str]) -> tuple[dict, ...]:
        grid = experiments.get(self.experiment).grid(self.preset, seeds=self.seeds)
        return tuple(columns for config in grid if key_of(columns := config.columns()) not in held)


def key_of(columns: dict[str, Any]) -> str:
    """Columns as one text, whatever their order."""
    return json.dumps(columns, sort_keys=True)


def results_folder(folder: str | os.PathLike | None = None) -> Path:
    """Where records lie: the argument, else $MIALAB_RESULTS, else the checkout's `book/results`, else the wheel's."""
    if chosen := folder or os.environ.get("MIALAB_RESULTS"):
        return Path(chosen).expanduser()
    return _checkout() or _installed()


def may_be_written(folder: str | os.PathLike | None) -> bool:
    """Whether the folder is the user's own, and not the installed package's."""
    return bool(folder or os.environ.get("MIALAB_RESULTS") or _checkout())


def _checkout() -> Path | None:
    root = Path(mialab.__file__).resolve().parents[1]
    return root / "book" / "results" if (root / "book").is_dir() and (root / "pyproject.toml").is_file() else None


def _installed() -> Path:
    """The folder in which pip has put the wheel's records; one that does not exist where there are none."""
    try:
        files = importlib.metadata.files("mialab") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = (Path(file.locate()).resolve().parent for file in files if file.parent.as_posix().endswith(_SHARE))
    return next(found, Path(mialab.__file__).resolve().parent / "results")


def load(folder: str | os.PathLike | None = None) -> list[Record]:
    """All records in the folder, then those superseded, by file name; none where there is no folder.

    JSON of another sort is passed over, and so is a damaged record, which a warning names.
    """
    root = results_folder(folder)
    old = [replace(record, origin=SUPERSEDED) for record in _readable(root / SUPERSEDED)]
    return _readable(root) + old


def _readable(folder: Path) -> list[Record]:
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(read(path))
        except RecordError as error:
            if not _foreign(path):
                warnings.warn(str(error), stacklevel=3)
    return found


def _foreign(path: Path) -> bool:
    """Whether this is JSON of another sort; what cannot be parsed may be what is left of a record."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return not (isinstance(content, dict) and {"format", "experiment"} & content.keys())


def read(path: Path) -> Record:
    """The record in this file; RecordError names a file that holds none, or one that was changed by hand."""
    try:
        content = json.loads(path.read_text("utf-8"))
        if (found := content.pop("format")) != FORMAT:
            raise ValueError(f"its format is {found}, expected {FORMAT}")
        checksum = content.pop("sha256")
        lines = tuple(map(_line, content.pop("lines")))
        record = Record(cells=tuple(content.pop("cells")), lines=lines, **content)
        check(record)
        if checksum != digest(record):
            raise ValueError("its content does not match its checksum")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise RecordError(
            f"{path} is no record ({cause}); restore it with git, or remove it and record again"
        ) from error
    return record


def _line(content: dict) -> Line:
    rows = [dict(zip(table["columns"], row, strict=True)) for table in content.pop("tables") for row in table["rows"]]
    tuples: dict[str, Any] = {name: tuple(content.pop(name)) for name in ("seeds", "cells", "curves")}
    return Line(rows=tuple(rows), **tuples, **content)


_TEXTS = ("experiment", "preset", "device", "origin")
_CELL: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "kind": str,
    "versions": dict,
    "config": dict,
    "seconds": (int, float),
}


def check(record: Record) -> None:
    """Raise ValueError for what cannot be a record."""
    for name in _TEXTS:
        _check_type(name, getattr(record, name), str)
    if record.preset not in PRESETS:
        raise ValueError(f"its preset is {record.preset!r}")
    for cell in record.cells:
        if not _CELL.keys() <= cell.keys():
            raise ValueError(f"one of its cells lacks one of {', '.join(sorted(_CELL))}")
        for name, kind in _CELL.items():
            _check_type(f"the {name} of one of its cells", cell[name], kind)
    names = {cell["name"] for cell in record.cells}
    for line in record.lines:
        _check_line(line, names)
    _check_rows(record)


def _check_type(what: str, value: Any, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{what} is of type {type(value).__name__}")


def _check_line(line: Line, cells: set[str]) -> None:
    for name, kind in (("columns", dict), ("code", str), ("made_with", dict)):
        _check_type(name, getattr(line, name), kind)
    if lacking := set(line.cells) - cells:
        raise ValueError(f"its cell {min(lacking)} is not described")
    if not all(isinstance(seed, int) for seed in line.seeds):
        raise ValueError(f"its seeds are {list(line.seeds)}")
    if not all("seed" in row for row in line.rows):
        raise ValueError("one of its rows lacks one of seed")
    if {row["seed"] for row in line.rows} != set(line.seeds):
        raise ValueError(f"its seeds are {list(line.seeds)}, those of its rows are others")


def _check_rows(record: Record) -> None:
    """The numbers are finite, and no row stands twice."""
    for part in (*record.rows, *(curve for line in record.lines for curve in line.curves)):
        for column, value in part.items():
            if not _finite(value):
                raise ValueError(f"one of its rows has {column} = {value!r:.40}")
    # Without its experiment nobody knows which columns tell rows apart: then all do.
    known = experiments.ALL.get(record.experiment)
    names = [json.dumps([row.get(name) for name in (*known.by, "seed")] if known else row) for row in record.rows]
    if len(set(names)) < len(names):
        raise ValueError(f"one of its rows stands twice: {next(name for name in names if names.count(name) > 1)}")


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return math.isfinite(value) if isinstance(value, float) else value is None or isinstance(value, int | str)


def digest(record: Record) -> str:
    """A checksum of all that the file holds, as it reads back."""
    held = {name: value for name, value in asdict(record).items() if name != "origin"}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def text(record: Record) -> str:
    """JSON with a line for each cell, each row and each curve, so that a change of one is a change of one line.

    Rows of the same columns stand in one table: {"columns": [...], "rows": [[...], ...]}.
    """
    simple = {"format": FORMAT, "experiment": record.experiment, "preset": record.preset, "device": record.device}
    parts = [f' "{name}": {_json(value)}' for name, value in (simple | {"sha256": digest(record)}).items()]
    parts.append(f' "cells": {_block(map(_json, record.cells))}')
    parts.append(' "lines": [\n' + ",\n".join(map(_line_text, record.lines)) + "\n ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line_text(line: Line) -> str:
    simple = {name: getattr(line, name) for name in ("columns", "seeds", "code", "made_with", "cells")}
    tables = [
        f'{{"columns": {_json(columns)}, "rows": {_block(_json(list(row.values())) for row in rows)}}}'
        for columns, rows in groupby(line.rows, key=list)
    ]
    parts = [f'"{name}": {_json(value)}' for name, value in simple.items()]
    parts.append(f'"tables": [{", ".join(tables)}]')
    parts.append(f'"curves": {_block(map(_json, line.curves)) if line.curves else "[]"}')
    return "  {" + ",\n   ".join(parts) + "}"


def _block(lines: Iterable[str]) -> str:
    return "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n ]"


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def together(several: Iterable[dict[str, str]]) -> dict[str, str]:
    """What made cells, as one: where they differ, all of it."""
    found: dict[str, dict] = {}
    for versions_used in several:
        for name, version in versions_used.items():
            found.setdefault(name, {})[version] = None
    return {name: " + ".join(sorted(kinds)) for name, kinds in found.items()}


def described(grid: Iterable[Config]) -> list[dict]:
    """What each cell of a grid, and each that these need, is made from; a cell within another one by its name."""
    cells: dict[str, dict] = {}
    for config in closure(grid):
        own = {"name": Store(Path()).name(config), "kind": config.KIND, "versions": versions(config)}
        cells[json.dumps(settings(config))] = own | {"config": _by_name(settings(config), cells)}
    return list(cells.values())


def _by_name(value: Any, cells: dict[str, dict]) -> Any:
    if not isinstance(value, dict):
        return value
    if (known := json.dumps(value)) in cells:
        return cells[known]["name"]
    return {key: _by_name(part, cells) for key, part in value.items()}


def outdated(record: Record) -> tuple[Line, ...]:
    """The lines whose cells the code no longer makes."""
    if record.experiment not in experiments.ALL:
        return record.lines
    grid = experiments.get(record.experiment).grid(record.preset, seeds=record.seeds)
    names = set(map(Store(Path()).name, grid))
    return tuple(line for line in record.lines if not set(line.cells) <= names)


def stale(record: Record) -> str | None:
    """Why the code no longer makes some of the record's cells: other versions, or settings. None if it makes all."""
    if record.experiment not in experiments.ALL:
        return f"there is no experiment {record.experiment} any more"
    if not (lines := outdated(record)):
        return None
    part = f"{len(lines)} of its {len(record.lines)} lines: " if len(lines) < len(record.lines) else ""
    now = described(experiments.get(record.experiment).grid(record.preset, seeds=record.seeds))
    concerned = _with_needs(record, {name for line in lines for name in line.cells})
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
            left += re.findall(r"[a-z_]+-[0-9a-f]{16}", json.dumps(by_name[name]["config"]))
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
