"""Attacks that see answers only, not confidences: how many changed copies of a sample still get its label.

Models are surer around their members (Choquette-Choo et al. 2021; Li and Zhang 2021), so a sample whose label survives
more changes is more likely a member. Each attack takes `query`, a function from inputs to answers: of one model, of an
ensemble, of a remote service. It gets inputs [b, ...] of the kind and type of `x` (numpy or torch; bytes stay bytes,
rounded) and returns labels [b], or one number per class [b, classes], of which the largest counts.

All samples go through the same changes, so that a sample's score does not hang on its place among the others.
`mialab.attacks.boundary` measures the distance to the nearest other answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mialab.attacks.queries import Inputs, Query, asked
from mialab.seeds import derive

Change = Callable[[Tensor], Tensor]


def augmentation_scores(
    query: Query,
    x: Inputs,
    labels: Inputs,
    *,
    shifts: Sequence[int] = (1,),
    flip: bool = True,
    rotations_degrees: Sequence[float] = (),
    at_once: int = 1000,
) -> np.ndarray:
    """How many of an image's augmentations, itself included, are answered rightly: float64 [n].

    x: [n, channels, height, width]. shifts: each d stands for the 4 d shifts by whole pixels with |down| + |right| = d,
    zeros moving in, as in training's crops. rotations_degrees: each to both sides, bilinear, zeros moving in.
    Queries per sample: 1 + 4 sum(shifts) + flip + 2 len(rotations_degrees). Raises ValueError for other inputs.
    """
    if len(x.shape) != 4:
        expected = "augmentation needs images [n, channels, height, width]"
        raise ValueError(f"x: found shape {list(x.shape)}; {expected}: use noise_scores or bit_flip_scores")
    changes = [partial(_shifted, down=down, right=right) for d in (0, *shifts) for down, right in _moves(d)]
    if flip:
        changes.append(partial(torch.flip, dims=(3,)))
    changes += [partial(_rotated, degrees=sign * degrees) for degrees in rotations_degrees for sign in (-1, 1)]
    return _survived(query, x, labels, changes, at_once)


def noise_scores(
    query: Query,
    x: Inputs,
    labels: Inputs,
    *,
    stds: Sequence[float],
    repeats: int = 10,
    seed: int = 0,
    at_once: int = 1000,
) -> np.ndarray:
    """How many Gaussian disturbances are answered rightly, of len(stds) * repeats: float64 [n].

    stds: the noise's standard deviations, in units of x; each repeat stretches one random direction to all of them, so
    the number of right answers says up to which level the label survives, on average over directions.
    """
    draws = (_rng(seed, "noise", k).standard_normal(x.shape[1:], dtype=np.float32) for k in range(repeats))
    changes = (partial(_moved, by=torch.from_numpy(np.float32(std) * draw)) for draw in draws for std in stds)
    return _survived(query, x, labels, changes, at_once)


def bit_flip_scores(
    query: Query,
    x: Inputs,
    labels: Inputs,
    *,
    rates: Sequence[float],
    repeats: int = 10,
    seed: int = 0,
    at_once: int = 1000,
) -> np.ndarray:
    """How many copies with random bits flipped are answered rightly, of len(rates) * repeats: float64 [n].

    x: features that are 0 or 1, as of Purchase-100. rates: shares of the bits to flip; in each repeat, the bits of a
    smaller rate are among those of a larger one. Raises ValueError where x holds other numbers.
    """
    if not ((x == 0) | (x == 1)).all():
        raise ValueError("x: found other numbers than 0 and 1, which have no bits to flip: use noise_scores")
    draws = (_rng(seed, "flips", k).random(x.shape[1:]) for k in range(repeats))
    changes = (partial(_flipped, where=torch.from_numpy(draw < rate)) for draw in draws for rate in rates)
    return _survived(query, x, labels, changes, at_once)


def _survived(query: Query, x: Inputs, labels: Inputs, changes: Iterable[Change], at_once: int) -> np.ndarray:
    """How many of the changes leave a sample's answer right."""
    samples = asked(query, x, labels)
    counts = torch.zeros_like(samples.labels)
    for change in changes:
        steps = samples.steps(at_once)
        counts += torch.cat([~samples.wrong(change(some), truth) for some, truth in steps])
    return counts.double().cpu().numpy()


def _moves(distance: int) -> list[tuple[int, int]]:
    """All (down, right) with |down| + |right| = distance."""
    side = range(-distance, distance + 1)
    return [(down, right) for down in side for right in side if abs(down) + abs(right) == distance]


def _shifted(images: Tensor, *, down: int, right: int) -> Tensor:
    return F.pad(images, (right, -right, down, -down))


def _rotated(images: Tensor, *, degrees: float) -> Tensor:
    height, width = images.shape[2:]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # The grid runs from -1 to 1 on either side: on images that are not square the sines are stretched.
    turn = images.new_tensor([[cosine, -sine * height / width, 0], [sine * width / height, cosine, 0]])
    grid = F.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _moved(x: Tensor, *, by: Tensor) -> Tensor:
    return x + by.to(x)


def _flipped(x: Tensor, *, where: Tensor) -> Tensor:
    return torch.where(where.to(x.device), 1 - x, x)


def _rng(seed: int, what: str, k: int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, "label-only", what, k))
