"""The cells that train shadow models: the target's whole pipeline, on random halves of the samples under attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mialab import splits
from mialab.attacks import References
from mialab.cells import recorder
from mialab.cells.pipeline import Evaluated, Member, Pipeline, evaluated, train
from mialab.cells.recorder import Recorder
from mialab.cells.trained import Trained
from mialab.engine.store import OBSERVED, Cell
from mialab.seeds import derive

TOLERANCE = 0.05  # by how much a shadow's training set may differ in size from the target's


@dataclass(frozen=True)
class Shadows(Trained):
    """`count` shadows of a target, from number `first` on, and what they answer after the named epochs.

    pipeline: the target's; a shadow runs every phase of it on its own half. epochs, weights, sensitivity: observed, as
    in `Models`. models: how many make one shadow, as a shadow of an ensemble is an entire ensemble, all of it trained
    on one half.

    The samples are those that attacks on the target see. Shadow k is trained on the half that `splits.half` marks,
    drawn from the seed without a look at who is the target's member; its model m has the seed
    `pipeline.seed_of("shadow", k, m)`. A defense's reference and validation rows are the target's. Explained in the
    chapter "LiRA". Raises ValueError for a target that is trained on more or fewer samples than half of those, and for
    one that starts from pretrained weights or whose reference rows are among the attacked ones.

    The cell's arrays, samples in the target's order: logits_{epoch} and sensitivity_{epoch} float32 [count, models,
    samples, classes], so that every size of ensemble and every fusion can be attacked; member bool [count, samples];
    labels [samples]. Its info is that of `Models`, per model, of which a shadow's stand together.
    """

    KIND: ClassVar[str] = "shadows"
    VERSION: ClassVar[int] = 2

    pipeline: Pipeline
    epochs: tuple[int, ...] = field(metadata=OBSERVED)
    models: int = 1
    first: int = 0
    count: int = 1
    weights: tuple[int, ...] = field(default=(), metadata=OBSERVED)
    sensitivity: tuple[int, ...] = field(default=(), metadata=OBSERVED)

    def __post_init__(self) -> None:
        self.check_epochs()
        if self.count < 1 or self.first < 0 or self.models < 1:
            counts = f"{self.count}, {self.models}, {self.first}"
            raise ValueError(f"Shadows: count and models must be at least 1 and first at least 0, not {counts}")
        if reason := self.pipeline.refusal(shadows=True):
            raise ValueError(f"Shadows: {reason}")
        if self.pipeline.arrangement.kind == "released":
            raise ValueError(
                "Shadows: in the arrangement 'released' the defense's reference rows are among the attacked ones, so "
                "that a shadow would have them as its members, too: choose 'pooled' with a reference share"
            )
        trained, members, nonmembers = self.pipeline.row_counts
        if abs(trained - (members + nonmembers) // 2) > TOLERANCE * trained:
            raise ValueError(
                f"Shadows: the target is trained on {trained} samples, a shadow on half of {members} members and "
                f"{nonmembers} non-members: choose equally many of both, as the arrangements 'carlini' and 'pooled' do"
            )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each model, those of one shadow together."""
        return tuple(self.pipeline.seed_of("shadow", number, m) for number in self.numbers for m in range(self.models))

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        seen = evaluated(self.pipeline)
        inside = self._design(seen)
        halves = inside.repeat_interleave(self.models, dim=0)  # of each model, those of one shadow together
        recorders = [Recorder(seen, half, self.epochs, self.weights, self.sensitivity) for half in halves]
        members = [
            Member(
                self.seeds[k],
                seen.row_ids[half].sort().values,
                **self.start_of(inputs, k),
                watch=(recorders[k],),
            )
            for k, half in enumerate(halves)
        ]
        fitted = train(self.pipeline, seen, members, scratch / "training.pt")
        arrays = recorder.kept(recorders, fitted)
        for name in [f"logits_{at}" for at in self.epochs] + [f"sensitivity_{at}" for at in self.sensitivity]:
            arrays[name] = arrays[name].reshape(self.count, self.models, *arrays[name].shape[1:])
        arrays |= {"member": inside.numpy(), "labels": seen.y.numpy()}
        return Cell(self.info(inputs, recorders, fitted), arrays)

    def _design(self, seen: Evaluated) -> torch.Tensor:
        """Who is trained on what: bool [count, samples]. Drawn on the rows as they are numbered, members or not."""
        order = seen.row_ids.argsort()
        labels, seed = seen.y[order].numpy(), derive(self.pipeline.seed, "shadow", "halves")
        inside = torch.empty(self.count, len(order), dtype=torch.bool)
        for mask, number in zip(inside, self.numbers, strict=True):
            mask[order] = torch.from_numpy(splits.half(labels, number, seed=seed))
        return inside


def references(cells: Sequence[Cell], epoch: int, *, size: int = 1, fusion: str = "confidence") -> References:
    """What attacks learn from: the shadows of all cells, the first `size` models of each fused by the target's rule.

    Of single models also their sensitivity, where it was measured.
    """
    names = f"logits_{epoch}", "member", "labels"
    logits, member, labels = ([cell.arrays[name] for cell in cells] for name in names)
    inside = np.concatenate(member)
    if size == 1:  # as they are: fusing would only round
        moved = [cell.arrays[kept][:, 0] for cell in cells if (kept := f"sensitivity_{epoch}") in cell.arrays]
        whole = np.concatenate(moved) if len(moved) == len(cells) else None
        return References(np.concatenate([some[:, 0] for some in logits]), inside, labels[0], whole)
    return References.of_ensembles((each[:size] for some in logits for each in some), inside, labels[0], how=fusion)
