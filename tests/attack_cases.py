"""A tiny net that has learnt its 60 members by heart, and a linear classifier whose every figure is known."""

from functools import cache

import numpy as np
import torch

from mialab import metrics


@cache
def overfit_net(seed=0, samples=60):
    """(net in eval mode, x float32 [n, 1, 16, 16], labels int64 [n], member bool [n]); 200 non-members."""
    rng = np.random.default_rng(0)
    prototypes, labels = rng.normal(size=(3, 1, 8, 8)), rng.integers(0, 3, samples + 200)
    x = prototypes[labels] + 4 * rng.normal(size=(len(labels), 1, 8, 8))
    x = np.kron(x, np.ones((2, 2))).astype(np.float32)  # in blocks of 2 x 2 pixels, so that a shift leaves something
    inputs, truth = torch.from_numpy(x[:samples]), torch.from_numpy(labels[:samples])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(256, 32),
            torch.nn.BatchNorm1d(32),
            torch.nn.ReLU(),
            torch.nn.Linear(32, 3),
        )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), truth).backward()
        optimizer.step()
    return net.eval(), x, labels, np.arange(len(labels)) < samples


def beats_the_gap(scores, query, x, labels, member):
    """Whether scores [n] tell members apart surely better than a right answer alone does."""
    assert scores.shape == member.shape and scores.dtype == np.float64
    right = query(torch.from_numpy(x)).argmax(1).numpy() == labels
    return metrics.auc_interval(scores, member).low > metrics.auc(right, member) > 0.6


def linear(*, features=10, n=300, seed=0):
    """(query on numpy, x float32 [n, features], right labels, distances to the boundary w x + b = 0)."""
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=features), 0.3
    x = rng.normal(size=(n, features)).astype(np.float32)
    margin = x @ weights + bias

    def query(inputs):
        return (inputs @ weights + bias > 0).astype(np.int64)

    return query, x, query(x), np.abs(margin) / np.linalg.norm(weights)
