"""How a model comes to be: data and who is a member, an architecture, and the phases of its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from mialab import data, models, splits, training
from mialab.cells.cost import Work
from mialab.data import known as sizes
from mialab.ensembles import Division
from mialab.models import pretrained
from mialab.seeds import derive
from mialab.splits import Arrangement
from mialab.training import Fitted, Hooks, Phase


@dataclass(frozen=True)
class Pipeline:
    """How a model comes to be; the n-th phase starts from the weights that the one before ended with.

    data, model: names, as `data.load` and `models.build` know them. phases: each a recipe with its defenses. seed:
    decides draw, split and training. samples: rows of the official training and test sets, for a data set that can
    give more or fewer. arrangement: who is a member, and which rows a defense may look at. norm: as in `models.build`.
    start: pretrained weights such as "torchvision:IMAGENET1K_V1" (the checksum is added); None draws them. division:
    which members each model of an ensemble sees.

    Optimizer state is not carried from phase to phase; what a defense's hooks give at their end is. Phase 0 draws from
    `derive(seed, "target", k)` for model k, phase n from `derive(seed, "target", k, n)`. Explained in the chapter
    "The way of one number". Raises ValueError for pretrained weights whose members nobody can tell.
    """

    data: str
    model: str
    phases: tuple[Phase, ...]
    seed: int = 0
    samples: tuple[int, int] | None = None
    arrangement: Arrangement = Arrangement()
    norm: str | None = None
    start: str | None = None
    division: Division = Division()

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("Pipeline: give at least one phase")
        if reason := self.refusal():
            raise ValueError(f"Pipeline: {reason}")
        if self.start is not None and "@" not in self.start:
            object.__setattr__(self, "start", f"{self.start}@{pretrained.checksum(self.model, self.start)}")

    def refusal(self, *, shadows: bool = False) -> str | None:
        """Why training, or shadow models, cannot start from these pretrained weights; None where they can."""
        start = None if self.start is None else _weights_name(self.start)
        return pretrained.refusal(self.data, start, arrangement=self.arrangement, norm=self.norm, shadows=shadows)

    @property
    def last(self) -> Phase:
        """The phase that training ends with."""
        return self.phases[-1]

    @property
    def parent(self) -> Pipeline | None:
        """The pipeline without its last phase, whose models this one goes on from; None where there is one phase."""
        return replace(self, phases=self.phases[:-1]) if len(self.phases) > 1 else None

    @property
    def method(self) -> str:
        """The names of all phases' defenses, each once, joined by "+"; "none" where there are none."""
        names = dict.fromkeys(defense.NAME for phase in self.phases for defense in phase.defenses)
        return "+".join(names) or "none"

    def columns(self) -> dict[str, Any]:
        """What tells rows of this pipeline from others: data, model, method, and what its defenses add.

        An epsilon of differential privacy holds for all that has seen the rows. So it is the last phase's, which counts
        those before, and None where a phase is without, where pretrained weights have seen the rows, and for bags,
        in which a row may come more than once. Such a training is not refused: how it leaks is a fair question.
        """
        columns: dict[str, Any] = {"data": self.data, "model": self.model, "method": self.method}
        if self.division.kind != "all":
            columns["division"] = self.division.kind
        if self.arrangement.kind == "released":  # a defense has seen what it is audited on: no row may hide that
            columns["arrangement"] = self.arrangement.kind
        for phase in self.phases:
            for defense in phase.defenses:
                columns |= defense.columns()
        if "epsilon" in columns and not self._private:
            columns["epsilon"] = None
        return columns

    @property
    def _private(self) -> bool:
        """Whether each training that saw the rows was with differential privacy, and saw each of them once."""
        phases = ([defense.columns() for defense in phase.defenses] for phase in self.phases)
        each = all(any("epsilon" in columns for columns in phase) for phase in phases)
        return each and self.start is None and self.division.kind != "bagging"

    @property
    def size(self) -> sizes.Known:
        """Shape, classes and rows of the data, without loading them."""
        return sizes.known(self.data, samples=self.samples)

    @property
    def row_counts(self) -> tuple[int, int, int]:
        """How many rows a model is trained on, and how many members and non-members attacks see."""
        trained, members, nonmembers = _row_counts(self.arrangement, self.size)
        return (trained // self.division.shares, members, nonmembers)

    @property
    def step_operations(self) -> float:
        """Multiply-adds of one training step's forward pass."""
        return self.last.recipe.batch * models.multiply_adds(self.model, self.size.shape, self.size.classes)

    def work(self, networks: int) -> Work:
        """What so many models of the last phase take."""
        size, recipe = self.size, self.last.recipe
        phases = self.phases if self.method != "none" else ()
        net = self.model, size.shape, size.classes
        return Work(*net, recipe.batch, self.row_counts[0], recipe.epochs, networks, phases)

    def seeded(self, seed: int) -> Pipeline:
        """The same pipeline for another repetition."""
        return replace(self, seed=seed)

    def seed_of(self, *names: str | int) -> int:
        """The seed of one model's last phase."""
        later = len(self.phases) - 1
        return derive(self.seed, *names, *([later] if later else []))


class Evaluated(NamedTuple):
    """The data of a pipeline, its roles, and the rows that attacks see: row_ids int64 [n], member bool [n]."""

    dataset: data.Dataset | data.Folder
    roles: splits.Roles
    row_ids: Tensor
    member: Tensor

    @property
    def y(self) -> Tensor:
        """Labels int64 [n]."""
        return self.dataset.y[self.row_ids]

    def samples(self) -> Any:
        """The samples as tensors (x, y), or as a source of batches in this order."""
        return self.dataset.rows(self.row_ids)

    def x(self) -> Tensor:
        """Inputs [n, ...]; ValueError for a data set that is read from files, batch by batch."""
        samples = self.samples()
        if not isinstance(samples, tuple):
            raise ValueError(f"{self.dataset.name} is not held in memory: choose attacks that do not look at x")
        x: Tensor = samples[0]
        return x


def evaluated(pipeline: Pipeline) -> Evaluated:
    """The data of a pipeline and its roles, from its seed alone."""
    dataset = _load(pipeline.data, pipeline.samples, derive(pipeline.seed, "data"))
    roles = splits.arrange(pipeline.arrangement, dataset, seed=derive(pipeline.seed, "split"))
    return Evaluated(dataset, roles, *roles.evaluation())


@dataclass(frozen=True, eq=False)
class Member:
    """One model to train: its seed, the rows it sees (repeats allowed), and what its parent ended with."""

    seed: int
    row_ids: Tensor
    start: Mapping[str, Tensor] | None = None
    carried: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    watch: tuple[Hooks, ...] = ()


def rows_of(pipeline: Pipeline, roles: splits.Roles, labels: Tensor, number: int) -> Tensor:
    """The rows that model `number` of an ensemble is trained on, int64, by the pipeline's division."""
    return pipeline.division.rows(labels, roles.target_train, number, seed=pipeline.seed)


def train(pipeline: Pipeline, seen: Evaluated, members: Sequence[Member], checkpoint: Path) -> list[Fitted]:
    """Train models through the pipeline's last phase, together where that is faster."""
    dataset, phase, build = seen.dataset, pipeline.last, builder(pipeline, seen.dataset)
    common: dict[str, Any] = {
        "defenses": phase.defenses,
        "reference": _part(dataset, seen.roles.reference),
        "validation": _part(dataset, seen.roles.validation),
        "checkpoint": checkpoint,
    }
    starts = [_start(pipeline) if member.start is None else member.start for member in members]
    carried = [member.carried for member in members]
    if len(members) == 1:
        one = members[0]
        rows = training_rows(dataset, one, phase)
        own: dict[str, Any] = {"seed": one.seed, "hooks": one.watch, "start": starts[0], "carried": carried[0]}
        return [training.fit(build, rows, phase.recipe, **own, **common)]
    if in_memory := isinstance(dataset, data.Dataset):
        rows = dataset.x, dataset.y
    else:
        rows = [training_rows(dataset, each, phase) for each in members]
    return training.fit_many(
        build,
        rows,
        phase.recipe,
        seeds=[member.seed for member in members],
        indices=[member.row_ids for member in members] if in_memory else None,
        hooks=lambda k: members[k].watch,
        start=[start for start in starts if start is not None] or None,
        carried=carried,
        **common,
    )


def builder(pipeline: Pipeline, dataset: Any) -> Callable[[], nn.Module]:
    """What makes the pipeline's untrained model; data that need no scaling have neither mean nor std."""
    scale = (dataset.mean, dataset.std)
    return partial(models.build, pipeline.model, dataset.shape, dataset.classes, norm=pipeline.norm, scale=scale)


def training_rows(dataset: Any, member: Member, phase: Phase) -> Any:
    """What a model is trained on: tensors (x, y), or a source of batches that shuffles itself."""
    if isinstance(dataset, data.Dataset):
        return dataset.rows(member.row_ids)
    return dataset.rows(member.row_ids, batch=phase.recipe.batch, shuffle=True, seed=member.seed)


def _part(dataset: Any, row_ids: Tensor) -> Any:
    return dataset.rows(row_ids) if len(row_ids) else None


def _start(pipeline: Pipeline) -> Mapping[str, Tensor] | None:
    if pipeline.start is None:
        return None
    return pretrained.state_dict(pipeline.model, _weights_name(pipeline.start))


def _weights_name(start: str) -> str:
    """The name of pretrained weights, without the checksum that a pipeline adds to it."""
    return start.partition("@")[0]


# The ten members of an ensemble are ten cells on the same draw.
@lru_cache(maxsize=1)
def _load(name: str, samples: tuple[int, int] | None, seed: int) -> data.Dataset | data.Folder:
    return data.load(name, samples=samples, seed=seed)


@lru_cache
def _row_counts(arrangement: Arrangement, pool: sizes.Known) -> tuple[int, int, int]:
    roles = splits.arrange(arrangement, pool, seed=0)  # the seed does not change the numbers
    member = roles.evaluation()[1]
    return len(roles.target_train), int(member.sum()), int((~member).sum())
