"""How an audit is run: what the caller asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

from mialab.outputs import AuditError

SPLITS = ("random", "file-order")
GIVEN = "given"  # how known samples were split off where the caller named them


@dataclass(frozen=True)
class Settings:
    """How an audit was run; `known` is the share of each class and side that attacks learn from.

    Where the caller named the known samples, `split` is "given" and `known` their share of all samples.
    """

    fusion: str = "confidence"
    white_box: bool = False
    known: float = 0.8
    split: str = "random"
    seed: int = 0

    def __post_init__(self):
        if not isinstance(self.known, Real) or not 0 <= self.known < 1:
            raise AuditError(f"known: found {self.known!r}; expected at least 0 and below 1, such as 0.8")
        if not isinstance(self.seed, Integral):
            raise AuditError(f"seed: found {self.seed!r}; expected a whole number")
        if self.split not in (*SPLITS, GIVEN):
            raise AuditError(f"split: found {self.split!r}; expected {' or '.join(SPLITS)}")
