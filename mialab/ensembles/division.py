"""Who is trained on what: all rows, a bag, a part, or a part while one part is kept for a meta-learner."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mialab import splits
from mialab.seeds import derive

DIVISIONS = ("all", "partition", "bagging", "stacking")


@dataclass(frozen=True)
class Division:
    """Which of the members each model of an ensemble is trained on.

    kind: "all" of them; "bagging", as many draws with replacement; "partition", disjoint shares for `of` models;
    "stacking", disjoint shares for `of` models and one more, on which a meta-learner is fitted (Salem et al. 2018).
    Whoever is in any share is a member of the ensemble. Raises ValueError for another kind, and for shares of fewer
    than two models.
    """

    kind: str = "all"
    of: int = 1

    def __post_init__(self) -> None:
        if self.kind not in DIVISIONS or (self.kind in ("partition", "stacking")) != (self.of > 1):
            raise ValueError(
                f"Division({self.kind!r}, of={self.of}): choose 'all', 'bagging', or 'partition' or 'stacking' with "
                "the number of models, at least 2"
            )

    @property
    def shares(self) -> int:
        """Into how many shares the members are dealt: a model sees so small a part of them."""
        return self.of + (self.kind == "stacking")

    def rows(self, labels: Tensor, members: Tensor, number: int, *, seed: int) -> Tensor:
        """The rows that model `number` is trained on, int64, some of them repeatedly in a bag.

        labels: int64 of the whole data set; members: its rows that are dealt, int64. Raises ValueError where there are
        fewer rows than shares, so that a share would be empty.
        """
        if self.kind == "bagging":
            return splits.bag(members, number, seed=derive(seed, "bag"))
        return members if self.of == 1 else self._share(labels, members, number % self.of, seed)

    def apart(self, labels: Tensor, members: Tensor, *, seed: int) -> Tensor | None:
        """The rows that no model is trained on, for a meta-learner, int64; None where none are kept apart."""
        return self._share(labels, members, self.of, seed) if self.kind == "stacking" else None

    def _share(self, labels: Tensor, members: Tensor, number: int, seed: int) -> Tensor:
        return splits.partition(labels, members, number, of=self.shares, seed=derive(seed, "partition"))
