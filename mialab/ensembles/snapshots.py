"""Snapshots: several models out of one training, whose learning rate falls to zero and begins again."""

from __future__ import annotations

from mialab.training import Cyclic, Recipe


def ends(recipe: Recipe) -> tuple[int, ...]:
    """The epochs after which snapshots are taken, the ends of the recipe's cycles (Huang et al. 2017).

    The ensemble of size m is the last m of them (the ensemble paper, A.5). Raises ValueError for a recipe whose rate
    does not restart, and for one cycle, of which no ensemble can be made.
    """
    if not isinstance(recipe.schedule, Cyclic) or recipe.schedule.cycles < 2:
        raise ValueError(
            f"snapshots are taken where the learning rate restarts: choose schedule=Cyclic(cycles) with two or more, "
            f"not {recipe.schedule}"
        )
    length = recipe.epochs // recipe.schedule.cycles
    return tuple(range(length, recipe.epochs + 1, length))
