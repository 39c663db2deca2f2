"""Networks trained in turn, for chapters that look at what each one was told and left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mialab.cells.models import predictions
from mialab.cells.sequential import Sequential
from mialab.engine.run import compute
from mialab.engine.store import Store, open_store
from mialab.experiments.ensemble_defenses import SETTINGS
from mialab.outputs import Outputs


@dataclass(frozen=True, eq=False)
class InTurn:
    """An ensemble whose models were trained in turn, after their last epoch.

    outputs: logits [models, samples, classes] on what attacks see. right: which of the members' rows each model is
    right about, bool [models, rows]; confidence: its confidence in their true class; held: the same as `right` of
    held-out rows, bool [models, held-out rows]; kept: which of the members' rows it was trained on, as `right`.
    """

    outputs: Outputs
    right: np.ndarray
    confidence: np.ndarray
    held: np.ndarray
    kept: np.ndarray


def load_in_turn(
    leaves_out: float, *, preset: str = "smoke", seed: int = 0, store: Store | None = None, jobs: int | None = None
) -> InTurn:
    """The networks of `ensemble/sequential` with this share of rows left out, trained as far as the store lacks them.

    With a share of 0 they are trained independently.
    """
    store, setting = store or open_store(), SETTINGS[preset]
    cells = Sequential(setting.pipeline(seed), setting.epochs, leaves_out).cells(setting.models)
    compute(cells, store, jobs=jobs)
    held = [store.get(cell) for cell in cells]
    arrays = held[0].arrays
    outputs = Outputs(predictions(held, setting.end), arrays["labels"], arrays["member"])
    told = {
        name: np.concatenate([cell.arrays[name] for cell in held]) for name in ("confidence", "right", "held", "kept")
    }
    return InTurn(outputs, **told)
