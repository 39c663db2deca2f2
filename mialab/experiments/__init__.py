"""What the book computes, declared: each experiment is a grid of cells for each preset; a file for each group."""

from mialab.engine.grid import PRESETS, SEEDS, Experiment
from mialab.experiments import attack_suite, basics, ensemble, theorem1
from mialab.names import unknown

__all__ = ["ALL", "PRESETS", "SEEDS", "Experiment", "get"]

_DECLARED = (basics.OVERFITTING, attack_suite.ATTACKS, attack_suite.BY_SHADOWS, ensemble.FIGURE1, theorem1.THEOREM1)
ALL: dict[str, Experiment] = {one.name: one for one in _DECLARED}


def get(name: str) -> Experiment:
    """The experiment of that name; ValueError with close names where there is none."""
    if name not in ALL:
        raise ValueError(unknown("experiment", name, ALL))
    return ALL[name]
