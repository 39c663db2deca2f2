"""Outputs of models with labels and membership, checked on the way in: all that an audit needs to know.

The checks are public, since outputs of reference models (`mialab.attacks.references`) pass them too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mialab import remedies
from mialab.fusion import SMALLEST, log_confidence

ROUNDING = 5e-4  # how far a probability may be off: rounded to three decimals, or in float16 or bfloat16
ROW_SUM_TOLERANCE = (5e-3, 5e-2)  # least and most: rows of 10 and of 100 classes, each rounded in the same direction


class AuditError(ValueError):
    """Bad input to an audit: one line that says what was found, what is expected and how to mend it."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What models answered, on samples of which it is known whether they were trained on.

    logits: numbers [samples, classes], or [models, samples, classes] for an ensemble; kept as the latter. -inf, a class
        that is ruled out, counts as the probability 0 that it is (see `finite`). Of a binary model with one output
        [samples] or [.., samples, 1], kept as two classes. Of several queries per sample, such as augmentations,
        [models, samples, queries, classes]: kept are the logarithms of their mean confidences, and `by_query`.
    labels: the true classes [samples], whole numbers from 0 to classes - 1; kept as int64. None: nobody knows them;
        kept as zeros, and `labelled` is False.
    member: [samples], 1 or True for a sample that the models were trained on, 0 or False for one they were not.
    probabilities: what `from_probabilities` was given, to be averaged as it is; else None.
    by_query: the logits [models, samples, queries, classes] where there are several queries per sample; else None.
    Raises AuditError where an array is not of that kind.
    """

    logits: np.ndarray
    labels: np.ndarray | Any
    member: np.ndarray
    probabilities: np.ndarray | None = field(default=None, init=False)
    labelled: bool = field(default=True, init=False)
    by_query: np.ndarray | None = field(default=None, init=False)

    def __post_init__(self):
        given = getattr(self.logits, "shape", None)
        queried = two_outputs("logits", self.logits, np.zeros_like)
        if len(shape_of(queried)) == 4:
            self._set(by_query=queries("logits", queried))
            queried = over_queries(self.by_query)
        self._set(logits=finite(scores("logits", queried, ruled_out=True)))
        samples, classes = self.logits.shape[1:]
        self._set(labelled=self.labels is not None)
        labels = self.labels if self.labelled else np.zeros(samples, np.int64)
        self._set(labels=class_indices(labels, samples, classes, given=given))
        self._set(member=both_sides(membership(self.member, (samples,))))

    def _set(self, **arrays):
        for name, array in arrays.items():
            object.__setattr__(self, name, array)

    @classmethod
    def from_probabilities(cls, probabilities, labels, member):
        """The same from softmax outputs [(models,) samples, classes]: the log-probabilities serve as logits.

        A zero counts as the smallest positive number of its floating-point type. Raises AuditError.
        """
        array = two_outputs("probabilities", probabilities, lambda p: 1 - p)
        if len(shape_of(array)) == 4:
            return cls(logarithms_by_query("probabilities", array), labels, member)
        array = softmaxes("probabilities", array)
        outputs = cls(logarithms(array), labels, member)
        outputs._set(probabilities=array)
        return outputs

    @property
    def look_like_probabilities(self) -> bool:
        """Whether every row of the logits could be a softmax: most likely saved under the wrong name."""
        return all(one.min() >= 0 and not _wrong_sums(one).any() for one in self.logits)


def two_outputs(name: str, value: Any, other: Callable[[np.ndarray], np.ndarray]) -> Any:
    """A binary model's one output [samples] or [.., samples, 1] as those of classes 0 and 1; else what was given.

    other: class 0's output from class 1's.
    """
    shape = shape_of(value)
    if not shape or 0 in shape or len(shape) > 1 and shape[-1] != 1:
        return value
    array = numbers(name, value)
    one = array if array.ndim == 1 else array[..., 0]
    if name == "probabilities" and not ((one >= 0) & (one <= 1)).all():
        wrong = one[~((one >= 0) & (one <= 1))][0]
        remedy = "if these are raw outputs, call the array logits"
        raise AuditError(f"{name}: found {wrong:.6g}, one output per sample; expected probabilities, 0 to 1; {remedy}")
    one = one if one.dtype.kind == "f" else one.astype(np.float64)
    return np.stack([other(one), one], axis=-1)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of arrays, tensors and nested lists; () of what has none."""
    if hasattr(value, "shape"):
        return tuple(value.shape)
    try:
        return np.shape(value)
    except ValueError:
        return ()


def queries(name: str, value: Any, group: str = "models") -> np.ndarray:
    """Logits [group, samples, queries, classes], every number finite but for classes that are ruled out."""
    array = numbers(name, value)
    count, samples, several, classes = array.shape
    flat = finite(scores(name, array.reshape(count, samples * several, classes), group, ruled_out=True))
    return flat.reshape(array.shape)


def over_queries(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the mean confidence over queries: [group, samples, queries, classes] to float [group, n, classes].

    At least float32, one of the group at a time.
    """
    return np.stack([log_mean_confidence(one) for one in logits])


def log_mean_confidence(logits: np.ndarray) -> np.ndarray:
    """The same of one model's [samples, queries, classes]."""
    log_p = log_confidence(logits)
    mean = np.logaddexp.reduce(log_p, axis=1) - np.log(logits.shape[1])
    return np.maximum(mean, SMALLEST).astype(np.result_type(logits, np.float32))


def logarithms_by_query(name: str, value: Any, group: str = "models") -> np.ndarray:
    """The logarithms of softmaxes [group, samples, queries, classes]."""
    array = numbers(name, value)
    count, samples, several, classes = array.shape
    return logarithms(softmaxes(name, array.reshape(count, samples * several, classes), group)).reshape(array.shape)


def both_sides(member: np.ndarray) -> np.ndarray:
    """Membership [samples] as it is; AuditError if it is the same for all."""
    if member.all() or not member.any():
        side, other = ("members", "non-members") if member.all() else ("non-members", "members")
        raise AuditError(f"member: found {side} only; expected both sides; add samples that are {other}")
    return member


def numbers(name: str, value: Any) -> np.ndarray:
    """Real numbers as an array of any shape; booleans as uint8, longdouble as float64. Raises AuditError."""
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
    array = numbers(name, value)
    found = f"{name}: found shape {list(array.shape)}"
    single = group == "models"
    if array.ndim != 3 and not (single and array.ndim == 2):
        expected = f"{'[samples], [samples, classes] or ' * single}[{group}, samples, classes]"
        raise AuditError(f"{found}; expected {expected}; {remedies.of_shape(name, array.shape, group)}")
    array = array if array.ndim == 3 else array[None]
    count, samples, classes = array.shape
    if not count or not samples:
        raise AuditError(f"{found}, hence no {'samples' if count else group}; expected at least one")
    if classes < 2:
        remedy = "one output per sample counts as that of class 1 of two" if classes else "give each class's output"
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
    array = numbers(name, value)
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
    array = numbers("labels", labels)
    if array.shape != (samples,):
        remedy = remedies.of_labels(array, samples, given)
        raise AuditError(f"labels: found shape {list(array.shape)}; expected {[samples]}; {remedy}")
    whose = "class indices from 0 on, as many as logits has classes"
    return _whole("labels", array, classes, f"{whose}: 0 to {classes - 1}")


def membership(member: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Ones and zeros, [samples] or [shadows, samples], as bool."""
    array = numbers("member", member)
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
