"""The cells that look into trained models: how many weights are left, where they lie, and what an answer takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn

from mialab.cells.about import About
from mialab.cells.models import Models, predictions, rebuild
from mialab.cells.pipeline import Evaluated, evaluated
from mialab.cells.rows import devices
from mialab.defenses.pruning import compact, report
from mialab.defenses.pruning.budget import prunable
from mialab.engine.store import Cell

BINS = 200  # of the weights' histogram, over [-LARGEST, LARGEST]
LARGEST = 1.0  # weights beyond stand in the first and last bin
SETTLED = 0.05  # of the loss, for what is minimised to have converged
BATCH = 256  # samples of a timed answer


@dataclass(frozen=True)
class Inspected(About):
    """A look into the first model of a cell, after its last epoch.

    target: a cell of one model with `weights` after that epoch.

    The cell's info: rows, one, with the target's columns, epoch, train_accuracy, test_accuracy, train_loss (the mean
    cross-entropy of members, nats), epochs_to_converge (of the last phase, until what is minimised stays within 0.05 of
    its last value) and residual (of ADMM, if there was one); weights (those that are not zero),
    all_weights and reduction_ratio; storage_bytes (without zeros, as `mialab.defenses.pruning.compact` stores it),
    dense_bytes; multiply_adds of one answer by weights that are not zero, and dense_multiply_adds; inference_seconds of
    256 answers at once on this machine's CPU with one thread, and narrowed_seconds, the same of the network without its
    dead channels, None for a network that is no chain. layers: counts of each layer. Its arrays: histogram int64
    [layers, bins] of the weights that are not zero, edges float64 [bins + 1].
    """

    KIND: ClassVar[str] = "inspected"
    VERSION: ClassVar[int] = 2

    target: Models

    def __post_init__(self) -> None:
        end = self.target.pipeline.last.recipe.epochs
        if end not in self.target.weights or end not in self.target.epochs or self.target.count > 1:
            raise ValueError(f"Inspected: the model itself is needed: Models(..., epochs=({end},), weights=({end},))")

    def columns(self) -> dict[str, Any]:
        """What tells its row from others."""
        return {**self.target.columns(), "epoch": self.target.pipeline.last.recipe.epochs}

    def _train_loss(self, trained: Cell) -> float:
        """Of members, by the logits that were kept."""
        (logits,), arrays = predictions([trained], self.target.pipeline.last.recipe.epochs), trained.arrays
        log_p = log_softmax(logits.astype(np.float64), axis=1)[arrays["member"]]
        labels = arrays["labels"][arrays["member"]]
        return float(-log_p[np.arange(len(labels)), labels].mean())

    def needs(self) -> tuple[Models, ...]:
        return (self.target,)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        model, trained = rebuild(self.target, inputs[0])[0], inputs[0].info
        x = _some(evaluated(self.target.pipeline))
        layers = report.layers(model, x[:1])
        history, curve = trained["history"][0][-1], trained["training"][0]
        row = {
            **self.columns(),
            "seed": self.seed,
            **{name: history[name] for name in ("train_accuracy", "test_accuracy")},
            "train_loss": self._train_loss(inputs[0]),
            "epochs_to_converge": _converged(curve),
            "residual": next((row["residual"] for row in curve[::-1] if "residual" in row), None),
            **_counts(model, layers),
            **_seconds(model, x),
        }
        info = {"rows": [row], "layers": [layer._asdict() for layer in layers], "trained_on": devices(inputs)}
        return Cell(info, _histogram(model))


def _some(seen: Evaluated) -> torch.Tensor:
    """The first evaluated samples, from memory or from files."""
    rows = seen.dataset.rows(seen.row_ids[:BATCH])
    return rows[0] if isinstance(rows, tuple) else torch.cat([x for x, _ in rows])


def _converged(curve: Sequence[dict]) -> int:
    """The first epoch of the last phase from which the loss stays within `SETTLED` of where it ends."""
    losses = np.array([row["loss"] for row in curve if row["phase"] == curve[-1]["phase"]])
    far = np.flatnonzero(np.abs(losses - losses[-1]) > SETTLED)
    return int(far[-1]) + 2 if len(far) else 1


def _counts(model: nn.Module, layers: Sequence[report.Layer]) -> dict[str, float]:
    state = model.state_dict()
    return {
        "weights": sum(layer.kept for layer in layers),
        "all_weights": sum(layer.weights for layer in layers),
        "reduction_ratio": report.reduction_ratio(model),
        "storage_bytes": compact.storage_bytes(state),
        "dense_bytes": sum(value.numel() * value.element_size() for value in state.values()),
        "multiply_adds": sum(layer.multiply_adds_kept for layer in layers),
        "dense_multiply_adds": sum(layer.multiply_adds for layer in layers),
    }


def _seconds(model: nn.Module, x: torch.Tensor) -> dict[str, float | None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = report.inference_seconds(model, x)
        try:
            narrow: float | None = report.inference_seconds(compact.narrowed(model), x)
        except TypeError:
            narrow = None
    finally:
        torch.set_num_threads(threads)
    return {"inference_seconds": whole, "narrowed_seconds": narrow}


def _histogram(model: nn.Module) -> dict[str, np.ndarray]:
    edges = np.linspace(-LARGEST, LARGEST, BINS + 1)
    values = [w.detach().numpy() for w in prunable(model).values()]
    counts = [np.histogram(np.clip(some[some != 0], -LARGEST, LARGEST), edges)[0] for some in values]
    return {"histogram": np.stack(counts), "edges": edges}
