"""Train many models of one kind: members of an ensemble, shadow models."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from mialab.progress import bar
from mialab.seeds import derive, forked, generator
from mialab.training import once
from mialab.training.augment import augment
from mialab.training.checkpoint import (
    Checkpoint,
    check_plain,
    computing_with,
    progress_of,
    restore_observers,
    states_of,
    threads_of,
)
from mialab.training.forward import as_the_weights, autocast_for, convolves, float32_logits
from mialab.training.hooks import Data, Defense, Hooks, State, TrainingRun, check_hooks, resolve
from mialab.training.identity import describe, digest, structure
from mialab.training.loop import (
    Fitted,
    Tally,
    built,
    check_outputs,
    default_device,
    fit,
    identity_of,
    in_memory,
)
from mialab.training.recipe import Pace, Recipe, optimizer_for

# Measured (benchmarks/training.py): small dense nets train 1.3 to 3.3 times faster side by side, as there the cost is
# in calling operations; from about this size on, and with convolutions, the arithmetic dominates and it hardly matters.
SMALL = 100_000


def fit_many(
    build: Callable[[], nn.Module],
    data: Data | Sequence[Data],
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    indices: Sequence[Any] | None = None,
    defenses: Sequence[Defense] = (),
    hooks: Callable[[int], Sequence[Hooks]] | None = None,
    reference: Data | None = None,
    validation: Data | None = None,
    carried: Sequence[Mapping[str, State]] | None = None,
    start: Sequence[Mapping[str, torch.Tensor]] | None = None,
    device: str | torch.device | None = None,
    checkpoint: str | PathLike | None = None,
    save_every: float | None = None,
    progress: bool = True,
    joint: bool | None = None,
) -> list[Fitted]:
    """Train one model per seed; member k is the model that `fit(..., seed=seeds[k])` gives on its rows.

    data: tensors (x, y), of which member k gets the rows `indices[k]` (row numbers, which may repeat, or a mask; None:
    all rows); or one source of batches for all members, or a sequence with one source per member. defenses: started
    anew for each member. hooks: a function from the member's number to its further hooks. start, carried: one per
    member. The rest is as in `fit`.

    joint: train all members in the same steps, as one stacked model; None chooses what is faster; True raises a
    ValueError where members cannot be stacked. Hooks of stacked members must only observe. Stacked members equal single
    ones up to rounding, so a training that goes on from its checkpoint takes the way in which it began, whatever
    `joint` says. Single members keep a file each, beside the checkpoint's path.
    """
    members = _Members(build, data, recipe, seeds, indices, hooks, start)
    joint = _as_begun(checkpoint, joint)
    if joint is not False:
        models, obstacle = _stackable(members, defenses, asked=bool(joint))
        if models:
            file = Checkpoint(checkpoint, members.identity(models[0]), seconds=save_every) if checkpoint else None
            return _Stacked(members, models, default_device(device), file).fit(progress)
        if joint and len(seeds):
            raise ValueError(f"members cannot be trained jointly: {obstacle}; use joint=None")
    options: dict[str, Any] = {"defenses": defenses, "reference": reference, "validation": validation}
    options |= {"device": device, "save_every": save_every, "progress": False}
    lefts, fitted = _for_each("carried", carried, len(seeds)), []
    with computing_with(threads_of(_part(checkpoint, 0)) if checkpoint else None):
        for k in bar(range(len(seeds)), show=progress, unit="model"):
            mine: dict[str, Any] = {
                "seed": seeds[k],
                "hooks": members.hooks[k],
                "start": members.starts[k],
                "carried": lefts[k],
            }
            path = _part(checkpoint, k) if checkpoint else None
            fitted.append(fit(build, members.data_of(k), recipe, **mine, checkpoint=path, **options))
            _check_fresh([one.model for one in fitted])
    return fitted


class _Members:
    """What members are trained from, each with its own seed, rows, hooks and first weights."""

    def __init__(
        self,
        build: Callable[[], nn.Module],
        data: Any,
        recipe: Recipe,
        seeds: Sequence[int],
        indices: Sequence[Any] | None,
        hooks: Callable[[int], Sequence[Hooks]] | None,
        start: Sequence[Mapping[str, torch.Tensor]] | None,
    ):
        count = len(seeds)
        self.build, self.recipe, self.seeds = build, recipe, seeds
        self.pair = in_memory(data)
        self.rows = self._rows(indices, count)
        self.starts = _for_each("start", start, count)
        self.hooks = [check_hooks(hooks(k)) if hooks else [] for k in range(count)]
        self.sources = data if _is_several(data) else [data] * count
        if len(self.sources) != count:
            raise ValueError(f"{count} seeds, but {len(data)} sources of batches: give one per seed")

    def _rows(self, indices: Sequence[Any] | None, count: int) -> list[torch.Tensor] | None:
        """Return each member's row numbers, or None where every member sees all of the data."""
        if indices is None:
            return None
        if not self.pair:
            raise ValueError("indices need data in memory, as tensors (x, y), not a source of batches")
        if len(indices) != count:
            raise ValueError(f"{count} seeds, but indices for {len(indices)} members: give one set per seed")
        return [torch.arange(len(self.pair[1]))[torch.as_tensor(each)] for each in indices]

    def data_of(self, k: int) -> Data:
        """Return what the k-th member is trained on."""
        if self.pair and self.rows is not None:
            return self.pair[0][self.rows[k]], self.pair[1][self.rows[k]]
        return self.sources[k]

    def fresh(self, k: int) -> nn.Module:
        """Return the k-th member, untrained."""
        return built(self.build, self.seeds[k], self.starts[k])

    def identity(self, model: nn.Module) -> dict[str, str]:
        """Return what tells the training of stacked members, of which this is the first, from others."""
        settings = {"kind": "stacked models", "recipe": describe(self.recipe), "seed": describe(tuple(self.seeds))}
        starts = None if self.starts[0] is None else [dict(one) for one in self.starts]
        return settings | {"data": digest([self.pair, self.rows]), **identity_of(model, None), "start": digest(starts)}


def _is_several(data: Any) -> bool:
    """Say whether data is a sequence of sources, neither tensors (x, y) nor the batches of one."""
    if not isinstance(data, list | tuple) or not data or in_memory(data):
        return False
    return not all(isinstance(one, list | tuple) and all(hasattr(part, "shape") for part in one) for one in data)


def _for_each(name: str, given: Sequence[Any] | None, count: int) -> Sequence[Any]:
    if given is None:
        return [None] * count
    if len(given) != count:
        raise ValueError(f"{count} seeds, but `{name}` for {len(given)} members: give one per seed")
    return given


def _part(checkpoint: str | PathLike, k: int) -> Path:
    return Path(checkpoint).with_name(f"{Path(checkpoint).name}-{k}")


def _as_begun(checkpoint: str | PathLike | None, joint: bool | None) -> bool | None:
    """Return how to train: as the checkpoint's files say that it began, else as asked."""
    if checkpoint and Path(checkpoint).is_file():
        return True
    return False if checkpoint and _part(checkpoint, 0).is_file() else joint


def _stackable(members: _Members, defenses: Sequence[Defense], *, asked: bool) -> tuple[list[nn.Module], str]:
    """Return all members untrained, or none and why they cannot be stacked or need not be."""
    if len(members.seeds) < 2:
        return [], "there are fewer than two"
    models = [members.fresh(0)]
    obstacle = _obstacle(members, defenses, models[0]) if asked or _pays(models[0]) else "it does not pay"
    if not obstacle:
        models += [members.fresh(k) for k in range(1, len(members.seeds))]
        _check_fresh(models)
        # The first has made a trial forward pass, so this also finds attributes that change in the pass.
        if len(set(map(structure, models))) > 1:
            obstacle = "their modules differ in what is neither a parameter nor a buffer, or change it as they run"
    return ([] if obstacle else models), obstacle


def _obstacle(members: _Members, defenses: Sequence[Defense], model: nn.Module) -> str:
    """Say why the members cannot be stacked; empty if they can."""
    if defenses or not all(one.observes for hooks in members.hooks for one in hooks):
        return "they have defenses, or hooks that do not only observe"
    if not members.pair:
        return "their data comes as a source of batches"
    if members.rows and len({len(each) for each in members.rows}) > 1:
        return "their numbers of samples differ"
    return _unstackable(model, as_the_weights(members.pair[0][:2].cpu(), model))


def _unstackable(model: nn.Module, x: torch.Tensor) -> str:
    kinds = [type(part).__name__ for part in model.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]
    if kinds:
        return f"the model has {kinds[0]} layers"
    try:  # vmap refuses what it cannot do for members side by side, above all dropout
        _forward(model)(*stack_module_state([model]), x[None])
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return ""


def _forward(model: nn.Module) -> Callable:
    """Return the function (stacked weights, stacked buffers, x [members, batch, ...]) -> outputs of each member."""
    return vmap(lambda weights, buffers, x: functional_call(model, (weights, buffers), (x,)))


def _pays(model: nn.Module) -> bool:
    return not convolves(model) and sum(parameter.numel() for parameter in model.parameters()) <= SMALL


def _check_fresh(models: list[nn.Module]) -> None:
    if len(set(map(id, models))) < len(models):
        raise ValueError("build returned the same module twice: it must make a new one at each call")


class _Stacked:
    """The training of all members in the same steps: one optimizer over stacked weights, and one run per member."""

    def __init__(self, members: _Members, models: list[nn.Module], device: torch.device, file: Checkpoint | None):
        self.recipe, self.seeds, self.device, self.file = members.recipe, members.seeds, device, file
        self.models = [model.to(device).train() for model in models]
        self.x, self.y = (part.to(device) for part in members.pair or ())
        self.x = as_the_weights(self.x, models[0])
        everyone = [torch.arange(len(self.y))] * len(models)
        self.rows = torch.stack(members.rows or everyone).to(device)
        self.weights, self.buffers = stack_module_state(self.models)
        self.optimizer = optimizer_for(self.weights.values(), self.recipe)
        self.forward, self.autocast = _forward(self.models[0]), autocast_for(device)
        self.runs = [
            TrainingRun(model, self.recipe, device, seed, autocast=self.autocast)
            for model, seed in zip(self.models, self.seeds, strict=True)
        ]
        self.called = [resolve(hooks) for hooks in members.hooks]
        self.observers = [one for hooks in members.hooks for one in hooks]

    def fit(self, progress: bool) -> list[Fitted]:
        """Train the epochs that are left."""
        state = self.file.read() if self.file else None
        threads = self.file.threads if self.file else None
        with computing_with(threads), float32_logits(self.models[0], self.autocast):
            self._restore(state)
            begun, epochs = self.runs[0].epoch, self.recipe.epochs
            pace = Pace(self.recipe, -(-self.rows.shape[1] // self.recipe.batch), epoch=begun)
            if not begun and epochs:
                pace.move(self.optimizer, 1, 0)
            for epoch in bar(range(begun + 1, epochs + 1), show=progress, unit="epoch"):
                self._epoch(epoch, pace)
                if self.file and self.file.due():
                    self._save(self.file)
            self._end()
        for run in self.runs:
            once.keep(run.model)
        return [Fitted(run.model.eval(), run.history) for run in self.runs]

    def _epoch(self, epoch: int, pace: Pace) -> None:
        tally = Tally()
        for number, (x, y) in enumerate(self._batches(epoch)):
            if pace.within:
                pace.move(self.optimizer, epoch, number)
            loss, outputs = self._step(x, y)
            if number == 0 and epoch == 1:
                check_outputs(outputs[0], y[0])
            tally.add(loss, outputs, y)
        rows = tally.rows(epoch, self.optimizer.param_groups[0]["lr"])
        if epoch < self.recipe.epochs:
            pace.move(self.optimizer, epoch + 1, 0)
        for run, row in zip(self.runs, rows, strict=True):
            run.epoch, run.step = epoch, run.step + number + 1
            run.history.append(row)
        if any(one.after_epoch for one in self.called):
            self._show("after_epoch", epoch)

    def _end(self) -> None:
        if not self.runs[0].ended:
            self._show("end", "end")
            for run in self.runs:
                run.ended = True
            if self.file:
                self._save(self.file)

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of all members on their batches; their losses [members] and their outputs."""
        self.optimizer.zero_grad()
        with self.autocast:
            outputs = self.forward(self.weights, self.buffers, x)
            loss = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
        loss.sum().backward()  # members share no weight, so each gets the gradient of its own loss
        self.optimizer.step()
        return loss, outputs

    def _batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield x [members, batch, ...] and y [members, batch], with the draws that `fit` makes for each member."""
        draws = [generator(seed, "order", epoch, device=self.device) for seed in self.seeds]
        size = self.rows.shape[1]
        orders = torch.stack([torch.randperm(size, generator=draw, device=self.device) for draw in draws])
        for some in self.rows.gather(1, orders).split(self.recipe.batch, 1):
            batch = self.x[some]
            if self.recipe.augment:
                pairs = zip(batch, draws, strict=True)
                batch = torch.stack([augment(each, self.recipe.augment, draw) for each, draw in pairs])
            yield batch, self.y[some]

    def _show(self, moment: str, stream: int | str) -> None:
        """Bring each member's module up to date and let its observers look."""
        self._unstack()
        for run, called in zip(self.runs, self.called, strict=True):
            run.generator = generator(run.seed, "hooks", stream, device=self.device)
            with forked(derive(run.seed, "noise", stream), self.device):
                for look in getattr(called, moment):
                    look(run)

    @torch.no_grad()
    def _unstack(self) -> None:
        """Copy each member's slice of the stacked weights and buffers into its own module."""
        stacked = {**self.weights, **self.buffers}
        for k, model in enumerate(self.models):
            for name, value in [*model.named_parameters(), *model.named_buffers()]:
                value.copy_(stacked[name][k])

    def _save(self, file: Checkpoint) -> None:
        ended = self.runs[0].ended
        check_plain("the optimizer", self.optimizer.state_dict())
        file.write(
            {
                "runs": list(map(progress_of, self.runs)),
                "weights": self.weights,
                "buffers": self.buffers,
                "optimizer": None if ended else self.optimizer.state_dict(),
                "observers": states_of(self.observers),
            }
        )

    @torch.no_grad()
    def _restore(self, state: dict[str, Any] | None) -> None:
        """Go on from what the file held, if there was one."""
        if state and restore_observers(self.observers, state["observers"]):
            for run, kept in zip(self.runs, state["runs"], strict=True):
                for name, value in kept.items():
                    setattr(run, name, value)
            for name, value in [*self.weights.items(), *self.buffers.items()]:
                value.copy_(state["weights"].get(name, state["buffers"].get(name)))
            if not self.runs[0].ended:
                self.optimizer.load_state_dict(state["optimizer"])
            self._unstack()
