"""What came of experiments: rows and their means, records on disk, tables, and the papers' printed numbers."""

from collections.abc import Sequence

from mialab import experiments
from mialab.engine.grid import Where
from mialab.engine.run import compute
from mialab.engine.store import Store, open_store
from mialab.results.curves import mean_curves
from mialab.results.lines import Result, local
from mialab.results.means import series, summary

__all__ = ["Result", "local", "mean_curves", "result", "series", "summary"]


def result(
    name: str,
    *,
    preset: str = "smoke",
    seeds: Sequence[int] | None = None,
    store: Store | None = None,
    jobs: int | None = None,
    where: Where | None = None,
) -> Result:
    """An experiment's rows, computed here and now as far as the store lacks them; by default of its usual seeds.

    where: only the cells whose columns have one of the values named, as in {"data": ["mnist"]}.

    jobs: processes to compute in, which start only if something is missing; None: as many as are fastest here.
    """
    experiment, store = experiments.get(name), store or open_store()
    compute(experiment.grid(preset, seeds=seeds, where=where), store, jobs=jobs)
    return local(experiment, preset, store, seeds=seeds, where=where)
