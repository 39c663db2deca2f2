"""Results on disk, one folder per cell, named by the hash of its configuration.

A cell is what a pure function of a small frozen configuration gave: numbers in `cell.json`, arrays in
`arrays.safetensors`. It is computed under a lock of its own, written whole or not at all, and read back only if whole.
Beside the cells lie `locks` (one empty file per cell), `scratch` (what an unfinished cell needs in order to go on)
and whatever was found damaged, renamed to `damaged-...`.
"""

import errno
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load, save

import mialab

TRIES = 3  # writes of a cell; more than one only if another process damages it meanwhile
DRIVE = Path("/content/drive/MyDrive")  # where Colab mounts the user's Drive
LOCKS, SCRATCH, DAMAGED = "locks", "scratch", "damaged-"
_ELSEWHERE = "or choose another folder with --store or MIALAB_STORE"
_POLL_SECONDS = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_CELL_NAME = re.compile(r"[a-z_]+-[0-9a-f]{16}")
_RECORDED = ("torch", "torchvision", "numpy", "scikit-learn")


OBSERVED = {"observed": True}  # metadata of a configuration's field


class Config(ABC):
    """What says how a cell is made: a frozen dataclass of plain values, defined where a worker can import it.

    A field whose metadata are `OBSERVED` is a tuple of what is merely looked at on the way, such as epochs. It is no
    part of the cell's name: one cell serves all who ask. Only where it lacks something is it computed again, with all
    that was ever asked of it.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # for type checkers: each kind of configuration is a dataclass
    KIND: ClassVar[str]  # the sort of cell, small letters and underscores: the beginning of its name
    VERSION: ClassVar[int]  # raised by hand when the numbers change, so also when the default of a field does

    @abstractmethod
    def needs(self) -> tuple["Config", ...]:
        """The cells whose results this one reads; () for one that trains."""

    @abstractmethod
    def compute(self, inputs: Sequence["Cell"], *, scratch: Path) -> "Cell":
        """The result, from the cells it needs in their order.

        `scratch` is a folder of this cell's own, not made yet: it outlives a kill and goes once the cell is kept.
        """

    def versions(self) -> dict[str, int]:
        """Versions of what this cell uses and its fields do not hold, by name, such as those of attacks."""
        return {}

    def columns(self) -> dict[str, Any]:
        """What tells its rows from those of other cells, as far as it is known before anything is computed."""
        return {}

    def operations(self) -> float:
        """Multiply-adds of one step of its longest loop, which decide on how many threads it is fastest."""
        return 0.0


@dataclass(frozen=True)
class Cell:
    """Numbers (`info`, JSON) and named arrays of one computed configuration."""

    info: dict[str, Any]
    arrays: dict[str, np.ndarray]


class StoreError(OSError):
    """The store cannot be written or read here; one line that names the cause and the remedy."""


class Busy(Exception):
    """Another process is computing this very cell."""


class _Damaged(Exception):
    """What lies under a cell's name is not a whole cell."""


@dataclass(frozen=True)
class Store:
    """Cells under one folder. Several processes may use it at once: none computes what another is computing."""

    root: Path

    def name(self, config: Config, known: dict[Config, dict[str, int]] | None = None) -> str:
        """The cell's name: its kind, and a hash of its settings that are not at their default and of the versions.

        The versions are those that `versions` finds: where a defense is mended, just the cells that use it change.
        """
        plain = settings(config)  # first: it says what cannot stand in a configuration
        text = json.dumps([config.KIND, versions(config, known), plain], sort_keys=True)
        return f"{config.KIND}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def folder(self, config: Config) -> Path:
        """Where the cell of this configuration lies, whether or not it exists yet."""
        return self.root / self.name(config)

    def has(self, config: Config) -> bool:
        """Whether the cell is here, with all that is asked of it; cheap, as its arrays are not read."""
        return self.has_named(self.name(config), config)

    def has_named(self, name: str, config: Config) -> bool:
        """`has`, for who knows the cell's name."""
        folder = self.root / name
        if not os.path.isdir(folder):  # unlike a Path's, False also where one may not look
            return False
        if not any(observed(config).values()):
            return True
        try:
            return covers(json.loads((folder / "cell.json").read_bytes()), config)
        except (OSError, ValueError):
            return False

    def find(self, config: Config) -> Cell | None:
        """The cell, if it is here, whole, and has all that is asked of it. Computes nothing.

        A damaged one is named in a warning and set aside.
        """
        folder = self.folder(config)
        try:
            cell = self._read(folder)
            if cell is not None:
                self._tidy(folder.name)
            return _covering(cell, config)
        except _Damaged as damage:
            try:
                with self._lock(folder.name, wait=False):
                    return _covering(self._read_or_set_aside(folder), config)
            except StoreError:  # one may read from a store that one cannot write to
                warnings.warn(f"{folder.name} is damaged ({damage}) and cannot be set aside", stacklevel=2)
            except Busy:  # it is being computed again
                pass
        return None

    def get(self, config: Config, *, wait: bool = True) -> Cell:
        """The cell: read if it is here and whole; else computed, after those that it needs, and kept.

        If another process is computing it, wait for that one, or with `wait=False` raise Busy. Raises StoreError.
        """
        folder = self.folder(config)
        with suppress(_Damaged):
            if (cell := _covering(self._read(folder), config)) is not None:
                self._tidy(folder.name)
                return cell
        with self._lock(folder.name, wait=wait) as locked:
            for _ in range(TRIES):
                cell = self._read_or_set_aside(folder)
                if cell is not None and covers(cell.info, config):
                    return cell
                wanted = config if cell is None else joined(config, cell.info.get("observed", {}))
                self._compute(wanted, folder, wait=wait, locked=locked, replaces=cell is not None)
        raise StoreError(f"{folder} was written but does not read back whole; check the disk, {_ELSEWHERE}")

    def foreign(self) -> tuple[Path, ...]:
        """What lies in the store's folder and by its name is neither a cell nor the store's own. It is left alone."""
        if not self.root.is_dir():
            return ()
        own = {self.root / LOCKS, self.root / SCRATCH}
        others = (path for path in self.root.iterdir() if path not in own and not path.name.startswith(DAMAGED))
        return tuple(sorted(path for path in others if not _CELL_NAME.fullmatch(path.name)))

    def _compute(self, config: Config, folder: Path, *, wait: bool, locked: bool, replaces: bool) -> None:
        inputs = [self.get(need, wait=wait) for need in config.needs()]
        scratch = self.root / SCRATCH / folder.name
        start = time.perf_counter()
        try:
            cell = config.compute(inputs, scratch=scratch)
        except OSError as error:
            if error.errno in _FULL and str(self.root) in str(error.filename or self.root):
                raise self._unwritable(error) from error  # a checkpoint, most likely
            raise
        provenance = {"kind": config.KIND, "version": config.VERSION, "config": settings(config, whole=True)}
        provenance |= {"made_with": surroundings(), "seconds": time.perf_counter() - start}
        if asked := observed(config):
            provenance["observed"] = {name: list(values) for name, values in asked.items()}
        if locked:  # then nobody else writes this cell: what lies here was left by a process that died
            for stale in scratch.parent.glob(f"{folder.name}.draft-*"):
                shutil.rmtree(stale, ignore_errors=True)
        self._write(folder, Cell({**cell.info, **provenance}, cell.arrays), replaces=replaces)
        shutil.rmtree(scratch, ignore_errors=True)

    def _read(self, folder: Path) -> Cell | None:
        if not os.path.lexists(folder):
            return None
        try:
            info = json.loads((folder / "cell.json").read_bytes())
            payload = (folder / "arrays.safetensors").read_bytes()
            if info.pop("sha256") != _digest(info, payload):
                raise ValueError("its content does not match its checksum")
            return Cell(info, load(payload))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise _Damaged(f"{Path(error.filename).name}: {error.strerror}") from error
        except OSError as error:
            raise StoreError(f"cannot read {folder} ({error.strerror}); make it readable, {_ELSEWHERE}") from error
        except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise _Damaged(str(error).partition("\n")[0]) from error

    def _read_or_set_aside(self, folder: Path) -> Cell | None:
        """As `_read`, and out of the way with what is not a whole cell. Under the cell's lock: it may be new."""
        try:
            return self._read(folder)
        except _Damaged as damage:
            aside = folder.with_name(f"{DAMAGED}{folder.name}-{time.time_ns()}")
            try:
                folder.rename(aside)
            except FileNotFoundError:  # where nothing can be locked: another process was first
                return None
            except OSError as error:
                raise self._unwritable(error) from error
            warnings.warn(f"{folder.name} is damaged ({damage}); set aside as {aside}, to compute again", stacklevel=3)
            return None

    def _write(self, folder: Path, cell: Cell, *, replaces: bool = False) -> None:
        # No two processes share a draft, even where nothing can be locked; mkdtemp's would be closed to a group.
        draft = self.root / SCRATCH / f"{folder.name}.draft-{secrets.token_hex(4)}"
        payload = save({name: np.asarray(array, order="C") for name, array in cell.arrays.items()})
        text = json.dumps(cell.info, indent=1, default=_number)
        text = json.dumps({**json.loads(text), "sha256": _digest(json.loads(text), payload)}, indent=1)
        try:
            draft.mkdir(parents=True)
            (draft / "arrays.safetensors").write_bytes(payload)
            (draft / "cell.json").write_text(text)
            if replaces:
                _exchange(draft, folder)
            else:
                draft.rename(folder)
        except OSError as error:
            another_was_first = error.errno in (errno.ENOTEMPTY, errno.EEXIST) or not replaces and folder.is_dir()
            if not another_was_first:  # a full disk
                raise self._unwritable(error) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _tidy(self, name: str) -> None:
        """Remove what a process left that was killed between keeping the cell and removing its scratch folder."""
        scratch = self.root / SCRATCH / name
        if scratch.exists():
            with suppress(Busy, StoreError), self._lock(name, wait=False):
                shutil.rmtree(scratch, ignore_errors=True)

    @contextmanager
    def _lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold the cell's lock; yields whether this file system has locks. The system frees a dead process's."""
        folder = self.root / LOCKS
        lock = FileLock(folder / f"{name}.lock")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            locked = _lockable(folder)
            if locked:
                lock.acquire(blocking=wait, poll_interval=_POLL_SECONDS)
        except Timeout:
            raise Busy(f"another process is computing {name}") from None
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield locked
        finally:
            lock.release()

    def _unwritable(self, error: OSError) -> StoreError:
        cause = error.strerror or str(error)
        remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
        return StoreError(f"cannot write to the store {self.root} ({cause}): {remedy}, {_ELSEWHERE}")


def open_store(root: Path | str | None = None) -> Store:
    """The store at `root`, else at $MIALAB_STORE, else on Colab in a mounted Drive, else in the user's cache folder."""
    if chosen := root or os.environ.get("MIALAB_STORE"):
        return Store(Path(chosen).expanduser())
    if on_colab() and DRIVE.is_dir():
        return Store(DRIVE / "mialab" / "store")  # what lies elsewhere on Colab is gone with the session
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Store(cache / "mialab" / "store")


def on_colab() -> bool:
    """Whether this runs on Colab, in a notebook or in a shell."""
    return "COLAB_RELEASE_TAG" in os.environ or "google.colab" in sys.modules


def observed(config: Config) -> dict[str, tuple[Any, ...]]:
    """What is merely looked at in the making of a cell, by field."""
    return {field.name: getattr(config, field.name) for field in fields(config) if field.metadata.get("observed")}


def covers(info: Mapping[str, Any], config: Config) -> bool:
    """Whether a kept cell, of which this is the info, has all that the configuration asks to be looked at."""
    kept = info.get("observed", {})
    return all(set(values) <= set(kept.get(name, ())) for name, values in observed(config).items())


def joined(config: Config, more: Mapping[str, Iterable[Any]]) -> Config:
    """The configuration, asking for what is observed in `more` too, in rising order."""
    own = observed(config)
    return replace(config, **{name: tuple(sorted({*own[name], *more.get(name, ())})) for name in own})


def _covering(cell: "Cell | None", config: Config) -> "Cell | None":
    return cell if cell is not None and covers(cell.info, config) else None


def _exchange(draft: Path, folder: Path) -> None:
    """Move a finished draft to where a cell lies that looked at less; that one goes, or stays if the move fails."""
    before = draft.with_name(f"{draft.name}.before")
    with suppress(FileNotFoundError):  # where nothing can be locked: another process was first
        folder.rename(before)
    try:
        draft.rename(folder)
    except OSError:
        with suppress(OSError):
            before.rename(folder)
        raise
    finally:
        shutil.rmtree(before, ignore_errors=True)


def versions(config: Config, known: dict[Config, dict[str, int]] | None = None) -> dict[str, int]:
    """The versions of all that a cell's numbers depend on, by name.

    Those of its kind, of what it needs, of what it says it uses, and of every dataclass among its settings, however
    deep, that has a VERSION; its name there is its NAME or else its KIND. known: what was found before, which is looked
    up and added to, for callers that name many cells.
    """
    known = {} if known is None else known
    if config not in known:
        found = _nested_versions(config) | config.versions()
        for need in config.needs():
            found |= versions(need, known)
        known[config] = found
    return known[config]


def _nested_versions(value: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    if isinstance(value, tuple | list):
        for part in value:
            found |= _nested_versions(part)
    elif not isinstance(value, str | int | float) and is_dataclass(value):
        found |= _own_version(value)
        for field in fields(value):
            found |= _nested_versions(getattr(value, field.name))
    return found


def _own_version(value: Any) -> dict[str, int]:
    version = getattr(value, "VERSION", None)
    return {} if version is None else {getattr(value, "NAME", None) or value.KIND: version}


def closure(configs: Iterable[Config], *, store: Store | None = None) -> list[Config]:
    """The cells and all that they need, those needed first; each once, asking for all that anybody asks of it.

    store: leave out what it has, and what only that needs.
    """
    found: dict[str, Config] = {}
    visited: set[Config] = set()  # cells share what they need: equal configurations are named once
    known: dict[Config, dict[str, int]] = {}

    def visit(config: Config) -> None:
        if config in visited:
            return
        visited.add(config)
        name = Store(Path()).name(config, known)
        if store is not None and name not in found and store.has_named(name, config):
            return
        for need in config.needs():
            visit(need)
        found[name] = joined(found[name], observed(config)) if name in found else config

    for config in configs:
        visit(config)
    return list(found.values())


def settings(config: Any, *, whole: bool = False) -> dict[str, Any]:
    """A frozen dataclass as plain JSON: its name, and its fields (only those not at their default unless `whole`).

    What is merely observed is left out too, unless `whole`.

    Raises TypeError for anything that JSON cannot hold for certain: functions, arrays, sets, infinities.
    """
    if isinstance(config, type) or not getattr(getattr(config, "__dataclass_params__", None), "frozen", False):
        raise TypeError(f"a configuration must be an instance of a frozen dataclass, not {config!r:.80}")
    kept = {"is": type(config).__name__}
    for field in fields(config):
        if field.metadata.get("observed") and not whole:
            continue
        value, default = getattr(config, field.name), _default(field)
        if whole or value is not default:
            plain = _plain(value, f"{kept['is']}.{field.name}", whole)  # first, as an array has no one truth to compare
            if whole or value != default:
                kept[field.name] = plain
    return kept


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _plain(value: Any, where: str, whole: bool) -> Any:
    if is_dataclass(value):
        return settings(value, whole=whole)
    if isinstance(value, tuple | list):
        return [_plain(each, where, whole) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(each, where, whole) for key, each in value.items()}
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError(
        f"{where} = {value!r:.80} cannot stand in a configuration: use finite numbers, strings, booleans, None, "
        "tuples and frozen dataclasses of them"
    )


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a cell's info must be plain JSON; {value!r:.80} belongs into its arrays, or nowhere")


def _digest(info: dict[str, Any], payload: bytes) -> str:
    """A checksum of a cell's numbers, as they read back, and its arrays."""
    return hashlib.sha256(json.dumps(info, sort_keys=True).encode() + payload).hexdigest()


@functools.cache
def _lockable(folder: Path) -> bool:
    """Whether files here can be locked, tried on one that nobody else knows. Warns, once, if not.

    Tried here, not left to filelock, which depending on its version raises, waits for ever, or changes to lock files
    that outlive a killed process.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where every open file can be locked
        return True
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        with probe.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (OSError, NotImplementedError) as error:
                warnings.warn(f"no locks in {folder} ({error}): let one process at a time use this store", stacklevel=2)
                return False
        return True
    finally:
        probe.unlink(missing_ok=True)


def surroundings() -> dict[str, str]:
    """The versions, the code and the device that a result was made with; recorded beside it, not part of its name."""
    torch = sys.modules.get("torch")  # not imported for this: a cell that did not use it ran on the CPU
    device, cuda = f"CPU ({platform.machine()})", {}
    if torch is not None and torch.cuda.is_available():
        device, cuda = torch.cuda.get_device_name(), {"cuda": torch.version.cuda or torch.version.hip}
    return {
        "mialab": mialab.__version__,
        "code": _code(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _RECORDED},
        **cuda,
        "device": device,
    }


@functools.cache
def _code() -> str:
    """The commit of the checkout that the package runs from ("+changed" if edited since), else the version."""
    package = Path(mialab.__file__).parent
    if not (package.parent / ".git").exists():  # installed; a repository further up would be somebody else's
        return mialab.__version__
    # No optional locks: a look must not stand in the way of a commit that is made meanwhile.
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--", package.name]
    try:
        done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return mialab.__version__
    lines = done.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), mialab.__version__)
    return commit[:12] + ("+changed" if any(not line.startswith("#") for line in lines) else "")
