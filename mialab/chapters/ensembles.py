"""Ten trained models of one kind, for chapters that join them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mialab.cells.models import Models, predictions
from mialab.cells.pipeline import evaluated
from mialab.engine.run import compute
from mialab.engine.store import Cell, Store, open_store
from mialab.ensembles import Division
from mialab.experiments.ensemble import FIGURE1_TARGET, MODELS
from mialab.names import unknown
from mialab.outputs import Outputs


@dataclass(frozen=True)
class Ensemble:
    """What ten models that differ in their random start answer after each kept epoch."""

    target: Models
    _cells: tuple[Cell, ...] = field(repr=False)

    @property
    def epochs(self) -> tuple[int, ...]:
        """After which there are answers."""
        return self.target.epochs

    @property
    def models(self) -> int:
        """The number of models."""
        return len(self._cells)

    @property
    def x(self) -> np.ndarray:
        """The samples themselves, [samples, ...]."""
        return evaluated(self.target.pipeline).x().numpy()

    def outputs(self, epoch: int | None = None, *, models: Sequence[int] | None = None) -> Outputs:
        """Logits [models, samples, classes], labels and membership after an epoch, the last one by default.

        models: numbers of those wanted, None for all. KeyError for an epoch that is not kept.
        """
        epoch = self.epochs[-1] if epoch is None else epoch
        if epoch not in self.epochs:
            raise KeyError(f"no outputs were kept after epoch {epoch}; kept: {', '.join(map(str, self.epochs))}")
        chosen = range(self.models) if models is None else models
        arrays = self._cells[0].arrays
        return Outputs(predictions([self._cells[k] for k in chosen], epoch), arrays["labels"], arrays["member"])


def load_ensemble(
    *,
    preset: str = "smoke",
    seed: int = 0,
    division: Division | None = None,
    store: Store | None = None,
    jobs: int | None = None,
) -> Ensemble:
    """The ten models of one repetition of `ensemble/figure1`, trained as far as the store lacks them.

    division: who is trained on what, looked at after the last epoch alone, as in `ensemble/divisions`; None for all on
    all members. On one core, `smoke` takes about twenty seconds, parts a few. Raises ValueError for an unknown preset.
    """
    if preset not in FIGURE1_TARGET:
        raise ValueError(unknown("preset", preset, FIGURE1_TARGET))
    store, target = store or open_store(), FIGURE1_TARGET[preset].seeded(seed)
    if division is not None:
        target = divided(target, division)
    cells = target.cells(MODELS)
    compute(cells, store, jobs=jobs)
    return Ensemble(target, tuple(map(store.get, cells)))


def divided(target: Models, division: Division) -> Models:
    """The same models after the last epoch, each trained on what the division deals to it."""
    return replace(target, pipeline=replace(target.pipeline, division=division), epochs=target.epochs[-1:])
