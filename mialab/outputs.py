"""Outputs of models with labels and membership, checked on the way in: all that an audit needs to know.

The checks are public, since outputs of reference models (`mialab.attacks.references`) pass them too.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mialab import remedies

ROUNDING = 5e-4  # how far a probability may be off: rounded to three decimals, or in float16 or bfloat16
ROW_SUM_TOLERANCE = (5e-3, 5e-2)  # least and most: rows of 10 and of 100 classes, each rounded in the same direction
ARCHIVE, ARRAY = b"PK", b"\x93NUMPY"  # how .npz and .npy files begin


class AuditError(ValueError):
    """Bad input to an audit: one line that says what was found, what is expected and how to mend it."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What models answered, on samples of which it is known whether they were trained on.

    logits: numbers [samples, classes], or [models, samples, classes] for an ensemble; kept as the latter. -inf, a class
        that is ruled out, counts as the probability 0 that it is (see `finite`).
    labels: the true classes [samples], whole numbers from 0 to classes - 1; kept as int64.
    member: [samples], 1 or True for a sample that the models were trained on, 0 or False for one they were not.
    probabilities: what `from_probabilities` was given, to be averaged as it is; else None.
    Raises AuditError where an array is not of that kind.
    """

    logits: np.ndarray
    labels: np.ndarray
    member: np.ndarray
    probabilities: np.ndarray | None = field(default=None, init=False)

    def __post_init__(self):
        given = getattr(self.logits, "shape", None)
        self._set(logits=finite(scores("logits", self.logits, ruled_out=True)))
        samples, classes = self.logits.shape[1:]
        self._set(labels=class_indices(self.labels, samples, classes, given=given))
        self._set(member=membership(self.member, (samples,)))
        if self.member.all() or not self.member.any():
            side, other = ("members", "non-members") if self.member.all() else ("non-members", "members")
            raise AuditError(f"member: found {side} only; expected both sides; add samples that are {other}")

    def _set(self, **arrays):
        for name, array in arrays.items():
            object.__setattr__(self, name, array)

    @classmethod
    def from_probabilities(cls, probabilities, labels, member):
        """The same from softmax outputs [(models,) samples, classes]: the log-probabilities serve as logits.

        A zero counts as the smallest positive number of its floating-point type. Raises AuditError.
        """
        array = softmaxes("probabilities", probabilities)
        outputs = cls(logarithms(array), labels, member)
        outputs._set(probabilities=array)
        return outputs

    @property
    def look_like_probabilities(self) -> bool:
        """Whether every row of the logits could be a softmax: most likely saved under the wrong name."""
        return all(one.min() >= 0 and not _wrong_sums(one).any() for one in self.logits)


def read(path) -> Outputs:
    """Outputs from an .npz file with the arrays `logits` or `probabilities`, `labels` and `member`.

    Nothing in the file is executed (no pickles), other arrays in it are left alone. Raises AuditError.
    """
    return read_npz(path, _outputs, ("labels", "member"))


def _outputs(logits=None, probabilities=None, **known):
    return Outputs(logits, **known) if probabilities is None else Outputs.from_probabilities(probabilities, **known)


def read_npz(path, make: Callable[..., Any], names: tuple[str, ...], *, optional: tuple[str, ...] = ()) -> Any:
    """What `make` makes of the arrays of an .npz file: `logits` or `probabilities`, `names`, and `optional` if there.

    make takes the arrays as keyword arguments. Raises AuditError, naming the file, also for what `make` refuses.
    """
    try:
        return make(**_load(Path(path), names, optional))
    except AuditError as error:
        raise AuditError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise AuditError(f"{path}: found no such file; expected an .npz archive; check the path") from None
    except MemoryError:
        raise AuditError(f"{path}: found arrays larger than the memory; audit fewer samples or models") from None
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


def _load(path, names, optional):
    saving = f"save it with np.savez(file, logits=..., {', '.join(f'{name}=...' for name in names)})"
    if path.exists() and not path.is_file():
        kind = "a directory" if path.is_dir() else "no regular file"
        raise AuditError(f"found {kind}; expected an .npz archive; name the file")
    if path.is_file() and not path.stat().st_size:
        raise AuditError(f"found an empty file; expected an .npz archive; {saving}")
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy remarks on odd headers, where one line on the fault is enough
            if not file.read(len(ARRAY)).startswith((ARCHIVE, ARRAY)):
                raise AuditError(f"found no .npz archive, but a file of another kind; {saving}")
            file.seek(0)
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
        wanted = _wanted(archive.files, names, saving)
        wanted += [name for name in optional if name in archive.files]
        size_bytes = sum(
            info.file_size for info in archive.zip.infolist() if info.filename.removesuffix(".npy") in wanted
        )
        if size_bytes > _memory_bytes():
            raise MemoryError  # asked in time: the system kills rather than refuses
        return {name: _array(archive, name, saving) for name in wanted}


def _wanted(found, names, saving):
    outputs = [name for name in ("logits", "probabilities") if name in found]
    if len(outputs) == 2:
        raise AuditError("found both logits and probabilities; expected one of them; leave one out")
    if any(name.endswith("data.pkl") for name in found):
        raise AuditError(f"found what torch.save wrote; expected an .npz archive; load it with torch and {saving}")
    missing = [name for name in names if name not in found]
    if missing or not outputs:
        lacking = " and ".join(([] if outputs else ["logits (or probabilities)"]) + missing)
        held = ", ".join(found[:8]) or "no arrays"
        wanted = missing + ([] if outputs else ["logits", "probabilities"])
        raise AuditError(f"found {held}; expected {lacking} too; {saving}{remedies.renaming(found, wanted)}")
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


def _numbers(name, value):
    if np.ma.is_masked(value):
        raise AuditError(f"{name}: found masked entries; expected a number in each; drop such samples")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        cause, remedy = str(error).partition("\n")[0], remedies.of_no_array(name, value, error)
        raise AuditError(f"{name}: cannot be made an array ({cause}); {remedy}") from None
    if array.dtype.kind not in "fiub":
        found = "nothing (None)" if value is None else f"type {array.dtype}"
        raise AuditError(f"{name}: found {found}; expected real numbers; {remedies.of_type(name, array)}")
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # beyond float64 means infinite, which is refused below
            return array.astype(np.float64)
    return array


def scores(name: str, value: Any, group: str = "models", *, ruled_out: bool = False) -> np.ndarray:
    """The array as [group, samples, classes], every number finite; one of "models" may come without its axis.

    ruled_out: -inf may stand beside finite numbers. Raises AuditError, one line, as all checks here do.
    """
    array = _numbers(name, value)
    found = f"{name}: found shape {list(array.shape)}"
    single = group == "models"
    if array.ndim != 3 and not (single and array.ndim == 2):
        expected = f"{'[samples, classes] or ' * single}[{group}, samples, classes]"
        raise AuditError(f"{found}; expected {expected}; {remedies.of_shape(name, array.shape, group)}")
    array = array if array.ndim == 3 else array[None]
    count, samples, classes = array.shape
    if not count or not samples:
        raise AuditError(f"{found}, hence no {'samples' if count else group}; expected at least one")
    if classes < 2:
        remedy = remedies.of_one_output(name)
        raise AuditError(f"{found}, hence {classes} classes; expected at least 2; {remedy}")
    bad = [_bad(one, ruled_out) for one in array]
    for k, (one, wrong) in enumerate(zip(array, bad, strict=True)):
        if wrong is not None:
            sample, label = np.argwhere(wrong)[0]
            where = f"{group[:-1]} {k}, sample {sample}, class {label}"
            others = sum(other is None for other in bad)
            remedy = remedies.of_numbers(name, group, one, wrong, k=k, others=others)
            raise AuditError(f"{name}: found {one[sample, label]} at {where}; expected finite numbers; {remedy}")
    return array


def _bad(one: np.ndarray, ruled_out: bool) -> np.ndarray | None:
    """Marks what is no finite number, bool [samples, classes]; None where all are."""
    wrong = ~np.isfinite(one)
    if ruled_out and wrong.any():
        wrong &= ~np.isneginf(one) | np.isneginf(one).all(axis=1, keepdims=True)
    return wrong if wrong.any() else None


def finite(logits: np.ndarray) -> np.ndarray:
    """Logits [group, samples, classes] whose -inf, a probability of 0, is as small as a zero among `logarithms`.

    It is the smallest positive number of the type, at least float32's, as a probability; or as small as the smallest of
    all probabilities, where that is smaller.
    """
    if not np.isneginf(logits).any():
        return logits
    kind = np.result_type(logits, np.float32)
    changed, totals = logits.astype(kind), []
    least = float(np.log(np.finfo(kind).smallest_subnormal))
    for one in changed:
        top = one.max(axis=1, keepdims=True).astype(np.float64)
        with np.errstate(over="ignore"):
            total = top + np.log(np.exp(one - top).sum(axis=1, keepdims=True))
        totals.append(total)
        least = min(least, float((one - total)[np.isfinite(one)].min()))
    for one, total in zip(changed, totals, strict=True):
        one[:] = np.where(np.isneginf(one), np.maximum(total + least, np.finfo(kind).min), one)
    return changed


def softmaxes(name: str, value: Any, group: str = "models") -> np.ndarray:
    """The same of numbers that must be softmaxes, in a floating-point type: none below 0, each row's sum near 1."""
    array = scores(name, value, group)
    for k, one in enumerate(array):
        bad = (one.min(axis=-1) < 0) | _wrong_sums(one)
        if bad.any():
            row = one[(sample := int(np.argmax(bad)))]
            what = f"found a row from {row.min():.4g} to {row.max():.4g} that sums to {_sums(row):.6g}"
            where = f"{group[:-1]} {k}, sample {sample}"
            remedy = remedies.of_probabilities(name, array)
            raise AuditError(f"{name}: {what} ({where}); expected none below 0 and a sum of 1; {remedy}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def sensitivities(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """How far probabilities move under noise, an array of this shape: every number finite and none below 0."""
    array = _numbers(name, value)
    if array.shape != shape:
        found = f"found shape {list(array.shape)}; expected {list(shape)}"
        raise AuditError(f"{name}: {found}; measure it on the very samples, a number for each class")
    if not (np.isfinite(array) & (array >= 0)).all():
        remedy = "give mean absolute changes, as mialab.attacks.sensitivity does"
        raise AuditError(f"{name}: found a number below 0 or none at all; expected finite ones from 0 on; {remedy}")
    return array


def logarithms(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms, at least float32; a zero counts as the smallest positive number of its floating-point type."""
    logs = np.empty(probabilities.shape, np.result_type(probabilities, np.float32))
    least = np.finfo(probabilities.dtype).smallest_subnormal
    for one, out in zip(probabilities, logs, strict=True):
        np.log(np.maximum(one, least), out=out, dtype=logs.dtype)
    return logs


def class_indices(labels: Any, samples: int, classes: int, *, given: tuple[int, ...] | None = None) -> np.ndarray:
    """The labels [samples] as int64; given: the shape in which the outputs came."""
    array = _numbers("labels", labels)
    if array.shape != (samples,):
        remedy = remedies.of_labels(array, samples, given)
        raise AuditError(f"labels: found shape {list(array.shape)}; expected {[samples]}; {remedy}")
    whose = "class indices from 0 on, as many as logits has classes"
    return _whole("labels", array, classes, f"{whose}: 0 to {classes - 1}")


def membership(member: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Ones and zeros, [samples] or [shadows, samples], as bool."""
    array = _numbers("member", member)
    if array.shape != shape:
        remedy = _reshaping("member", array, shape)
        raise AuditError(f"member: found shape {list(array.shape)}; expected {list(shape)}; {remedy}")
    return _whole("member", array, 2, "1 for members and 0 for non-members").astype(bool)


def _whole(name, array, below, expected):
    """The array as int64, every number whole and from 0 to below - 1."""
    good = (array >= 0) & (array < below) & (array == np.floor(array))  # NaN is none of these
    if not good.all():
        place = tuple(int(i) for i in np.argwhere(~good)[0])
        axes = ("shadow", "sample")[-array.ndim :]
        where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, place, strict=True))
        remedy = remedies.of_label(array, good, below) if name == "labels" else remedies.of_member(array)
        raise AuditError(f"{name}: found {array[place]} at {where}; expected {expected}; {remedy}")
    return array.astype(np.int64)


def _reshaping(name, array, shape):
    """What the wrong shape most likely wants."""
    if len(shape) == 2:
        turned = array.shape == shape[::-1]
        return f"use {name}.T" if turned else "one row per shadow, one entry per sample, in the samples' order"
    if array.size == shape[0]:
        return f"use {name}.ravel()"
    if array.ndim == 2 and array.shape[1] == shape[0]:
        return "of an ensemble give 1 where a sample is in any model's training set: member.any(axis=0)"
    return "one entry per sample, in the samples' order"


def _wrong_sums(one):
    return np.abs(_sums(one) - 1) > np.clip(ROUNDING * one.shape[-1], *ROW_SUM_TOLERANCE)


def _sums(one):
    with np.errstate(over="ignore"):  # an infinite sum is as wrong as any
        return one.sum(axis=-1, dtype=np.float64)
