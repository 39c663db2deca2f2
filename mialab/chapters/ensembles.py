"""Ten models of one kind, trained one by one or in one training, for chapters that join them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mialab.cells.answered import Answered
from mialab.cells.attacked import Attacked
from mialab.cells.models import Models, predictions
from mialab.engine.run import compute
from mialab.engine.store import Cell, Store, open_store
from mialab.ensembles import Division
from mialab.experiments.ensemble import FIGURE1_TARGET, MODELS
from mialab.experiments.other_ensembles import FIGURE12
from mialab.names import unknown
from mialab.outputs import Outputs


@dataclass(frozen=True)
class Ensemble:
    """What ten models answer after each kept epoch."""

    target: Answered
    _cells: tuple[Cell, ...] = field(repr=False)

    @property
    def epochs(self) -> tuple[int, ...]:
        """After which there are answers."""
        return self.target.epochs

    @property
    def models(self) -> int:
        """The number of models."""
        return self.target.count * len(self._cells)

    @property
    def x(self) -> np.ndarray:
        """The samples themselves, [samples, ...]."""
        return self.target.seen().x().numpy()

    @property
    def histories(self) -> list[list[dict]]:
        """Of each model, a row for each kept epoch, as `Answered` describes them."""
        return [rows for cell in self._cells for rows in cell.info["history"]]

    @property
    def curve(self) -> list[dict]:
        """The first model's training: epoch, lr, loss, accuracy, a row per epoch."""
        curve: list[dict] = self._cells[0].info["training"][0]
        return curve

    def outputs(self, epoch: int | None = None, *, models: Sequence[int] | None = None) -> Outputs:
        """Logits [models, samples, classes], labels and membership after an epoch, the last one by default.

        models: numbers of those wanted, None for all. KeyError for an epoch that is not kept.
        """
        epoch = self.epochs[-1] if epoch is None else epoch
        if epoch not in self.epochs:
            raise KeyError(f"no outputs were kept after epoch {epoch}; kept: {', '.join(map(str, self.epochs))}")
        logits, arrays = predictions(self._cells, epoch), self._cells[0].arrays
        return Outputs(logits if models is None else logits[list(models)], arrays["labels"], arrays["member"])


def load_ensemble(
    *,
    preset: str = "smoke",
    seed: int = 0,
    division: Division | None = None,
    store: Store | None = None,
    jobs: int | None = None,
) -> Ensemble:
    """The ten models of one repetition of `ensemble/figure1`, trained as far as the store lacks them.

    They differ in their random start alone. `ensemble/fusions` joins the same ones by every rule. division: who is
    trained on what, looked at after the last epoch alone, as in `ensemble/divisions`; None for all on all members. On
    one core, `smoke` takes about twenty seconds, parts a few. Raises ValueError for an unknown preset.
    """
    if preset not in FIGURE1_TARGET:
        raise ValueError(unknown("preset", preset, FIGURE1_TARGET))
    target = FIGURE1_TARGET[preset].seeded(seed)
    return _ensemble(target if division is None else divided(target, division), store or open_store(), jobs)


def load_snapshots(
    *, preset: str = "smoke", seed: int = 0, store: Store | None = None, jobs: int | None = None
) -> Ensemble:
    """The ten snapshots of one repetition of `ensemble/figure12`, the last one first, of its first data set.

    It is one training, of a few seconds at `smoke`. All answers are kept under its last epoch; a snapshot's own is in
    its history as `snapshot`. Raises ValueError for an unknown preset.
    """
    audit = FIGURE12.grid(preset, seeds=(seed,))[0]
    assert isinstance(audit, Attacked)
    return _ensemble(audit.target, store or open_store(), jobs)


def _ensemble(target: Answered, store: Store, jobs: int | None) -> Ensemble:
    cells = target.cells(MODELS)
    compute(cells, store, jobs=jobs)
    return Ensemble(target, tuple(map(store.get, cells)))


def divided(target: Models, division: Division) -> Models:
    """The same models after the last epoch, each trained on what the division deals to it."""
    return replace(target, pipeline=replace(target.pipeline, division=division), epochs=target.epochs[-1:])
