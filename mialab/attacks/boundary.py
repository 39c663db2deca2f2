"""The distance from a sample to the nearest input with another answer, found from labels alone.

A hard-label search after HopSkipJump (Chen et al. 2020) in polar form, for all samples at once: along a direction the
boundary is found by halving, its normal there is estimated from the answers on random probes around it, and the
direction turns towards the normal where that brings the boundary nearer. Distances are Euclidean, in units of x.

Members lie farther from the boundary (Choquette-Choo et al. 2021; Li and Zhang 2021): the distance is the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mialab.attacks.queries import Asked, Inputs, Query, asked
from mialab.seeds import derive

REACH = 0.1  # probes lie this share of the distance from the boundary's point
SLOWER, FASTER = 0.5, 1.5  # how a turn's size changes after one that failed and one that helped


@dataclass(frozen=True)
class Search:
    """How long to search; `queries` is the number of queries that a sample takes at most."""

    donors: int = 10  # samples with another answer, of which the nearest gives the first direction
    rounds: int = 20  # turns of the direction
    probes: int = 50  # queries for a normal
    halvings: int = 12  # queries for the boundary's place on a direction: it is right to 2^-halvings of the distance

    @property
    def queries(self) -> int:
        return 1 + self.halvings + self.rounds * (self.probes + 1 + self.halvings)


def boundary_distances(
    query: Query, x: Inputs, labels: Inputs, *, search: Search | None = None, seed: int = 0, at_once: int = 1000
) -> np.ndarray:
    """Distance of each sample to an input with another answer, an upper bound of the least one: float64 [n].

    A sample whose own answer is wrong has distance 0. `query` is as in `mialab.attacks.label_only`. x must be of a
    float type, as bytes round small steps away, and its inputs are not cut off at the ends of any range. Raises
    ValueError for such x, and where all answers are of one class.
    """
    samples, search = asked(query, x, labels), search or Search()
    if not samples.x.is_floating_point():
        raise ValueError(f"x is of type {samples.x.dtype}, in which small steps vanish: scale it to floats first")
    answers = torch.cat([samples.answers(some) for some, _ in samples.steps(at_once)])
    distances = torch.zeros(len(answers), dtype=samples.x.dtype, device=answers.device)
    right = (answers == samples.labels).nonzero()[:, 0]
    donors = _donors(samples, answers, right, search.donors, seed)
    for rows, ends in zip(right.split(at_once), donors.split(at_once), strict=True):
        distances[rows] = _searched(samples, rows, ends, search, seed)
    return distances.double().cpu().numpy()


def _donors(samples: Asked, answers: Tensor, right: Tensor, count: int, seed: int) -> Tensor:
    """For each of the rows `right`, the nearest of `count` random samples with another answer: rows [len(right)]."""
    rng = np.random.default_rng(derive(seed, "boundary", "donors"))
    nearest = torch.empty_like(right)
    for label in answers[right].unique():
        rows = right[answers[right] == label]
        others = (answers != label).nonzero()[:, 0]
        if not len(others):
            raise ValueError(f"every answer is {label}, so no boundary can be found: check that query takes x as it is")
        drawn = others[torch.from_numpy(rng.integers(0, len(others), count)).to(others.device)]
        reach = torch.cdist(samples.x[rows].flatten(1), samples.x[drawn].flatten(1))
        nearest[answers[right] == label] = drawn[reach.argmin(dim=1)]
    return nearest


def _searched(samples: Asked, rows: Tensor, donors: Tensor, search: Search, seed: int) -> Tensor:
    """Distances of some samples: start towards their donors, then turn."""
    start = samples.x[rows].flatten(1)
    ray = _Rays(samples, start, samples.labels[rows])
    ends = samples.x[donors].flatten(1) - start
    along = _unit(ends)
    distance = ray.halved(along, ends.norm(dim=1), search.halvings)
    turn = torch.ones_like(distance)
    for k in range(search.rounds):
        probes = _probes(seed, k, search.probes, start)
        turned = _unit(along + turn[:, None] * ray.normal(along, distance, probes))
        nearer = ray.wrong(turned, distance)
        along = torch.where(nearer[:, None], turned, along)
        turn = turn * torch.where(nearer, FASTER, SLOWER)
        distance = ray.halved(along, distance, search.halvings)
    return distance


@dataclass(frozen=True, eq=False)
class _Rays:
    """Half-lines from samples, start [b, d], along unit directions [b, d]."""

    samples: Asked
    start: Tensor
    labels: Tensor

    def wrong(self, along: Tensor, distance: Tensor, aside: Tensor | float = 0.0) -> Tensor:
        """Whether the answer at a distance [b] along the direction is wrong, bool [b]."""
        at = self.start + distance[:, None] * (along + aside)
        return self.samples.wrong(at.reshape(-1, *self.samples.x.shape[1:]), self.labels)

    def halved(self, along: Tensor, far: Tensor, halvings: int) -> Tensor:
        """A boundary's distance between 0, where the answer is right, and `far`, where it is wrong."""
        near = torch.zeros_like(far)
        for _ in range(halvings):
            middle = (near + far) / 2
            wrong = self.wrong(along, middle)
            near, far = torch.where(wrong, near, middle), torch.where(wrong, middle, far)
        return far

    def normal(self, along: Tensor, distance: Tensor, probes: Tensor) -> Tensor:
        """The unit normal towards wrong answers at the boundary, from the answers around it; 0 if all are alike."""
        signs = torch.stack([self.wrong(along, distance, REACH * probe) for probe in probes], dim=1).to(probes)
        return _unit((signs - signs.mean(dim=1, keepdim=True)) @ probes)


def _probes(seed: int, k: int, count: int, like: Tensor) -> Tensor:
    """Random unit vectors [count, d], the same for all samples."""
    rng = np.random.default_rng(derive(seed, "boundary", "probes", k))
    return _unit(torch.from_numpy(rng.standard_normal((count, like.shape[1]))).to(like))


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=1)
