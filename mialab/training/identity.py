"""What tells one training run from another: settings as text, data and weights by a digest of their tensors."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from mialab.engine.store import settings


@dataclass(frozen=True)
class _Identity:
    value: Any


def describe(value: Any) -> str:
    """Return plain values and frozen dataclasses of them as text; TypeError for anything else."""
    return json.dumps(settings(_Identity(value), whole=True), sort_keys=True)


def describe_hooks(hooks: Any) -> str:
    """Return what tells hooks that no defense has started from others of their class: their `identity`."""
    name = type(hooks).__name__
    if not hasattr(hooks, "identity"):
        raise TypeError(
            f"a checkpoint cannot tell {name} from others of its class: let a Defense start it, or give it an "
            "`identity` of plain values (its settings)"
        )
    return f"{name} {describe(hooks.identity)}"


def describe_data(data: Any) -> str:
    """Return a digest of tensors, or of batches in a list; of another source of batches, its `identity`."""
    if hasattr(data, "identity"):
        return describe(data.identity)
    if data is None or isinstance(data, torch.Tensor):
        return digest(data)
    if isinstance(data, list | tuple):
        return digest([describe_data(part) for part in data])
    raise TypeError(
        f"a checkpoint cannot tell {type(data).__name__} from other sources of batches: give it an `identity` of plain "
        "values, such as its path, size and seed"
    )


def describe_model(model: nn.Module) -> str:
    """Return a digest of a model's parts, their settings and its buffers, not of its weights or its code."""
    shapes = [(name, tuple(weight.shape), str(weight.dtype)) for name, weight in model.named_parameters()]
    return digest([structure(model), shapes, dict(model.named_buffers())])


def structure(model: nn.Module) -> str:
    """Return a digest of what a model is made of: the classes of its parts and what these hold as plain attributes."""
    ours, found = vars(nn.Module()).keys(), []
    for part in model.modules():
        held = {name: value for name, value in vars(part).items() if name not in ours}
        found.append((type(part).__qualname__, part.extra_repr(), held))
    return digest(found)


def digest(value: Any) -> str:
    """Return a digest of arrays and plain values, in lists and dicts; of any other object only of its class or name."""
    state = hashlib.blake2b(digest_size=16)
    if isinstance(value, np.ndarray):
        value = [str(value.dtype), value.tolist()]
    if isinstance(value, torch.Tensor):
        state.update(f"{value.dtype} {tuple(value.shape)} ".encode())
        state.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        state.update(f"dict {sorted((str(key), digest(part)) for key, part in value.items())}".encode())
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        state.update(f"list {[digest(part) for part in value]}".encode())
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes):
        state.update(f"{type(value).__name__} {value!r}".encode())
    else:
        thing = value if hasattr(value, "__qualname__") else type(value)
        state.update(f"{thing.__module__}.{thing.__qualname__}".encode())
    return state.hexdigest()
