"""Results on disk, one folder per cell, named by the hash of its configuration.

A cell is what a pure function of a small frozen configuration gave: numbers in `cell.json`, arrays in
`arrays.safetensors`. It is written whole or not at all, and read back only if it is whole.
"""

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mialab import __version__

TRIES = 3  # reads of a cell; more than two only if another process damages it meanwhile


@dataclass(frozen=True)
class Cell:
    """Numbers (`info`, JSON) and named arrays of one computed configuration."""

    info: dict
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Store:
    """Cells under one folder. Several processes may use it at once: a cell appears by one atomic rename."""

    root: Path

    def cell(self, kind: str, config, compute: Callable[[], Cell], *, version: int = 1) -> Cell:
        """The cell of this configuration: read if it is here and whole, computed and kept if not.

        `version` belongs to the kind of cell and is raised by hand when the numbers it gives change, so also when a
        default of its configuration does: fields at their default are no part of the cell's name.
        """
        folder = self.folder(kind, config, version=version)
        for _ in range(TRIES):
            if (found := self._read(folder)) is not None:
                return found
            start = time.perf_counter()
            cell = compute()
            provenance = {"kind": kind, "version": version, "config": settings(config, whole=True)}
            provenance |= {"made_with": surroundings(), "seconds": time.perf_counter() - start}
            self._write(folder, Cell({**provenance, **cell.info}, cell.arrays))
        raise OSError(f"{folder} was written but does not read back whole; check the disk, or set MIALAB_STORE")

    def folder(self, kind: str, config, *, version: int = 1) -> Path:
        """Where the cell of this configuration lies, whether or not it exists yet."""
        text = json.dumps([kind, version, settings(config)], sort_keys=True)
        return self.root / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def _read(self, folder: Path) -> Cell | None:
        if not folder.is_dir():
            return None
        try:
            info = json.loads((folder / "cell.json").read_text())
            payload = (folder / "arrays.safetensors").read_bytes()
            if info.pop("sha256") != _digest(info, payload):
                raise ValueError("its content does not match its checksum")
            return Cell(info, load(payload))
        except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
            aside = folder.with_name(f"damaged-{folder.name}-{time.time_ns()}")
            try:
                folder.rename(aside)
            except FileNotFoundError:  # another process was first
                return None
            warnings.warn(f"{folder.name} is damaged ({error}); set aside as {aside}, computing it again", stacklevel=3)
            return None

    def _write(self, folder: Path, cell: Cell) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.root))
        except OSError as error:
            raise OSError(f"cannot write to the store {self.root}: {error.strerror}; set MIALAB_STORE") from error
        try:
            payload = save({name: np.asarray(array, order="C") for name, array in cell.arrays.items()})
            (draft / "arrays.safetensors").write_bytes(payload)
            (draft / "cell.json").write_text(json.dumps({**cell.info, "sha256": _digest(cell.info, payload)}, indent=1))
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():  # a full disk; not another writer that was first with the same cell
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def open_store(root: Path | str | None = None) -> Store:
    """The store at `root`, else at $MIALAB_STORE, else in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Store(Path(root or os.environ.get("MIALAB_STORE") or cache / "mialab" / "store"))


def settings(config, *, whole: bool = False) -> dict:
    """A frozen dataclass as plain JSON: its name, and its fields (only those not at their default unless `whole`)."""
    fields = {field.name: (getattr(config, field.name), field.default) for field in dataclasses.fields(config)}
    kept = {name: value for name, (value, default) in fields.items() if whole or value != default}
    return {"is": type(config).__name__, **{name: _plain(value, whole) for name, value in kept.items()}}


def _plain(value, whole: bool):
    if dataclasses.is_dataclass(value):
        return settings(value, whole=whole)
    return [_plain(each, whole) for each in value] if isinstance(value, tuple | list) else value


def surroundings() -> dict[str, str]:
    """The versions and the device that a result was made with; recorded beside it, not part of its name."""
    return {
        "mialab": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})",
    }


def _digest(info: dict, payload: bytes) -> str:
    """A checksum of a cell's numbers, as they read back, and its arrays."""
    return hashlib.sha256(json.dumps(json.loads(json.dumps(info)), sort_keys=True).encode() + payload).hexdigest()
