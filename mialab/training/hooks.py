"""The contract of defenses: frozen settings (`Defense`) that start what the training loop calls (`Hooks`)."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import FunctionType, SimpleNamespace
from typing import Any, ClassVar, cast

import torch
from torch import nn
from torch.func import functional_call

from mialab.engine.store import settings
from mialab.names import unknown
from mialab.seeds import derive, forked
from mialab.training.forward import Batches, evaluating
from mialab.training.recipe import Recipe

Data = tuple[torch.Tensor, torch.Tensor] | Batches
State = dict[str, Any]


@dataclass(eq=False)
class TrainingRun:
    """What hooks see of a training run, and may change.

    model may be wrapped by a hook; `fit` returns the module that `build` gave. x, y are the training tensors on the
    device (None for a source of batches). epoch and step count from 1, 0 before the first. generator is the hooks' own,
    on the device and fresh in each epoch: drawing from it never changes the order of samples. `stop = True` ends
    training after the current epoch; `ended` is True once the `end` hooks have run.

    history: one dict per epoch; a hook that writes numbers of its own into run.history[-1], in `after_epoch`, finds
    them in `Fitted.history`. optimizer: None where members are trained side by side, which hooks can only watch.
    """

    model: nn.Module
    recipe: Recipe
    device: torch.device
    seed: int
    x: torch.Tensor | None = None
    y: torch.Tensor | None = None
    optimizer: torch.optim.Optimizer = cast("torch.optim.Optimizer", None)  # until `wrap`
    generator: torch.Generator | None = None
    epoch: int = 0
    step: int = 0
    stop: bool = False
    ended: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    autocast: AbstractContextManager[Any] = field(default_factory=nullcontext, repr=False)
    own_pass: AbstractContextManager[Any] = field(default_factory=nullcontext, repr=False)

    def predict(self, x: torch.Tensor, *, training: bool = False, grad: bool = False) -> Any:
        """Return what the model answers to x [n, ...]; its modes, its buffers and the random state stay as they are.

        Under the loop's autocast. training: in the model's present mode, with a batch's own statistics and dropout's
        draws, instead of eval mode. grad: so that a loss made of the answer reaches the weights.
        """
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        draws = forked(derive(self.seed, "predict", self.epoch, self.step), self.device)
        mode = nullcontext() if training else evaluating(self.model)
        with torch.set_grad_enabled(grad), draws, mode, self.own_pass, self.autocast:
            return functional_call(self.model, buffers, (x.to(self.device),))


class Hooks:
    """What the training loop calls, at each of these moments; a subclass writes the methods that it needs.

    Several are called in the order of their list. `outputs` is whatever the model returns in training: logits
    [batch, classes], or a tuple that starts with them. What a subclass leaves out costs nothing. A public method that
    is none of these is refused with a TypeError when the object is made: it would never be called. Names of helpers
    begin with an underscore.

    observes: True for hooks that only look, in `after_epoch` and `end`. They work with members that are trained side by
    side, and with or without them a checkpoint is the same run's.
    autocast: False switches bfloat16 off, for a method that needs every bit (DP-SGD).
    """

    observes: ClassVar[bool] = False
    autocast: ClassVar[bool] = True

    def __new__(cls, *arguments: Any, **settings: Any) -> "Hooks":
        _check_methods(cls)
        return super().__new__(cls)

    def prepare(self, run: TrainingRun) -> None:
        """Once, before the optimizer exists."""

    def wrap(self, run: TrainingRun, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimizer to use.

        One that takes each sample's own gradient (Opacus's DPOptimizer) overwrites the gradient that a term in the
        weights adds to the loss, so a `penalty` beside it is refused; a term in each sample's outputs belongs in
        `loss`. A `batch` beside it is refused, too, as it may mix samples.
        """
        return optimizer

    def batches(self, run: TrainingRun) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        """Return the (x, y) of one epoch, in place of a random order; augmented afterwards."""
        raise NotImplementedError

    def batch(self, run: TrainingRun, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x, y as trained on; y may become class probabilities [batch, classes].

        Images come as they are, uint8. Mialab's models normalise only those, so a hook that mixes images (Mixup) must
        first normalise them with the model's own part: x = run.model.scale(x).
        """
        return x, y

    def before_step(self, run: TrainingRun, x: torch.Tensor, y: torch.Tensor) -> None:
        """Before the forward pass, and before gradients are cleared."""

    def loss(self, run: TrainingRun, outputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return a scalar, in place of cross-entropy."""
        raise NotImplementedError

    def penalty(self, run: TrainingRun, x: torch.Tensor, y: torch.Tensor, outputs: Any) -> torch.Tensor:
        """Return a scalar, added to the loss."""
        raise NotImplementedError

    def after_step(self, run: TrainingRun) -> None:
        """After the optimizer's step."""

    def after_epoch(self, run: TrainingRun) -> None:
        """With the epoch's row in run.history[-1], and the next epoch's learning rate set."""

    def end(self, run: TrainingRun) -> None:
        """Once, after the last epoch, stopped early or not."""

    def state_dict(self) -> State:
        """Return what a checkpoint keeps and the next phase finds in `Parts.carried`: tensors and plain values."""
        raise NotImplementedError

    def load_state_dict(self, state: State) -> None:
        """Go on from a state; called after `prepare` and `wrap`. An observer raises `Missed` if it lacks something."""
        raise NotImplementedError


class Missed(Exception):
    """An observer's state lacks what it should have seen by now: training must start again."""


METHODS = tuple(name for name, value in vars(Hooks).items() if inspect.isfunction(value) and not name.startswith("_"))
LOOKING = ("after_epoch", "end", "state_dict", "load_state_dict")
STATE = ("state_dict", "load_state_dict")


def _check_methods(cls: type[Hooks]) -> None:
    for parent in (parent for parent in cls.__mro__ if parent not in Hooks.__mro__):
        for name, value in vars(parent).items():
            if name.startswith("_") or not isinstance(value, FunctionType | classmethod | staticmethod):
                continue
            if name not in METHODS:
                raise TypeError(f"{cls.__name__}: {unknown('hook', name, METHODS)}; begin a helper's name with _")
            if cls.observes and name not in LOOKING:
                raise TypeError(f"{cls.__name__}: hooks that observe have {', '.join(LOOKING)} only, not {name}")
    if len({getattr(cls, name) is getattr(Hooks, name) for name in STATE}) > 1:
        raise TypeError(f"{cls.__name__}: what has one of {' and '.join(STATE)} needs the other one, too")


def has(hooks: Hooks, name: str) -> bool:
    """Say whether these hooks have written the method of this name."""
    return getattr(type(hooks), name) is not getattr(Hooks, name)


def state_of(hooks: Hooks) -> State | None:
    """Return the state of hooks that have one."""
    return hooks.state_dict() if has(hooks, "state_dict") else None


def check_hooks(hooks: Iterable[Hooks]) -> list[Hooks]:
    """Return the hooks as a list; TypeError for what is none."""
    hooks = list(hooks)
    for one in hooks:
        if not isinstance(one, Hooks):
            raise TypeError(f"{one!r:.80} is no hooks: it must be an object of a class derived from training.Hooks")
    return hooks


def resolve(hooks: Sequence[Hooks]) -> SimpleNamespace:
    """Look up each moment's methods once, so that an empty list costs nothing in the loop."""
    hooks = check_hooks(hooks)
    found = {name: [getattr(one, name) for one in hooks if has(one, name)] for name in METHODS}
    for name in ("batches", "loss"):
        if len(found[name]) > 1:
            raise ValueError(f"{len(found[name])} defenses want to supply `{name}`, but only one can: drop one of them")
    return SimpleNamespace(**found)


@dataclass(frozen=True, eq=False)
class Parts:
    """What a defense may know: this model's rows by role, and no others.

    train, reference, validation: tensors (x, y) on the device, or a source of batches; None where there are none. In
    train, rows may repeat (bagging). classes: the width of the model's logits. carried: the end states of the hooks of
    the phase before, by their defense's NAME; empty in the first.
    """

    train: Data
    reference: Data | None
    validation: Data | None
    seed: int
    classes: int
    carried: Mapping[str, State]


@dataclass(frozen=True)
class Defense(ABC):
    """A defense's settings: a frozen dataclass of plain values or of other frozen dataclasses.

    They are its identity, in the names of cells and in checkpoints, so anything else is refused with a TypeError when
    the object is made: of a module or a function, equal ones look different and different ones equal. A subclass states
    NAME, by which tables call it, and VERSION, raised by hand when its numbers change.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]

    def __new__(cls, *arguments: Any, **settings: Any) -> "Defense":
        params = vars(cls).get("__dataclass_params__")  # its own: a parent's would not say what this class adds
        if not params or not params.frozen:
            raise TypeError(f"{cls.__name__}: a defense must be a frozen dataclass: add @dataclass(frozen=True)")
        for name, kind in (("NAME", str), ("VERSION", int)):
            if not isinstance(getattr(cls, name, None), kind):
                raise TypeError(
                    f"{cls.__name__}: a defense states {name}, as in {name}: ClassVar[{kind.__name__}] = ..."
                )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        settings(self)

    @abstractmethod
    def start(self, parts: Parts) -> Hooks:
        """Return the hooks for the training of one model, made anew at each call."""

    def columns(self) -> dict[str, Any]:
        """Return the columns that this defense adds to rows, such as `keep` or `epsilon`."""
        return {}


@dataclass(frozen=True)
class Phase:
    """One run of the training loop in a pipeline: a recipe under some defenses."""

    recipe: Recipe
    defenses: tuple[Defense, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "defenses", check_defenses(self.defenses))

    @property
    def method(self) -> str:
        """The defenses' names joined by "+", or "none"."""
        return "+".join(defense.NAME for defense in self.defenses) or "none"


def check_defenses(defenses: Iterable[Defense]) -> tuple[Defense, ...]:
    """Return the defenses as a tuple; TypeError for what is none, ValueError for two of one name."""
    defenses = tuple(defenses)
    for one in defenses:
        if not isinstance(one, Defense):
            raise TypeError(f"{one!r:.80} is no defense: derive its class from training.Defense")
        settings(one)  # again, for a class whose own __post_init__ does not ask its parent's
    names = [one.NAME for one in defenses]
    if len(set(names)) < len(names):
        raise ValueError(f"two defenses are both called {max(names, key=names.count)!r}: drop one")
    return defenses
