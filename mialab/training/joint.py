"""Train many models of one kind: members of an ensemble, shadow models."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from mialab.progress import bar
from mialab.seeds import derive, forked, generator
from mialab.training.augment import augment
from mialab.training.identity import plain
from mialab.training.loop import (
    Data,
    Fitted,
    Tally,
    TrainingRun,
    autocast_for,
    convolves,
    default_device,
    fit,
    in_memory,
)
from mialab.training.recipe import Recipe, drop_lr, optimizer_for

# Measured (benchmarks/training.py): small dense nets train 1.3 to 3.3 times faster side by side, as there the cost is
# in calling operations; from about this size on, and with convolutions, the arithmetic dominates and it hardly matters.
SMALL = 100_000

Watcher = Callable[[int, TrainingRun], None]


def fit_many(
    build: Callable[[], nn.Module],
    data: Data,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    indices: Sequence[Any] | None = None,
    defenses: Callable[[int], Sequence[Any]] | None = None,
    after_epoch: Watcher | None = None,
    device: str | torch.device | None = None,
    progress: bool = True,
    joint: bool | None = None,
) -> list[Fitted]:
    """Train one model per seed; member k is the model that `fit(..., seed=seeds[k])` gives on the rows `indices[k]`.

    indices: per member row numbers (repeats allowed) or a mask over the rows of x; None: all rows. defenses: a function
    from the member's number to its own list, as defenses hold state. after_epoch: called with the member's number and
    its run after each of its epochs, as a last defense's `after_epoch` would be, but only to look: at model, epoch
    and history (stacked members share an optimizer, which is not shown). joint: train all members in the same steps,
    as one stacked model; None chooses what is faster; True raises a ValueError where members cannot be stacked.
    Stacked members equal single ones up to rounding.
    """
    device, data = default_device(device), in_memory(data) or data
    rows = _rows(data, len(seeds), indices)
    watch = {"after_epoch": after_epoch, "progress": progress}
    if joint is not False and (models := _stackable(build, data, rows, seeds, defenses, asked=bool(joint))):
        return _fit_stacked(models, data, recipe, seeds=seeds, rows=rows, device=device, **watch)
    fitted = []
    for k in bar(range(len(seeds)), show=progress, unit="model"):
        part = data if rows is None else (data[0][rows[k]], data[1][rows[k]])
        own = [*(defenses(k) if defenses else ()), *([_Watched(k, after_epoch)] if after_epoch else ())]
        fitted.append(fit(build, part, recipe, seed=seeds[k], defenses=own, device=device, progress=False))
        _check_fresh([each.model for each in fitted])
    return fitted


class _Watched:
    """A hook that shows a member trained by itself to the watcher."""

    def __init__(self, member: int, watcher: Watcher):
        self.member, self.watcher = member, watcher

    def after_epoch(self, run: TrainingRun) -> None:
        self.watcher(self.member, run)


def _rows(data: Data, members: int, indices: Sequence[Any] | None) -> list[torch.Tensor] | None:
    """Return each member's row numbers, or None where every member sees all of the data."""
    if indices is None:
        return None
    if not in_memory(data):
        raise ValueError("indices need data in memory, as tensors (x, y), not a source of batches")
    if len(indices) != members:
        raise ValueError(f"{members} seeds, but indices for {len(indices)} members: give one set per seed")
    return [torch.arange(len(data[1]))[torch.as_tensor(each)] for each in indices]


def _stackable(
    build: Callable, data: Data, rows: list[torch.Tensor] | None, seeds: Sequence[int], defenses: Any, *, asked: bool
) -> list[nn.Module]:
    """Return all members untrained, or none if they cannot be stacked or need not be; ValueError where it was asked."""
    if not seeds:
        return []
    models = [_built(build, seeds[0])]
    obstacle = _obstacle(data, rows, seeds, defenses, models[0]) if asked or _pays(models[0]) else "it does not pay"
    if not obstacle:
        models += [_built(build, seed) for seed in seeds[1:]]
        _check_fresh(models)
        obstacle = _unlike(models)
    if asked and obstacle:
        raise ValueError(f"members cannot be trained jointly: {obstacle}; use joint=None")
    return [] if obstacle else models


def _obstacle(
    data: Data, rows: list[torch.Tensor] | None, seeds: Sequence[int], defenses: Any, model: nn.Module
) -> str:
    """Say why the members cannot be stacked; empty if they can."""
    if len(seeds) < 2:
        return "there are fewer than two"
    if defenses:
        return "they have defenses"
    if not in_memory(data):
        return "their data comes as a source of batches"
    if rows and len({len(each) for each in rows}) > 1:
        return "their numbers of samples differ"
    return _unstackable(model, data[0][:2].cpu())


def _unstackable(model: nn.Module, x: torch.Tensor) -> str:
    kinds = [type(part).__name__ for part in model.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]
    if kinds:
        return f"the model has {kinds[0]} layers"
    try:  # vmap refuses what it cannot do for members side by side, above all dropout
        _forward(model)(*stack_module_state([model]), x[None])
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return ""


def _unlike(models: list[nn.Module]) -> str:
    # The first has made a trial forward pass, so this also finds attributes that change in the pass.
    if len({(repr(model), plain(model)) for model in models}) > 1:
        return "their modules differ in what is neither a parameter nor a buffer, or change it as they run"
    return ""


def _forward(model: nn.Module) -> Callable:
    """Return the function (stacked weights, stacked buffers, x [members, batch, ...]) -> outputs of each member."""
    return vmap(lambda weights, buffers, x: functional_call(model, (weights, buffers), (x,)))


def _pays(model: nn.Module) -> bool:
    return not convolves(model) and sum(parameter.numel() for parameter in model.parameters()) <= SMALL


def _built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with forked(derive(seed, "init")):
        return build()


def _check_fresh(models: list[nn.Module]) -> None:
    if len(set(map(id, models))) < len(models):
        raise ValueError("build returned the same module twice: it must make a new one at each call")


def _fit_stacked(
    models: list[nn.Module],
    data: tuple[torch.Tensor, torch.Tensor],
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    rows: list[torch.Tensor] | None,
    device: torch.device,
    after_epoch: Watcher | None,
    progress: bool,
) -> list[Fitted]:
    models = [model.to(device).train() for model in models]
    x, y = (part.to(device) for part in data)
    rows = torch.stack(rows or [torch.arange(len(y))] * len(models)).to(device)
    weights, buffers = stack_module_state(models)
    optimizer = optimizer_for(weights.values(), recipe)
    step = partial(_step, _forward(models[0]), weights, buffers, optimizer, autocast_for(device))
    runs = [TrainingRun(model, recipe, device, seed) for model, seed in zip(models, seeds, strict=True)]
    for epoch in bar(range(1, recipe.epochs + 1), show=progress, unit="epoch"):
        tally = Tally()
        for some_x, some_y in _batches(x, y, rows, recipe, seeds, epoch):
            tally.add(*step(some_x, some_y), some_y)
        for run, row in zip(runs, tally.rows(epoch, optimizer.param_groups[0]["lr"]), strict=True):
            run.epoch = epoch
            run.history.append(row)
        drop_lr(optimizer, recipe, epoch)
        if after_epoch or epoch == recipe.epochs:
            _unstack(models, {**weights, **buffers})
        for k, run in enumerate(runs if after_epoch else ()):
            after_epoch(k, run)
    return [Fitted(run.model.eval(), run.history) for run in runs]


def _step(forward, weights, buffers, optimizer, autocast, x: torch.Tensor, y: torch.Tensor) -> tuple:
    """One step of all members on their batches; their losses [members] and their outputs."""
    optimizer.zero_grad()
    with autocast:
        outputs = forward(weights, buffers, x)
        loss = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
    loss.sum().backward()  # members share no weight, so each gets the gradient of its own loss
    optimizer.step()
    return loss, outputs


def _batches(x: torch.Tensor, y: torch.Tensor, rows: torch.Tensor, recipe: Recipe, seeds: Sequence[int], epoch: int):
    """Yield x [members, batch, ...] and y [members, batch], with the draws that `fit` makes for each member alone."""
    draws = [generator(seed, "order", epoch, device=x.device) for seed in seeds]
    orders = torch.stack([torch.randperm(rows.shape[1], generator=draw, device=x.device) for draw in draws])
    for some in rows.gather(1, orders).split(recipe.batch, 1):
        batch = x[some]
        if recipe.augment:
            pairs = zip(batch, draws, strict=True)
            batch = torch.stack([augment(each, recipe.augment, draw) for each, draw in pairs])
        yield batch, y[some]


@torch.no_grad()
def _unstack(models: list[nn.Module], stacked: dict[str, torch.Tensor]) -> None:
    """Copy each member's slice of the stacked weights and buffers into its own module."""
    for k, model in enumerate(models):
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            value.copy_(stacked[name][k])
