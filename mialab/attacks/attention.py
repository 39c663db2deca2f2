"""The attention network of `samia`, and the loop that trains it; imported only when the attack is run.

Each class is a token of three numbers: its probability, its sensitivity, and whether it is the label.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ANSWERED_AT_ONCE = 4096  # samples per forward pass without gradients
INPUTS = 3  # numbers in a token


@dataclass(frozen=True)
class Settings:
    """How the network is built and trained. held_back: the share of the answers that say when training ends."""

    width: int = 64
    layers: int = 3
    heads: int = 4
    feedforward: int = 128
    dropout: float = 0.2
    rate: float = 1e-3
    weight_decay: float = 5e-4
    batch: int = 128
    epochs: int = 100
    patience: int = 5
    held_back: float = 0.2


class Attention(nn.Module):
    """Log-odds of membership [n] from tokens float32 [n, classes, 3], each of the 3 x classes numbers batch-normed."""

    def __init__(self, classes: int, settings: Settings):
        super().__init__()
        width = settings.width
        self.scale = nn.BatchNorm1d(INPUTS * classes)
        self.enter = nn.Linear(INPUTS, width)
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, settings.feedforward, settings.dropout, activation="gelu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.judge = nn.Sequential(nn.Flatten(), nn.Linear(width * classes, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        scaled = self.scale(tokens.flatten(1)).view_as(tokens)
        return self.judge(self.encoder(F.gelu(self.enter(scaled))))[:, 0]

    def answers(self, tokens: Tensor) -> Tensor:
        """The same as in use, without dropout, in bounded memory."""
        self.eval()
        with torch.no_grad():
            return torch.cat([self(some) for some in tokens.split(ANSWERED_AT_ONCE)])


def train(network: Attention, settings: Settings, tokens: Tensor, member: Tensor, rng: np.random.Generator) -> None:
    """Adam on the log-loss of batches, until it has not fallen for some epochs on rows held back; the best is kept.

    tokens [n, classes, 3] and float member [n] on the network's device. Dropout draws from torch's global state.
    """
    order = torch.from_numpy(rng.permutation(len(member))).to(member.device)
    held_back, taught = order.tensor_split([math.ceil(settings.held_back * len(order))])
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay, fused=True)
    best, kept, waited = math.inf, network.state_dict(), 0
    for _ in range(settings.epochs):
        shuffled = taught[torch.from_numpy(rng.permutation(len(taught))).to(member.device)]
        _epoch(network, optimizer, tokens, member, shuffled.split(settings.batch))
        found = F.binary_cross_entropy_with_logits(network.answers(tokens[held_back]), member[held_back]).item()
        if found < best:
            best, kept, waited = found, copy.deepcopy(network.state_dict()), 0
        elif (waited := waited + 1) == settings.patience:
            break
    network.load_state_dict(kept)


def _epoch(
    network: Attention, optimizer: torch.optim.Optimizer, tokens: Tensor, member: Tensor, batches: tuple[Tensor, ...]
) -> None:
    network.train()
    for rows in batches:
        if len(rows) > 1:  # one row has no spread to be batch-normed by
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(network(tokens[rows]), member[rows]).backward()
            optimizer.step()
