"""How long cells would take here: counted work times rates that are measured on this device in a few seconds.

A training step of a model costs its multiply-adds (counted without computing anything, on torch's meta device), the
numbers that its layers write, and a fixed time per operation. The three rates come from short trainings by the very
loop that is predicted. An audit costs time per sample, and per step of an attack network. Meant to be right within a
factor of two: a plan for the evening, not a benchmark.
"""

import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mialab import audit, models, training
from mialab.attacks import neural
from mialab.engine.store import Store
from mialab.seeds import derive

BACKWARD = 2  # a backward pass does the forward pass's work twice: for the inputs and for the weights
OPTIMIZER = 4  # numbers that a step reads or writes per weight: gradient, momentum, weight, and clearing
BUSY = 1.5  # clock seconds per processor second from which on other processes are in the way
PROBE_SECONDS = 0.2  # for each of the networks that a device's speed is measured by
SAMPLES = 4  # counted at once; more than one, as batch norm needs


class Count(NamedTuple):
    """What a model's forward pass does per sample (multiply-adds, numbers written), and per call (operations)."""

    multiply_adds: float
    written: float
    operations: int
    weights: int


class Rate(NamedTuple):
    """A device's speed: seconds per multiply-add, number written and operation in training, and in attacking."""

    multiply_add: float
    written: float
    operation: float
    audited: float = 0.0  # per sample of an audit by attacks that train nothing
    attack_step: float = 0.0  # per step of an attack network
    delay: float = 1.0  # clock seconds per processor second while this was measured; 1 where nothing else runs

    @property
    def warning(self) -> str:
        """That these rates are too slow as others had the processor meanwhile; empty where they had not."""
        return "the machine is busy: estimates are too high" if self.delay > BUSY else ""


class Work(NamedTuple):
    """What a cell trains: `models` networks for `epochs` over `rows` samples in batches, then `scored` forward passes.

    `scored` counts samples per model, each as often as its logits are kept.
    """

    model: str
    shape: tuple[int, ...]
    classes: int
    rows: int
    batch: int
    epochs: int
    scored: int = 0
    models: int = 1

    def seconds(self, rate: Rate) -> float:
        """Seconds for training and scoring."""
        done = count(self.model, self.shape, self.classes)
        steps = self.epochs * -(-self.rows // self.batch)
        passes = (1 + BACKWARD) * self.epochs * self.rows + self.scored
        once = (
            rate.multiply_add * done.multiply_adds * passes
            + rate.written * (done.written * passes + OPTIMIZER * done.weights * steps)
            + rate.operation * (1 + BACKWARD) * done.operations * steps
        )
        return self.models * once


class Audits(NamedTuple):
    """What a cell attacks: so many ensembles, each on `samples`, by attack networks that take `steps` steps in all."""

    audits: int
    samples: int
    steps: int

    def seconds(self, rate: Rate) -> float:
        """Seconds for all audits."""
        return self.audits * (rate.audited * self.samples + rate.attack_step * self.steps)


def attack_steps(attacks: Iterable[str], pairs: int) -> int:
    """Steps that the neural ones among these attacks take, with so many known members and as many non-members."""
    variants = [neural.PUBLISHED, neural.RELEASED, neural.PER_CLASS]
    batches = {each.name: -(-2 * pairs // each.batch) if each.batch else 1 for each in variants}
    return neural.EPOCHS * sum(batches.get(name, 0) for name in attacks)


def seconds(configs: Iterable, rate: Rate, *, store: Store | None = None) -> float:
    """Seconds that the cells and all that they need would take, one after another; without those that the store has.

    A kind of cell says what it does by a method `work()`, which returns a `Work` or `Audits`, or anything else that
    has `seconds(rate)`; a kind without that method counts for nothing.
    """
    works = [config.work() for config in closure(configs, store=store) if hasattr(config, "work")]
    return sum(work.seconds(rate) for work in works)


def closure(configs: Iterable, *, store: Store | None = None) -> list:
    """The cells and all that they need, each once, those needed first; without what the store has and that needs."""
    found: dict = {}

    def visit(config):
        if config in found or (store and store.has(config)):
            return
        for needed in config.needs():
            visit(needed)
        found[config] = None

    for config in configs:
        visit(config)
    return list(found)


def duration(took: float) -> str:
    """Seconds in words, to two digits at most: an estimate claims no more."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if took < most * size:
            return f"{took / size:.{1 if took < 9.5 * size and size > 1 else 0}f} {unit}"
    return f"{took / 86_400:.{1 if took < 9.5 * 86_400 else 0}f} days"


class _Written(TorchDispatchMode):
    """Counts operations, and the numbers that they write."""

    numbers = operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        self.numbers += out.numel() if isinstance(out, torch.Tensor) else sum(part.numel() for part in out)
        return out


@cache
def count(name: str, shape: tuple[int, ...], classes: int) -> Count:
    """What one forward pass of an architecture does; nothing is computed for it, and no memory taken."""
    with torch.device("meta"), torch.no_grad():
        model = models.build(name, shape, classes)
        x = torch.empty(SAMPLES, *shape)
        with FlopCounterMode(display=False) as flops, _Written() as written:
            model(x)
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Count(flops.get_total_flops() / 2 / SAMPLES, written.numbers / SAMPLES, written.operations, weights)


class _Clock(training.Hooks):
    """A hook that notes when each epoch ends, and ends the training when it has seen enough."""

    def __init__(self):
        self.times: list[float] = []

    def after_epoch(self, run) -> None:
        self.times.append(time.perf_counter())
        run.stop = len(self.times) > 1 and self.times[-1] - self.times[0] > PROBE_SECONDS


@cache
def rate() -> Rate:
    """Measure this device, in a few seconds, by short trainings of networks that are slow for different reasons."""
    batch = 512 if torch.cuda.is_available() else 16
    clock, processor = time.perf_counter(), time.thread_time()  # of this thread: others may wait for work
    probes = (
        Work("tabular", (64,), 10, rows=20 * 32, batch=32, epochs=20),  # steps that compute next to nothing
        Work("small_cnn", (3, 12, 12), 10, rows=10 * 50, batch=50, epochs=20),
        Work("alexnet", (3, 32, 32), 10, rows=batch, batch=batch, epochs=20),  # multiply-adds
        Work("resnet20", (3, 32, 32), 10, rows=batch, batch=batch, epochs=20),
        Work("mobilenet_v2", (3, 32, 32), 10, rows=batch, batch=batch, epochs=20),  # many numbers written
    )
    took = np.array([_epoch_seconds(probe) for probe in probes])
    units = [Rate(*unit) for unit in np.eye(3)]
    parts = np.array([[probe._replace(epochs=1).seconds(unit) for unit in units] for probe in probes])
    rates, _ = nnls(parts / took[:, None], np.ones(len(probes)))  # least relative errors, no rate below zero
    attacking = _attack_rates()
    delay = (time.perf_counter() - clock) / max(time.thread_time() - processor, 1e-9)
    return Rate(*rates.tolist(), *attacking, delay)


def _attack_rates() -> tuple[float, float]:
    """Seconds per sample of a plain audit, and per step of an attack network."""
    draw = np.random.default_rng(derive(0, "cost", "audit"))
    outputs = audit.Outputs(draw.standard_normal((1, 2000, 10)), draw.integers(10, size=2000), np.arange(2000) % 2)
    plain = _shortest(lambda: audit.audit(outputs, attacks=["gap", "confidence"]))
    neural_too = _shortest(lambda: audit.audit(outputs, attacks=["gap", "confidence", "neural-published"]))
    steps = attack_steps(["neural-published"], pairs=int(audit.Settings().known * 1000))
    return plain / 2000, (neural_too - plain) / steps


def _shortest(act: Callable[[], object], times: int = 2) -> float:
    took = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        took.append(time.perf_counter() - start)
    return min(took)


def _epoch_seconds(work: Work) -> float:
    """What an epoch takes, after the first, which warms up."""
    draw = np.random.default_rng(derive(0, "cost"))
    x = torch.from_numpy(draw.standard_normal((work.rows, *work.shape), dtype=np.float32))
    y = torch.from_numpy(draw.integers(work.classes, size=work.rows))
    clock = _Clock()
    build = partial(models.build, work.model, work.shape, work.classes)
    recipe = training.Recipe(epochs=work.epochs, batch=work.batch, lr=1e-3)
    training.fit(build, (x, y), recipe, hooks=[clock], progress=False)
    return float(np.median(np.diff(clock.times)))
