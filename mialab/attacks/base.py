"""What an attack sees, and what it is.

Explained in the chapter "The attack suite".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from mialab.attacks.lacking import NotEnough
from mialab.attacks.reference_scores import ReferenceScores
from mialab.attacks.references import References, log_p
from mialab.attacks.scale import Scale
from mialab.fusion import Rows, by_rows, log_confidence, log_odds, softmax
from mialab.per_sample import Signal

if TYPE_CHECKING:
    from torch import Tensor

BEST: Literal["best"] = "best"
LAST: Literal["last"] = "last"


class AskedModel(Protocol):
    """A model or an ensemble as functions, as `mialab.attacks.target.Target` makes them."""

    params: dict[str, Tensor]

    def answers(self, x: Any) -> Tensor:
        """The labels that are answered to inputs [n, ...], int64 [n]."""

    def scaled(self, x: Tensor) -> Tensor:
        """Raw inputs as the network gets them."""

    def log_p(self, params: Any, x: Tensor) -> Tensor:
        """Log-probabilities [n, classes] with these weights."""

    def loss_of(self, x: Tensor, labels: Tensor) -> Tensor:
        """Each sample's cross-entropy in nats [n]."""


@dataclass(frozen=True, eq=False)
class Known:
    """Whose membership the attacker knows: rows int64 [k] of the evidence, and whether each is a member, bool [k].

    Of all other rows nothing is said. The rows come in the order in which the attacker has them. Raises ValueError for
    arrays of other kinds or rows that occur twice. Explained in the chapter "The audit".
    """

    rows: np.ndarray
    member: np.ndarray

    def __post_init__(self) -> None:
        rows, member = np.array(self.rows, dtype=np.int64), np.array(self.member, dtype=bool)
        if rows.ndim != 1 or rows.shape != member.shape or len(np.unique(rows)) < len(rows):
            found = f"found shapes {list(rows.shape)} and {list(member.shape)}"
            raise ValueError(f"known: {found}; expected distinct rows [k], and member [k] for each")
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "member", member)

    @classmethod
    def of(cls, known_mask: np.ndarray, member: np.ndarray) -> Known:
        """What a mask of the known samples, bool [n], leaves of everybody's membership, bool [n]."""
        rows = np.flatnonzero(known_mask)
        return cls(rows, np.asarray(member)[rows])

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, where: np.ndarray) -> Known:
        """Some of the known rows: a mask or places [k]."""
        return Known(self.rows[where], self.member[where])


@dataclass(frozen=True)
class Evidence:
    """What an attacker holds on n samples: the fused prediction, a neural attack's input, and the true labels.

    The samples come in no order that means anything. Five fields from `log_confidences` on are held by some attackers
    only, and are what an attack's `needs` name. Of very many samples and classes the first two are no arrays, but
    `mialab.fusion.Rows`, and the third is the first. Of a score per sample (`mialab.per_sample`) the first three are
    empty, and there is a `signal`; `held` says which of `READS` there are.
    """

    p: np.ndarray  # float64 [n, classes]: the fused confidences by plain arithmetic
    log_p: np.ndarray  # float64 [n, classes]: their logarithms, precise where p rounds to 1
    features: np.ndarray  # float [n, f]: fused confidences, or all models' side by side (white box)
    labels: np.ndarray  # int64 [n]
    answers: np.ndarray | Any = None  # int64 [n]: the label that is answered; None: p's argmax
    log_confidences: np.ndarray | None = None  # float [models, n, classes]: each model's own log-probabilities
    x: np.ndarray | None = None  # [n, ...]: the samples themselves
    sensitivity: np.ndarray | None = None  # float [n, classes]: how far p moves per unit of noise in x
    references: References | ReferenceScores | None = None  # outputs of models trained on random halves
    target: AskedModel | None = None  # the model itself, to be asked
    signal: Signal | None = None  # a score per sample, instead of outputs
    query_odds: np.ndarray | None = None  # float64 [n, queries]: log-odds of each of several queries
    held: frozenset[str] = frozenset({"outputs", "labels", "signal", "losses"})
    scale: Scale | None = None  # how networks are shown fused confidences; None: as they are, which is as published
    sure_models: tuple[int, ...] = ()  # whose softmaxes among the features side by side are on such a scale

    def __post_init__(self) -> None:
        if self.answers is None:
            object.__setattr__(self, "answers", self.p.argmax(axis=1))

    @property
    def correct(self) -> np.ndarray:
        """Whether the answer is the label, bool [n]."""
        right: np.ndarray = self.answers == self.labels
        return right

    @cached_property
    def shown(self) -> np.ndarray | Rows:
        """The fused confidences as a network is shown them, float [n, classes]: p, or -log(1 - p) on the scale."""
        return self.p if self.scale is None else self.scale.rows(self.log_p)

    @property
    def inputs(self) -> np.ndarray | Rows:
        """A neural attack's input, float [n, f]: the features, which usually are the fused confidences."""
        return self.shown if self.features is self.p else self.features

    def shown_of(self, logits: np.ndarray) -> np.ndarray:
        """Other answers, logits [m, classes] such as shadows', as a network is shown this target's: float."""
        return softmax(logits) if self.scale is None else self.scale(log_confidence(logits))

    @property
    def odds(self) -> np.ndarray:
        """Log-odds of the true class, or the score per sample: float64 [n]."""
        if self.signal is not None:
            return self.signal.odds
        return by_rows(log_odds, self.log_p, self.labels, key="odds")

    @property
    def true_log_p(self) -> np.ndarray:
        """Log-probability of the true class, precise near 0: float64 [n]."""
        return log_p(self.odds) if self.signal is None else self.signal.log_p

    def lacks(self, reads: tuple[str, ...]) -> str | None:
        """What to give for an attack that reads these; None where all of it is held."""
        return next((READS[name] for name in reads if name not in self.held), None)

    def need(self, name: str) -> Any:
        """What is held under the name of an optional field; NotEnough, with what to give, where it is not."""
        if (held := getattr(self, name)) is None:
            raise NotEnough(REMEDIES[name])
        return held

    def only(self, needs: tuple[str, ...]) -> Evidence:
        """The same without the optional fields that are not named."""
        without: dict[str, Any] = {name: None for name in REMEDIES if name not in needs}
        return replace(self, **without)

    def reordered(self, order: np.ndarray) -> Evidence:
        """The same samples in another order, row i being row order[i] of this one; int [n]."""
        changed: dict[str, Any] = {}
        for name in (
            field.name for field in fields(self) if field.name not in ("target", "held", "scale", "sure_models")
        ):
            held = getattr(self, name)
            if name == "features" and held is self.p:
                changed[name] = changed["p"]
            elif name == "references":
                changed[name] = held and held.reordered(order)
            elif name == "signal":
                changed[name] = held and Signal(held.odds[order], held.log_p[order])
            elif held is not None:
                by_order = held.reordered if isinstance(held, Rows) else held.__getitem__
                changed[name] = held[:, order] if name == "log_confidences" else by_order(order)
        return replace(self, **changed)


READS = {
    "outputs": "needs an output per class: give logits or probabilities",
    "labels": "needs the true classes: give labels",
    "signal": "needs the true classes, or one number per sample: give labels, losses or scores",
    "losses": "needs a loss: give logits or probabilities with labels, or losses",
    "scores": "is for one score per sample: give scores",
}
REMEDIES = {
    "log_confidences": "needs each model's own log-probabilities: give every model's outputs, not the fused ones alone",
    "x": "needs the samples themselves: give their inputs x in the order of the labels",
    "sensitivity": "needs the answers' sensitivity to noise: give the array of mialab.attacks.sensitivity, in Python",
    "references": "needs reference models: give outputs of models trained on random halves (--reference)",
    "target": "needs the model itself: give target=mialab.attacks.target.Target(model), in Python",
}


class Attack(ABC):
    """A named attack: arrays in, one score per sample out; higher = more likely a member.

    A subclass has a `name` and `score`; `from_function` makes one of a plain function. Explained in the chapter "The
    attack suite", each attack in the appendix "Attacks".

    learns: it needs known samples. reads: what it looks at, of `READS`. needs: optional fields of `Evidence` without
    which it cannot score. costly: it takes minutes, or thousands of queries, and runs only when asked for by name.
    log_odds: its scores are log-odds of membership, so that a loss can be told. version: raised when its scores change,
    so that results kept of it are computed anew. epoch: which of several epochs' scores count: those that tell the
    known samples apart best ("best"; the last ones where no two sides are known), or the last ones ("last").
    """

    name: str
    version: int = 1
    learns: bool = False
    reads: tuple[str, ...] = ("outputs", "labels")
    needs: tuple[str, ...] = ()
    costly: bool = False
    log_odds: bool = False
    epoch: Literal["best", "last"] = BEST

    @abstractmethod
    def score(self, evidence: Evidence, known: Known, seed: int) -> np.ndarray:
        """Scores [n], or one row for each epoch of the attack's own training [epochs, n]; no NaN.

        Raises NotEnough where the known samples do not suffice or a need is not met.
        """

    def by_epoch(self) -> Attack:
        """The same attack with scores after every epoch of its own training [epochs, n]; itself where it has none."""
        return self


Score = Callable[[Evidence, Known, int], np.ndarray]


@dataclass(frozen=True)
class FunctionAttack(Attack):
    """An attack whose score is a plain function. every_epoch: the same with a row per epoch, the last being `score`."""

    name: str
    function: Score
    learns: bool = False
    needs: tuple[str, ...] = ()
    version: int = 1
    costly: bool = False
    log_odds: bool = False
    epoch: Literal["best", "last"] = BEST
    every_epoch: Score | None = None
    reads: tuple[str, ...] = ("outputs", "labels")

    def score(self, evidence: Evidence, known: Known, seed: int) -> np.ndarray:
        return self.function(evidence, known, seed)

    def by_epoch(self) -> Attack:
        return self if self.every_epoch is None else replace(self, function=self.every_epoch, epoch=LAST)


def from_function(
    name: str,
    score: Score,
    *,
    learns: bool = False,
    needs: tuple[str, ...] = (),
    version: int = 1,
    costly: bool = False,
    log_odds: bool = False,
    every_epoch: Score | None = None,
    reads: tuple[str, ...] = ("outputs", "labels"),
) -> Attack:
    """The attack whose score is `score(evidence, known, seed)`; the other arguments are those of `Attack`.

    every_epoch: the same with scores for every epoch of the attack's training, the last of which are `score`'s.
    """
    return FunctionAttack(name, score, learns, needs, version, costly, log_odds, every_epoch=every_epoch, reads=reads)
