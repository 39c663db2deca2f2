"""Masks that show less (Shokri et al. 2017, section VIII): the label alone, the largest confidences, few digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mialab.masking.mask import Mask

MARK = 1e-9  # by which the label's confidence stays above one that has become equal


@dataclass(frozen=True)
class LabelOnly(Mask):
    """The answered class has confidence 1, all others 0."""

    NAME: ClassVar[str] = "label only"
    VERSION: ClassVar[int] = 1

    def __call__(self, p: np.ndarray, seed: int) -> np.ndarray:
        shown = np.zeros(p.shape)
        shown[np.arange(len(p)), p.argmax(axis=1)] = 1.0
        return shown


@dataclass(frozen=True)
class TopK(Mask):
    """The k largest confidences as they are; what is left of 1 is spread evenly over the other classes.

    Raises ValueError for k below 1.
    """

    NAME: ClassVar[str] = "top k"
    VERSION: ClassVar[int] = 1

    k: int = 3

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"TopK: k must be at least 1, not {self.k}")

    @property
    def dial(self) -> float:
        return float(self.k)

    def __call__(self, p: np.ndarray, seed: int) -> np.ndarray:
        shown = np.array(p, dtype=np.float64)
        rest = np.argsort(-shown, axis=1, kind="stable")[:, self.k :]
        if rest.shape[1]:
            mean = np.take_along_axis(shown, rest, axis=1).mean(axis=1, keepdims=True)
            np.put_along_axis(shown, rest, mean, axis=1)
        return shown


@dataclass(frozen=True)
class Rounded(Mask):
    """Confidences rounded to some digits, then made to sum to 1; where all would be 0, the label's is 1.

    A class that rounding makes as likely as the label stays a trace below it, as the label is answered in any case.
    Raises ValueError for digits below 1.
    """

    NAME: ClassVar[str] = "rounding"
    VERSION: ClassVar[int] = 1

    digits: int = 2

    def __post_init__(self) -> None:
        if self.digits < 1:
            raise ValueError(f"Rounded: digits must be at least 1, not {self.digits}")

    @property
    def dial(self) -> float:
        return float(self.digits)

    def __call__(self, p: np.ndarray, seed: int) -> np.ndarray:
        p = np.asarray(p, dtype=np.float64)
        shown, label = np.round(p, self.digits), (np.arange(len(p)), p.argmax(axis=1))
        tied = (shown == shown[label][:, None]).sum(axis=1) > 1
        shown[label] += MARK * tied
        shown[label] = np.where(shown.sum(axis=1) <= MARK, 1.0, shown[label])
        return shown / shown.sum(axis=1, keepdims=True)
