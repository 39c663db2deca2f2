"""How a record is made of what the store holds, and how new lines and new repetitions join an old one."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from mialab.engine.files import write_whole
from mialab.engine.grid import Experiment, Where, seeds_option, where_options
from mialab.engine.store import Cell, Config, Store, closure, open_store
from mialab.results.lines import trained_on
from mialab.results.recorded import (
    SUPERSEDED,
    Line,
    Record,
    cell_name,
    cells_by_line,
    described,
    key_of,
    outdated,
    together,
)
from mialab.results.records import RecordError, check, may_be_written, read, results_folder, text

DIGITS = 6  # significant ones that a record keeps: finer than any interval, and half as long


def record(
    experiment: Experiment,
    preset: str,
    store: Store,
    folder: str | os.PathLike | None = None,
    *,
    seeds: Sequence[int] | None = None,
    where: Where | None = None,
) -> Path:
    """Write what the store holds of an experiment, or of those of its lines that `where` names; return the file.

    seeds: the repetitions, by default all; fewer make a record that says so. New lines, and new repetitions of a line,
    join the record of the same device; what is recorded again replaces the old. Lines that the code no longer makes
    move to `superseded`. Raises RecordError if cells are missing, with the command that computes them, where rows could
    not be read back, and where nothing can be written.
    """
    grid = experiment.grid(preset, seeds=seeds, where=where)
    found = {config: cell for config in closure(grid) if (cell := store.find(config)) is not None}
    if missing := sum(config not in found for config in grid):
        options = where_options(where) + ("" if seeds is None else seeds_option(seeds))
        raise RecordError(_missing(experiment, preset, store, options, missing, len(grid)))
    made = _made(experiment, preset, grid, found)
    root = results_folder(folder)
    try:
        check(made)
        if not may_be_written(folder):
            raise RecordError(f"{root} belongs to the installed package; set MIALAB_RESULTS to a folder of yours")
    except ValueError as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{experiment.name} cannot be recorded: {error}; mend its cells or its `by`") from error
    return _write(made, experiment, root)


def _missing(experiment: Experiment, preset: str, store: Store, options: str, missing: int, cells: int) -> str:
    place = "" if store == open_store() else f" --store {shlex.quote(str(store.root))}"
    command = f"mialab run {experiment.name} --preset {preset}{options}{place}"
    return (
        f"{missing} of {cells} cells of {experiment.name} at preset {preset} are not in the store; record finished "
        f"lines alone with --where, or compute them first: {command}"
    )


def _made(experiment: Experiment, preset: str, grid: Sequence[Config], found: dict[Config, Cell]) -> Record:
    devices = {device for config in grid for device in trained_on(found[config])}
    seconds = {cell_name(config): round(cell.info["seconds"], 3) for config, cell in found.items()}
    cells = tuple(cell | {"seconds": seconds.get(cell["name"], 0.0)} for cell in described(grid))
    lines = tuple(_line(group, found) for group in cells_by_line(grid).values())
    return Record(experiment.name, preset, ", ".join(sorted(devices)), cells, lines)


def _line(group: Sequence[Config], found: dict[Config, Cell]) -> Line:
    kept = [found[config].info for config in closure(group) if config in found]
    made_with = together(info["made_with"] for info in kept)
    infos = [found[config].info for config in group]
    rows = [row for info in infos for row in info["rows"]]
    return Line(
        columns=group[0].columns(),
        seeds=tuple(sorted({row["seed"] for row in rows})),
        code=made_with.pop("code"),
        made_with={name: version for name, version in made_with.items() if name != "device"},
        cells=tuple(map(cell_name, group)),
        rows=tuple(map(short, rows)),
        curves=tuple(short(curve) for info in infos for curve in info.get("curves", ())),
    )


def short(value: Any) -> Any:
    """Numbers, and what holds some, rounded to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: short(part) for key, part in value.items()}
    return [short(part) for part in value] if isinstance(value, list | tuple) else value


def _write(made: Record, experiment: Experiment, root: Path) -> Path:
    """Write the file whole or not at all, joined with what still holds of the old one."""
    path = root / made.file
    try:
        with _alone(root):  # else of two who record at once, the later would lose the other's lines
            whole = _joined(made, _kept(path, root) if path.exists() else None, experiment)
            write_whole(path, lambda file: file.write(text(whole).encode()))
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written ({error.strerror}); set MIALAB_RESULTS to a folder of yours"
        ) from error
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else is in such a block on this folder; no file is left, and a process that dies lets go.

    Without effect on Windows and on file systems that cannot lock a folder, such as some that machines share.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _kept(path: Path, root: Path) -> Record:
    """The old record without the lines that are stale, which move."""
    old = read(path)
    gone = {line.key for line in outdated(old)}
    if gone:
        lines = tuple(line for line in old.lines if line.key in gone)
        absent = (*old.absent, *(line.columns for line in old.lines if line.key not in gone))
        _save(replace(old, lines=lines, absent=absent), root / SUPERSEDED)
    return replace(old, lines=tuple(line for line in old.lines if line.key not in gone))


def _joined(made: Record, old: Record | None, experiment: Experiment) -> Record:
    """The lines of both in the order of the grid, the cells that they stand on, and which lines are not there."""
    before, cells_before = (old.lines, old.cells) if old else ((), ())
    lines = {line.key: line for line in before}
    lines |= {line.key: _grown(line, lines.get(line.key)) for line in made.lines}
    places = {key_of(columns): columns for config in experiment.grid(made.preset) for columns in [config.columns()]}
    there = [lines[key] for key in places if key in lines]
    seeds = sorted({seed for line in there for seed in line.seeds})
    names = {name for line in there for name in line.cells}
    needed = described(config for config in experiment.grid(made.preset, seeds=seeds) if cell_name(config) in names)
    seconds = {cell["name"]: cell["seconds"] for cell in cells_before}
    seconds |= {cell["name"]: cell["seconds"] for cell in made.cells if cell["seconds"] or cell["name"] not in seconds}
    return replace(
        made,
        lines=tuple(there),
        cells=tuple(cell | {"seconds": seconds.get(cell["name"], 0.0)} for cell in needed),
        absent=tuple(columns for key, columns in places.items() if key not in lines),
    )


def _grown(made: Line, old: Line | None) -> Line:
    """The line, with those repetitions of the old one that were not made anew."""
    if old is None or set(old.seeds) <= set(made.seeds):
        return made
    rows, curves = (
        sorted([*(part for part in before if part["seed"] not in made.seeds), *new], key=itemgetter("seed"))
        for before, new in ((old.rows, made.rows), (old.curves, made.curves))
    )
    both = together({"code": line.code, **line.made_with} for line in (old, made))
    return replace(
        made,
        seeds=tuple(sorted({*old.seeds, *made.seeds})),
        code=both.pop("code"),
        made_with=both,
        cells=tuple(dict.fromkeys((*old.cells, *made.cells))),
        rows=tuple(rows),
        curves=tuple(curves),
    )


def _save(part: Record, folder: Path) -> None:
    content = text(part).encode()
    number = hashlib.sha256(content).hexdigest()[:8]  # one name for one content, whenever it is moved
    write_whole(folder / f"{Path(part.file).stem}.{number}.json", lambda file: file.write(content))
