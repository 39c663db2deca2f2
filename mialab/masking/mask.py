"""What a mask is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Mask(ABC):
    """How softmaxes are changed before anybody sees them; a subclass is a frozen dataclass of plain values.

    NAME: in tables. VERSION: raised by hand when what is shown changes. LEARNS: it needs to be shown the owner's
    softmaxes of members and of reference rows, by `fit`, before it masks.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    LEARNS: ClassVar[bool] = False

    @property
    def dial(self) -> float | None:
        """What is turned, as a number; None where there is nothing to turn."""
        return None

    def fit(self, members: np.ndarray, others: np.ndarray, seed: int) -> Mask:
        """The mask for a model with these softmaxes of members and of reference rows [n, classes]; usually itself."""
        return self

    @abstractmethod
    def __call__(self, p: np.ndarray, seed: int) -> np.ndarray:
        """What is shown of softmaxes p [n, classes], float64: rows sum to 1, the likeliest class stays the likeliest.

        Of equally likely classes the first is the answer. Where a mask draws, each row gets one draw for good: asking
        twice tells nothing new.
        """
