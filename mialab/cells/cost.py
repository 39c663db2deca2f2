"""How long cells would take here, one after another: an epoch of each net is timed, other cells as the store saw them.

Meant to be right within a factor of two: a plan for the evening, not a benchmark. Nets are timed with their defenses.
Audits that this store has never seen count for nothing: the estimate is then too low.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from mialab import models, training
from mialab.defenses.pruning import Budget
from mialab.engine.run import recorded_seconds
from mialab.engine.schedule import LARGE, cores, limited
from mialab.engine.store import Config, Store, closure, open_store
from mialab.seeds import derive, generator
from mialab.training import Constant, Defense, Phase, Recipe

OPERATIONS = 5e8  # multiply-adds forward that are timed: a tenth of a second or so
MOST_STEPS = 40  # where even as many have fewer
CPU_OPERATIONS = 1e9  # of a step of a large net, two samples at least: on a CPU a smaller batch tells as much


class Work(NamedTuple):
    """What a cell trains: so many networks, each for `epochs` over `rows` samples in batches.

    phases: all that the network goes through, the last of them here, if any has defenses.
    """

    model: str
    shape: tuple[int, ...]
    classes: int
    batch: int
    rows: int
    epochs: int
    networks: int = 1
    phases: tuple[Phase, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of all networks, one after another."""
        per_sample = _seconds_per_sample(self.model, self.shape, self.classes, self.batch, self.phases)
        return self.networks * self.epochs * self.rows * per_sample


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


class _Clock(training.Hooks):
    """Notes when each epoch ends, and ends the phase after two: the first warms up."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_epoch(self, run: training.TrainingRun) -> None:
        if run.device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        run.stop = run.epoch == 2


def _seconds_per_sample(
    model: str, shape: tuple[int, ...], classes: int, batch: int, phases: tuple[Phase, ...] = ()
) -> float:
    """What a sample takes in training, forward and backward, by the very loop that is predicted, in the last phase.

    On a CPU a large net is timed plain, and slowed down as its defenses slow down a small one, for the same batch.
    """
    net = _Net(model, shape, classes, batch)
    if not phases or torch.cuda.is_available() or batch * net.operations <= OPERATIONS:
        return _timed(net, phases)
    small = SMALL._replace(batch=batch)
    return _timed(net) * _timed(small, phases) / _timed(small)


class _Net(NamedTuple):
    model: str
    shape: tuple[int, ...]
    classes: int
    batch: int

    @property
    def operations(self) -> float:
        """Multiply-adds forward, of a sample."""
        return models.multiply_adds(self.model, self.shape, self.classes)


SMALL = _Net("small_cnn", (3, 16, 16), 10, batch=32)
_found: dict[tuple[object, ...], float] = {}


def _timed(net: _Net, phases: tuple[Phase, ...] = ()) -> float:
    """Seconds a sample; timed once for a net and kinds of defenses: settings and classes count for little."""
    kinds = tuple(tuple(type(defense) for defense in phase.defenses) for phase in phases)
    key = net.model, net.shape, net.batch, kinds
    if key not in _found:
        _found[key] = _time(net, phases or (Phase(Recipe(epochs=2, lr=1e-3)),))
    return _found[key]


def _time(net: _Net, phases: tuple[Phase, ...]) -> float:
    operations, batch = net.operations, net.batch
    if not torch.cuda.is_available() and batch * operations > OPERATIONS:
        batch = min(batch, max(2, int(CPU_OPERATIONS / operations)))
    rows = batch * max(2, min(MOST_STEPS, int(OPERATIONS / (batch * operations))))
    draw, clock = generator(derive(0, "cost")), _Clock()
    carried: dict[str, Any] = {}
    data = torch.randn(rows, *net.shape, generator=draw), torch.randint(net.classes, (rows,), generator=draw)
    build = partial(models.build, net.model, net.shape, net.classes)
    with limited(1 if batch * operations < LARGE else cores()):
        for phase in phases:
            epochs, defenses = max(2, phase.recipe.epochs), tuple(map(_on_noise, phase.defenses))
            recipe = replace(phase.recipe, epochs=epochs, batch=batch, schedule=Constant(), warmup=0)
            how: dict[str, Any] = {"defenses": defenses, "carried": carried, "hooks": [clock], "progress": False}
            carried = training.fit(build, data, recipe, reference=data, validation=data, **how).carried
    return (clock.times[-1] - clock.times[-2]) / rows


def _on_noise(defense: Defense) -> Defense:
    """The defense as it is timed: weights that learnt noise may have none of the largest in some layer, half always.

    Which weights a budget keeps changes nothing about the seconds, and printed shares fit their own network only.
    """
    return replace(defense, budget=Budget(0.5)) if hasattr(defense, "budget") else defense  # type: ignore[call-arg]
