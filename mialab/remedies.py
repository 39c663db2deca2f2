"""What to do with an array that is not what it should be: the last part of a refusal, about this array."""

from __future__ import annotations

from typing import Any

import numpy as np

NEAR = 0.25  # how far a row of probabilities may sum from 1 and be merely rounded
WORDS_FOR_MEMBERS = ("train", "member", "in", "yes", "true", "seen")
ALIASES = {
    "labels": ("label", "targets", "target", "y", "y_true", "classes"),
    "member": ("members", "membership", "is_member", "in", "train", "is_train"),
    "logits": ("outputs", "z"),
    "probabilities": ("probs", "prob", "p", "softmax", "confidences"),
    "losses": ("loss", "nll", "cross_entropy"),
    "scores": ("score",),
}


def of_no_array(name: str, value: Any, error: Exception) -> str:
    """For what NumPy cannot make an array of."""
    if type(value).__module__.partition(".")[0] == "torch":
        return f"use {name}.detach().float().cpu()"
    if "inhomogeneous" in str(error) or isinstance(value, list | tuple):
        return "give every sample as many numbers"
    return "give an array of numbers"


def of_type(name: str, array: np.ndarray) -> str:
    """For an array whose type is no real number."""
    if array.dtype.kind == "O" and array.ndim == 0 and array.item() is None:
        return f"give the array {name}"
    if array.dtype.kind == "V":
        return f"if these are bfloat16, save {name}.astype(np.float32)"
    if array.dtype.kind == "c":
        return f"take one real number of each, such as {name}.real"
    if not _is_text(array):
        return f"convert with {name}.astype(np.float32)"
    if name == "member":
        return f"code it, as in ({name} == {_member_word(array)!r}).astype(int)"
    if name == "labels":
        numbered = "np.unique(labels, return_inverse=True)[1]"
        return f"number the classes, in the order of the model's outputs: {numbered} if that is the names' own order"
    return f"read them as numbers: {name}.astype(np.float32)"


def _is_text(array: np.ndarray) -> bool:
    if array.dtype.kind == "O":
        return bool(array.size) and isinstance(array.flat[0], str | bytes)
    return array.dtype.kind in "UST"


def _member_word(array: np.ndarray) -> str:
    found = [str(one) for one in np.unique(array.astype(str))]
    usual = [one for one in found if one.lower() in WORDS_FOR_MEMBERS]
    return (usual or found)[0] if found else "train"


def of_shape(name: str, shape: tuple[int, ...], group: str) -> str:
    """For outputs whose number of axes is not that of [group, samples, classes]."""
    if group == "shadows" and len(shape) == 2:
        one = "a number per shadow and sample is called losses or scores"
        return f"give every class's output for each shadow and sample, one shadow as {name}[None]; {one}"
    if len(shape) in (4, 5):
        what = "of whole ensembles fuse each ensemble first" if group == "shadows" else "of whole ensembles take one"
        return f"{what}; of several augmentations of a sample take the mean over their axis"
    return "give every class's output for each sample"


def of_axes(name: str, shape: tuple[int, ...], samples: int) -> str | None:
    """For outputs of that shape beside `samples` labels, if another order of their axes fits; else None."""
    if len(shape) == 2:
        return f"the outputs' axes are turned: use {name}.T" if shape[1] == samples else None
    if len(shape) != 3 or shape[1] == samples:
        return None
    if shape[2] == samples:
        return f"the outputs' axes are turned: use np.swapaxes({name}, 1, 2)"
    if shape[0] != samples:
        return None
    last, middle = f"np.moveaxis({name}, -1, 0)", f"np.moveaxis({name}, 1, 0)"
    where = f"{last} if models are the last axis, {middle} if they are the middle one"
    return f"the outputs' axes are turned: use {where}; if the middle one is several queries, {name}[None]"


def of_numbers(name: str, group: str, one: np.ndarray, wrong: np.ndarray, *, k: int, others: int) -> str:
    """For outputs [samples, classes] of model k that are no finite numbers where wrong; others: models without any."""
    samples = int(wrong.any(axis=1).sum())
    if np.isposinf(one[wrong]).all():
        return "they overflowed: save them in float32, before any exponential, or drop such samples"
    if others and samples > len(one) / 2:
        also = " and from member" if group == "shadows" else ""
        return (
            f"drop the {group[:-1]}: np.delete({name}, {k}, axis=0){also}; {samples} of its {len(one)} samples are so"
        )
    return f"drop such samples ({samples} of {len(one)}) from every array"


def of_scores(name: str, shape: tuple[int, ...], group: str) -> str:
    """For numbers that are not one per sample; group: "models" or "shadows"."""
    if group == "models" and len(shape) == 2 and shape[1] < shape[0]:
        return f"if these are outputs per class, call the array logits; of an ensemble use {name}.T"
    if len(shape) > 3:
        return f"of each sample's many parts, such as pixels or tokens, take the mean: {name}.mean(-1)"
    return "one number per sample, in the samples' order"


def of_probabilities(name: str, array: np.ndarray) -> str:
    """For outputs [group, samples, classes] that are no softmaxes."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = array.sum(axis=-1, dtype=np.float64)
        low, high = float(array.min()), float(array.max())
        if high <= 0 and (np.abs(np.exp(array).sum(axis=-1) - 1) < 1e-2).all():
            return "these are log-probabilities: call the array logits"
        if low >= 0:
            middle = f"np.moveaxis({name}, -1, 0)" if len(array) > array.shape[2] else f"np.swapaxes({name}, -1, -2)"
            for axis, use in ((1, middle), (0, f"np.moveaxis({name}, 0, -1)")):
                if array.shape[axis] > 1 and (np.abs(array.sum(axis=axis, dtype=np.float64) - 1) < 1e-2).all():
                    return f"the axes are turned: use {use}"
        if low >= -NEAR / 10 and (np.abs(sums - 1) < NEAR).all():
            clip = f"{name} = np.clip({name}, 0, None)"
            return f"they were rounded: {clip}; {name} /= {name}.sum(-1, keepdims=True)"
        if low >= 0 and (np.abs(sums - 100) < 100 * NEAR).all():
            return f"these are per cent: use {name} / 100"
        if low >= 0 and high <= 1 and (sums > 1).any() and (sums < 1).any():
            binary = "audit a multi-label model class by class, each as a binary model"
            return f"one sigmoid per class is no softmax: {binary}; if one class is right, call raw outputs logits"
    return "if these are raw outputs, call the array logits"


def of_labels(array: np.ndarray, samples: int, shape: tuple[int, ...] | None) -> str:
    """For labels that are not one per sample, beside outputs of that shape as they were given."""
    if array.ndim == 1 and shape and (turned := of_axes("logits", shape, len(array))):
        return turned
    if array.size == samples:
        return "use labels.ravel()"
    if array.ndim != 2:
        ensemble = "an ensemble's outputs are [models, samples, classes]"
        return f"one entry per sample, in the samples' order; {ensemble}"
    rows = array if len(array) == samples else array.T
    if len(rows) != samples:
        return "one entry per sample, in the samples' order"
    if not np.isin(rows, (0, 1)).all():
        soft = np.allclose(rows.sum(axis=1), 1, atol=1e-2)
        mixed = "these are soft labels: give each sample's true class"
        return mixed if soft else "give each sample's one true class"
    if (rows.sum(axis=1) == 1).all():
        return f"they are one-hot: use labels.argmax({1 if rows is array else 0})"
    several = f"{int((rows.sum(axis=1) != 1).sum())} samples have several classes or none"
    return f"{several}: audit a multi-label model class by class, each as a binary model with labels[:, k]"


def of_label(array: np.ndarray, good: np.ndarray, classes: int) -> str:
    """For labels that are no class; good: bool [samples]."""
    bad = array[~good]
    if array.dtype.kind == "f" and not np.isnan(bad).any() and (bad != np.floor(bad)).any():
        return "give whole numbers: a class each"
    if classes == 2 and np.isin(array, (-1, 1)).all():
        return "use (labels > 0).astype(int)"
    if np.isnan(bad.astype(np.float64)).any() or (bad < 0).all():
        return f"drop the {len(bad)} samples without a class from every array: keep = labels >= 0, logits[..., keep, :]"
    if array.min() == 1 and array.max() == classes:
        return f"classes are numbered from 1 to {classes}: use labels - 1"
    if (bad >= classes).all() and len(np.unique(array)) <= classes:
        numbered = "np.unique(labels, return_inverse=True)[1]"
        return f"number the classes from 0 in the order of the model's outputs: {numbered} if that is the numbers' own"
    return f"give the outputs of all {int(array.max()) + 1} classes, or drop samples of classes that the model lacks"


def of_member(array: np.ndarray) -> str:
    """For membership that is neither 0 nor 1."""
    found = np.unique(array[np.isfinite(array.astype(np.float64))])
    if len(found) == 2 and not np.isnan(array.astype(np.float64)).any():
        return f"if {found[1]:g} marks members, use (member == {found[1]:g}).astype(int)"
    if len(found) > 2 and (found == np.floor(found)).all() and len(found) < 6:
        return "keep the members and one set of non-members: drop samples of a third set (validation) from every array"
    return "recode it"


def renaming(found: list[str], missing: list[str]) -> str:
    """Which of the arrays found may be the missing ones under other names; empty if none."""
    held = {name.lower(): name for name in found}
    pairs = [(held[other], name) for name in missing for other in ALIASES.get(name, ()) if other in held]
    return "".join(f"; if {other} is that, call it {name}" for other, name in pairs[:3])
