"""How a model is trained, apart from its defenses."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

AUGMENTATIONS = ("crop", "flip")
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Recipe:
    """The settings of one training run.

    The learning rate is multiplied by `factor` after each epoch named in `milestones`; milestones beyond `epochs`
    have no effect. `weight_decay` w adds w/2 times the squared weights to the loss, in both optimizers.
    `augment` holds "crop" (zero padding by 1/8 of the side, then a random window) and "flip" (left-right, every other
    time on average).
    """

    epochs: int
    batch: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    augment: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("betas", "milestones", "augment"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"{name} must be a tuple, as in {name}=({value!r},)")
            object.__setattr__(self, name, tuple(value))
        for name, claim, holds in _rules(self):
            if not holds:
                raise ValueError(f"Recipe: {name} must be {claim}, not {getattr(self, name)!r}")


def _rules(recipe: Recipe) -> Iterable[tuple[str, str, bool]]:
    yield "epochs", "a whole number of at least 1", _whole(recipe.epochs)
    yield "batch", "a whole number of at least 1", _whole(recipe.batch)
    yield "optimizer", f"one of {', '.join(OPTIMIZERS)}", recipe.optimizer in OPTIMIZERS
    yield "lr", "positive and finite", 0 < recipe.lr < math.inf
    yield "momentum", "at least 0 and below 1", 0 <= recipe.momentum < 1
    yield "nesterov", "False where momentum is 0", not recipe.nesterov or recipe.momentum > 0
    yield "betas", "two numbers in [0, 1)", len(recipe.betas) == 2 and all(0 <= beta < 1 for beta in recipe.betas)
    yield "weight_decay", "at least 0 and finite", 0 <= recipe.weight_decay < math.inf
    rising = all(_whole(m) for m in recipe.milestones) and list(recipe.milestones) == sorted(set(recipe.milestones))
    yield "milestones", "rising whole numbers of at least 1", rising
    yield "factor", "positive and finite", 0 < recipe.factor < math.inf
    known = all(name in AUGMENTATIONS for name in recipe.augment) and len(set(recipe.augment)) == len(recipe.augment)
    yield "augment", f"a choice from {', '.join(AUGMENTATIONS)}", known


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def optimizer_for(parameters: Iterable[torch.Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over the parameters that require a gradient, as one fused kernel."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    common = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(trained, betas=recipe.betas, **common)
    return torch.optim.SGD(trained, momentum=recipe.momentum, nesterov=recipe.nesterov, **common)


def drop_lr(optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
    """Apply the milestone, if `epoch` (the one just finished) is one.

    The rate is multiplied, never set, so that a defense's own rate survives.
    """
    if epoch in recipe.milestones:
        for group in optimizer.param_groups:
            group["lr"] *= recipe.factor
