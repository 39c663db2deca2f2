"""The cells that train shadow models: the target's whole pipeline, on random halves of the samples under attack."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mialab import splits
from mialab.attacks import References
from mialab.cells.cost import Work
from mialab.cells.models import Evaluated, Models, Recorder, answers, evaluated, train
from mialab.engine.store import Cell
from mialab.seeds import derive

TOLERANCE = 0.05  # by how much a shadow's training set may differ in size from the target's


@dataclass(frozen=True)
class Shadows:
    """`count` shadows of a target, from number `first` on, and what they answer after one epoch.

    target: the whole pipeline that shadows go through: data, model, recipe, defenses, arrangement, seed. What says only
    how the target itself is kept (epochs, known, first, count, weights) is put back to its default, so that one
    pipeline's shadows are the same cells for all who need them. epoch: None for the target's last one.
    models: how many make one shadow, as a shadow of an ensemble is an entire ensemble, all of it trained on one half.

    The samples are those that attacks on the target see. Shadow k is trained on the half that `splits.half` marks,
    drawn from the seed without a look at who is the target's member; its model m has the seed
    `derive(seed, "shadow", k, m)`. A defense's reference and validation rows are the target's. Raises ValueError for a
    target that is trained on more or fewer samples than half of those.

    The cell's arrays, samples in the target's order: logits float32 [count, models, samples, classes], so that every
    size of ensemble and every fusion can be attacked; member bool [count, samples]; labels [samples]. Its info:
    history, per model, of which a shadow's stand together: a list of one dict: epoch, learning_rate, train_accuracy,
    test_accuracy.
    """

    KIND: ClassVar[str] = "shadows"
    VERSION: ClassVar[int] = 1

    target: Models
    epoch: int | None = None
    models: int = 1
    first: int = 0
    count: int = 1

    def __post_init__(self):
        if self.count < 1 or self.first < 0 or self.models < 1:
            counts = f"{self.count}, {self.models}, {self.first}"
            raise ValueError(f"Shadows: count and models must be at least 1 and first at least 0, not {counts}")
        epoch = self.target.epochs[-1] if self.epoch is None else self.epoch
        kept = {"epochs": (epoch,), "known": Models.known, "first": 0, "count": 1, "weights": False}
        object.__setattr__(self, "epoch", epoch)
        object.__setattr__(self, "target", replace(self.target, **kept))
        trained, members, nonmembers = self.target.rows
        if abs(trained - (members + nonmembers) // 2) > TOLERANCE * trained:
            raise ValueError(
                f"Shadows: the target is trained on {trained} samples, a shadow on half of {members} members and "
                f"{nonmembers} non-members: choose equally many of both, as arrangement='carlini' does"
            )

    @property
    def data(self) -> str:
        return self.target.data

    @property
    def seed(self) -> int:
        return self.target.seed

    @property
    def numbers(self) -> range:
        """The numbers of the shadows in this cell."""
        return range(self.first, self.first + self.count)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each model, those of one shadow together."""
        return tuple(derive(self.seed, "shadow", k, m) for k in self.numbers for m in range(self.models))

    def needs(self) -> tuple:
        return ()

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        seen = evaluated(self.target)
        x, y = seen.samples()
        inside = self._design(seen.rows, y)
        trained = [one for one in inside for _ in range(self.models)]
        recorders = [Recorder(x, y, one, self.target.epochs) for one in trained]
        roles = [_roles(seen, one) for one in trained]
        train(self.target, seen.dataset, roles, seeds=self.seeds, recorders=recorders, scratch=scratch)
        logits = np.stack([answers(recorder, self.epoch) for recorder in recorders])
        logits = logits.reshape(self.count, self.models, *logits.shape[1:])
        arrays = {"logits": logits, "member": inside.numpy(), "labels": y.numpy()}
        return Cell({"history": [recorder.history for recorder in recorders]}, arrays)

    def work(self) -> Work:
        """What this cell trains and scores, found without loading any data."""
        one = self.target.work()
        samples = sum(self.target.rows[1:])
        return one._replace(rows=samples // 2, scored=samples, models=self.count * self.models)

    def _design(self, rows: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Who is trained on what: bool [count, samples]. Drawn on the rows as they are numbered, members or not."""
        order = rows.argsort()
        labels, seed = y[order].numpy(), derive(self.seed, "shadow", "halves")
        inside = torch.empty(self.count, len(order), dtype=torch.bool)
        for mask, number in zip(inside, self.numbers, strict=True):
            mask[order] = torch.from_numpy(splits.half(labels, number, seed=seed))
        return inside


def _roles(seen: Evaluated, inside: torch.Tensor) -> splits.Roles:
    """The roles as a shadow's pipeline has them: its own members, the target's reference and validation rows."""
    members, others = (seen.rows[side].sort().values for side in (inside, ~inside))
    nobody = seen.rows[:0]
    own = {"target_train": members, "audit_in": members, "audit_out": others}
    return replace(seen.roles, **own, known_in=nobody, known_out=nobody)


def references(cells: Sequence[Cell], *, size: int = 1, fusion: str = "confidence") -> References:
    """What attacks learn from: the shadows of all cells, the first `size` models of each fused by the target's rule."""
    logits, member, labels = ([cell.arrays[name] for cell in cells] for name in ("logits", "member", "labels"))
    member = np.concatenate(member)
    if size == 1:  # as they are: fusing would only round
        return References(np.concatenate([some[:, 0] for some in logits]), member, labels[0])
    return References.of_ensembles((one[:size] for some in logits for one in some), member, labels[0], how=fusion)
