"""What is kept of a training as it goes: answers, accuracies and weights after given epochs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mialab import training
from mialab.attacks.sensitivity import sensitivity
from mialab.cells.pipeline import Evaluated
from mialab.engine.store import Cell
from mialab.seeds import derive


class Recorder(training.Hooks):
    """Keeps logits after some epochs, weights after some, sensitivities after some. It changes nothing in the training.

    seen: the rows that are answered; member: whose accuracy counts as train accuracy, bool [n], a shadow's own for a
    shadow. Of a phase without epochs, what it starts with counts as after epoch 0.
    """

    observes = True

    def __init__(
        self,
        seen: Evaluated,
        member: Tensor,
        epochs: Sequence[int],
        weights: Sequence[int] = (),
        disturbed: Sequence[int] = (),
    ):
        self.samples, self.labels, self.member = seen.samples(), seen.y, member
        self.epochs, self.weight_epochs, self.disturbed_epochs = tuple(epochs), tuple(weights), tuple(disturbed)
        self.reached = 0
        self.logits: dict[int, Tensor] = {}
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.moved: dict[int, Tensor] = {}
        self.history: list[dict] = []

    def after_epoch(self, run: training.TrainingRun) -> None:
        self.reached = run.epoch
        if run.epoch in self.weight_epochs:
            # A copy: the loop goes on training the living tensors.
            self.weights[run.epoch] = {name: value.cpu().clone() for name, value in run.model.state_dict().items()}
        if run.epoch in self.epochs:
            self.logits[run.epoch] = answers(run.model, self.samples)
            self.history.append(self._row(run))
        if run.epoch in self.disturbed_epochs:
            self.moved[run.epoch] = moved(run.model, self.samples, seed=derive(run.seed, "disturbed", run.epoch))

    def end(self, run: training.TrainingRun) -> None:
        if not run.recipe.epochs:
            self.after_epoch(run)

    def _row(self, run: training.TrainingRun) -> dict:
        right = (self.logits[run.epoch].argmax(1) == self.labels).double()
        return {
            "epoch": run.epoch,
            "learning_rate": run.history[-1]["lr"] if run.history else None,
            "train_accuracy": right[self.member].mean().item(),
            "test_accuracy": right[~self.member].mean().item(),
        }

    def state_dict(self) -> dict:
        kept = {"logits": self.logits, "weights": self.weights, "moved": self.moved}
        return {"reached": self.reached, **kept, "history": self.history}

    def load_state_dict(self, state: dict) -> None:
        found_moved = state.get("moved", {})  # of an older checkpoint
        every = (self.epochs, state["logits"]), (self.weight_epochs, state["weights"])
        for wanted, kept in (*every, (self.disturbed_epochs, found_moved)):
            if any(epoch <= state["reached"] and epoch not in kept for epoch in wanted):
                raise training.Missed
        self.reached = state["reached"]
        self.logits = {epoch: found.cpu() for epoch, found in state["logits"].items() if epoch in self.epochs}
        self.weights = {
            epoch: {name: value.cpu() for name, value in found.items()}
            for epoch, found in state["weights"].items()
            if epoch in self.weight_epochs
        }
        self.moved = {epoch: found.cpu() for epoch, found in found_moved.items() if epoch in self.disturbed_epochs}
        self.history = [row for row in state["history"] if row["epoch"] in self.epochs]


def _after(found: Mapping[int, Tensor], epoch: int) -> np.ndarray:
    """What was found after this epoch; ValueError where training had stopped before."""
    if epoch not in found:
        raise ValueError(f"a defense stopped the training before epoch {epoch}, which was to be kept: name fewer")
    return found[epoch].numpy()


def answers(model: torch.nn.Module, samples: Any) -> Tensor:
    """The logits float32 [n, classes] on tensors (x, y) or on a source of batches, in their order."""
    found = training.logits(model, samples[0] if isinstance(samples, tuple) else samples)
    return found[0] if isinstance(found, tuple) else found


def moved(model: torch.nn.Module, samples: Any, *, seed: int) -> Tensor:
    """The sensitivity float32 [n, classes] on tensors (x, y) or on a source of batches, in their order.

    The noise is added to what the network gets: standardised images, features as they are.
    """
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    scale = getattr(model, "scale", None)

    def query(x: Tensor) -> Tensor:
        return answers(model, (x, None)).double().softmax(dim=1)

    batches = samples[0].split(1000) if isinstance(samples, tuple) else (x for x, _ in samples)
    found = []
    for number, x in enumerate(batches):
        x = x.to(where) if scale is None else scale(x.to(where))
        found.append(torch.from_numpy(sensitivity(query, x, seed=derive(seed, number))))
    return torch.cat(found)


def kept(recorders: Sequence[Recorder], fitted: Sequence[training.Fitted]) -> dict[str, np.ndarray]:
    """A training cell's arrays: logits_{epoch} and sensitivity_{epoch} [models, samples, classes], and what models are.

    The latter: weights_{epoch}_{k}.{name}, carried_{k}.
    """
    first = recorders[0]
    arrays = {f"logits_{epoch}": np.stack([_after(each.logits, epoch) for each in recorders]) for epoch in first.epochs}
    for epoch in first.disturbed_epochs:
        arrays[f"sensitivity_{epoch}"] = np.stack([_after(each.moved, epoch) for each in recorders])
    for k, recorder in enumerate(recorders):
        for epoch, state in recorder.weights.items():
            arrays |= {f"weights_{epoch}_{k}.{name}": value.numpy() for name, value in state.items()}
    for k, result in enumerate(fitted):
        if result.carried:
            arrays[f"carried_{k}"] = _packed(result.carried)
    return arrays


def weights(cell: Cell, epoch: int, k: int) -> dict[str, Tensor]:
    """The weights and buffers of model k after an epoch; ValueError where they were not kept."""
    prefix = f"weights_{epoch}_{k}."
    named = {name.removeprefix(prefix): array for name, array in cell.arrays.items() if name.startswith(prefix)}
    if not named:
        raise ValueError(f"only logits were kept after epoch {epoch}: train with Models(..., weights=({epoch},))")
    return {name: torch.from_numpy(array.copy()) for name, array in named.items()}


def carried(cell: Cell, k: int) -> Mapping[str, dict]:
    """What the defenses of model k ended with, by their names."""
    packed = cell.arrays.get(f"carried_{k}")
    if packed is None:
        return {}
    return torch.load(io.BytesIO(packed.tobytes()), map_location="cpu", weights_only=True)


def _packed(state: Mapping[str, dict]) -> np.ndarray:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)
