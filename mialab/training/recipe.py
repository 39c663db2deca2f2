"""How a model is trained: the recipe, and the optimizer and learning rates that it asks for."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from mialab.training.schedule import Constant, Cyclic, Schedule, whole

AUGMENTATIONS = ("crop", "flip")
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Recipe:
    """The settings of one run of the training loop, apart from its defenses.

    The learning rate of a step is `lr`, as the `schedule` changes it, and over the first `warmup` epochs times a share
    that rises linearly, step by step, to 1. `weight_decay` w adds w/2 times the squared weights to the loss, in both
    optimizers. `augment` holds "crop" (zero padding by 1/8 of the side, then a random window) and "flip" (left-right,
    every other time on average). 0 epochs leave the weights as they are.
    """

    epochs: int
    batch: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: Schedule = Constant()
    warmup: int = 0
    augment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("betas", "augment"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"{name} must be a tuple, as in {name}=({value!r},)")
            object.__setattr__(self, name, tuple(value))
        for name, claim, holds in _rules(self):
            if not holds:
                raise ValueError(f"Recipe: {name} must be {claim}, not {getattr(self, name)!r}")

    @property
    def within(self) -> bool:
        """Whether the learning rate changes within an epoch."""
        return self.schedule.WITHIN or self.warmup > 0

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        lr = self.schedule.rate(self.lr, step, steps_per_epoch=steps_per_epoch, epochs=self.epochs)
        warm = self.warmup * steps_per_epoch
        return lr * (step + 1) / warm if step < warm else lr


def _rules(recipe: Recipe) -> Iterable[tuple[str, str, bool]]:
    yield "epochs", "a whole number of at least 0", recipe.epochs == 0 or whole(recipe.epochs)
    yield "batch", "a whole number of at least 1", whole(recipe.batch)
    yield "optimizer", f"one of {', '.join(OPTIMIZERS)}", recipe.optimizer in OPTIMIZERS
    yield "lr", "positive and finite", 0 < recipe.lr < math.inf
    yield "momentum", "at least 0 and below 1", 0 <= recipe.momentum < 1
    yield "nesterov", "False where momentum is 0", not recipe.nesterov or recipe.momentum > 0
    yield "betas", "two numbers in [0, 1)", len(recipe.betas) == 2 and all(0 <= beta < 1 for beta in recipe.betas)
    yield "weight_decay", "at least 0 and finite", 0 <= recipe.weight_decay < math.inf
    yield "schedule", "a schedule such as Steps((81, 122))", isinstance(recipe.schedule, Schedule)
    uneven = isinstance(recipe.schedule, Cyclic) and recipe.epochs % recipe.schedule.cycles
    yield "schedule", f"of cycles that divide the {recipe.epochs} epochs", not uneven
    begun = recipe.warmup == 0 and not isinstance(recipe.warmup, bool) or whole(recipe.warmup)
    yield "warmup", "a whole number of epochs from 0 on", begun
    known = all(name in AUGMENTATIONS for name in recipe.augment) and len(set(recipe.augment)) == len(recipe.augment)
    yield "augment", f"a choice from {', '.join(AUGMENTATIONS)}", known


def optimizer_for(parameters: Iterable[torch.Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over the parameters that require a gradient, as one fused kernel."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(trained, betas=recipe.betas, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        trained,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


class Pace:
    """Moves an optimizer's learning rates along the recipe's schedule.

    Where a hook has set another rate than the schedule's, that one is scaled as the schedule's is, so that it survives.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int | None, *, epoch: int):
        """Stand after `epoch`, with the next one's rate set; after epoch 0, with the recipe's own."""
        if steps_per_epoch is None and recipe.within:
            raise ValueError(
                "a learning rate that changes within an epoch needs the number of steps: give the source of batches "
                "a __len__, or use Constant() or Steps(...) without warmup"
            )
        self.recipe, self.steps, self.within = recipe, steps_per_epoch or 1, recipe.within
        self.now = self.rate(epoch + 1, 0) if epoch else recipe.lr

    def rate(self, epoch: int, number: int) -> float:
        """Return the rate of a step (from 0) of an epoch (from 1); hooks may make more steps or fewer."""
        return self.recipe.rate((epoch - 1) * self.steps + min(number, self.steps - 1), self.steps)

    def move(self, optimizer: torch.optim.Optimizer, epoch: int, number: int) -> None:
        """Set the rates for this step."""
        before, self.now = self.now, self.rate(epoch, number)
        if before != self.now:
            for group in optimizer.param_groups:
                group["lr"] = self.now if group["lr"] == before else group["lr"] * (self.now / before)
