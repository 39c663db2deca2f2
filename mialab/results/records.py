"""Recorded results on disk: one small JSON file per experiment, preset and device, which the book and every clone read.

What a record holds, and when it is stale, is told in `mialab.results.recorded`; `mialab.results.recording` makes them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import mialab
from mialab import experiments
from mialab.engine.grid import PRESETS
from mialab.results.lines import Result
from mialab.results.recorded import SUPERSEDED, Line, Record, file_name, outdated

FORMAT = 2
LONG = 60  # characters of settings from which on it pays to write once what several cells share
_SHARE = "share/mialab/results"  # where a wheel puts them


class RecordError(ValueError):
    """A record cannot be read or made; one line that names the file or the cells, and the remedy."""


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


def recorded(name: str, preset: str = "smoke", folder: str | os.PathLike | None = None) -> Result:
    """What is recorded of an experiment at a preset and holds, whatever the device: its rows and curves.

    Where several devices have a line, it is taken from the one with the most repetitions of it. Raises RecordError,
    which names the command that makes the record, where there is none.
    """
    found = _readable(results_folder(folder), file_name(name, preset, "*"))
    lines: dict[str, Line] = {}
    for record in found:
        gone = {line.key for line in outdated(record)}
        for line in record.lines:
            if line.key not in gone and (line.key not in lines or len(line.seeds) > len(lines[line.key].seeds)):
                lines[line.key] = line
    if not lines:
        command = f"mialab run {name} --preset {preset} && mialab record {name} --preset {preset}"
        raise RecordError(f"nothing is recorded of {name} at preset {preset}; compute and record it: {command}")
    devices = ", ".join(record.device for record in found)
    [result] = Record(name, preset, devices, cells=(), lines=tuple(lines.values())).results()
    return result


def _readable(folder: Path, names: str = "*.json") -> list[Record]:
    found = []
    for path in sorted(folder.glob(names)):
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
        cells = _unpacked(content.pop("cells"), content.pop("shared"))
        record = Record(cells=cells, lines=lines, absent=tuple(content.pop("absent")), **content)
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
_CELL: dict[str, Any] = {"name": str, "kind": str, "versions": dict, "config": dict, "seconds": (int, float)}


def check(record: Record) -> None:
    """Raise ValueError for what cannot be a record."""
    for name in _TEXTS:
        _check_type(name, getattr(record, name), str)
    if record.preset not in PRESETS:
        raise ValueError(f"its preset is {record.preset!r}")
    for cell in record.cells:
        _check_cell(cell)
    names = {cell["name"] for cell in record.cells}
    for line in record.lines:
        _check_line(line, names)
    for columns in record.absent:
        _check_type("one of the lines that it lacks", columns, dict)
    _check_rows(record)


def _check_cell(cell: dict) -> None:
    if not _CELL.keys() <= cell.keys():
        raise ValueError(f"one of its cells lacks one of {', '.join(sorted(_CELL))}")
    for name, kind in _CELL.items():
        _check_type(f"the {name} of one of its cells", cell[name], kind)


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
    for part in (*line.rows, *line.curves):
        for name, value in line.columns.items():
            if not _alike(part.get(name, value), value):
                raise ValueError(f"one of its rows has {name} = {part[name]!r}, its line {value!r}")
    for curve in line.curves:
        _check_curve(curve, line)


def _check_curve(curve: dict, line: Line) -> None:
    _check_type("the name of one of its curves", curve.get("curve"), str)
    _check_type(f"what stands for points of its curve {curve['curve']}", curve.get("points"), dict)
    if curve.get("seed") not in line.seeds:
        raise ValueError(f"its curve {curve['curve']} is of seed {curve.get('seed')}, its rows of others")
    if len({len(values) for values in curve["points"].values()}) > 1:
        raise ValueError(f"its curve {curve['curve']} has columns of different lengths")


def _alike(value: Any, column: Any) -> bool:
    """Whether a row's value is that of the column, up to the digits that a record keeps."""
    if isinstance(value, float) and isinstance(column, float):
        return math.isclose(value, column, rel_tol=1e-5)
    return value == (list(column) if isinstance(column, tuple) else column)


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
    held = {name: value for name, value in vars(record).items() if name != "origin"}
    held["lines"] = [vars(line) for line in record.lines]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def text(record: Record) -> str:
    """JSON with a line for each cell, each row and each curve, so that a change of one is a change of one line.

    Rows of the same columns stand in one table: {"columns": [...], "rows": [[...], ...]}. What the settings of several
    cells have in common stands once, in "shared", and in the cells its number: {"shared": 0}.
    """
    simple = {"format": FORMAT, "experiment": record.experiment, "preset": record.preset, "device": record.device}
    cells, shared = _packed(record.cells)
    parts = [f' "{name}": {_json(value)}' for name, value in (simple | {"sha256": digest(record)}).items()]
    parts += [
        f' "{name}": {_block(map(_json, values)) if values else "[]"}'
        for name, values in (("shared", shared), ("cells", cells), ("absent", record.absent))
    ]
    parts.append(' "lines": [\n' + ",\n".join(map(_line_text, record.lines)) + "\n ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _packed(cells: Sequence[dict]) -> tuple[list[dict], list[dict]]:
    """The cells, what several of them share replaced by its number; and that, in order."""
    counts = Counter(_json(part) for cell in cells for part in _parts(cell))
    shared = [part for part, count in counts.items() if count > 1 and len(part) >= LONG]
    numbers = {part: {"shared": number} for number, part in enumerate(shared)}
    packed = [_with_parts(cell, lambda part: numbers.get(_json(part), part)) for cell in cells]
    return packed, [json.loads(part) for part in shared]


def _unpacked(cells: Sequence[dict], shared: Sequence[dict]) -> tuple[dict, ...]:
    for cell in cells:
        _check_cell(cell)
    return tuple(
        _with_parts(cell, lambda part: shared[part["shared"]] if part.keys() == {"shared"} else part) for cell in cells
    )


def _parts(cell: dict) -> list[dict]:
    """What a cell may have in common with others: its versions, and settings that have settings."""
    return [part for part in (cell["versions"], *cell["config"].values()) if isinstance(part, dict)]


def _with_parts(cell: dict, change: Callable[[dict], dict]) -> dict:
    config = {name: change(part) if isinstance(part, dict) else part for name, part in cell["config"].items()}
    return cell | {"versions": change(cell["versions"]), "config": config}


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
