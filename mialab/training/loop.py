"""Train one model: the inner loop, and the moments at which it calls hooks (see `mialab.training.hooks`)."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from os import PathLike
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mialab.progress import bar
from mialab.seeds import derive, forked, generator
from mialab.training import once
from mialab.training.augment import augment
from mialab.training.checkpoint import (
    Checkpoint,
    check_plain,
    computing_with,
    optimizer_state,
    progress_of,
    restore_observers,
    restored_optimizer,
    states_of,
)
from mialab.training.forward import (
    Statistics,
    as_the_weights,
    autocast_for,
    convolves,
    first,
    float32_logits,
    heads,
    laid_out,
    placed,
)
from mialab.training.hooks import (
    Data,
    Defense,
    Hooks,
    Parts,
    State,
    TrainingRun,
    check_defenses,
    check_hooks,
    has,
    resolve,
)
from mialab.training.identity import describe, describe_data, describe_hooks, describe_model, digest
from mialab.training.recipe import Pace, Recipe, optimizer_for

SUM_OF_SOFTMAX = 1e-2  # how far from 1 rounding leaves a sum, in bfloat16
IN_STEP = ("batch", "before_step", "loss", "penalty", "after_step")


@dataclass(frozen=True)
class Fitted:
    """A trained model, in eval mode on the device that trained it, one dict per epoch, and what its defenses leave.

    history: epoch (from 1), lr (of the epoch's last step), loss (all that was minimised, penalties included) and
    accuracy in [0, 1], both over the batches as they were trained on, and what hooks added. carried: the end states of
    the defenses' hooks by NAME, tensors on the CPU, for the next phase.
    """

    model: nn.Module
    history: list[dict[str, Any]]
    carried: dict[str, State] = field(default_factory=dict)


def fit(
    build: Callable[[], nn.Module],
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    defenses: Sequence[Defense] = (),
    hooks: Sequence[Hooks] = (),
    reference: Data | None = None,
    validation: Data | None = None,
    carried: Mapping[str, State] | None = None,
    start: Mapping[str, torch.Tensor] | None = None,
    device: str | torch.device | None = None,
    checkpoint: str | PathLike | None = None,
    save_every: float | None = None,
    progress: bool = True,
) -> Fitted:
    """Train the model that `build()` returns, and return it with its history.

    data: tensors (x [n, ...], y int64 [n]), kept on the device as a whole, or a re-iterable source of (x, y) batches,
    which shuffles itself; if it has `set_epoch(epoch)`, that is called before each pass. defenses: settings whose hooks
    are started here, on data, reference and validation rows; hooks: further ones, called after those. The same seed
    gives the same weights, bit for bit on one CPU; the global random state stays as it was.

    start, carried: in a later phase, the weights of the phase before, and what its defenses left. No optimizer state is
    taken over. device: CUDA where there is one. progress: a bar over epochs in a terminal or live notebook.

    checkpoint: a file written every `save_every` seconds (None: a minute), between epochs, and at the end; if it
    exists, training goes on from there, bit for bit on CPU, with the number of threads it began with. A damaged one is
    set aside. One of another run is refused with a ValueError: with another recipe, seed, data, start, or settings of
    the model, the defenses, the hooks or the source. Code is not compared, nor files that a source reads, unless its
    `identity` tells them apart.
    """
    device, defenses, hooks = default_device(device), check_defenses(defenses), check_hooks(hooks)
    run = TrainingRun(placed(built(build, seed, start), device), recipe, device, seed)
    given: dict[str, Data | None] = {"data": data, "reference": reference, "validation": validation}
    given = {role: rows if rows is None else in_memory(rows) or rows for role, rows in given.items()}
    file = None
    if checkpoint:  # before anything is called that might change what tells this run from others
        identity = {"kind": "one model", "recipe": describe(recipe), "seed": str(seed), **identity_of(run.model, start)}
        identity |= {role: describe_data(rows) for role, rows in given.items()}
        identity |= _identity_of_hooks(defenses, hooks, carried or {})
        file = Checkpoint(checkpoint, identity, seconds=save_every)
    state = file.read() if file else None
    with computing_with(file.threads if file else None):
        rows = {role: _on_device(part, run) for role, part in given.items()}
        started = _start(run, defenses, rows, carried or {})
        training = _Training(run, rows["data"], [*started.values(), *hooks], file)
        training.prepare()
        training.restore(state)
        training.train(progress)
    once.keep(training.model)
    return Fitted(training.model.eval(), run.history, _left(started))


class _Training:
    """One run of the loop: what it works on, and how far it has come."""

    def __init__(self, run: TrainingRun, data: Data, hooks: Sequence[Hooks], file: Checkpoint | None):
        self.run, self.model, self.data, self.file = run, run.model, data, file
        self.called = resolve(hooks)
        self.observers = [one for one in hooks if one.observes]
        self.changing = [one for one in hooks if not one.observes]
        self.steps = steps_per_epoch(data, run.recipe)
        if pair := in_memory(data):
            run.x, run.y = pair
        if all(one.autocast for one in self.changing):
            run.autocast = autocast_for(run.device)

    def prepare(self) -> None:
        run = self.run
        run.generator = generator(run.seed, "hooks", 0, device=run.device)
        with forked(derive(run.seed, "noise", 0), run.device):
            for prepare in self.called.prepare:
                prepare(run)
            run.optimizer = optimizer_for(run.model.parameters(), run.recipe)
            for wrap in self.called.wrap:
                run.optimizer = wrap(run, run.optimizer)
                # Asked of the class, as Opacus's property raises before the first step.
                if hasattr(type(run.optimizer), "grad_samples"):
                    self._check_per_sample(type(run.optimizer).__name__)

    def _check_per_sample(self, kind: str) -> None:
        """Refuse what has no place beside an optimizer that takes each sample's own gradient."""
        if self.called.penalty:
            raise ValueError(
                f"a `penalty` has no sure effect beside {kind}, which takes each sample's own gradient: drop the "
                "penalty (ADMM and the min-max game have one), or let a defense's `loss` add a term in each sample's "
                "outputs"
            )
        if self.called.batch:
            raise ValueError(
                f"a defense that changes a `batch`, as Mixup does, may mix samples, but {kind} takes each sample's own "
                "gradient: drop one of them, or augment by the recipe"
            )

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from what the file held, if there was one."""
        run = self.run
        if state and restore_observers(self.observers, state["observers"]):
            for name, value in state["run"].items():
                setattr(run, name, value)
            self.model.load_state_dict(state["model"])
            for one, (_, kept) in zip(self.changing, state["hooks"], strict=True):
                if kept is not None:
                    one.load_state_dict(kept)
            if not run.ended:
                run.optimizer = restored_optimizer(state["optimizer"], run.optimizer, run.model)

    def save(self, file: Checkpoint) -> None:
        run = self.run
        file.write(
            {
                "run": progress_of(run),
                "model": self.model.state_dict(),
                "hooks": states_of(self.changing),
                "observers": states_of(self.observers),
                "optimizer": None if run.ended else optimizer_state(run.optimizer, run.model),
            }
        )

    def train(self, progress: bool) -> None:
        """Train the epochs that are left, end the run, and save it now and then."""
        run, pace = self.run, Pace(self.run.recipe, self.steps, epoch=self.run.epoch)
        if not run.epoch and run.recipe.epochs:
            pace.move(run.optimizer, 1, 0)
        left = () if run.stop else range(run.epoch + 1, run.recipe.epochs + 1)
        guarded = any(getattr(self.called, name) for name in IN_STEP)
        with closing(Statistics(run.model)) if guarded else nullcontext() as statistics:
            run.own_pass = statistics or nullcontext()
            with float32_logits(run.model, run.autocast):
                for epoch in bar(left, show=progress, unit="epoch"):
                    self._epoch(epoch, pace)
                    if self.file and self.file.due():
                        self.save(self.file)
                    if run.stop:
                        break
        if not run.ended:
            self._end()

    def _epoch(self, epoch: int, pace: Pace) -> None:
        run = self.run
        run.epoch = epoch
        run.generator = generator(run.seed, "hooks", epoch, device=run.device)
        with forked(derive(run.seed, "noise", epoch), run.device):
            run.model.train()
            tally = _steps(run, self.called, self._batches(), pace)
            run.history += tally.rows(epoch, run.optimizer.param_groups[0]["lr"])
            if epoch < run.recipe.epochs:
                pace.move(run.optimizer, epoch + 1, 0)
            for after_epoch in self.called.after_epoch:
                after_epoch(run)

    def _end(self) -> None:
        run = self.run
        run.generator = generator(run.seed, "hooks", "end", device=run.device)
        with forked(derive(run.seed, "noise", "end"), run.device):
            for end in self.called.end:
                end(run)
        run.ended = True
        if self.file:
            self.save(self.file)

    def _batches(self) -> Iterator[tuple]:
        """Yield an epoch's batches on the device, augmented, from the defense that supplies them or from the data."""
        run = self.run
        order = generator(run.seed, "order", run.epoch, device=run.device)
        if self.called.batches:
            source = self.called.batches[0](run)
        elif run.x is not None and run.y is not None:
            rows = torch.randperm(len(run.y), generator=order, device=run.device).split(run.recipe.batch)
            source = ((run.x[some], run.y[some]) for some in rows)
        else:
            if set_epoch := getattr(self.data, "set_epoch", None):
                set_epoch(run.epoch)
            source = self.data
        channels_last = convolves(self.model)
        for x, y in source:
            x = laid_out(x.to(run.device, non_blocking=True), channels_last)
            yield augment(x, run.recipe.augment, order), y.to(run.device, non_blocking=True)


def _steps(run: TrainingRun, called: SimpleNamespace, batches: Iterable[tuple], pace: Pace) -> "Tally":
    """One pass over the batches; nothing in it waits for the device."""
    tally = Tally()
    criterion = called.loss[0] if called.loss else None
    for number, (x, y) in enumerate(batches):
        run.step += 1
        if pace.within:
            pace.move(run.optimizer, run.epoch, number)
        for change in called.batch:
            x, y = change(run, x, y)
        for act in called.before_step:
            act(run, x, y)
        run.optimizer.zero_grad()
        with run.autocast:
            with run.own_pass:
                outputs = run.model(x)
            if number == 0 and run.epoch == 1 and not criterion:
                check_outputs(outputs, y)
            loss = criterion(run, outputs, y) if criterion else F.cross_entropy(outputs, y)
            for penalty in called.penalty:
                loss = loss + penalty(run, x, y, outputs)
        loss.backward()
        run.optimizer.step()
        for act in called.after_step:
            act(run)
        tally.add(loss, outputs, y)
    return tally


def check_outputs(outputs: torch.Tensor, y: torch.Tensor) -> None:
    """Refuse outputs [batch, classes] that cross-entropy cannot take with these labels; warn of a softmax in them."""
    if not isinstance(outputs, torch.Tensor) or not len(y):
        return
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"the model's outputs are {list(outputs.shape)}, and cross-entropy needs [batch, classes], one output per "
            "class: for two classes end with two outputs, such as nn.Linear(features, 2)"
        )
    if not y.is_floating_point() and int(y.max()) >= outputs.shape[1]:
        raise ValueError(
            f"data: found label {int(y.max())}, and the model has {outputs.shape[1]} outputs, for labels from 0 to "
            f"{outputs.shape[1] - 1}: give it more outputs, or number the classes from 0"
        )
    if len(y) > 1 and bool((outputs >= 0).all() and ((outputs.detach().sum(1) - 1).abs() < SUM_OF_SOFTMAX).all()):
        warnings.warn(
            "the model's outputs sum to 1, so it most likely ends with a softmax, and cross-entropy takes another: "
            "training is slow and confidences stay low; let the model return what comes before its softmax",
            stacklevel=2,
        )


def _start(
    run: TrainingRun, defenses: Sequence[Defense], rows: Mapping[str, Any], carried: Mapping[str, State]
) -> dict[str, Hooks]:
    """Return the hooks of each defense by its name; each draws from a stream of its own."""
    started = {}
    for one in defenses:
        classes = _classes(run.model, rows)
        parts = Parts(rows["data"], rows["reference"], rows["validation"], run.seed, classes, carried)
        with forked(derive(run.seed, "start", one.NAME), run.device):
            started[one.NAME] = one.start(parts)
    return started


def _left(started: Mapping[str, Hooks]) -> dict[str, State]:
    """Return the end states of defenses' hooks, apart from them and on the CPU."""
    left = {}
    for name, hooks in started.items():
        if has(hooks, "state_dict"):
            check_plain(f"{type(hooks).__name__}.state_dict()", state := hooks.state_dict())
            left[name] = _copied(state)
    return left


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return type(value)(map(_copied, value)) if isinstance(value, list | tuple) else value


def _classes(model: nn.Module, rows: Mapping[str, Any]) -> int:
    """Return the width of the model's logits; of a model without a linear layer, what the labels say."""
    if final := heads(model):
        return final[-1].out_features
    pairs = [in_memory(part) for part in rows.values() if part is not None]
    return 1 + max((int(pair[1].max()) for pair in pairs if pair), default=-1)


def identity_of(model: nn.Module, start: Mapping[str, torch.Tensor] | None) -> dict[str, str]:
    """Return what tells a model and its first weights from others."""
    return {"model": describe_model(model), "start": digest(start and dict(start))}


def _identity_of_hooks(
    defenses: Sequence[Defense], hooks: Sequence[Hooks], carried: Mapping[str, State]
) -> dict[str, str]:
    described = [f"{one.NAME} {one.VERSION} {describe(one)}" for one in defenses]
    others = [describe_hooks(one) for one in hooks if not one.observes]
    return {"defenses": "; ".join(described), "hooks": "; ".join(others), "carried": digest(dict(carried))}


def built(build: Callable[[], nn.Module], seed: int, start: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """Return a new model with weights drawn from the seed, or those of `start`."""
    if isinstance(build, nn.Module):
        raise TypeError("build is a module: give a function that makes one, such as lambda: copy.deepcopy(model)")
    with forked(derive(seed, "init")):
        model = build()
    if not isinstance(model, nn.Module):
        raise TypeError(f"build must return a torch.nn.Module, not {type(model).__name__}")
    once.check(model)
    if start is not None:
        try:
            model.load_state_dict(start)
        except RuntimeError as error:
            cause = " ".join(line.strip() for line in str(error).splitlines()[1:3])
            raise ValueError(f"start: these weights are not of the model that build returns: {cause}") from error
    return model


def steps_per_epoch(data: Data, recipe: Recipe) -> int | None:
    """Return the number of batches in an epoch; None for a source that does not say."""
    if pair := in_memory(data):
        return -(-len(pair[1]) // recipe.batch)
    return len(data) if isinstance(data, Sized) else None


def _on_device(rows: Data | None, run: TrainingRun) -> Any:
    pair = None if rows is None else in_memory(rows)
    if not pair:
        return rows
    x = as_the_weights(pair[0], run.model).to(run.device)
    return laid_out(x, convolves(run.model)), pair[1].to(run.device)


class Tally:
    """Loss and accuracy of one epoch, kept on the device until the end, so that no step waits for it.

    Works for one model (losses [], guesses [batch]) and for members side by side ([members], [members, batch]).
    """

    def __init__(self):
        self.losses, self.guesses, self.truths = [], [], []

    def add(self, loss: torch.Tensor, outputs: torch.Tensor | tuple, y: torch.Tensor) -> None:
        if y.shape[0]:  # Poisson sampling may draw nobody
            self.losses.append(loss.detach())
            self.guesses.append(first(outputs).detach().argmax(-1))
            self.truths.append(y.argmax(-1) if y.is_floating_point() else y)

    def rows(self, epoch: int, lr: float) -> list[dict[str, float]]:
        """Return one history row per model; warn where the loss is not finite."""
        if not self.losses:
            raise ValueError("an epoch without any sample: the source of batches must be re-iterable and not empty")
        sizes = torch.tensor([guess.shape[-1] for guess in self.guesses], dtype=torch.float64)
        losses = torch.stack(self.losses).double().cpu()
        loss = (sizes / sizes.sum()) @ losses.reshape(len(sizes), -1)
        hits = torch.cat(self.guesses, -1) == torch.cat(self.truths, -1)
        accuracy = hits.double().mean(-1).cpu().reshape(-1)
        if not loss.isfinite().all():
            warnings.warn(f"the loss is not finite in epoch {epoch}: lower the learning rate", stacklevel=2)
        pairs = zip(loss.tolist(), accuracy.tolist(), strict=True)
        return [{"epoch": epoch, "lr": float(lr), "loss": a, "accuracy": b} for a, b in pairs]


def in_memory(data: Data) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return data as checked tensors (x, y), or None for a source of batches."""
    if not isinstance(data, tuple | list) or len(data) != 2 or not all(hasattr(part, "shape") for part in data):
        if not isinstance(data, Iterable) or isinstance(data, Iterator | torch.Tensor):
            single = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not hasattr(data, "shape")
            remedy = ": of a Dataset make batches by DataLoader(dataset, batch_size=128, shuffle=True)" * single
            raise TypeError(
                f"data must be tensors (x, y), or a source of (x, y) batches that can be iterated anew{remedy}"
            )
        return None
    x, y = (torch.as_tensor(part) for part in data)
    if y.dtype in (torch.int32, torch.int16, torch.int8, torch.uint8):
        y = y.long()
    if len(x) != len(y) or not len(y):
        raise ValueError(f"data: x has {len(x)} rows and y {len(y)}; both need the same number, at least 1")
    if y.ndim != 1 or y.dtype != torch.int64:
        remedy = "y.squeeze(1)" if y.ndim == 2 and y.shape[1] == 1 else "y.argmax(1)" if y.ndim == 2 else "y.long()"
        raise ValueError(f"data: y must be int64 labels [n], not {y.dtype} {list(y.shape)}: use {remedy}")
    if y.min() < 0:  # cross-entropy would pass over -100 in silence
        raise ValueError(f"data: labels must be at least 0, not {y.min()}: drop those samples")
    return x, y


def default_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for, else CUDA where there is one."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
