"""Reference models for one's own model: drawn, trained by whatever trains it, kept on disk, and ready for an audit.

Explained in the chapter "LiRA".
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mialab import splits
from mialab.attacks import References, ReferenceScores
from mialab.engine.files import write_whole
from mialab.outputs import AuditError
from mialab.progress import bar

KINDS = ("logits", "probabilities", "losses", "scores")
FEWEST = 2  # shadows: one with each sample, and one without it

Predict = Callable[[np.ndarray], Any]


def train(
    train: Callable[[np.ndarray], Predict],
    n: int,
    number: int = 16,
    *,
    out: str | os.PathLike = "REF.npz",
    kind: str = "logits",
    labels: Any = None,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Train `number` models on random halves of n samples, and write what they answer on all of them; the file.

    train: takes rows, int64 [about n / 2] in rising order, and returns a function. It trains the whole pipeline on
        these samples alone, as the audited model was trained, but for its random numbers. What it returns takes rows
        and gives their outputs, of the kind named, [rows, ...]: NumPy arrays, or tensors of PyTorch.
    n: the number of audited samples, members and non-members together, in the audited file's order.
    out: an .npz file with what `mialab audit --reference` reads: the outputs, `member` [number, n], and labels if
        given. Each model's outputs are kept beside it, in a folder `out`.parts, until all are there: started again, the
        training goes on with the next model. A file that is there already, of the same n, number, kind and seed, is
        left as it is; delete it to train anew.
    labels: the true classes [n], if you like: then each half has its share of every class.
    Each sample is in the training set of exactly half of the models, if their number is even. Raises AuditError.
    """
    place, halves = Path(out), _halves(train, n, number, kind, labels, seed)
    if place.suffix != ".npz":
        raise AuditError(f"out: found {str(out)!r}; expected a name that ends in .npz")
    if place.exists():
        _check_done(place, halves, kind)
        return place
    parts = place.with_name(f"{place.name}.parts")
    _begin(parts, halves, kind)
    for k in bar(range(number), show=progress, desc="reference models", unit="model"):
        part = parts / f"{k}.npy"
        if not part.exists():
            write_whole(part, partial(_save, _answers(train(np.flatnonzero(halves[k])), n, k)))
    _join(place, parts, halves, kind, labels)
    return place


def load(path: str | os.PathLike, labels: Any = None) -> References | ReferenceScores:
    """What `train` wrote, for `mialab.audit.audit` and `audit_model`.

    labels: the true classes [n], if they are not in the file. Raises AuditError, and OSError where there is no file.
    """
    with np.load(path, allow_pickle=False) as file:
        held = {name: file[name] for name in file.files}
    kind = next(name for name in KINDS if name in held)
    labels = held.get("labels", labels)
    if kind in ("losses", "scores"):
        return ReferenceScores(held[kind], held["member"], labels, kind=kind)
    if labels is None:
        raise AuditError(f"{path}: found no labels; give them: load({str(path)!r}, labels)")
    make = References if kind == "logits" else References.from_probabilities
    return make(held[kind], held["member"], labels)


def _halves(train: object, n: int, number: int, kind: str, labels: Any, seed: int) -> np.ndarray:
    """Which model is trained on which sample, bool [number, n]; AuditError for arguments that make no sense."""
    if not callable(train):
        raise AuditError(f"train: found {type(train).__name__}; expected a function that takes rows and trains on them")
    if kind not in KINDS:
        raise AuditError(f"kind: found {kind!r}; expected {', '.join(KINDS)}")
    if number < FEWEST or n < FEWEST:
        raise AuditError(f"found {number} models and {n} samples; expected at least {FEWEST} of both")
    classes = np.zeros(n, np.int64) if labels is None else np.unique(np.asarray(labels), return_inverse=True)[1]
    if classes.shape != (n,):
        raise AuditError(f"labels: found shape {list(classes.shape)}; expected [{n}], one for each sample")
    return np.stack([splits.half(classes, k, seed=seed) for k in range(number)])


def _begin(parts: Path, halves: np.ndarray, kind: str) -> None:
    """Make the folder; AuditError where it holds models of another design."""
    design = parts / f"{kind}.member.npy"
    if parts.exists() and not (design.exists() and np.array_equal(np.load(design), halves)):
        raise AuditError(f"{parts}: found models of another n, number, kind or seed; delete it, or choose another out")
    if not design.exists():
        write_whole(design, lambda file: np.save(file, halves))


def _answers(predict: object, n: int, k: int) -> np.ndarray:
    """What the k-th model answers on all samples."""
    if not callable(predict):
        name = type(predict).__name__
        raise AuditError(f"train: returned {name}; expected a function that takes rows and gives their outputs")
    answers = predict(np.arange(n))
    if hasattr(answers, "detach"):
        answers = answers.detach().float().cpu()
    found = np.asarray(answers)
    if found.dtype.kind not in "fiu" or found.shape[:1] != (n,):
        seen = f"found type {found.dtype} and shape {list(found.shape)}"
        raise AuditError(f"reference model {k}: {seen}; expected numbers [{n}, ...], an output for each row asked")
    return found


def _save(answers: np.ndarray, file: BinaryIO) -> None:
    np.save(file, answers)


def _join(place: Path, parts: Path, halves: np.ndarray, kind: str, labels: Any) -> None:
    outputs = [np.load(parts / f"{k}.npy", allow_pickle=False) for k in range(len(halves))]
    if len({one.shape for one in outputs}) > 1:
        shapes = sorted({str(list(one.shape)) for one in outputs})
        raise AuditError(f"{parts}: found outputs of shapes {' and '.join(shapes)}; expected one; delete the folder")
    arrays: dict[str, Any] = {kind: np.stack(outputs), "member": halves}
    if labels is not None:
        arrays["labels"] = np.asarray(labels)
    write_whole(place, lambda file: np.savez(file, **arrays))
    shutil.rmtree(parts)


def _check_done(place: Path, halves: np.ndarray, kind: str) -> None:
    with np.load(place, allow_pickle=False) as file:
        same = kind in file.files and np.array_equal(file["member"], halves)
    if not same:
        raise AuditError(f"{place}: found references of another n, number, kind or seed; delete it, or choose another")
