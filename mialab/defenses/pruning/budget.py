"""How many weights a pruned network keeps, in which layers, and which ones: the largest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mialab.names import unknown

SCOPES = ("layers", "global")
UNITS = ("weights", "channels")
WHOLE = ("first", "last")
PRUNED = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Budget:
    """How many weights of a network's convolutions and linear layers are kept; biases and norm layers always are.

    keep: the share kept of all these weights together, in (0, 1], of the layers left whole too; or a share for each
    layer in their order, as printed in papers. scope: "layers", every layer that is not left whole keeps the same
    share; "global", the largest weights of all of them together are kept, wherever they stand. whole: which of the
    first and the last layer is never pruned (our choice: both, as authors of ADMM pruning advise). unit: "weights", or
    "channels", whole outputs of a layer with their biases, of which `keep` is then the share; the last layer's outputs
    are the classes, so that one must be left whole. Raises ValueError for values that are none of these.
    """

    keep: float | tuple[float, ...]
    scope: str = "layers"
    whole: tuple[str, ...] = WHOLE
    unit: str = "weights"

    def __post_init__(self) -> None:
        shares = self.keep if isinstance(self.keep, tuple) else (self.keep,)
        if not shares or not all(0 < share <= 1 for share in shares):
            raise ValueError(f"Budget: keep is a share above 0 and at most 1, or one for each layer, not {self.keep!r}")
        for name, value, choices in (("scope", self.scope, SCOPES), ("unit", self.unit, UNITS)):
            if value not in choices:
                raise ValueError(f"Budget: {unknown(name, value, choices)}")
        if not isinstance(self.whole, tuple) or not set(self.whole) <= set(WHOLE):
            raise ValueError(f"Budget: whole is a tuple out of {WHOLE}, such as ('last',) or (), not {self.whole!r}")
        if self.unit == "channels" and (self.scope != "layers" or isinstance(self.keep, tuple)):
            raise ValueError("Budget: channels are kept by one share of each layer: leave scope, and give one number")
        if self.unit == "channels" and "last" not in self.whole:
            raise ValueError("Budget: the last layer's channels are the classes: leave 'last' in whole")
        if self.scope == "global" and isinstance(self.keep, tuple):
            raise ValueError("Budget: with scope='global' give one share, not one for each layer")

    def counts(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        """How many weights (or channels) each layer keeps, the paper's n_i; ValueError where a layer would keep none.

        weights: of each layer, in their order, as `prunable` finds them.
        """
        if not weights:
            raise ValueError("the model has no convolution and no linear layer: there is nothing to prune")
        if self.unit == "channels":
            counts = self._channels(weights)
        elif isinstance(self.keep, tuple):
            counts = self._printed(weights)
        else:
            counts = self._shared(weights) if self.scope == "layers" else self._largest(weights)
        if empty := [name for name, count in counts.items() if count < 1]:
            raise ValueError(
                f"keep={self.keep} leaves no weight in {', '.join(empty)}: keep more, or spread it otherwise"
            )
        return counts

    def _left(self, weights: Mapping[str, Tensor]) -> set[str]:
        """The layers that are not pruned."""
        names = list(weights)
        return {name for name, which in ((names[0], "first"), (names[-1], "last")) if which in self.whole}

    def _channels(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        assert isinstance(self.keep, float | int)
        left = self._left(weights)
        return {name: len(w) if name in left else round(self.keep * len(w)) for name, w in weights.items()}

    def _printed(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        assert isinstance(self.keep, tuple)
        if len(self.keep) != len(weights):
            raise ValueError(f"keep has {len(self.keep)} shares for {len(weights)} layers: {', '.join(weights)}")
        return {name: round(share * w.numel()) for share, (name, w) in zip(self.keep, weights.items(), strict=True)}

    def _free(self, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        """The layers that are pruned, and how many weights they keep together."""
        left = self._left(weights)
        free = {name: w for name, w in weights.items() if name not in left}
        total, apart = (sum(w.numel() for w in some) for some in (weights.values(), [weights[name] for name in left]))
        assert isinstance(self.keep, float | int)
        if not free and self.keep < 1:
            raise ValueError(f"keep={self.keep}: all layers stay whole; leave fewer so, as in whole=()")
        wanted = round(self.keep * total)
        if wanted - apart < len(free):
            least = (apart + len(free)) / total
            raise ValueError(
                f"keep={self.keep} is too little: the layers that stay whole have {apart} weights already; keep more "
                f"than {least:.3g}, or leave no layer whole with whole=()"
            )
        return free, wanted - apart

    def _shared(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        """One share for all pruned layers, rounded so that the sum is met: first down, then up where most was cut."""
        free, wanted = self._free(weights)
        share = wanted / max(1, sum(w.numel() for w in free.values()))
        counts = {name: int(share * w.numel()) for name, w in free.items()}
        most_cut = sorted(free, key=lambda name: counts[name] - share * free[name].numel())
        for name in most_cut[: wanted - sum(counts.values())]:
            counts[name] += 1
        return {name: counts.get(name, w.numel()) for name, w in weights.items()}

    def _largest(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        free, wanted = self._free(weights)
        magnitudes = torch.cat([w.detach().abs().flatten() for w in free.values()])
        chosen = torch.zeros(len(magnitudes), dtype=torch.bool, device=magnitudes.device)
        chosen[magnitudes.topk(wanted).indices] = True
        parts = chosen.split([w.numel() for w in free.values()])
        counts = {name: int(part.sum()) for name, part in zip(free, parts, strict=True)}
        return {name: counts.get(name, w.numel()) for name, w in weights.items()}


def prunable(model: nn.Module) -> dict[str, Tensor]:
    """The weights of convolutions and linear layers by name, in the model's order."""
    return {
        f"{name}.weight".lstrip("."): part.weight for name, part in model.named_modules() if isinstance(part, PRUNED)
    }


def largest(values: Tensor, count: int) -> Tensor:
    """Marks exactly `count` entries of the largest magnitude, bool of the same shape; ties go by torch's own order."""
    mask = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    mask[values.detach().abs().flatten().topk(count).indices] = True
    return mask.view_as(values)


def chosen(weights: Mapping[str, Tensor], budget: Budget) -> dict[str, Tensor]:
    """The projection onto a budget, as masks bool of the weights' shapes: of each layer the `counts` largest.

    With channels, those of the largest Euclidean norm over their incoming weights.
    """
    counts = budget.counts(weights)
    if budget.unit == "weights":
        return {name: largest(w, counts[name]) for name, w in weights.items()}
    masks = {}
    for name, w in weights.items():
        kept = largest(w.detach().flatten(1).norm(dim=1), counts[name])
        masks[name] = kept.view(-1, *[1] * (w.ndim - 1)).expand_as(w).contiguous()
    return masks


def companions(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Pairs of names: a pruned layer's weight, and a vector that goes with its channels: a bias, of it or of the norm
    layer that follows it, or that norm's weight."""
    before = None
    for name, part in model.named_modules():
        if isinstance(part, PRUNED):
            before = f"{name}.weight".lstrip("."), len(part.weight)
            if part.bias is not None:
                yield before[0], f"{name}.bias"
        elif isinstance(part, _BatchNorm) and before and part.num_features == before[1]:
            yield before[0], f"{name}.weight"
            yield before[0], f"{name}.bias"
