"""The cells that ask what a subnetwork of a random network takes over from its target: accuracy, and the attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from mialab import attacks as registry
from mialab import audit, fusion, lottery
from mialab.cells.about import About
from mialab.cells.attacked import KNOWN, known_mask
from mialab.cells.models import Models, predictions, rebuild
from mialab.cells.pipeline import evaluated
from mialab.cells.rows import devices, rows, setting
from mialab.engine.store import Cell
from mialab.lottery.ticket import MOST
from mialab.seeds import derive

SUBSET_SUM = "subset_sum"


@dataclass(frozen=True)
class Inherited(About):
    """Audits of one bias-free network after its last epoch, or of subnetworks of random ones that stand for it.

    target: a cell of one model, with `weights`. per_weight: random numbers for each of its weights, as in
    `lottery.find`; 0 audits the target itself. count: random networks; the first one is audited, and all are measured
    against the target. tolerance: the theorem's epsilon, as a share of the range of the target's logits, as their scale
    means nothing. attacks, known: as in `Attacked`; the attacker's share and seed are the same whatever is audited.

    The cell's info: rows, one per attack, as `mialab.cells.rows` describes them, with the columns per_weight, weights
    (not zero) and random_weights (those of the network before it was pruned); trained_on. With per_weight above 0 the
    method is "subset_sum", and each row also has: changed, the share of samples that are answered otherwise;
    output_error, the largest distance of any logit over the evaluated samples, worst_error and error_bound, found and
    proven over the box that the samples span (`lottery.distance`), all three medians over draws; failure_rate, the
    share of draws whose worst_error exceeds the tolerance, and proven_rate, that of those whose error_bound does not;
    count; tolerance; logit_range, the largest logit less the smallest over the evaluated samples. And errors, those
    three for each draw. Its arrays: logits float32 [1, samples, classes]; labels, member [samples].
    """

    KIND: ClassVar[str] = "inherited"
    VERSION: ClassVar[int] = 1

    target: Models
    per_weight: int = 0
    count: int = 1
    tolerance: float = 0.01
    attacks: tuple[str, ...] = ("gap", "confidence")
    known: float = KNOWN

    def __post_init__(self) -> None:
        if self._epoch not in self.target.weights or self._epoch not in self.target.epochs:
            wanted = f"epochs=(..., {self._epoch}), weights=({self._epoch},)"
            raise ValueError(f"Inherited: the model itself is needed: train it with Models(..., {wanted})")
        if self.target.count != 1:
            raise ValueError(f"Inherited: the target is one model, not {self.target.count}")
        if not 0 <= self.per_weight <= MOST or self.count < 1 or not self.tolerance > 0:
            asked = f"per_weight from 0 to {MOST}, a count from 1, a tolerance above 0"
            raise ValueError(f"Inherited: choose {asked}, not {self.per_weight}, {self.count}, {self.tolerance}")

    @property
    def _epoch(self) -> int:
        return self.target.pipeline.last.recipe.epochs

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others, as far as it is known before anything is computed."""
        own = {"method": SUBSET_SUM} if self.per_weight else {}
        return {**self.target.columns(), **own, "epoch": self._epoch, "per_weight": self.per_weight}

    def versions(self) -> dict[str, int]:
        """The versions of the attacks that are run."""
        return registry.versions(self.attacks) | {"fusion confidence": fusion.get("confidence").version}

    def needs(self) -> tuple[Models, ...]:
        return (self.target,)

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        arrays, (model,) = inputs[0].arrays, rebuild(self.target, inputs[0])
        matrices = matrices_of(model)
        logits, found, errors = predictions(inputs, self._epoch), _plain(matrices), np.zeros((0, 3))
        if self.per_weight:
            scale = model.get_submodule("scale")
            x = scale(evaluated(self.target.pipeline).x()).flatten(1).double().numpy()
            logits, found, errors = self._drawn(matrices, x, logits)
        report = audit.audit(
            audit.Outputs(logits, arrays["labels"], arrays["member"]),
            attacks=self.attacks,
            known=known_mask(arrays, self.known, self.seed),
            seed=derive(self.seed, "attack"),
            published=True,
        )
        of = setting(self.target, inputs[0], self._epoch, access="black box") | self.columns()
        info = {"rows": [row | found for row in rows(of, self.seed, [report])], "trained_on": devices(inputs)}
        kept = {"labels": arrays["labels"], "member": arrays["member"]}
        return Cell(info | {"errors": errors.tolist()}, {"logits": logits, **kept})

    def _drawn(self, matrices: list[np.ndarray], x: np.ndarray, trained: np.ndarray) -> tuple:
        """The first draw's logits [1, n, classes], the rows' columns, and the errors of all draws [count, 3]."""
        wanted, errors = lottery.answers(matrices, x), np.empty((self.count, 3))
        small, box = lottery.bounded(matrices), (x.min(axis=0), x.max(axis=0))
        for number in range(self.count):
            ticket = lottery.find(matrices, self.per_weight, seed=derive(self.seed, "ticket", number))
            answered = ticket(x)
            apart = lottery.distance(small.matrices, ticket.signed, *box, seed=derive(self.seed, "worst", number))
            seen = np.abs(answered - wanted).max()
            # The search looks at corners of the box; a sample inside it may be worse.
            errors[number] = seen, max(seen, small.factor * apart.found), small.factor * apart.bound
            if number == 0:
                first, (kept, drawn) = answered, ticket.weights
        columns: dict[str, Any] = {
            "weights": kept,
            "random_weights": drawn,
            "changed": (first.argmax(1) != trained[0].argmax(1)).mean(),
        }
        columns |= self._judged(errors, np.ptp(wanted))
        return first[None].astype(np.float32), {name: _number(value) for name, value in columns.items()}, errors

    def _judged(self, errors: np.ndarray, logit_range: float) -> dict[str, Any]:
        """The rows' columns on how far f and the drawn networks are apart."""
        allowed = self.tolerance * logit_range
        medians = zip(("output_error", "worst_error", "error_bound"), np.median(errors, axis=0), strict=True)
        rates = {"failure_rate": (errors[:, 1] > allowed).mean(), "proven_rate": (errors[:, 2] <= allowed).mean()}
        settings = {"count": self.count, "tolerance": self.tolerance, "logit_range": logit_range}
        return {**dict(medians), **rates, **settings}


def matrices_of(model: nn.Module) -> list[np.ndarray]:
    """The weights of a bias-free ReLU network, float64 [out, in] each; ValueError for any other architecture."""
    parts = [part for part in model.modules() if not list(part.children())]
    linear = [part for part in parts if isinstance(part, nn.Linear)]
    others = [part for part in parts[1:] if not isinstance(part, nn.Linear | nn.ReLU | nn.Flatten)]  # after the scale
    if not linear or others or any(part.bias is not None for part in linear):
        raise ValueError("the theorem's networks are linear layers without biases, ReLU between: take mlp64_32 or so")
    return [part.weight.detach().cpu().double().numpy() for part in linear]


def _plain(matrices: list[np.ndarray]) -> dict[str, int]:
    """How many weights are not zero, and how many there are."""
    sizes = [matrix.size for matrix in matrices]
    return {"weights": sum(int(np.count_nonzero(matrix)) for matrix in matrices), "random_weights": sum(sizes)}


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
