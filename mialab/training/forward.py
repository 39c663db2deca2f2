"""What a model answers: in training, when a hook asks, and afterwards in full precision."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.data import DataLoader, Dataset, IterableDataset

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def first(outputs: torch.Tensor | tuple) -> torch.Tensor:
    """Return the logits among a model's outputs: the tensor itself, or a tuple's first."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]


def logits(
    model: nn.Module,
    data: torch.Tensor | np.ndarray | Batches | Dataset,
    *,
    batch: int = 1000,
    device: str | torch.device | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Return the model's float32 logits [n, classes] on the CPU: eval mode, full precision, no augmentation.

    data: a tensor or array x [n, ...]; or a source of (x, y) batches, a pair (x, y) or a Dataset of such, and then the
    result is (logits, labels [n]), as a source may shuffle. device: where the model is moved first; by default it
    stays. Modes of the model's parts are restored, and so are the settings of torch by which a GPU would round products
    to 10 bits (TF32) or to bfloat16.
    """
    if device is not None:
        model.to(device)
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    data = torch.from_numpy(data) if isinstance(data, np.ndarray) else data
    with evaluating(model), torch.no_grad(), full_precision(where):

        def answered(x: torch.Tensor) -> torch.Tensor:
            return first(model(as_the_weights(x, model).to(where))).float().cpu()

        if isinstance(data, torch.Tensor):
            return torch.cat([answered(x) for x in data.split(batch)])
        pairs = [(answered(x), y.cpu()) for x, y in _batches(data, batch)]
    outputs, labels = zip(*pairs, strict=True)
    return torch.cat(outputs), torch.cat(labels)


def _batches(data: Any, batch: int) -> Batches:
    """Return (x, y) batches of a source, of a pair of arrays, or of a Dataset."""
    if isinstance(data, tuple | list) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        x, y = (torch.as_tensor(part) for part in data)
        return list(zip(x.split(batch), y.split(batch), strict=True))
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=batch)
    if not isinstance(data, Iterable):
        raise TypeError(f"logits needs a tensor x [n, ...], a pair (x, y) or (x, y) batches, not {type(data).__name__}")
    return data


def as_the_weights(x: torch.Tensor, model: nn.Module) -> torch.Tensor:
    """Return float64 inputs, NumPy's usual type, as float32 where all weights are; others as they are."""
    if x.dtype != torch.float64:
        return x
    kinds = {parameter.dtype for parameter in model.parameters()}
    return x.float() if kinds == {torch.float32} else x


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode inside the block; each part's own mode comes back afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Multiply in float32 proper inside the block: no TF32, no autocast; the settings come back afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):  # torch 2.9 and later refuse to mix this with allow_tf32
        places, name, full = (matmul, cudnn.conv), "fp32_precision", "ieee"  # type: ignore[attr-defined]
    else:
        places, name, full = (matmul, cudnn), "allow_tf32", False  # type: ignore[assignment]
    before = [getattr(place, name) for place in places]
    try:
        for place in places:
            setattr(place, name, full)
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for place, setting in zip(places, before, strict=True):
            setattr(place, name, setting)


def autocast_for(device: torch.device) -> AbstractContextManager:
    """Return bfloat16 autocast on CUDA, nothing on the CPU, where float32 is the reference."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def heads(model: nn.Module) -> list[nn.Linear]:
    """Return the layers that give logits: the model's last linear one, and those that are as wide."""
    linear = [part for part in model.modules() if isinstance(part, nn.Linear)]
    return [part for part in linear if part.out_features == linear[-1].out_features]


@contextmanager
def float32_logits(model: nn.Module, autocast: AbstractContextManager) -> Iterator[None]:
    """Let the layers that give logits leave autocast inside the block: bfloat16 has 8 bits, too few for a small loss.

    Without autocast nothing is touched.
    """
    if not isinstance(autocast, torch.autocast):
        yield
        return
    kind, outside = autocast.device, []

    def leave(layer: nn.Linear, inputs: tuple) -> tuple:
        outside.append(torch.is_autocast_enabled(kind))
        torch.set_autocast_enabled(kind, False)
        return tuple(value.to(layer.weight.dtype) for value in inputs)

    def enter(layer: nn.Linear, inputs: tuple, outputs: torch.Tensor) -> None:
        torch.set_autocast_enabled(kind, outside.pop())

    # Hooks and not another `forward`: a copy of the model that a defense makes must not run this one's layers.
    placed = [layer.register_forward_pre_hook(leave) for layer in heads(model)]
    placed += [layer.register_forward_hook(enter, always_call=True) for layer in heads(model)]
    try:
        yield
    finally:
        for handle in placed:
            handle.remove()


class Statistics:
    """Guards a model's running statistics (BatchNorm): in training mode only the loop's own pass may move them.

    As a context it marks a pass that may; `close` ends the guard. A copy of the model is not guarded.
    """

    def __init__(self, model: nn.Module):
        parts = [part for part in model.modules() if isinstance(part, _NormBase) and part.track_running_stats]
        self.guarded, self.allowed = set(map(id, parts)), 0
        self.placed = [part.register_forward_pre_hook(self._check) for part in parts]

    def _check(self, part: nn.Module, inputs: tuple) -> None:
        if part.training and not self.allowed and id(part) in self.guarded:
            raise RuntimeError(
                f"a hook runs the model in training mode, which would move the statistics of its {type(part).__name__} "
                "layers: use run.predict(x), or run.predict(x, training=True)"
            )

    def __enter__(self) -> None:
        self.allowed += 1

    def __exit__(self, *error: object) -> None:
        self.allowed -= 1

    def close(self) -> None:
        for handle in self.placed:
            handle.remove()


def convolves(model: nn.Module) -> bool:
    """Say whether the model has two-dimensional convolutions."""
    return any(isinstance(part, nn.Conv2d) for part in model.modules())


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model on the device, in the layout in which convolutions run faster, on the CPU too."""
    model = model.to(device)
    return model.to(memory_format=torch.channels_last) if convolves(model) else model


def laid_out(x: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """Return inputs in that layout; the shape stays [n, c, h, w]."""
    return x.contiguous(memory_format=torch.channels_last) if channels_last and x.ndim == 4 else x
