"""What tells one training run from another: digests that come out the same in every process."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn

ATOMS = (type(None), bool, int, float, complex, str)


def describe(thing: Any) -> str:
    """Return a digest of a defense or a source of batches: its class, and its own `identity` or else its attributes.

    `identity` (an attribute, or a method without arguments) is whatever tells it from others of its class. Attributes
    are followed into lists, dicts, tensors and other objects. Not seen, and so for `identity` to cover: the code of
    classes and functions, what files hold, and what Python cannot copy, such as locks and open files.
    """
    if hasattr(thing, "identity"):
        own = thing.identity
        return fingerprint((type(thing), own() if callable(own) else own))
    return fingerprint(thing)


def describe_model(model: nn.Module) -> str:
    """Return a digest of a model's parts and their settings, not of its weights or its code."""
    shapes = [(name, tuple(weight.shape), str(weight.dtype)) for name, weight in model.named_parameters()]
    shown = re.sub(r" at 0x[0-9a-f]+", "", repr(model))  # addresses differ from process to process
    return fingerprint((type(model), shown, shapes, dict(model.named_buffers()), plain(model)))


def plain(model: nn.Module) -> str:
    """Return a digest of what the model's parts hold apart from parameters, buffers and other parts."""
    ours = vars(nn.Module()).keys()
    return fingerprint([{k: v for k, v in vars(part).items() if k not in ours} for part in model.modules()])


def fingerprint(value: Any, known: dict[int, tuple[str, Any]] | None = None) -> str:
    """Return a digest of the value's class and, all the way down, of what it is made of."""
    known = {} if known is None else known
    if type(value) in ATOMS:
        return _digest(f"{type(value).__name__} {value!r}")
    if type(value) is bytes:
        return _digest("bytes", memoryview(value))
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _digest(_name(value))
    if id(value) not in known:  # keeping the value, too, makes sure that nothing else gets its id
        known[id(value)] = "a cycle", value
        try:
            parts = [part if isinstance(part, memoryview) else fingerprint(part, known) for part in _parts(value)]
        except Exception:  # what cannot be copied may raise anything: its class must do
            parts = []
        known[id(value)] = _digest(_name(type(value)), *parts), value
    return known[id(value)][0]


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, torch.Tensor):
        raw = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return str(value.dtype), tuple(value.shape), memoryview(raw)
    if isinstance(value, torch.Generator):
        return (value.initial_seed(),)  # its state moves on as it draws
    if isinstance(value, set | frozenset):
        return sorted(map(fingerprint, value))  # their order is another in every process
    if type(value) in (list, tuple):
        return value
    if type(value) is dict:
        return [part for pair in value.items() for part in pair]
    reduced = value.__reduce_ex__(2)  # what pickle would write, for any object: class, arguments, state, items
    parts = (reduced,) if isinstance(reduced, str) else reduced
    return [list(part) if isinstance(part, Iterator) else part for part in parts]


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _digest(*parts: str | memoryview) -> str:
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        state.update(f"{len(content)} ".encode())
        state.update(content)
    return state.hexdigest()
