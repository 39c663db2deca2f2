"""The cells that train a diversified ensemble, all of its backbones at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from mialab import training
from mialab.cells import recorder
from mialab.cells.answered import Answered
from mialab.cells.cost import Work
from mialab.cells.pipeline import Evaluated, Member, Pipeline, builder, training_rows
from mialab.cells.recorder import Recorder
from mialab.cells.trained import OfPipeline, check_rising
from mialab.engine.store import OBSERVED, Cell
from mialab.ensembles import Alone, Diversity, Network
from mialab.training import TrainingRun


@dataclass(frozen=True)
class Diversified(OfPipeline, Answered):
    """`count` backbones under one shared layer, trained jointly, as `mialab.ensembles.diversified` says: our stand-in.

    pipeline: of one phase without defenses, whose architecture is that of a backbone without its last layer. epochs:
    after which logits are kept, each backbone's own. count: how many; another number is another training, from new
    weights (the ensemble paper, A.5), so that all of a cell's models are audited together. weight: of the diversity.
    Raises ValueError for other pipelines, fewer than one backbone, or a weight below 0.

    The cell's arrays and info are those of `Answered`; the training's curve is that of all backbones together. Rows
    have the method "diversified", the weight as `diversity`, and `formula`: "our stand-in".
    """

    KIND: ClassVar[str] = "diversified"
    VERSION: ClassVar[int] = 1

    pipeline: Pipeline
    epochs: tuple[int, ...] = field(metadata=OBSERVED)
    count: int = 2
    weight: float = 0.01

    def __post_init__(self) -> None:
        pipeline = self.pipeline
        plain = len(pipeline.phases) == 1 and pipeline.method == "none" and pipeline.division.kind == "all"
        if not plain or pipeline.start is not None:
            raise ValueError(
                "Diversified: backbones are trained together from random weights, on all members: give a pipeline of "
                "one phase without defenses, start and division"
            )
        if self.count < 1:
            raise ValueError(f"Diversified: count must be at least 1, not {self.count}")
        check_rising(self, self.epochs)
        Diversity(self.weight)

    @property
    def first(self) -> int:  # type: ignore[override]
        """The number of the cell's first model."""
        return 0

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of the one training."""
        return (self.pipeline.seed_of("diversified", self.count),)

    def columns(self) -> dict[str, Any]:
        """What tells rows of these models from others."""
        ours = {"method": "diversified", "diversity": self.weight, "formula": "our stand-in"}
        return {**self.pipeline.columns(), **ours}

    def cells(self, number: int) -> tuple[Self, ...]:
        """This one cell, which has all backbones."""
        return (self,)

    def needs(self) -> tuple[()]:
        return ()

    def operations(self) -> float:
        """Multiply-adds of one training step."""
        return self.count * self.pipeline.step_operations

    def work(self) -> Work:
        """What is trained here, as if each backbone were a network of its own."""
        return self.pipeline.work(self.count)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        seen, phase, (seed,) = self.seen(), self.pipeline.last, self.seeds
        build = partial(Network, builder(self.pipeline, seen.dataset), self.count, seen.dataset.classes)
        recorders = [_OfBackbone(seen, number, self.epochs) for number in range(self.count)]
        fitted = training.fit(
            build,
            training_rows(seen.dataset, Member(seed, seen.roles.target_train), phase),
            phase.recipe,
            seed=seed,
            hooks=[Diversity(self.weight), *recorders],
            checkpoint=scratch / "training.pt",
        )
        arrays = {"labels": seen.y.numpy(), "member": seen.member.numpy(), **recorder.kept(recorders, [fitted])}
        history = [each.history for each in recorders]
        return Cell({"history": history, "training": [fitted.history] * self.count}, arrays)


class _OfBackbone(Recorder):
    """Keeps what one backbone answers."""

    def __init__(self, seen: Evaluated, number: int, epochs: Sequence[int]):
        super().__init__(seen, seen.member, epochs)
        self.number = number

    def after_epoch(self, run: TrainingRun) -> None:
        assert isinstance(run.model, Network)
        super().after_epoch(replace(run, model=Alone(run.model, self.number)))
