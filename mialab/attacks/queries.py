"""Asking a model through a function: inputs of the caller's own kind and type in, wrong answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Inputs = np.ndarray | Tensor
Query = Callable[[Inputs], Inputs]


@dataclass(frozen=True, eq=False)
class Asked:
    """Samples x [n, ...] with labels int64 [n], and the query that answers on changed ones.

    query: from inputs [b, ...] of x's kind (numpy or torch) and type to labels [b], or to one number per class
    [b, classes], of which the largest counts.
    """

    query: Query
    x: Tensor
    labels: Tensor
    as_numpy: bool

    def wrong(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Where the answer is not the label, bool [b]."""
        return self.answers(inputs) != labels

    def answers(self, inputs: Tensor) -> Tensor:
        """The labels that the query gives, int64 [b]; inputs are rounded where x is of a whole-number type."""
        given = _as_type(inputs, self.x.dtype)
        found = torch.as_tensor(self.query(given.cpu().numpy() if self.as_numpy else given))
        if found.ndim not in (1, 2) or len(found) != len(inputs):
            expected = f"expected labels [{len(inputs)}] or numbers [{len(inputs)}, classes]"
            raise ValueError(f"query: found answers of shape {list(found.shape)}; {expected}")
        return (found if found.ndim == 1 else found.argmax(dim=1)).long().to(inputs.device)

    def steps(self, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Some samples after the other, as floats, with their labels."""
        for some, labels in zip(self.x.split(at_once), self.labels.split(at_once), strict=True):
            yield some if some.is_floating_point() else some.float(), labels


def asked(query: Query, x: Inputs, labels: Inputs) -> Asked:
    """The same from arrays or tensors; ValueError where their lengths differ or there are none."""
    if len(x) != len(labels) or not len(x):
        raise ValueError(f"x has {len(x)} samples, labels {len(labels)}; give as many, at least 1")
    samples = tensor(x)
    return Asked(query, samples, tensor(labels).long().to(samples.device), not isinstance(x, Tensor))


def tensor(array: Inputs) -> Tensor:
    """The tensor itself, or one that shares the array's memory where torch can take it."""
    if isinstance(array, Tensor):
        return array.detach()
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _as_type(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype.is_floating_point:
        return inputs.to(dtype)
    inputs = inputs.round()
    return (inputs.clamp(0, 255) if dtype == torch.uint8 else inputs).to(dtype)
