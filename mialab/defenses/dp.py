"""Differential privacy by noisy gradients, DP-SGD (Abadi et al. 2016), on Opacus's clipping, noise and accountant.

Each step draws every training row on its own with the same chance (Poisson sampling), cuts each drawn sample's gradient
to a norm of at most `clip`, adds up, and adds Gaussian noise of standard deviation sigma * clip. Explained in the
chapter "The min-max game". Opacus comes with the extra `dp` and is loaded only when training starts.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mialab.names import unknown
from mialab.seeds import generator
from mialab.training import Defense, Hooks, Parts, TrainingRun

Steps = tuple[float, float, int]  # sigma, the chance of a row to be drawn, and how many such steps

ACCOUNTANTS = ("rdp", "prv")
TOLERANCE = 0.01  # what of the target epsilon may stay unspent
MOST_NOISE = 1e6


@dataclass(frozen=True)
class DpSgd(Defense):
    """Trains with (epsilon, delta)-differential privacy: by two training sets that differ in one row.

    epsilon: of the whole training up to this phase's end, the phases before included; the noise is found from it, from
    the recipe's epochs and from the chance batch / rows of a row to be drawn, so that at most 0.01 of it is left.
    delta: below 1 / rows. clip: the norm that no sample's gradient exceeds. noise: sigma, in place of an epsilon
    (then epsilon=None); 0 clips only, and nothing is private. accountant: "rdp" (the moments of Abadi et al., quick)
    or "prv" (tighter, a fifth of a second for each epoch).

    Each epoch's history has sigma and epsilon, what the steps under it have spent so far (None without noise); the
    batches' number is that of a plain epoch, their sizes vary. The guarantee is one model's, and one against who does
    not know the seed, by which the noise can be drawn again. It counts the steps: what other defenses or the choice of
    settings learn from the training rows is not in it. A pipeline states an epsilon only if each of its phases has one
    (see `Pipeline.columns`).

    Raises ValueError at the start of a training for layers that mix samples (BatchNorm), rows that are not in memory,
    a batch as large as all rows, an epsilon that earlier phases have spent; beside hooks with a `penalty` or `batch`
    (ADMM, the min-max game, Mixup), whose part in the gradient is no single sample's. A `loss` of other hooks cannot be
    told: it must be a mean of terms of one sample each. ImportError without Opacus.
    """

    NAME: ClassVar[str] = "dp"
    VERSION: ClassVar[int] = 1

    epsilon: float | None = 6.28
    delta: float = 1e-5
    clip: float = 1.0
    noise: float | None = None
    accountant: str = "rdp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.epsilon is None) == (self.noise is None):
            raise ValueError("DpSgd: give either epsilon or noise; with noise write epsilon=None")
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise ValueError(f"DpSgd: epsilon must be positive and finite, not {self.epsilon}")
        if self.noise is not None and not 0 <= self.noise < math.inf:
            raise ValueError(f"DpSgd: noise must be at least 0 and finite, not {self.noise}")
        if not 0 < self.delta < 1 or not 0 < self.clip < math.inf:
            raise ValueError(f"DpSgd: delta lies in (0, 1), clip is positive, not {self.delta}, {self.clip}")
        if self.accountant not in ACCOUNTANTS:
            raise ValueError(f"DpSgd: {unknown('accountant', self.accountant, ACCOUNTANTS)}")

    def start(self, parts: Parts) -> Hooks:
        return _Private(self, parts)

    def columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = {"epsilon": self.epsilon}
        return columns if self.noise is None else {**columns, "noise": self.noise}


class _Private(Hooks):
    autocast = False

    def __init__(self, settings: DpSgd, parts: Parts):
        self.settings, self.opacus = settings, _opacus()
        before = parts.carried.get(DpSgd.NAME, {"steps": []})
        self.spent: list[Steps] = _steps(before["steps"])
        self.attached: Any = None

    def prepare(self, run: TrainingRun) -> None:
        self.run = run
        self.rows, self.rate, steps = _sampling(run, self.settings)
        _check_layers(run, self.opacus)
        asked, before = self.settings, tuple(self.spent)
        self.sigma = sigma_for(asked, self.rate, steps, before) if asked.noise is None else asked.noise
        # The first layer's input needs no gradient: that is as it should be.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        self.attached = self.opacus.GradSampleHooks(run.model)
        convolutions = [part for part in run.model.modules() if isinstance(part, nn.Conv2d)]
        self.placed = [part.register_forward_pre_hook(_contiguous) for part in convolutions]

    def wrap(self, run: TrainingRun, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        private = self.opacus.DPOptimizer(
            optimizer,
            noise_multiplier=self.sigma,
            max_grad_norm=self.settings.clip,
            expected_batch_size=run.recipe.batch,
        )
        private.attach_step_hook(self._stepping)
        self.optimizer = private
        wrapped: torch.optim.Optimizer = private
        return wrapped

    def batches(self, run: TrainingRun) -> Iterator[tuple[Tensor, Tensor]]:
        assert run.x is not None and run.y is not None
        draw = generator(run.seed, "poisson", run.epoch, device=run.device)
        self.optimizer.generator = generator(run.seed, "dp", run.epoch, device=run.device)
        for _ in range(_batches(self.rows, run)):
            chosen = torch.rand(self.rows, generator=draw, device=run.device) < self.rate
            yield run.x[chosen], run.y[chosen]

    def after_epoch(self, run: TrainingRun) -> None:
        run.history[-1] |= {"sigma": self.sigma, "epsilon": spent(self.settings, self.spent)}

    def end(self, run: TrainingRun) -> None:
        self._detach()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": list(self.spent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.spent = _steps(state["steps"])
        if self.run.ended:
            self._detach()

    def _stepping(self, optimizer: Any) -> None:
        """Between the noise and the step: count it, and lay gradients out as the weights, which fused kernels need."""
        for weight in optimizer.params:
            weight.grad = torch.empty_like(weight).copy_(weight.grad)
        *earlier, last = self.spent or [(self.sigma, self.rate, 0)]
        if last[:2] == (self.sigma, self.rate):
            self.spent = [*earlier, (*last[:2], last[2] + 1)]
        else:
            self.spent = [*self.spent, (self.sigma, self.rate, 1)]

    def _detach(self) -> None:
        """Leave the model as it was, without Opacus's hooks and each sample's gradients."""
        if self.attached is not None:
            for handle in self.placed:
                handle.remove()
            self.attached.cleanup()
            for weight in self.run.model.parameters():
                weight.__dict__.pop("summed_grad", None)
            self.attached = None


def _contiguous(layer: nn.Module, inputs: tuple) -> tuple:
    """Channels first: of inputs channels last, as the loop has them, Opacus takes wrong gradients and says nothing."""
    return tuple(value.contiguous() for value in inputs) if layer.training else inputs


def _opacus() -> SimpleNamespace:
    """What is used of Opacus; ImportError with the remedy where it is missing."""
    try:
        from opacus.accountants import create_accountant
        from opacus.grad_sample import GradSampleHooks
        from opacus.optimizers import DPOptimizer
        from opacus.validators import ModuleValidator
    except ImportError as error:
        raise ImportError("DpSgd needs Opacus: pip install 'mialab[dp]'") from error
    return SimpleNamespace(
        create_accountant=create_accountant,
        GradSampleHooks=GradSampleHooks,
        DPOptimizer=DPOptimizer,
        ModuleValidator=ModuleValidator,
    )


def spent(settings: DpSgd, steps: list[Steps] | tuple[Steps, ...]) -> float | None:
    """The epsilon that steps have spent, all together, at the settings' delta; None where one of them had no noise."""
    if not all(sigma > 0 for sigma, _, _ in steps):
        return None
    accountant = _opacus().create_accountant(mechanism=settings.accountant)
    accountant.history = list(steps)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")  # then epsilon is larger than need be
        return float(accountant.get_epsilon(delta=settings.delta)) if steps else 0.0


@lru_cache
def sigma_for(settings: DpSgd, rate: float, steps: int, before: tuple[Steps, ...] = ()) -> float:
    """The least noise, by halving, with which so many steps after those before spend no more than the epsilon.

    rate: the chance of a row to be drawn in a step. The result is relative to the clip. Raises ValueError where the
    steps before have spent the epsilon, or no noise is enough.
    """
    assert settings.epsilon is not None
    used = spent(settings, before)
    if used is None or used >= settings.epsilon:
        found = "no noise" if used is None else f"an epsilon of {used:.2f}"
        raise ValueError(
            f"DpSgd: the phases before have trained with {found}, so that none of epsilon={settings.epsilon} is left: "
            "epsilon is that of all phases together; raise it, phase by phase"
        )
    low, high = 0.0, 10.0
    reached = math.inf
    while reached > settings.epsilon:
        high *= 2
        if high > MOST_NOISE:
            raise ValueError(f"DpSgd: no noise is enough for epsilon={settings.epsilon}: raise it, or train less")
        reached = _with(settings, before, high, rate, steps)
    while settings.epsilon - reached > TOLERANCE:
        middle = (low + high) / 2
        found_here = _with(settings, before, middle, rate, steps)
        if found_here < settings.epsilon:
            high, reached = middle, found_here
        else:
            low = middle
    return high


def _with(settings: DpSgd, before: tuple[Steps, ...], sigma: float, rate: float, steps: int) -> float:
    found = spent(settings, (*before, (sigma, rate, steps)))
    return math.inf if found is None else found


def _steps(kept: Any) -> list[Steps]:
    return [(float(sigma), float(rate), int(number)) for sigma, rate, number in kept]


def _batches(rows: int, run: TrainingRun) -> int:
    """As many as a plain epoch has, so that schedules of learning rates run as there."""
    return -(-rows // run.recipe.batch)


def _sampling(run: TrainingRun, settings: DpSgd) -> tuple[int, float, int]:
    """The number of rows, each one's chance to be drawn in a step, and the number of steps of the whole training."""
    if run.y is None:
        raise ValueError(
            "DpSgd draws each row by chance and needs them in memory, as tensors (x, y): choose a data set that is not "
            "read from files"
        )
    rows, batch = len(run.y), run.recipe.batch
    if batch >= rows:
        raise ValueError(f"DpSgd: a batch of {batch} of {rows} rows leaves nothing to draw: give a smaller batch")
    if settings.delta * rows >= 1:
        raise ValueError(
            f"DpSgd: with delta={settings.delta} and {rows} rows, one could be published whole: choose delta below "
            f"{1 / rows:.1g}"
        )
    return rows, batch / rows, run.recipe.epochs * _batches(rows, run)


def _check_layers(run: TrainingRun, opacus: SimpleNamespace) -> None:
    for part in run.model.modules():
        if isinstance(part, _BatchNorm):
            raise ValueError(
                f"DpSgd: {type(part).__name__} mixes the samples of a batch, so that no gradient is a single sample's: "
                "build the model with norm='group' (Pipeline(..., norm='group')), or choose one without, such as lenet5"
            )
    if errors := opacus.ModuleValidator.validate(run.model.train(), strict=False):
        raise ValueError(f"DpSgd: Opacus cannot take each sample's gradient of this model: {str(errors[0])[:300]}")
