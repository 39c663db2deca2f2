"""The learning rate as a function of the step: constant, in steps, along a cosine, in cycles."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Schedule(ABC):
    """How the learning rate changes in a training of so many epochs.

    WITHIN: whether it changes within an epoch, too; if so, the number of steps in an epoch must be known.
    """

    WITHIN: ClassVar[bool] = False

    @abstractmethod
    def rate(self, lr: float, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """Return the rate of a step, counted from 0, of a recipe whose own rate is `lr`."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The recipe's rate, from the first step to the last."""

    def rate(self, lr: float, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        return lr


@dataclass(frozen=True)
class Steps(Schedule):
    """The rate is multiplied by `factor` after each epoch named in `milestones`; those beyond the end do nothing."""

    milestones: tuple[int, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        rising = list(self.milestones) == sorted(set(self.milestones))
        if not rising or not all(map(whole, self.milestones)):
            raise ValueError(f"Steps: milestones must be rising whole numbers of at least 1, not {self.milestones!r}")
        if not 0 < self.factor < math.inf:
            raise ValueError(f"Steps: factor must be positive and finite, not {self.factor!r}")

    def rate(self, lr: float, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        for _ in range(sum(milestone <= step // steps_per_epoch for milestone in self.milestones)):
            lr *= self.factor  # one by one: a power would round differently
        return lr


@dataclass(frozen=True)
class Cyclic(Schedule):
    """Cycles of one length, each down half a cosine and then back at the recipe's rate (Huang et al. 2017, Eq. 2).

    `cycles` divides the recipe's epochs, so that each cycle ends with an epoch: that is where snapshots are taken.
    """

    WITHIN: ClassVar[bool] = True

    cycles: int

    def __post_init__(self) -> None:
        if not whole(self.cycles):
            raise ValueError(f"Cyclic: cycles must be a whole number of at least 1, not {self.cycles!r}")

    def rate(self, lr: float, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        return lr * half_cosine(step, epochs * steps_per_epoch // self.cycles)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Down half a cosine over the whole training (Loshchilov and Hutter 2017), towards zero."""

    WITHIN: ClassVar[bool] = True

    def rate(self, lr: float, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        return lr * half_cosine(step, epochs * steps_per_epoch)


def half_cosine(step: int, length: int) -> float:
    """Return 1 at step 0, falling towards 0 at `length`, where it begins again."""
    return (1 + math.cos(math.pi * (step % length) / length)) / 2


def whole(value: object) -> bool:
    """Say whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
