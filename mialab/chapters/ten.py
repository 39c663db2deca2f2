"""Ten networks whose answers are joined, and the snapshots of one, for chapters that look inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mialab.cells.attacked import Attacked, known_mask
from mialab.cells.models import predictions
from mialab.engine.run import compute
from mialab.engine.store import Store, open_store
from mialab.experiments.ensemble import MODELS
from mialab.experiments.other_ensembles import FIGURE12, FUSIONS
from mialab.outputs import Outputs


@dataclass(frozen=True, eq=False)
class Ten:
    """The outputs of ten independently trained networks, float32 [10, samples, classes], and who is known to attackers.

    known: bool [samples]; attacks are judged on all others.
    """

    outputs: Outputs
    known: np.ndarray


def load_ten(*, preset: str = "smoke", seed: int = 0, store: Store | None = None, jobs: int | None = None) -> Ten:
    """The ten networks of `ensemble/fusions`, trained as far as the store lacks them."""
    store, audited = store or open_store(), FUSIONS.grid(preset, seeds=(seed,))[0]
    assert isinstance(audited, Attacked)
    cells = audited.target.cells(MODELS)
    compute(cells, store, jobs=jobs)
    held = [store.get(cell) for cell in cells]
    arrays = held[0].arrays
    outputs = Outputs(predictions(held, audited.epoch), arrays["labels"], arrays["member"])
    return Ten(outputs, known_mask(arrays, audited.known, audited.seed))


def snapshot_history(*, preset: str = "smoke", seed: int = 0, store: Store | None = None) -> tuple[list[dict], list]:
    """Of the training behind `ensemble/figure12`: a row per snapshot, the first one first, and its curve by epoch.

    Rows: snapshot (the epoch), train_accuracy, test_accuracy. The curve: epoch, lr, loss, accuracy. Both as in
    `mialab.cells.answered`.
    """
    audited = FIGURE12.grid(preset, seeds=(seed,))[0]
    assert isinstance(audited, Attacked)
    info = (store or open_store()).get(audited.target).info
    return [row for (row,) in info["history"][::-1]], info["training"][0]
