"""Small data, models and defenses that the tests of training share."""

from dataclasses import dataclass

import torch
from torch import nn

from mialab.seeds import generator
from mialab.training import Hooks, Recipe

SMALL = Recipe(epochs=3, batch=16, optimizer="adam", lr=0.01)


def points(n=50, features=6, classes=3, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=draw)
    return torch.randn(n, features, generator=draw, dtype=dtype) + y[:, None], y


def images(n=50, side=8, classes=3, dtype=torch.float64):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, side, side, generator=draw, dtype=dtype), torch.randint(classes, (n,), generator=draw)


def mlp(features=6, classes=3):
    return nn.Sequential(nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, classes))


def dropout_mlp():
    return nn.Sequential(nn.Linear(6, 32), nn.Dropout(0.5), nn.ReLU(), nn.Linear(32, 3))


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )  # fmt: skip


def double(build):
    return lambda: build().double()


def same(a, b):
    pairs = zip(a.model.state_dict().items(), b.model.state_dict().items(), strict=True)
    return all(name == other and torch.equal(p, q) for (name, p), (other, q) in pairs)


def distance(a, b):
    pairs = zip(a.model.parameters(), b.model.parameters(), strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


def batches_of(data, size=16):
    return list(zip(*(part.split(size) for part in data), strict=True))


@dataclass
class Momentum(Hooks):
    """Hooks with state: a running mean of the loss that enters the penalty, and its own noise."""

    weight: float = 0.1

    def __post_init__(self):
        self.mean = torch.zeros(())
        self.draw = generator(0, "momentum")

    @property
    def identity(self):
        return self.weight

    def penalty(self, run, x, y, outputs):
        self.mean = 0.9 * self.mean + 0.1 * outputs.detach().abs().mean() + torch.rand((), generator=self.draw)
        return self.weight * self.mean * outputs.square().mean()

    def state_dict(self):
        return {"mean": self.mean, "draw": self.draw.get_state()}

    def load_state_dict(self, state):
        self.mean = state["mean"]
        self.draw.set_state(state["draw"])
