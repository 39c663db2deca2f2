"""What the book computes: experiments by name, and the single models that chapters look at.

An experiment is a grid of cells for each preset. `models`, `shadows`, `attacked` and `queried` are the kinds of cells,
`run` computes those that are missing, in `results` their rows become tables, and each other file declares a group of
experiments.
"""

from collections.abc import Sequence

from mialab.experiments import attack_suite, basics, ensemble, results
from mialab.experiments.attack_suite import Suite, suite
from mialab.experiments.basics import Run, target, targets
from mialab.experiments.executors import open_executor
from mialab.experiments.grid import PRESETS, SEEDS, Experiment
from mialab.experiments.results import Result
from mialab.experiments.run import run as compute
from mialab.names import unknown
from mialab.store import Store, open_store

__all__ = [
    "ALL",
    "PRESETS",
    "SEEDS",
    "Experiment",
    "Result",
    "Run",
    "Suite",
    "get",
    "result",
    "suite",
    "target",
    "targets",
]

_DECLARED = (basics.OVERFITTING, attack_suite.ATTACKS, attack_suite.BY_SHADOWS, ensemble.FIGURE1)
ALL: dict[str, Experiment] = {one.name: one for one in _DECLARED}


def get(name: str) -> Experiment:
    """The experiment of that name; ValueError with close names where there is none."""
    if name not in ALL:
        raise ValueError(unknown("experiment", name, ALL))
    return ALL[name]


def result(
    name: str,
    *,
    preset: str = "smoke",
    seeds: Sequence[int] | None = None,
    store: Store | None = None,
    jobs: int | None = None,
) -> Result:
    """An experiment's rows, computed here and now as far as the store lacks them; by default of its usual seeds.

    jobs: processes to compute in, which start only if something is missing; None: one per GPU, else this very one.
    """
    experiment, store = get(name), store or open_store()
    with open_executor(jobs=jobs) as executor:
        compute(experiment.grid(preset, seeds=seeds), store, executor=executor)
    return results.local(experiment, preset, store, seeds=seeds)
