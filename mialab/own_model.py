"""An audit of a model that one holds: asked here for its answers, and then audited as arrays.

Models of PyTorch and of scikit-learn, functions of any framework, and lists of them, which are ensembles. Explained in
the chapter "The audit".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mialab.audit import Outputs, Report, audit
from mialab.outputs import AuditError
from mialab.progress import bar

ROWS = 10_000  # that a model of scikit-learn is asked at a time
ASKED = "expected a torch.nn.Module, a fitted classifier of scikit-learn, or a function of inputs, or a list of these"


def audit_model(
    model: Any,
    train: Any,
    test: Any,
    *,
    batch: int = 256,
    probabilities: bool = False,
    progress: bool = True,
    **options: Any,
) -> Report:
    """How well attacks tell the samples that a model was trained on from others: `mialab.audit.audit` of its answers.

    model: a `torch.nn.Module` that answers logits; a fitted classifier with `predict_proba` or `decision_function`; or
        a function of a batch of inputs. A list of several is an ensemble.
    train, test: samples that it was trained on, and samples that it has never seen, both without augmentation: a pair
        (x, y) of arrays or tensors, a DataLoader, or a Dataset of PyTorch.
    batch: samples at a time, of a module or a function. A module is asked where it lies (`model.to("cuda")` makes it
        faster), in evaluation mode and without gradients, and left as it was.
    probabilities: whether a module or a function answers probabilities rather than logits.
    options: further arguments of `audit`, such as attacks, known, seed, references (their samples in the order train,
        then test) and prior. Raises AuditError.
    """
    models = list(model) if isinstance(model, list | tuple) else [model]
    if not models:
        raise AuditError(f"model: found an empty list; {ASKED}")
    asked = [_asked(one, probabilities) for one in models]
    if len({kind for kind, _ in asked}) > 1:
        raise AuditError("model: found models that answer logits and models that answer probabilities; give one kind")
    rows = ROWS if all(hasattr(one, "classes_") for one in models) else batch
    sides = {name: _batches(side, name, rows) for name, side in (("train", train), ("test", test))}
    found = [_collected([ask for _, ask in asked], pairs, name, progress) for name, pairs in sides.items()]
    answers, labels = zip(*found, strict=True)
    member = np.repeat([1, 0], [len(one) for one in labels])
    classes = _classes(models)
    made = Outputs if asked[0][0] == "logits" else Outputs.from_probabilities
    outputs = made(np.concatenate(answers, axis=1), _numbered(np.concatenate(labels), classes), member)
    return audit(outputs, progress=progress, **options)


# the samples


def _batches(side: Any, name: str, rows: int) -> Iterable[tuple[Any, Any]]:
    """Pairs (x, y) of so many samples, or of the loader's own size; AuditError where there are none to be had."""
    if isinstance(side, tuple | list) and len(side) == 2:
        x, y = side[0], _array(side[1])
        if len(y) != _length(x):
            raise AuditError(f"{name}: found {_length(x)} inputs and {len(y)} labels; expected one for each")
        return _cut(x, y, rows)
    if isinstance(side, np.ndarray | str | dict | tuple | list) or hasattr(side, "shape"):
        raise AuditError(f"{name}: found {type(side).__name__}; expected a pair (x, y), a DataLoader or a Dataset")
    from torch.utils.data import DataLoader, Dataset

    if isinstance(side, Dataset):
        return DataLoader(side, batch_size=rows)
    if not isinstance(side, Iterable):
        raise AuditError(f"{name}: found {type(side).__name__}; expected a pair (x, y), a DataLoader or a Dataset")
    return side


def _cut(x: Any, y: np.ndarray, rows: int) -> list[tuple[Any, Any]]:
    by_place = x.iloc if hasattr(x, "iloc") else x
    starts = range(0, len(y), rows)
    return [(by_place[start : start + rows], y[start : start + rows]) for start in starts]


def _length(x: Any) -> int:
    return int(x.shape[0]) if hasattr(x, "shape") else len(x)


def _array(value: Any) -> np.ndarray:
    """As NumPy; a tensor from wherever it lies."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)


# the models


Ask = Callable[[Any], np.ndarray]


def _asked(model: Any, probabilities: bool) -> tuple[str, Ask]:
    """What the model answers, logits or probabilities, and a function that asks it a batch."""
    kind = "probabilities" if probabilities else "logits"
    if isinstance(model, type) or not (callable(model) or hasattr(model, "predict_proba") or _decides(model)):
        found = model.__name__ if isinstance(model, type) else type(model).__name__
        raise AuditError(f"model: found {found}; {ASKED}")
    if _is_module(model):
        return kind, _Module(model)
    if hasattr(model, "predict_proba"):
        return "probabilities", lambda x: _proba(model.predict_proba(x))
    if _decides(model):
        return "logits", lambda x: _array(model.decision_function(x))
    return kind, lambda x: _array(_tensor(model(x)))


def _decides(model: Any) -> bool:
    return hasattr(model, "decision_function")


def _proba(answers: Any) -> np.ndarray:
    if isinstance(answers, list):
        raise AuditError("model: found several outputs per sample (a list of them); expected one label for each sample")
    return _array(answers)


def _is_module(model: Any) -> bool:
    import torch

    return isinstance(model, torch.nn.Module)


class _Module:
    """Asks a module of PyTorch: in evaluation mode, without gradients, where it lies; and leaves it as it was."""

    def __init__(self, module: Any):
        self.module = module
        self.device = next((one.device for one in (*module.parameters(), *module.buffers())), "cpu")
        self.dtype = next((one.dtype for one in module.parameters()), None)

    def __call__(self, x: Any) -> np.ndarray:
        import torch

        training = {one: one.training for one in self.module.modules()}
        self.module.eval()
        try:
            with torch.no_grad():
                return _array(_tensor(self.module(self._input(x))))
        finally:
            for one, mode in training.items():
                one.training = mode

    def _input(self, x: Any) -> Any:
        import torch

        x = torch.as_tensor(np.asarray(x)) if not isinstance(x, torch.Tensor) else x
        wrong = self.dtype is not None and x.is_floating_point() and x.dtype != self.dtype
        return x.to(self.device, self.dtype if wrong else None)


def _tensor(answer: Any) -> Any:
    """The logits among what a model answers: an object that holds them, a dict, or the first of several."""
    if hasattr(answer, "logits"):
        return answer.logits
    if isinstance(answer, dict):
        return answer.get("logits", next(iter(answer.values())))
    return answer[0] if isinstance(answer, tuple | list) else answer


def _collected(
    asks: list[Ask], pairs: Iterable[tuple[Any, Any]], name: str, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Answers [models, samples, ...] and labels of one side; each batch is asked of all models, as loaders shuffle."""
    answers, labels = [], []
    for pair in bar(pairs, show=progress, desc=name, unit="batch", delay=2):
        if not isinstance(pair, tuple | list) or len(pair) < 2:
            raise AuditError(f"{name}: found batches of {type(pair).__name__}; expected pairs (x, y)")
        answers.append(_stacked([_columns(ask(pair[0])) for ask in asks]))
        labels.append(_array(pair[1]))
        if answers[-1].shape[1:2] != labels[-1].shape[:1]:
            found = f"answers of shape {list(answers[-1].shape[1:])} to {len(labels[-1])} samples"
            raise AuditError(f"model: found {found}; expected one for each")
    if not answers:
        raise AuditError(f"{name}: found no samples; expected some on either side")
    return np.concatenate(answers, axis=1), np.concatenate(labels)


def _stacked(answers: list[np.ndarray]) -> np.ndarray:
    """What several models answer to one batch, as one array."""
    for number, one in enumerate(answers):
        if one.shape != answers[0].shape:
            found = f"model 0 answers in shape {list(answers[0].shape)}, model {number} in {list(one.shape)}"
            raise AuditError(f"model: {found}; expected the same classes for the same samples of all models")
    return np.stack(answers)


def _columns(answers: np.ndarray) -> np.ndarray:
    """The one output of a binary model as a column."""
    return answers[:, None] if answers.ndim == 1 else answers


def _classes(models: list[Any]) -> np.ndarray | None:
    """The labels by the numbers of their outputs, as scikit-learn keeps them; None where they are numbers already."""
    held = [np.asarray(one.classes_) for one in models if hasattr(one, "classes_")]
    if any(not np.array_equal(one, held[0]) for one in held):
        raise AuditError("model: found models that were fitted to other classes; fit all of them to the same labels")
    return held[0] if held else None


def _numbered(labels: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    if classes is None:
        return labels
    strange = np.setdiff1d(labels, classes)
    if len(strange):
        raise AuditError(f"labels: found {strange[0]!r}, which the model was not fitted to; leave such samples out")
    return np.searchsorted(classes, labels)
