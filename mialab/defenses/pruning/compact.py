"""A pruned network made small: on disk by leaving its zeros out, in memory by leaving whole channels out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from os import PathLike

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

MASK, VALUES = "mask of ", "values of "


def packed(state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Weights and buffers as arrays without their zeros, where that is smaller: one bit per entry says which are left.

    `unpacked` gives them back equal.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, value in state.items():
        dense = np.ascontiguousarray(value.detach().cpu().numpy())
        left = dense != 0
        bits, values = np.packbits(left), dense[left]
        if dense.dtype == np.float32 and bits.nbytes + values.nbytes < dense.nbytes:
            arrays |= {f"{MASK}{name}": bits, f"{VALUES}{name}": values}
        else:
            arrays[name] = dense
    return arrays


def unpacked(arrays: Mapping[str, np.ndarray], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights and buffers that `packed` was given; state: those of a network of the same shapes."""
    found = {}
    for name, like in state.items():
        try:
            found[name] = torch.from_numpy(_dense(arrays, name, like.numel()).reshape(like.shape))
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(f"the file's weights do not fit at {name}: it is of another architecture") from error
    return found


def _dense(arrays: Mapping[str, np.ndarray], name: str, size: int) -> np.ndarray:
    if name in arrays:
        return arrays[name].copy()
    bits, values = arrays[f"{MASK}{name}"], arrays[f"{VALUES}{name}"]
    dense = np.zeros(size, dtype=values.dtype)
    dense[np.unpackbits(bits)[:size].astype(bool)] = values
    return dense


def storage_bytes(state: Mapping[str, Tensor]) -> int:
    """How many bytes `packed` needs."""
    return sum(array.nbytes for array in packed(state).values())


def save(model: nn.Module, path: str | PathLike) -> None:
    """Write a pruned network without its zeros (safetensors)."""
    save_file(packed(model.state_dict()), path)


def load(model: nn.Module, path: str | PathLike) -> None:
    """Give a network of the same architecture the weights of a file that `save` wrote; ValueError for another one."""
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no file of a pruned network ({error}): give one that `save` wrote") from error
    model.load_state_dict(unpacked(arrays, model.state_dict()))


def narrowed(model: nn.Module) -> nn.Module:
    """A copy of a network without the channels that are all zero, which answers the same with less work.

    For networks whose layers form one chain (the LeNets, cnn4, AlexNet, VGG); TypeError for others, where channels are
    added to each other and cannot go one by one.
    """
    model = copy.deepcopy(model)
    if other := {type(part).__name__ for part in _leaves(model) if not isinstance(part, CHAIN)} | _branches(model):
        raise TypeError(f"only a chain of layers can be narrowed, and this network has {', '.join(sorted(other))}")
    kept: Tensor | None = None  # which of the channels that come in are left
    parts = [part for part in _leaves(model) if isinstance(part, nn.Conv2d | nn.Linear | _BatchNorm)]
    for number, part in enumerate(parts):
        if isinstance(part, _BatchNorm):
            _keep_of_norm(part, kept)
            continue
        _keep_inputs(part, kept)
        following = parts[number + 1] if number + 1 < len(parts) else None
        kept = _alive(part, following if isinstance(following, _BatchNorm) else None)
        if following is not None:
            _keep_outputs(part, kept)
    return model


CHAIN = (
    *(nn.Conv2d, nn.Linear, _BatchNorm, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    *(nn.Flatten, nn.Identity, nn.Dropout, nn.ReplicationPad2d),
)


def _leaves(model: nn.Module) -> list[nn.Module]:
    return [part for name, part in model.named_modules() if not list(part.children()) and name != "scale"]


def _branches(model: nn.Module) -> set[str]:
    return {
        type(part).__name__ for part in model.modules() if list(part.children()) and type(part) is not nn.Sequential
    }


def _alive(part: nn.Conv2d | nn.Linear, norm: nn.Module | None) -> Tensor:
    """The channels of a layer that are not zero wherever they are looked at, bool [channels]."""
    alive = part.weight.flatten(1).any(1)
    for vector in (part.bias, None if norm is None else norm.bias):
        alive = alive if vector is None else alive | (vector != 0)
    return alive


def _keep_inputs(part: nn.Conv2d | nn.Linear, kept: Tensor | None) -> None:
    if kept is None:
        return
    if isinstance(part, nn.Linear):  # behind a Flatten each channel is a stretch of features
        kept = kept.repeat_interleave(part.in_features // len(kept))
        part.in_features = int(kept.sum())
    else:
        part.in_channels = int(kept.sum())
    part.weight = nn.Parameter(part.weight[:, kept].contiguous())


def _keep_outputs(part: nn.Conv2d | nn.Linear, kept: Tensor) -> None:
    part.weight = nn.Parameter(part.weight[kept].contiguous())
    if part.bias is not None:
        part.bias = nn.Parameter(part.bias[kept])
    setattr(part, "out_features" if isinstance(part, nn.Linear) else "out_channels", int(kept.sum()))


def _keep_of_norm(norm: _BatchNorm, kept: Tensor | None) -> None:
    if kept is None:
        return
    norm.num_features = int(kept.sum())
    for name in ("weight", "bias"):
        setattr(norm, name, nn.Parameter(getattr(norm, name)[kept]))
    for name in ("running_mean", "running_var"):
        setattr(norm, name, getattr(norm, name)[kept])
