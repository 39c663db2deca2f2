"""The cells that train an ensemble's models in turn, each without the rows that are right too often so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from mialab import ensembles
from mialab.cells import recorder
from mialab.cells.answered import Answered
from mialab.cells.cost import Work
from mialab.cells.pipeline import Evaluated, Member, Pipeline, train
from mialab.cells.recorder import Recorder, answers
from mialab.cells.trained import OfPipeline, check_rising
from mialab.engine.store import OBSERVED, Cell
from mialab.training import Fitted

SEEN = ("right", "confidence", "held")  # what a later model is told of an earlier one


@dataclass(frozen=True)
class Sequential(OfPipeline, Answered):
    """Model `first` of an ensemble that is trained in turn, as `mialab.ensembles.sequential` says: our design.

    pipeline: of one phase, whose arrangement sets reference rows apart: these are the held-out ones, and no attack is
    judged on them. leaves_out: the share of the rows with an excess that are left out. epochs: after which logits are
    kept. The model has the seed of `Models`, so that with `leaves_out=0` it is the model of that number there, bit for
    bit. It needs the cells of all models before it, which it judges by the end of their training; so every number of
    models makes an ensemble. Raises ValueError for other pipelines, and for a share outside [0, 1].

    The cell's arrays are those of `Answered`, and of the model after its last epoch right and confidence [1, rows] (its
    training's rows, left out or not), held bool [1, reference rows], kept bool [1, rows]. Its info is that of
    `Answered`; history has left_out (the share of rows that this model was not trained on) and distance (of the levels
    on these rows and on held-out ones, this model included).
    """

    KIND: ClassVar[str] = "sequential"
    VERSION: ClassVar[int] = 1

    pipeline: Pipeline
    epochs: tuple[int, ...] = field(metadata=OBSERVED)
    leaves_out: float = 1.0
    first: int = 0

    def __post_init__(self) -> None:
        pipeline = self.pipeline
        plain = len(pipeline.phases) == 1 and pipeline.division.kind == "all"
        if not plain or not pipeline.arrangement.reference > 0 or pipeline.arrangement.kind == "released":
            raise ValueError(
                "Sequential: give a pipeline of one phase without a division, and an arrangement with a reference "
                "share, whose rows are compared with the members' and not audited"
            )
        check_rising(self, self.epochs)
        if self.first < 0:
            raise ValueError(f"Sequential: first must be at least 0, not {self.first}")
        ensembles.check(self.leaves_out)

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many models the cell has: one, as each waits for those before it."""
        return 1

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of the training."""
        return (self.pipeline.seed_of("target", self.first),)

    def columns(self) -> dict[str, Any]:
        """What tells rows of these models from others."""
        method = self.pipeline.method
        name = "sequential" if method == "none" else f"sequential+{method}"
        return {**self.pipeline.columns(), "method": name, "leaves_out": self.leaves_out, "criterion": "our design"}

    def cells(self, number: int) -> tuple[Self, ...]:
        """The cells of models 0 to number - 1; they differ from this one, which is the first, in `first` alone."""
        return tuple(replace(self, first=first) for first in range(number))

    def needs(self) -> tuple[Self, ...]:
        return self.cells(self.first)

    def operations(self) -> float:
        """Multiply-adds of one training step."""
        return self.pipeline.step_operations

    def work(self) -> Work:
        """What is trained here at most: as if no row were left out."""
        return self.pipeline.work(1)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        seen, seeds = self.seen(), self.seeds
        before = [
            np.concatenate([np.empty((0, n)), *(cell.arrays[name] for cell in inputs)]) for name, n in self._sizes(seen)
        ]
        right, confidence, held = before
        stays = ensembles.kept(right > 0, confidence, held > 0, self.leaves_out)
        watch = Recorder(seen, seen.member, self.epochs)
        rows = seen.roles.target_train
        member = Member(seeds[0], rows[torch.from_numpy(stays)], watch=(watch,))
        (fitted,) = train(self.pipeline, seen, [member], scratch / "training.pt")
        own = self._told(seen, fitted)
        levels = [
            np.concatenate([past, own[name]]).sum(axis=0).astype(int)
            for past, name in ((right, "right"), (held, "held"))
        ]
        told = {"left_out": float(1 - stays.mean()), "distance": ensembles.distance(*levels)}
        arrays = {"labels": seen.y.numpy(), "member": seen.member.numpy(), **recorder.kept([watch], [fitted])}
        info = {"history": [[row | told for row in watch.history]], "training": [fitted.history]}
        return Cell(info, arrays | own | {"kept": stays[None]})

    def _sizes(self, seen: Evaluated) -> list[tuple[str, int]]:
        rows, held = len(seen.roles.target_train), len(seen.roles.reference)
        return list(zip(SEEN, (rows, rows, held), strict=True))

    def _told(self, seen: Evaluated, fitted: Fitted) -> dict[str, np.ndarray]:
        """What later models are told of this one, [1, rows] each."""
        found = {}
        for name, row_ids in (("right", seen.roles.target_train), ("held", seen.roles.reference)):
            labels = seen.dataset.y[row_ids]
            logits = answers(fitted.model, seen.dataset.rows(row_ids)).cpu()
            found[name] = (logits.argmax(dim=1) == labels).numpy()[None]
            if name == "right":
                p = logits.double().softmax(dim=1).gather(1, labels[:, None])[:, 0]
                found["confidence"] = p.float().numpy()[None]
        return found
