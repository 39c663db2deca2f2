"""How long cells would take here, one after another: an epoch of each net is timed, other cells as the store saw them.

Meant to be right within a factor of two: a plan for the evening, not a benchmark. What defenses add to a step is not
timed, and audits that this store has never seen count for nothing: the estimate is then too low.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache, partial
from typing import NamedTuple

import torch

from mialab import models, training
from mialab.engine.run import recorded_seconds
from mialab.engine.store import Config, Store, closure, open_store
from mialab.seeds import derive, generator

STEPS = 2  # in the epoch that is timed, after one that warms up
CPU_BATCH = 32  # on a CPU the arithmetic dominates: a smaller batch tells as much in less time


class Work(NamedTuple):
    """What a cell trains: so many networks, each for `epochs` over `rows` samples in batches."""

    model: str
    shape: tuple[int, ...]
    classes: int
    batch: int
    rows: int
    epochs: int
    networks: int = 1

    @property
    def seconds(self) -> float:
        """Seconds of all networks, one after another."""
        return self.networks * self.epochs * self.rows * _seconds_per_sample(*self[:4])


def seconds(configs: Iterable[Config], *, store: Store | None = None) -> float:
    """Seconds that the cells and all that they need would take; without those that the store has, if one is given.

    A kind of cell that trains says what by a method `work()`; of the others, the mean that this machine's store has
    recorded for their kind counts.
    """
    known = recorded_seconds(store or open_store())
    return sum(
        config.work().seconds if hasattr(config, "work") else known.get(config.KIND, 0.0)
        for config in closure(configs, store=store)
    )


def duration(took: float) -> str:
    """Seconds in words, to two digits at most: an estimate claims no more."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if took < most * size:
            return f"{took / size:.{1 if took < 9.5 * size and size > 1 else 0}f} {unit}"
    return f"{took / 86_400:.{1 if took < 9.5 * 86_400 else 0}f} days"


class _Clock(training.Hooks):
    """Notes when each epoch ends."""

    observes = True

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_epoch(self, run: training.TrainingRun) -> None:
        if run.device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())


@cache
def _seconds_per_sample(model: str, shape: tuple[int, ...], classes: int, batch: int) -> float:
    """What a sample takes in training, forward and backward, by the very loop that is predicted."""
    batch = batch if torch.cuda.is_available() else min(batch, CPU_BATCH)
    rows, draw, clock = STEPS * batch, generator(derive(0, "cost")), _Clock()
    data = torch.randn(rows, *shape, generator=draw), torch.randint(classes, (rows,), generator=draw)
    recipe = training.Recipe(epochs=2, batch=batch, lr=1e-3)
    training.fit(partial(models.build, model, shape, classes), data, recipe, hooks=[clock], progress=False)
    return (clock.times[1] - clock.times[0]) / rows
