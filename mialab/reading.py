"""Files of outputs: what an audit, and its reference models, are read from.

Nothing in a file is executed. A file may be a stream: "-" is standard input.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mialab import remedies, table
from mialab.outputs import AuditError, Outputs
from mialab.per_sample import Scores

ARCHIVE, ARRAY = b"PK", b"\x93NUMPY"  # how .npz and .npy files begin
KINDS = ("logits", "probabilities", "losses", "scores")
COPIES = 3  # of the arrays, that an audit takes at most, reading included
STREAMS = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def read(path) -> Outputs | Scores:
    """Outputs from an .npz file with `logits`, `probabilities`, `losses` or `scores`, and `labels` and `member`.

    Labels may be left out. A table (.csv) has a column `label`, a column `member`, and one per class; see
    `mialab.table`. "-" is standard input. Nothing in the file is executed (no pickles), other arrays in it are left
    alone. Raises AuditError.
    """
    return read_npz(path, made, ("member",), optional=("labels",))


def made(*, member, labels=None, **given) -> Outputs | Scores:
    """What an audit takes, of an array under its name: logits, probabilities, losses or scores. Raises AuditError."""
    ((kind, array),) = given.items()
    if kind in ("losses", "scores"):
        return Scores(array, member, labels, kind=kind)
    return Outputs(array, labels, member) if kind == "logits" else Outputs.from_probabilities(array, labels, member)


def read_npz(path, make: Callable[..., Any], names: tuple[str, ...], *, optional: tuple[str, ...] = ()) -> Any:
    """What `make` makes of the arrays of an .npz file: one of `KINDS`, `names`, and `optional` if there.

    make takes the arrays as keyword arguments. Raises AuditError, naming the file, also for what `make` refuses.
    """
    try:
        return make(**_load(path, names, optional))
    except AuditError as error:
        raise AuditError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise AuditError(f"{path}: found no such file; expected an .npz archive; check the path") from None
    except MemoryError:
        raise AuditError(f"{path}: found arrays larger than the memory; audit fewer samples or models") from None
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


def _load(path, names, optional):
    saving = f"save it with np.savez(file, logits=..., {', '.join(f'{name}=...' for name in (*optional, *names))})"
    if str(path) in STREAMS:
        return _parsed(io.BytesIO(sys.stdin.buffer.read()), names, optional, saving)
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "a directory" if path.is_dir() else "no regular file"
        raise AuditError(f"found {kind}; expected an .npz archive; name the file")
    with path.open("rb") as file:
        return _parsed(file, names, optional, saving)


def _parsed(file: BinaryIO, names, optional, saving):
    start = file.read(len(ARRAY))
    file.seek(0)
    if not start:
        raise AuditError(f"found an empty file; expected an .npz archive; {saving}")
    if not start.startswith((ARCHIVE, ARRAY)):
        try:
            return table.arrays(file)
        except table.NoTable:
            raise AuditError(f"found no .npz archive, but a file of another kind; {saving}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy remarks on odd headers, where one line on the fault is enough
            return _arrays(np.load(file, allow_pickle=False), names, optional, saving)
    except (AuditError, MemoryError, OSError):
        raise
    except Exception as error:  # a stranger's bytes: faults of zip, zlib, header and pickle all mean the same
        cause = f"{type(error).__name__}: {error}"[:160]
        raise AuditError(f"found no readable .npz archive ({cause}); {saving}") from None


def _arrays(archive, names, optional, saving):
    if isinstance(archive, np.ndarray):
        raise AuditError(f"found a single array (.npy); expected an .npz archive; {saving}")
    with archive:
        wanted = _wanted(archive.files, names, optional, saving)
        wanted += [name for name in optional if name in archive.files]
        size_bytes = sum(
            info.file_size for info in archive.zip.infolist() if info.filename.removesuffix(".npy") in wanted
        )
        if COPIES * size_bytes > _memory_bytes():
            raise MemoryError  # asked in time: the system kills rather than refuses
        return {name: _array(archive, name, saving) for name in wanted}


def _wanted(found, names, optional, saving):
    outputs = [name for name in KINDS if name in found]
    if len(outputs) > 1:
        both = " and ".join(outputs)
        raise AuditError(f"found {'both ' * (len(outputs) == 2)}{both}; expected one of them; leave one out")
    if any(name.endswith("data.pkl") for name in found):
        raise AuditError(f"found what torch.save wrote; expected an .npz archive; load it with torch and {saving}")
    missing = [name for name in names if name not in found]
    if missing or not outputs:
        what = "logits (or probabilities, losses, scores)"
        lacking = " and ".join(([] if outputs else [what]) + missing)
        held = ", ".join(found[:8]) or "no arrays"
        wanted = missing + ([] if outputs else list(KINDS)) + [name for name in optional if name not in found]
        raise AuditError(f"found {held}; expected {lacking} too; {saving}{remedies.renaming(found, wanted)}")
    absent = [name for name in optional if name not in found]
    if renaming := remedies.renaming(found, absent):
        raise AuditError(f"found no {' and '.join(absent)}{renaming}, else leave it out of the file")
    return [*outputs, *names]


def _array(archive, name, saving):
    try:
        array = archive[name]
    except ValueError as error:
        objects = "Object arrays" in str(error)
        names = "names of classes as labels.astype(str)" if name == "labels" else f"{name}.astype(np.float32)"
        remedy = f"it holds Python objects, or None: save {names}" if objects else "save it as an array of numbers"
        raise AuditError(f"{name}: cannot be read ({error}); {remedy}") from None
    if not isinstance(array, np.ndarray):
        raise AuditError(f"{name}: found no NumPy array under that name; {saving}")
    return array


def _memory_bytes():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system: no limit known
        return float("inf")
