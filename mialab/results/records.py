"""Recorded results: one small JSON file per experiment, preset and device, which the book and every clone can read.

A record holds the rows, and what each of its cells was made from. Where the code no longer makes those cells, the
record is stale: still shown, as superseded, but no longer what the code gives.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import re
import shlex
import uuid
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import mialab
from mialab import experiments
from mialab.cells.cost import closure
from mialab.engine.grid import PRESETS, Experiment
from mialab.engine.store import Config, Store, open_store, settings
from mialab.results.lines import Result, local

FORMAT = 1
DIGITS = 6  # significant ones that a record keeps: finer than any interval, and half as long
SUPERSEDED = "superseded"
_SHARE = "share/mialab/results"  # where a wheel puts them


class RecordError(ValueError):
    """A record cannot be read or made; one line that names the file or the cells, and the remedy."""


@dataclass(frozen=True)
class Record:
    """Results of one experiment at one preset, computed on one device.

    device: what trained; made_with: versions, where several made it all of them; code: the commit; seconds: of all
    cells together. cells: {"name", "kind", "version", "config"} of each, and of those that they need. rows: as the
    cells gave them, rounded to six significant digits. origin: "recorded", or "superseded" where it has been replaced.
    """

    experiment: str
    preset: str
    device: str
    seeds: tuple[int, ...]
    code: str
    made_with: dict[str, str]
    seconds: float
    cells: tuple[dict, ...]
    rows: tuple[dict, ...]
    origin: str = "recorded"

    @property
    def file(self) -> str:
        """The name of its file."""
        device = re.sub(r"[^a-z0-9]+", "-", self.device.lower()).strip("-")
        return f"{self.experiment.replace('/', '-')}.{self.preset}.{device}.json"

    def result(self) -> Result:
        """The record as a result to show; a stale one is superseded, whether or not it has been moved."""
        origin = SUPERSEDED if self.origin == "recorded" and stale(self) else self.origin
        return Result(self.experiment, self.preset, origin, self.device, self.rows, 0)


def results_folder(folder: str | os.PathLike | None = None) -> Path:
    """Where records lie: the argument, else $MIALAB_RESULTS, else the checkout's `book/results`, else the wheel's."""
    if chosen := folder or os.environ.get("MIALAB_RESULTS"):
        return Path(chosen).expanduser()
    return _checkout() or _installed()


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
    old = [replace(each, origin=SUPERSEDED) for each in _readable(root / SUPERSEDED)]
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
        content["rows"] = [
            dict(zip(table["columns"], row, strict=True)) for table in content.pop("tables") for row in table["rows"]
        ]
        record = Record(**{name: tuple(value) if isinstance(value, list) else value for name, value in content.items()})
        _check(record)
        if checksum != _digest(record):
            raise ValueError("its content does not match its checksum")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise RecordError(
            f"{path} is no record ({cause}); restore it with git, or remove it and record again"
        ) from error
    return record


def _check(record: Record) -> None:
    for field in fields(Record):
        if not isinstance(value := getattr(record, field.name), _TYPES[field.name]):
            raise ValueError(f"{field.name} is of type {type(value).__name__}")
    if record.preset not in PRESETS:
        raise ValueError(f"its preset is {record.preset!r}")
    for part, names in (("cells", {"name", "kind", "version", "config"}), ("rows", {"seed"})):
        if not all(names <= each.keys() for each in getattr(record, part)):
            raise ValueError(f"one of its {part} lacks one of {', '.join(sorted(names))}")
    for cell in record.cells:
        for name, kind in (("name", str), ("kind", str), ("version", int), ("config", dict)):
            if not isinstance(cell[name], kind):
                raise ValueError(f"the {name} of one of its cells is of type {type(cell[name]).__name__}")
    _check_rows(record)


def _check_rows(record: Record) -> None:
    """The numbers are finite, no row stands twice, and rows and seeds belong together."""
    for row in record.rows:
        for column, value in row.items():
            if not _finite(value):
                raise ValueError(f"one of its rows has {column} = {value!r:.40}")
    # Without its experiment nobody knows which columns tell rows apart: then all do.
    known = experiments.ALL.get(record.experiment)
    names = [json.dumps([row.get(name) for name in (*known.by, "seed")] if known else row) for row in record.rows]
    if len(set(names)) < len(names):
        raise ValueError(f"one of its rows stands twice: {next(each for each in names if names.count(each) > 1)}")
    if not all(isinstance(seed, int) for seed in record.seeds):
        raise ValueError(f"its seeds are {list(record.seeds)}")
    if {row["seed"] for row in record.rows} != set(record.seeds):
        raise ValueError(f"its seeds are {list(record.seeds)}, those of its rows are others")


def _finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_finite, value))
    return math.isfinite(value) if isinstance(value, float) else value is None or isinstance(value, int | str)


def _digest(record: Record) -> str:
    """A checksum of all that the file holds, as it reads back."""
    held = {field.name: getattr(record, field.name) for field in fields(Record) if field.name != "origin"}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


_TYPES = dict.fromkeys(("experiment", "preset", "device", "code", "origin"), str)
_TYPES |= {"seeds": tuple, "cells": tuple, "rows": tuple, "made_with": dict, "seconds": int | float}


def record(experiment: Experiment, preset: str, store: Store, folder: str | os.PathLike | None = None) -> Path:
    """Write what the store holds of a whole experiment as a record, and return its file.

    A stale record of the same device is moved to `superseded`, one that still holds is replaced. Raises RecordError if
    cells are missing, with the command that computes them, where rows could not be read back, and where nothing can be
    written.
    """
    result = local(experiment, preset, store)
    if result.missing or not result.rows:
        place = "" if store == open_store() else f" --store {shlex.quote(str(store.root))}"
        raise RecordError(
            f"{result.missing} of {len(experiment.grid(preset))} cells of {experiment.name} at preset {preset} are not "
            f"in the store; compute them first: mialab run {experiment.name} --preset {preset}{place}"
        )
    made = _made(experiment, result, store)
    try:
        _check(made)
    except ValueError as error:
        raise RecordError(f"{experiment.name} cannot be recorded: {error}; mend its cells or its `by`") from error
    root = results_folder(folder)
    if not (folder or os.environ.get("MIALAB_RESULTS") or _checkout()):
        raise RecordError(f"{root} belongs to the installed package; set MIALAB_RESULTS to a folder of yours")
    return _write(made, root)


def _made(experiment: Experiment, result: Result, store: Store) -> Record:
    configs = closure(experiment.grid(result.preset))
    kept = [cell.info for config in configs if (cell := store.find(config)) is not None]
    made_with = _together(info["made_with"] for info in kept)
    return Record(
        experiment.name,
        result.preset,
        result.device,
        tuple(sorted({row["seed"] for row in result.rows})),
        made_with.pop("code"),
        {name: version for name, version in made_with.items() if name != "device"},
        round(sum(info["seconds"] for info in kept), 1),
        tuple(_cells(experiment.grid(result.preset))),
        tuple(_short(row) for row in result.rows),
    )


def _cells(grid: Iterable[Config]) -> list[dict]:
    """What each cell of a grid, and each that these need, is made from; a cell within another one by its name."""
    cells: dict[str, dict] = {}
    for config in closure(grid):
        own = {"name": Store(Path()).name(config), "kind": config.KIND, "version": config.VERSION}
        cells[json.dumps(settings(config))] = own | {"config": _by_name(settings(config), cells)}
    return list(cells.values())


def _by_name(value: Any, cells: dict[str, dict]) -> Any:
    if not isinstance(value, dict):
        return value
    parts = {key: _by_name(each, cells) for key, each in value.items()}
    return cells[known]["name"] if (known := json.dumps(value)) in cells else parts


def _together(several: Iterable[dict[str, str]]) -> dict[str, str]:
    """What made cells, as one: where they differ, all of it."""
    found: dict[str, dict] = {}
    for each in several:
        for name, version in each.items():
            found.setdefault(name, {})[version] = None
    return {name: " + ".join(sorted(versions)) for name, versions in found.items()}


def _short(value):
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list | tuple) else value


def _write(made: Record, root: Path) -> Path:
    """Write the file whole or not at all; what is stale in its place is kept among the superseded ones."""
    path, draft = root / made.file, root / f".{uuid.uuid4().hex}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        draft.write_text(_text(made), "utf-8")
        if path.exists() and stale(read(path)):
            _supersede(path)
        draft.replace(path)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written ({error.strerror}); set MIALAB_RESULTS to a folder of yours"
        ) from error
    finally:
        with suppress(OSError):  # whose cause has been told
            draft.unlink()
    return path


def _supersede(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]  # one name for one content, whenever it is moved
    (path.parent / SUPERSEDED).mkdir(exist_ok=True)
    path.replace(path.parent / SUPERSEDED / f"{path.stem}.{digest}.json")


def _text(made: Record) -> str:
    """JSON with a line for each cell and each row, so that a change of one is a change of one line.

    Rows of the same columns stand in one table: {"columns": [...], "rows": [[...], ...]}.
    """
    simple = ("experiment", "preset", "device", "seeds", "code", "made_with", "seconds")
    lines = [
        f' "{name}": {_json(value)}' for name, value in (("format", FORMAT), *((n, getattr(made, n)) for n in simple))
    ]
    lines.append(f' "sha256": {_json(_digest(made))}')
    tables = []
    for columns, rows in groupby(made.rows, key=list):
        body = _block(_json(list(row.values())) for row in rows)
        tables.append(f'  {{"columns": {_json(columns)}, "rows": {body}}}')
    lines += [f' "cells": {_block(map(_json, made.cells))}', ' "tables": [\n' + ",\n".join(tables) + "\n ]"]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _block(lines: Iterable[str]) -> str:
    return "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n ]"


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def stale(record: Record) -> str | None:
    """Why the code no longer makes the record's cells: other versions, or other configurations. None if it does."""
    if record.experiment not in experiments.ALL:
        return f"there is no experiment {record.experiment} any more"
    grid = experiments.get(record.experiment).grid(record.preset, seeds=record.seeds)
    now, then = _cells(grid), list(record.cells)
    if _keys(now) == _keys(then):
        return None
    versions = [{cell["kind"]: cell["version"] for cell in cells} for cells in (then, now)]
    for kind, version in versions[0].items():
        if versions[1].get(kind, version) != version:
            return f"its cells of kind {kind} are of version {version}, the code makes version {versions[1][kind]}"
    gone = [cell for key, cell in _keys(then).items() if key not in _keys(now)]
    new = [cell for key, cell in _keys(now).items() if key not in _keys(then)]
    return f"{len(gone)} of its {len(then)} cells are no longer in the grid, {len(new)} are new{_difference(gone, new)}"


def _keys(cells: Iterable[dict]) -> dict[str, dict]:
    return {json.dumps([cell["kind"], cell["version"], cell["config"]], sort_keys=True): cell for cell in cells}


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
