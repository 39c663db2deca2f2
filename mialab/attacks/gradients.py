"""Attacks on the gradient of a sample's loss: members, on which training has already descended, have small ones.

White box, after Nasr et al. 2019 and Rezaei and Liu 2021, for any model or ensemble given as a function; an ensemble's
loss is that of its fused prediction, its weights those of all members. `mialab.attacks.target.Target` makes the
functions from modules. Models must be in eval mode: batch statistics would tie samples together, dropout is noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from mialab.attacks.queries import Inputs, tensor

Predict = Callable[[Mapping[str, Tensor], Tensor], Tensor]
Losses = Callable[[Tensor, Tensor], Tensor]
ORDERS = (1, 2, math.inf)
MOST_BYTES = 2**28  # of gradients held at once
MOST_AT_ONCE = 256  # samples whose activations are held at once


def weight_norms(
    predict: Predict,
    params: Mapping[str, Tensor],
    x: Inputs,
    labels: Inputs,
    *,
    order: float = 2,
    names: Sequence[str] | None = None,
    at_once: int | None = None,
) -> dict[str, np.ndarray]:
    """The norm of each sample's gradient with respect to each weight tensor: name -> float64 [n].

    predict(params, x) gives logits or log-probabilities [n, classes]; the loss is cross-entropy, in nats. order: 1, 2
    or inf. names: of the tensors to take the gradient in, such as the last layer's `list(params)[-2:]`; None: all.
    at_once: samples per step; None: as many as hold 256 MiB of gradients. Raises ValueError for a wrong argument.
    """
    _check(order)
    names = list(params) if names is None else list(names)
    if missing := [name for name in names if name not in params]:
        raise ValueError(f"no weights named {', '.join(missing)}; choose among {', '.join(params)}")
    chosen = {name: params[name].detach() for name in names}

    def loss(some, one, label):
        return F.cross_entropy(predict({**params, **some}, one[None]), label[None])

    def norms(one, label):
        return {name: _norm(slope, order) for name, slope in grad(loss)(chosen, one, label).items()}

    where = next(iter(params.values())).device
    steps = _steps(x, labels, at_once or _affordable(chosen.values()))
    parts = [vmap(norms)(some.to(where), truth.to(where)) for some, truth in steps]
    return {name: _array([part[name] for part in parts]) for name in names}


def combined(norms: Mapping[str, np.ndarray], *, order: float = 2) -> np.ndarray:
    """The norm over several tensors together, float64 [n], from their norms of the same order."""
    _check(order)
    return np.linalg.norm(np.stack(list(norms.values())), ord=order, axis=0)


def weight_scores(
    predict: Predict, params: Mapping[str, Tensor], x: Inputs, labels: Inputs, *, order: float = 2, **how
) -> np.ndarray:
    """Minus the norm of each sample's gradient in all the weights chosen, float64 [n]; arguments of `weight_norms`."""
    return -combined(weight_norms(predict, params, x, labels, order=order, **how), order=order)


def input_scores(loss_of: Losses, x: Inputs, labels: Inputs, *, order: float = 2, at_once: int = 1000) -> np.ndarray:
    """Minus the norm of each sample's gradient in its own input, float64 [n].

    loss_of(x [b, ...], labels [b]) gives the losses [b], each of its own sample only. x must be of a float type: scale
    bytes first, as the model does. order: 1, 2 or inf. Raises ValueError for a wrong argument.
    """
    _check(order)
    if not tensor(x).is_floating_point():
        raise ValueError(f"x is of type {tensor(x).dtype}, which has no gradient: scale it to floats first")
    return -_array([_input_norms(loss_of, *step, order) for step in _steps(x, labels, at_once)])


def _input_norms(loss_of: Losses, x: Tensor, labels: Tensor, order: float) -> Tensor:
    x = x.detach().clone().requires_grad_()
    losses = loss_of(x, labels)
    if losses.shape != labels.shape:
        raise ValueError(f"loss_of gave {list(losses.shape)}; expected one loss per sample, {list(labels.shape)}")
    return torch.linalg.vector_norm(torch.autograd.grad(losses.sum(), x)[0].flatten(1), ord=order, dim=1)


def _steps(x: Inputs, labels: Inputs, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of some samples and their labels."""
    x, labels = tensor(x), tensor(labels).long()
    if len(x) != len(labels) or not len(x):
        raise ValueError(f"x has {len(x)} samples, labels {len(labels)}; give as many, at least 1")
    return zip(x.split(at_once), labels.to(x.device).split(at_once), strict=True)


def _affordable(tensors: Iterable[Tensor]) -> int:
    """How many samples' gradients may be held at once."""
    bytes_each = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return max(1, min(MOST_AT_ONCE, MOST_BYTES // bytes_each))


def _norm(slope: Tensor, order: float) -> Tensor:
    return torch.linalg.vector_norm(slope, ord=order)


def _array(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).double().cpu().numpy()


def _check(order: float) -> None:
    if order not in ORDERS:
        raise ValueError(f"order: found {order!r}; expected 1, 2 or math.inf")
