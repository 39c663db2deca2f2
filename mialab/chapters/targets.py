"""Single trained models by name, for chapters that look at one of them."""

from dataclasses import dataclass, field

from mialab.cells.models import Models, predictions
from mialab.engine.grid import PRESETS
from mialab.engine.store import Cell, Store, open_store
from mialab.experiments.basics import TARGETS
from mialab.names import unknown
from mialab.outputs import Outputs


@dataclass(frozen=True)
class TrainedTarget:
    """What came of training a target: its outputs at the kept epochs, and how accurate it was there."""

    target: Models
    cell: Cell = field(repr=False)

    @property
    def epochs(self) -> tuple[int, ...]:
        return self.target.epochs

    @property
    def history(self) -> list[dict]:
        """One row per kept epoch: epoch, learning rate, accuracy on members and on non-members."""
        return self.cell.info["history"][0]

    def outputs(self, epoch: int) -> Outputs:
        """Logits [1, samples, classes], labels and membership after this epoch."""
        if epoch not in self.epochs:
            raise KeyError(f"no outputs were kept after epoch {epoch}; kept: {', '.join(map(str, self.epochs))}")
        arrays = self.cell.arrays
        return Outputs(predictions([self.cell], epoch), arrays["labels"], arrays["member"])


def targets(preset: str) -> dict[str, Models]:
    """The single models of this preset by name, which is their data's."""
    if preset not in PRESETS:
        raise ValueError(unknown("preset", preset, PRESETS))
    return {target.pipeline.data: target for target in TARGETS[preset]}


def target(name: str, *, preset: str = "smoke", seed: int = 0, store: Store | None = None) -> TrainedTarget:
    """Train the named target, or read it from the store, and return what came of it.

    Repetitions differ in `seed`: data draw, split, initial weights and the order of batches all change with it. A
    training that was interrupted goes on from its checkpoint. `basics/overfitting` audits the same models.
    """
    known = targets(preset)
    if name not in known:
        raise ValueError(unknown(f"target (preset {preset!r})", name, known))
    config = known[name].seeded(seed)
    return TrainedTarget(config, (store or open_store()).get(config))
