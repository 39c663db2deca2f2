"""What the book computes, declared: each experiment is a grid of cells for each preset; a file for each group."""

from mialab.engine.grid import PRESETS, SEEDS, Experiment
from mialab.experiments import (
    attack_suite,
    basics,
    between,
    ensemble,
    ensemble_defenses,
    other_ensembles,
    pruning,
    theorem1,
)
from mialab.names import unknown

__all__ = ["ALL", "PRESETS", "SEEDS", "Experiment", "get"]

_DECLARED = (
    *(basics.OVERFITTING, attack_suite.ATTACKS, attack_suite.BY_SHADOWS),
    *(pruning.TABLE1, pruning.TABLE2, pruning.TABLE3, pruning.PHOTOGRAPHS_10, pruning.TABLE4, pruning.TABLE5),
    *(pruning.TABLE6, pruning.FIGURE2, pruning.FIGURE3, pruning.SPARSITY, pruning.GAMMA, pruning.EPSILON, pruning.COST),
    *(pruning.EARLY_STOPPING, pruning.CONTROLS, pruning.PRUNED_SHADOWS, theorem1.THEOREM1),
    *(ensemble.FIGURE1, ensemble.FIGURE2, ensemble.FIGURE3, ensemble.FIGURE4, ensemble_defenses.FIGURE5),
    *(ensemble.FIGURE6, ensemble.FIGURE7, ensemble.FIGURE8, ensemble.FIGURE9, ensemble.RELEASED),
    *(ensemble.RELEASED_AGREEMENT, ensemble_defenses.MASKING, *other_ensembles.ALL),
    *between.ALL,
)
ALL: dict[str, Experiment] = {one.name: one for one in _DECLARED}


def get(name: str) -> Experiment:
    """The experiment of that name; ValueError with close names where there is none."""
    if name not in ALL:
        raise ValueError(unknown("experiment", name, ALL))
    return ALL[name]
