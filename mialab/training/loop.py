"""Train one model: the inner loop, the hooks of defenses, and the model's logits afterwards.

A defense is an object with any of these methods; several are called in the order of their list. `run` is a
`TrainingRun`.

    prepare(run)                       once, before the optimizer exists
    wrap(run, optimizer)               -> the optimizer to use
    batches(run)                       -> the (x, y) of one epoch, in place of a random order; augmented afterwards
    batch(run, x, y)                   -> x, y as trained on; y may become class probabilities [batch, classes]
    before_step(run, x, y)             before the forward pass and before gradients are cleared
    loss(run, outputs, y)              -> scalar, in place of cross-entropy
    penalty(run, x, y, outputs)        -> scalar, added to the loss
    after_step(run)                    after the optimizer's step
    after_epoch(run)                   with the epoch's row in run.history[-1] and the next epoch's learning rate set
    state_dict(), load_state_dict(s)   what a checkpoint keeps; loaded after prepare and wrap

`outputs` is whatever the model returns in training: logits [batch, classes], or a tuple that starts with them.

`batch` gets uint8 images as they are. Mialab's models normalise only those and pass floats as they are, so a hook that
mixes images (Mixup) must first normalise them with the model's own part: x = run.model.scale(x).

An optimizer that takes each sample's own gradient (Opacus's DPOptimizer) overwrites the gradient that a term in the
weights adds to the loss, so `penalty` beside it is refused; a term in each sample's outputs belongs in `loss` there.

A defense may have `identity`, an attribute or method without arguments: the settings by which a checkpoint knows it.
Without one, its attributes are taken as they are before the first hook is called (see `identity.describe`).
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from os import PathLike
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mialab.progress import bar
from mialab.seeds import derive, forked, generator
from mialab.training.augment import augment
from mialab.training.checkpoint import Checkpoint
from mialab.training.recipe import Recipe, drop_lr, optimizer_for

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
Data = tuple[torch.Tensor, torch.Tensor] | Batches
HOOKS = (
    "prepare", "batches", "batch", "loss", "penalty", "wrap", "before_step", "after_step", "after_epoch"
)  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """A trained model, in eval mode on the device that trained it, and one dict per epoch.

    history: epoch (from 1), lr (of the epoch's last step), loss (all that was minimised, penalties included) and
    accuracy in [0, 1], both over the batches as they were trained on.
    """

    model: nn.Module
    history: list[dict[str, float]]


@dataclass(eq=False)
class TrainingRun:
    """What hooks see of a training run, and may change.

    model may be wrapped by a hook; `fit` returns the module that `build` gave. x, y are the training tensors on the
    device (None for a source of batches). epoch and step count from 1, 0 before the first. generator is the hooks' own,
    on the device and fresh in each epoch: drawing from it never changes the order of samples. `stop = True` ends
    training after the current epoch.
    """

    model: nn.Module
    recipe: Recipe
    device: torch.device
    seed: int
    x: torch.Tensor | None = None
    y: torch.Tensor | None = None
    optimizer: torch.optim.Optimizer | None = None
    generator: torch.Generator | None = None
    epoch: int = 0
    step: int = 0
    stop: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    build: Callable[[], nn.Module],
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    defenses: Sequence[Any] = (),
    device: str | torch.device | None = None,
    checkpoint: str | PathLike | None = None,
    progress: bool = True,
) -> Fitted:
    """Train the model that `build()` returns, and return it with its history.

    data: tensors (x [n, ...], y int64 [n]), kept on the device as a whole, or a re-iterable source of (x, y) batches,
    which shuffles itself; if it has `set_epoch(epoch)`, that is called before each pass. defenses: objects with hooks,
    as listed at the top of this module. device: CUDA where there is one. The same seed gives the same weights, bit for
    bit on one CPU; the global random state stays as it was.

    checkpoint: a file written after every epoch; if it exists, training goes on from there, bit for bit on CPU, as
    all random choices of an epoch depend on the seed and the epoch alone. A damaged one is set aside. One of another
    run is refused with a ValueError: with another recipe, seed, data, or parts and settings of the model, the defenses
    or the source. Their code is not compared, nor files that a source reads, unless its `identity` tells them apart.
    progress: a bar over epochs in a terminal or live notebook, else nothing.
    """
    device = default_device(device)
    data = in_memory(data) or data
    hooks = _resolve(defenses)
    with forked(derive(seed, "init")):
        model = build()
    if not isinstance(model, nn.Module):
        raise TypeError(f"build must return a torch.nn.Module, not {type(model).__name__}")
    run = TrainingRun(_place(model, device), recipe, device, seed)
    if in_memory(data):
        run.x, run.y = _laid_out(data[0].to(device), convolves(model)), data[1].to(device)
    kept = Checkpoint(checkpoint, run, model, data, defenses) if checkpoint else None
    _prepare(run, hooks)
    if kept:
        kept.restore()
    _train(run, model, data, hooks, kept, progress)
    return Fitted(model.eval(), run.history)


def _prepare(run: TrainingRun, hooks: SimpleNamespace) -> None:
    run.generator = generator(run.seed, "hooks", 0, device=run.device)
    with forked(derive(run.seed, "noise", 0), run.device):
        for prepare in hooks.prepare:
            prepare(run)
        run.optimizer = optimizer_for(run.model.parameters(), run.recipe)
        for wrap in hooks.wrap:
            run.optimizer = wrap(run, run.optimizer)
            # Asked of the class, as Opacus's property raises before the first step.
            if hooks.penalty and hasattr(type(run.optimizer), "grad_samples"):
                raise ValueError(
                    f"a `penalty` has no sure effect beside {type(run.optimizer).__name__}, which takes each sample's "
                    "own gradient: drop the penalty, or let a defense's `loss` add a term in each sample's outputs"
                )


def _train(
    run: TrainingRun, model: nn.Module, data: Data, hooks: SimpleNamespace, kept: Checkpoint | None, progress: bool
) -> None:
    autocast = autocast_for(run.device)
    left = () if run.stop else range(run.epoch + 1, run.recipe.epochs + 1)
    for epoch in bar(left, show=progress, unit="epoch"):
        run.epoch = epoch
        run.generator = generator(run.seed, "hooks", run.epoch, device=run.device)
        with forked(derive(run.seed, "noise", run.epoch), run.device):
            run.model.train()
            tally = _epoch(run, hooks, _batches(run, model, data, hooks), autocast)
            lr = run.optimizer.param_groups[0]["lr"]
            run.history += tally.rows(run.epoch, lr)
            drop_lr(run.optimizer, run.recipe, run.epoch)
            for after_epoch in hooks.after_epoch:
                after_epoch(run)
        if kept:
            kept.save()
        if run.stop:
            break


def _epoch(run: TrainingRun, hooks: SimpleNamespace, batches: Batches, autocast: AbstractContextManager) -> "Tally":
    """One pass over the batches; nothing in it waits for the device."""
    tally = Tally()
    model, optimizer = run.model, run.optimizer
    criterion = hooks.loss[0] if hooks.loss else None
    for x, y in batches:
        run.step += 1
        for change in hooks.batch:
            x, y = change(run, x, y)
        for act in hooks.before_step:
            act(run, x, y)
        optimizer.zero_grad()
        with autocast:
            outputs = model(x)
            loss = criterion(run, outputs, y) if criterion else F.cross_entropy(outputs, y)
            for penalty in hooks.penalty:
                loss = loss + penalty(run, x, y, outputs)
        loss.backward()
        optimizer.step()
        for act in hooks.after_step:
            act(run)
        tally.add(loss, outputs, y)
    return tally


def _batches(run: TrainingRun, model: nn.Module, data: Data, hooks: SimpleNamespace) -> Iterator[tuple]:
    """Yield an epoch's batches on the device, augmented, from the defense that supplies them or from the data."""
    order = generator(run.seed, "order", run.epoch, device=run.device)
    if hooks.batches:
        source = hooks.batches[0](run)
    elif run.x is not None:
        rows = torch.randperm(len(run.y), generator=order, device=run.device).split(run.recipe.batch)
        source = ((run.x[some], run.y[some]) for some in rows)
    else:
        if hasattr(data, "set_epoch"):
            data.set_epoch(run.epoch)
        source = data
    channels_last = convolves(model)
    for x, y in source:
        x = _laid_out(x.to(run.device, non_blocking=True), channels_last)
        yield augment(x, run.recipe.augment, order), y.to(run.device, non_blocking=True)


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


def first(outputs: torch.Tensor | tuple) -> torch.Tensor:
    """Return the logits among a model's outputs: the tensor itself, or a tuple's first."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]


def logits(
    model: nn.Module, data: torch.Tensor | Batches, *, batch: int = 1000, device: str | torch.device | None = None
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Return the model's float32 logits [n, classes] on the CPU: eval mode, full precision, no augmentation.

    data: a tensor x [n, ...]; or a source of (x, y) batches, and then the result is (logits, labels [n]), as a source
    may shuffle. device: where the model is moved first; by default it stays. Modes of the model's parts are restored.
    """
    if device is not None:
        model.to(device)
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with evaluating(model), torch.no_grad():
        if isinstance(data, torch.Tensor):
            return torch.cat([first(model(x.to(where))).float().cpu() for x in data.split(batch)])
        pairs = [(first(model(x.to(where))).float().cpu(), y.cpu()) for x, y in data]
    outputs, labels = zip(*pairs, strict=True)
    return torch.cat(outputs), torch.cat(labels)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode inside the block; each part's own mode comes back afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def in_memory(data: Data) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return data as checked tensors (x, y), or None for a source of batches."""
    if not isinstance(data, tuple | list) or len(data) != 2 or not all(hasattr(part, "shape") for part in data):
        if not isinstance(data, Iterable) or isinstance(data, Iterator | torch.Tensor):
            raise TypeError("data must be tensors (x, y), or a source of (x, y) batches that can be iterated anew")
        return None
    x, y = (torch.as_tensor(part) for part in data)
    if len(x) != len(y) or not len(y):
        raise ValueError(f"data: x has {len(x)} rows and y {len(y)}; both need the same number, at least 1")
    if y.ndim != 1 or y.dtype != torch.int64:
        raise ValueError(f"data: y must be int64 labels [n], not {y.dtype} {list(y.shape)}")
    if y.min() < 0:  # cross-entropy would pass over -100 in silence
        raise ValueError(f"data: labels must be at least 0, not {y.min()}: drop those samples")
    return x, y


def default_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for, else CUDA where there is one."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def autocast_for(device: torch.device) -> AbstractContextManager:
    """Return bfloat16 autocast on CUDA, nothing on the CPU, where float32 is the reference."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def _place(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device, memory_format=torch.channels_last) if convolves(model) else model.to(device)


def _laid_out(x: torch.Tensor, channels_last: bool) -> torch.Tensor:
    # Convolutions run faster so, on the CPU too; the shape stays [n, c, h, w].
    return x.contiguous(memory_format=torch.channels_last) if channels_last and x.ndim == 4 else x


def convolves(model: nn.Module) -> bool:
    """Say whether the model has two-dimensional convolutions."""
    return any(isinstance(part, nn.Conv2d) for part in model.modules())


def _resolve(defenses: Sequence[Any]) -> SimpleNamespace:
    """Look up each hook's bound methods once, so that an empty list costs nothing in the loop."""
    for defense in defenses:
        if isinstance(defense, type) or not any(hasattr(defense, name) for name in HOOKS):
            raise TypeError(f"{defense!r} is no defense: it must be an object with one of the hooks {', '.join(HOOKS)}")
    found = {name: [getattr(each, name) for each in defenses if hasattr(each, name)] for name in HOOKS}
    for name in ("batches", "loss"):
        if len(found[name]) > 1:
            raise ValueError(f"{len(found[name])} defenses want to supply `{name}`, but only one can: drop one of them")
    return SimpleNamespace(**found)
