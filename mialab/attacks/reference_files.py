"""Reference models' outputs, read from a file."""

from __future__ import annotations

import numpy as np

from mialab.attacks.reference_scores import ReferenceScores
from mialab.attacks.references import References, same_samples
from mialab.outputs import AuditError, Outputs, class_indices, two_outputs
from mialab.per_sample import Scores
from mialab.reading import read_npz

BINARY = 2  # classes that one output per sample may stand for


def read(path, outputs: Outputs | Scores) -> References | ReferenceScores:
    """References for the audited `outputs` from an .npz file with `member` and one of `mialab.reading.KINDS`.

    Labels are the outputs'; labels in the file are compared with them, as a guard against another order of the samples,
    and stand in where the outputs have none. Nothing in the file is executed. Raises AuditError.
    """
    return read_npz(path, lambda **arrays: _made(outputs, **arrays), ("member",), optional=("labels",))


def _made(outputs: Outputs | Scores, *, member, labels=None, **given) -> References | ReferenceScores:
    ((kind, array),) = given.items()
    if kind in ("losses", "scores"):
        found = ReferenceScores(array, member, labels, kind=kind)
        found.check(outputs)
        return found
    if np.ndim(array) == 2 and isinstance(outputs, Outputs) and outputs.logits.shape[2] == BINARY:
        array = _one_output(kind, array, len(outputs.member))
    elif np.ndim(array) > 2:
        array = two_outputs(kind, array, np.zeros_like if kind == "logits" else lambda p: 1 - p)
    same_samples(np.shape(array), outputs)
    make = References if kind == "logits" else References.from_probabilities
    return make(array, member, _labels(labels, outputs, np.shape(array)))


def _one_output(kind: str, array: np.ndarray, samples: int) -> np.ndarray:
    """Of a binary model, one output per shadow and sample; one shadow's outputs per class are left to be refused."""
    if array.shape[1] != samples:
        return array
    return two_outputs(kind, array[..., None], np.zeros_like if kind == "logits" else lambda p: 1 - p)


def _labels(labels, outputs: Outputs | Scores, shape: tuple[int, ...]) -> np.ndarray:
    if labels is None:
        if not outputs.labelled:
            remedy = "save labels in either file, or losses instead of outputs per class"
            raise AuditError(f"reference: found outputs per class, but no labels; {remedy}")
        return outputs.labels
    classes = shape[-1] if len(shape) > 2 else int(outputs.labels.max()) + 1
    found = class_indices(labels, len(outputs.member), classes)
    if outputs.labelled and (different := np.flatnonzero(found != outputs.labels)).size:
        seen = f"found {found[different[0]]} at sample {different[0]}; expected {outputs.labels[different[0]]}"
        raise AuditError(f"labels of the reference: {seen}; let the shadows answer on the samples in the same order")
    return found
