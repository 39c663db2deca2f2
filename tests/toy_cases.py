"""A toy experiment with cells that cost nothing: what tests of commands, records and tables share."""

from dataclasses import dataclass
from typing import ClassVar

from mialab.data import DataError
from mialab.engine.grid import Experiment
from mialab.engine.store import Cell, Config

ATTACKS = ("gap", "confidence", "loss")
MISSING = "svhn is missing and downloading is off; load with a network"


@dataclass(frozen=True)
class Trained(Config):
    """Stands for a training: one number."""

    KIND: ClassVar[str] = "toytrained"
    VERSION: ClassVar[int] = 1

    data: str
    seed: int = 0
    epochs: int = 5

    def needs(self):
        return ()

    def compute(self, inputs, *, scratch):
        if self.data == "absent":
            raise DataError(MISSING)
        return Cell({"accuracy": 0.6 + 0.01 * self.seed + 0.02 * self.epochs}, {})


@dataclass(frozen=True)
class Measured(Config):
    """Stands for an audit: one row per attack."""

    KIND: ClassVar[str] = "toymeasured"
    VERSION: ClassVar[int] = 1

    target: Trained
    models: int = 1

    @property
    def data(self):
        return self.target.data

    def columns(self):
        return {"data": self.data, "model": "lenet5", "method": "none", "models": self.models}

    def needs(self):
        return (self.target,)

    def compute(self, inputs, *, scratch):
        accuracy = inputs[0].info["accuracy"]
        rows = [
            {
                **self.columns(),
                "attack": attack,
                "seed": self.target.seed,
                "test_accuracy": accuracy,
                "test_accuracy_interval": [accuracy - 0.1, accuracy + 0.1],
                "auc": 0.5 + self.models / 30 + 0.01 * number,
                "tpr_0.01": None if attack == "gap" else 0.02,
            }
            for number, attack in enumerate(ATTACKS)
        ]
        return Cell({"rows": rows}, {})


def experiment(name="toy/table", data=("digits",), **changes):
    """A table of one and two models on the data sets; at preset course they are trained for longer."""

    def cells(preset, seed):
        targets = [Trained(each, seed, epochs=5 if preset == "smoke" else 9) for each in data]
        return tuple(Measured(target, models) for target in targets for models in (1, 2))

    settings = {
        "title": "A toy",
        "source": "ours",
        "by": ("data", "model", "models", "attack"),
        "values": ("test_accuracy", "auc", "tpr_0.01"),
        **changes,
    }
    return Experiment(name, cells=cells, **settings)
