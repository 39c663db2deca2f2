"""How a record is made of what the store holds, and how new lines join an old one."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mialab.engine.files import write_whole
from mialab.engine.grid import Experiment, Where
from mialab.engine.store import Cell, Config, Store, closure, open_store
from mialab.results.lines import trained_on
from mialab.results.records import (
    SUPERSEDED,
    Line,
    Record,
    RecordError,
    check,
    described,
    key_of,
    may_be_written,
    outdated,
    read,
    results_folder,
    text,
    together,
)

DIGITS = 6  # significant ones that a record keeps: finer than any interval, and half as long


def record(
    experiment: Experiment,
    preset: str,
    store: Store,
    folder: str | os.PathLike | None = None,
    *,
    where: Where | None = None,
) -> Path:
    """Write what the store holds of an experiment, or of its lines `where` columns have given values; return the file.

    New lines join the record of the same device. Lines that the code no longer makes move to `superseded`; a line that
    is recorded again replaces the old one. Raises RecordError if cells are missing, with the command that computes
    them, where rows could not be read back, and where nothing can be written.
    """
    grid = experiment.grid(preset, where=where)
    found = {config: cell for config in closure(grid) if (cell := store.find(config)) is not None}
    if missing := sum(config not in found for config in grid):
        raise RecordError(_missing(experiment, preset, store, where, missing, len(grid)))
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


def _missing(experiment: Experiment, preset: str, store: Store, where: Where | None, missing: int, cells: int) -> str:
    place = "" if store == open_store() else f" --store {shlex.quote(str(store.root))}"
    chosen = "".join(
        f" --where {shlex.quote(f'{name}={value}')}" for name, values in (where or {}).items() for value in values
    )
    return (
        f"{missing} of {cells} cells of {experiment.name} at preset {preset} are not "
        f"in the store; compute them first: mialab run {experiment.name} --preset {preset}{chosen}{place}"
    )


def _made(experiment: Experiment, preset: str, grid: Sequence[Config], found: dict[Config, Cell]) -> Record:
    groups: dict[str, list[Config]] = {}
    for config in grid:
        groups.setdefault(key_of(config.columns()), []).append(config)
    devices = {device for config in grid for device in trained_on(found[config])}
    by_name = {Store(Path()).name(config): cell.info["seconds"] for config, cell in found.items()}
    cells = [cell | {"seconds": round(by_name.get(cell["name"], 0.0), 3)} for cell in described(grid)]
    lines = tuple(_line(group, found) for group in groups.values())
    return Record(experiment.name, preset, ", ".join(sorted(devices)), tuple(cells), lines)


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
        cells=tuple(map(Store(Path()).name, group)),
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
        if path.exists():
            old = read(path)
            if gone := outdated(old):
                _save(_part(old, gone), root / SUPERSEDED)
            renewed = {line.key for line in made.lines}
            kept = tuple(line for line in old.lines if line not in gone and line.key not in renewed)
            made = _joined(made, _part(old, kept), experiment)
        write_whole(path, lambda file: file.write(text(made).encode()))
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written ({error.strerror}); set MIALAB_RESULTS to a folder of yours"
        ) from error
    return path


def _part(old: Record, lines: Sequence[Line]) -> Record:
    """A record of some of the lines, with all cells: which of them the lines need is not told."""
    return replace(old, lines=tuple(lines), cells=old.cells if lines else ())


def _joined(made: Record, old: Record, experiment: Experiment) -> Record:
    """The lines of both in the order of the grid, and the cells that they stand on."""
    lines = {line.key: line for line in (*old.lines, *made.lines)}
    order = {key_of(config.columns()): number for number, config in enumerate(experiment.grid(made.preset))}
    held = [lines[key] for key in sorted(lines, key=lambda key: order.get(key, len(order)))]
    seeds = sorted({seed for line in held for seed in line.seeds})
    grid = [c for c in experiment.grid(made.preset, seeds=seeds) if Store(Path()).name(c) in _names(held)]
    known = {cell["name"]: cell for cell in (*old.cells, *made.cells)}
    return replace(made, lines=tuple(held), cells=tuple(known[cell["name"]] for cell in described(grid)))


def _names(lines: Iterable[Line]) -> set[str]:
    return {name for line in lines for name in line.cells}


def _save(part: Record, folder: Path) -> None:
    content = text(part).encode()
    number = hashlib.sha256(content).hexdigest()[:8]  # one name for one content, whenever it is moved
    write_whole(folder / f"{Path(part.file).stem}.{number}.json", lambda file: file.write(content))
