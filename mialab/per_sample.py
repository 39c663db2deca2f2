"""One number per sample instead of outputs per class: a loss, or a score of somebody's own attack.

So language models (a loss per sequence), regression, segmentation and whatever else has no classes can be audited.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mialab import remedies
from mialab.fusion import LARGEST
from mialab.outputs import AuditError, both_sides, membership, numbers, shape_of

KINDS = ("losses", "scores")
ROUNDING = 1e-5  # how far below 0 a loss that cannot be negative may be


class Signal(NamedTuple):
    """What an attack reads of a sample: both float64 [n], or [.., n], higher for members.

    odds: the log-odds of the right answer, or what stands for them. log_p: its log-probability.
    """

    odds: np.ndarray
    log_p: np.ndarray


@dataclass(frozen=True, eq=False)
class Scores:
    """A number per sample, of a model or an ensemble.

    values: [samples], [models, samples], or of several queries per sample [models, samples, queries]; kept as the
        last, float64.
    member: [samples], as in `Outputs`. labels: [samples], whole numbers from 0 on, for thresholds per class; or None.
    kind: "losses", low for members: -log of a probability or a likelihood, in nats if there is a choice. "scores", high
        for members: log-odds if there is a choice.
    Raises AuditError where an array is not of that kind.
    """

    values: np.ndarray
    member: np.ndarray
    labels: np.ndarray | Any = None
    kind: str = "scores"
    labelled: bool = field(default=False, init=False)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise AuditError(f"kind: found {self.kind!r}; expected {' or '.join(KINDS)}")
        values = per_sample(self.kind, self.values, shape_of(self.member)[-1:])
        samples = values.shape[1]
        kept = {
            "values": values,
            "member": both_sides(membership(self.member, (samples,))),
            "labelled": self.labels is not None,
            "labels": np.zeros(samples, np.int64) if self.labels is None else groups(self.labels, samples),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @property
    def negative(self) -> bool:
        """Whether some losses are below 0, as those of densities may be."""
        return self.kind == "losses" and float(self.values.min()) < -ROUNDING

    def by_query(self, plain: bool) -> np.ndarray:
        """The odds of each query, models fused: float64 [samples, queries]. plain: see `signal`."""
        return signal(_fused(self.values, self.kind, axis=0), self.kind, plain=plain).odds

    def signal(self, plain: bool) -> Signal:
        """Models and queries fused: losses by the mean of exp(-loss), scores by their own mean. plain: see `signal`."""
        return signal(_fused(self.values, self.kind, axis=(0, 2)), self.kind, plain=plain)


def per_sample(kind: str, value: Any, samples: tuple[int, ...], group: str = "models") -> np.ndarray:
    """The array as float64 [group, samples, queries], every number finite. Raises AuditError.

    samples: how many there are, as a tuple; one of "models" may come without its axis.
    """
    array = numbers(kind, value)
    found = f"{kind}: found shape {list(array.shape)}"
    if array.ndim == 1 and group == "models":
        array = array[None]
    if array.ndim == 2 and group == "models" and array.shape[1] == 1 and array.shape[:1] == samples:
        array = array.T
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[1:2] != samples or 0 in array.shape:
        single = "[samples] or " * (group == "models")
        count = f" of {samples[0]} samples" if samples else ""
        remedy = remedies.of_scores(kind, shape_of(value), group)
        raise AuditError(f"{found}; expected {single}[{group}, samples]{count}; {remedy}")
    array = array.astype(np.float64) if array.dtype.kind != "f" else _floored(array, kind)
    if not (fine := np.isfinite(array)).all():
        k, sample, _ = np.argwhere(~fine)[0]
        remedy = f"drop such samples ({int((~fine).any(axis=(0, 2)).sum())} of {array.shape[1]}) from every array"
        raise AuditError(f"{kind}: found {array[~fine][0]} at {group[:-1]} {k}, sample {sample}; {remedy}")
    return array


def groups(labels: Any, samples: int) -> np.ndarray:
    """Labels [samples] as int64: whole numbers from 0 on, whatever they mean. Raises AuditError."""
    array = numbers("labels", labels)
    if array.shape != (samples,):
        remedy = remedies.of_labels(array, samples, None)
        raise AuditError(f"labels: found shape {list(array.shape)}; expected {[samples]}; {remedy}")
    whole = np.isfinite(array) & (array >= 0) & (array == np.floor(array))
    if not whole.all():
        remedy = "number the groups: np.unique(labels, return_inverse=True)[1]; or leave labels out"
        raise AuditError(f"labels: found {array[~whole][0]}; expected whole numbers from 0 on; {remedy}")
    return np.unique(array, return_inverse=True)[1].astype(np.int64) if array.max() >= samples else array.astype(int)


def signal(values: np.ndarray, kind: str, *, plain: bool = False) -> Signal:
    """Both scales of fused losses or scores.

    A score is taken for log-odds. A loss is -log p: log-odds are -log(exp(loss) - 1). plain: losses of densities, which
    have no odds: -loss stands for both.
    """
    if kind == "scores":
        return Signal(values, -np.logaddexp(0, -values))
    if plain:
        return Signal(-values, -values)
    losses = np.maximum(values, np.finfo(np.float64).tiny)
    small = losses < 30
    odds = -np.where(small, np.log(np.expm1(np.where(small, losses, 1.0))), losses + np.log1p(-np.exp(-losses)))
    return Signal(np.clip(odds, -LARGEST, LARGEST), -losses)


def _fused(values: np.ndarray, kind: str, axis: int | tuple[int, ...]) -> np.ndarray:
    if kind == "scores":
        return values.mean(axis=axis)
    counted = values.size // _fewer(values, axis).size
    return -np.logaddexp.reduce(-values, axis=axis) + np.log(counted) if counted > 1 else _fewer(values, axis)


def _fewer(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    return values[0] if axis == 0 else values[0, :, 0]


def _floored(array: np.ndarray, kind: str) -> np.ndarray:
    """Float64 numbers; a loss of exactly 0, a probability that rounded to 1, is a quarter of the type's rounding."""
    if kind == "losses" and array.min() >= -ROUNDING and (array <= 0).any():
        least = float(np.finfo(array.dtype).eps) / 4
        positive = array[array > 0]
        least = min(least, float(positive.min())) if positive.size else least
        return np.where(array <= 0, least, array.astype(np.float64))
    return array.astype(np.float64)
