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
from safetensors.numpy import load_file, save_file

from mialab import __version__


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

        `version` belongs to the kind of cell and is raised by hand when the numbers it gives change.
        """
        folder = self.folder(kind, config, version=version)
        found = self._read(folder)
        if found is not None:
            return found
        start = time.perf_counter()
        cell = compute()
        provenance = {"kind": kind, "version": version, "config": settings(config), "versions": versions()}
        self._write(folder, Cell({**provenance, "seconds": time.perf_counter() - start, **cell.info}, cell.arrays))
        return cell

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
            if hashlib.sha256(payload).hexdigest() != info.pop("sha256"):
                raise ValueError("its arrays do not match their checksum")
            return Cell(info, load_file(folder / "arrays.safetensors"))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            aside = folder.with_name(f"damaged-{folder.name}-{time.time_ns()}")
            folder.rename(aside)
            warnings.warn(f"{folder.name} is damaged ({error}); set aside as {aside}, computing it again", stacklevel=3)
            return None

    def _write(self, folder: Path, cell: Cell) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.root))
        except OSError as error:
            raise OSError(f"cannot write to the store {self.root}: {error.strerror}; set MIALAB_STORE") from error
        try:
            save_file({k: np.ascontiguousarray(v) for k, v in cell.arrays.items()}, draft / "arrays.safetensors")
            digest = hashlib.sha256((draft / "arrays.safetensors").read_bytes()).hexdigest()
            (draft / "cell.json").write_text(json.dumps({**cell.info, "sha256": digest}, indent=1))
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


def settings(config) -> dict:
    """A frozen dataclass as plain JSON: its name and the fields that differ from their default."""
    changed = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != field.default:
            changed[field.name] = settings(value) if dataclasses.is_dataclass(value) else value
    return {"is": type(config).__name__, **changed}


def versions() -> dict[str, str]:
    """The versions that a result depends on; recorded with it, not part of its name."""
    return {
        "mialab": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
