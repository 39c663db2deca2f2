"""All attacks on one target with all that went into them, for chapters that look inside."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mialab.attacks import References
from mialab.cells.models import Models, predictions
from mialab.cells.pipeline import evaluated
from mialab.cells.shadows import references
from mialab.engine.run import compute
from mialab.engine.store import Cell, Store, open_store
from mialab.experiments.attack_suite import ATTACKS
from mialab.outputs import Outputs


@dataclass(frozen=True)
class Suite:
    """One target under all attacks, with what they saw and what they said. Arrays are over the target's samples."""

    target: Models
    rows: tuple[dict, ...]
    _trained: Cell = field(repr=False)
    _shadows: tuple[Cell, ...] = field(repr=False)
    _attacked: tuple[Cell, ...] = field(repr=False)

    @property
    def outputs(self) -> Outputs:
        """The target's logits [1, samples, classes], labels and membership [samples]."""
        arrays = self._trained.arrays
        return Outputs(predictions([self._trained], self.target.epochs[-1]), arrays["labels"], arrays["member"])

    @property
    def known(self) -> np.ndarray:
        """Whose membership the attacker knows, bool [samples]; attacks are judged on all others."""
        return self._attacked[0].arrays["known"]

    @property
    def x(self) -> np.ndarray:
        """The samples themselves, [samples, ...]."""
        return evaluated(self.target.pipeline).x().numpy()

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """What each attack said, float64 [samples] by its name; NaN for samples that it did not ask about."""
        found = {}
        for cell in self._attacked:
            places = cell.arrays.get("asked", slice(None))
            for name in (row["attack"] for row in cell.info["rows"]):
                found[name] = scores = np.full(len(self.known), np.nan)
                scores[places] = cell.arrays[f"scores_{name}"].reshape(-1)
        return found

    def references(self, shadows: int | None = None) -> References:
        """The first so many shadows, all by default: logits and member [shadows, samples, ...]. ValueError if odd.

        Of an even number, each sample is in the training sets of half.
        """
        every = references(self._shadows, self.target.epochs[-1])
        number = len(every.member) if shadows is None else shadows
        if number % 2 or not 2 <= number <= len(every.member):
            raise ValueError(f"found {number} shadows; choose an even number from 2 to {len(every.member)}")
        return References(every.logits[:number], every.member[:number], every.labels)


def load_suite(*, preset: str = "smoke", seed: int = 0, store: Store | None = None, jobs: int | None = None) -> Suite:
    """One repetition of `basics/attacks` with all that went into it, computed as far as the store lacks it.

    jobs: processes to compute in; None: as many as are fastest here. On two cores `smoke` takes about a minute.
    """
    store = store or open_store()
    grid = ATTACKS.grid(preset, seeds=(seed,))
    compute(grid, store, jobs=jobs)
    attacked = tuple(map(store.get, grid))
    target, *shadows = grid[0].needs()
    assert isinstance(target, Models)
    rows = tuple(row for cell in attacked for row in cell.info["rows"])
    return Suite(target, rows, store.get(target), tuple(map(store.get, shadows)), attacked)
