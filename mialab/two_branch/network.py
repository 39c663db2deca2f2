"""The two-branch inference network of Nasr et al. 2018 as a torch module, and the loop that trains it as an attack.

What needs it imports this module only when it runs, so that an audit without it does not wait for torch.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mialab.seeds import derive, forked
from mialab.two_branch.settings import PAPER, Variant

ANSWERED_AT_ONCE = 4096  # samples per forward pass without gradients
FEATURES_AT_ONCE = 256  # of x, turned into floats while their spread is taken


def build(classes: int, variant: Variant = PAPER, *, x_features: int = 0, seed: int = 0) -> TwoBranch:
    """A new network: (prediction, one-hot label, and x where the variant sees it) -> log-odds [n].

    prediction: [n, classes], probabilities or logits as `variant.sees` says; label: float 0 or 1 [n, classes].
    `loss` is its loss. The seed gives the initial weights.
    """
    with forked(derive(seed, variant.name, "init")):
        return TwoBranch(classes, variant, x_features=x_features)


class TwoBranch(nn.Module):
    """Log-odds of membership [n] from a prediction [n, classes] and the true label as a one-hot float [n, classes].

    The prediction is what `variant.sees` says: probabilities or logits. The label is 0/1 here whatever the variant's
    coding, which the module applies. A variant with an x-branch takes x [n, ...] too, and scales it by the buffers
    `center` and `spread` [features].
    """

    center: Tensor
    spread: Tensor

    def __init__(self, classes: int, variant: Variant, *, x_features: int = 0):
        super().__init__()
        self.signed = variant.signed
        self.prediction = _relu_layers((classes, *variant.prediction))
        self.label = _relu_layers((classes, *variant.label))
        width = variant.prediction[-1] + variant.label[-1]
        if variant.x:
            self.x = _relu_layers((x_features, *variant.x))
            self.register_buffer("center", torch.zeros(x_features))
            self.register_buffer("spread", torch.ones(x_features))
            width += variant.x[-1]
        self.joint = nn.Sequential(_relu_layers((width, *variant.joint)), nn.Linear(variant.joint[-1], 1))
        if variant.initial_std:
            for part in self.modules():
                if isinstance(part, nn.Linear):
                    nn.init.normal_(part.weight, std=variant.initial_std)
                    nn.init.zeros_(part.bias)

    def forward(self, prediction: Tensor, label: Tensor, x: Tensor | None = None) -> Tensor:
        seen = [self.prediction(prediction), self.label(2 * label - 1 if self.signed else label)]
        if x is not None:
            seen.append(self.x((x.flatten(1) - self.center) / self.spread))
        return self.joint(torch.cat(seen, dim=1))[:, 0]

    def scale_by(self, x: Tensor) -> None:
        """Standardise each feature of x by its mean and standard deviation here; constant ones are only centred."""
        for start in range(0, self.center.numel(), FEATURES_AT_ONCE):
            stop = start + FEATURES_AT_ONCE
            some = x.flatten(1)[:, start:stop].float()
            spread, self.center[start:stop] = torch.std_mean(some, dim=0, correction=0)
            self.spread[start:stop] = torch.where(spread > 0, spread, 1)

    def answers(self, inputs: tuple[Tensor, ...]) -> np.ndarray:
        """Log-odds of membership of every sample, float64 [n], in bounded memory."""
        parts = zip(*(part.split(ANSWERED_AT_ONCE) for part in inputs), strict=True)
        with torch.no_grad():
            return torch.cat([self(*some) for some in parts]).double().cpu().numpy()


def _relu_layers(sizes: tuple[int, ...]) -> nn.Sequential:
    layers = [(nn.Linear(rows, columns), nn.ReLU()) for rows, columns in itertools.pairwise(sizes)]
    return nn.Sequential(*itertools.chain.from_iterable(layers))


def loss(variant: Variant, log_odds: Tensor, member: Tensor) -> Tensor:
    """The variant's loss, a mean over samples: squared error of the probability, or binary cross-entropy in nats."""
    if variant.squared:
        return F.mse_loss(log_odds.sigmoid(), member)
    return F.binary_cross_entropy_with_logits(log_odds, member)


def train(
    network: TwoBranch,
    variant: Variant,
    inputs: tuple[Tensor, ...],
    member: Tensor,
    epochs: Iterable[Iterable[np.ndarray]],
    *,
    judges: np.ndarray | None = None,
    after_epoch: Callable[[TwoBranch, bool], None] | None = None,
) -> None:
    """One step of Adam per batch of rows; inputs (prediction, label, maybe x) and float member [n] on one device.

    judges: rows that no batch holds; the weights of the epoch with the least loss on them are kept. None: the last.
    after_epoch: called with the network and whether its weights are the ones to keep so far.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=variant.rate, fused=True)
    best = math.inf, network.state_dict()  # the living tensors: without judges they end as the last epoch's
    for batches in epochs:
        for rows in batches:
            optimizer.zero_grad()
            _loss_on(rows, network, variant, inputs, member).backward()
            optimizer.step()
        kept = judges is None
        if judges is not None:
            with torch.no_grad():
                found = _loss_on(judges, network, variant, inputs, member).item()
            if kept := found < best[0]:
                best = found, copy.deepcopy(network.state_dict())
        if after_epoch is not None:
            after_epoch(network, kept)
    network.load_state_dict(best[1])


def _loss_on(rows: np.ndarray, network: TwoBranch, variant: Variant, inputs: tuple, member: Tensor) -> Tensor:
    here = torch.from_numpy(rows).to(member.device)
    return loss(variant, network(*(part[here] for part in inputs)), member[here])
