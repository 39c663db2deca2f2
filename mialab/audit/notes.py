"""What looks like a mistake in the arrays of an audit: seen in them before any attack runs, and no reason to stop.

A note says what was seen, what it most likely means, and how to check. Those that rest on a test speak with a
false-alarm rate of at most ALPHA, in the sense that stands beside each. Explained in the chapter "The audit".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mialab import metrics
from mialab.attacks.scale import SATURATED
from mialab.audit import repeats
from mialab.audit.relabelling import Relabelling, relabelling
from mialab.fusion import by_rows, log_odds
from mialab.outputs import Outputs

ALPHA = 1e-4  # chance of a false alarm, at most
Z = 3.719  # the normal quantile at 1 - ALPHA
LEAST_INVERTED = 0.02  # below an AUC of 0.5; easier non-members, as in MNIST, are not that far off
SURE = 0.35  # of what confidences can promise beyond chance: answers above are sure
SURE_BESIDE = 0.2  # the same where the other side's labels fit
KEPT = 0.3  # share of that promise, times what chance leaves open; a model that keeps as much is not at chance
A_FEW = 1000  # samples that are looked at before all are
MOST_OF_ONE = 0.8  # of the answers
AT_CHANCE = 2.326  # the normal quantile at 0.99: accuracy that lies below is not above chance


@dataclass(frozen=True)
class Note:
    """A remark on the arrays: its kind, one or more sentences, and the figures in them as JSON types."""

    code: str
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence

    def to_dict(self) -> dict:
        """The JSON of a note."""
        return {"code": self.code, "sentence": self.sentence, "figures": self.figures}


def of_outputs(outputs: Outputs, log_p: np.ndarray, answers: np.ndarray) -> list[Note]:
    """What outputs, their fused log-probabilities [n, classes] and their answers [n] give reason to remark on."""
    labels = list(_labels(outputs, log_p, answers)) if outputs.labelled else []
    inverted = _inverted(outputs, log_p) if outputs.labelled and not labels else []
    return [*_form(outputs), *labels, *inverted, *_repeated(outputs, log_p)]


# what the numbers are


def _form(outputs: Outputs) -> Iterator[Note]:
    if outputs.probabilities is None:
        kinds = [form(one) for one in outputs.logits]
        for kind, remedy in FORMS.items():
            if which := [k for k, found in enumerate(kinds) if found == kind]:
                whose = "every row of the logits" if len(which) == len(kinds) else f"every row of models {which}"
                yield Note("logits-are-probabilities", f"{whose} {kind}: {remedy}", {"models": which})
    elif len(which := [k for k, one in enumerate(outputs.probabilities) if twice_softmax(one)]):
        seen = "no probability lies outside what a softmax of probabilities can reach, and many come close to its end"
        meaning = "the softmax was most likely taken twice: save the softmax of the raw outputs, or these as logits"
        yield Note("softmax-twice", f"{seen}; {meaning}", {"models": which})


FORMS = {
    "sums to 1": "if they are probabilities, name the array so",
    "sums to 100": "if they are per cent, divide by 100 and name the array probabilities",
    "lies between 0 and 1": "if they are one sigmoid per class, save the raw outputs before it",
}


def form(logits: np.ndarray) -> str | None:
    """What outputs [n, classes] are that were named logits: a key of FORMS; None if logits."""
    if (least := logits.min()) < 0:
        return None
    totals = logits.sum(axis=1, dtype=np.float64)
    for total, name in ((1, "sums to 1"), (100, "sums to 100")):
        if (np.abs(totals / total - 1) <= np.clip(5e-4 * logits.shape[1], 5e-3, 5e-2)).all():
            return name
    return "lies between 0 and 1" if logits.max() <= 1 and logits.max() > 0.9 and least < 0.1 else None


def twice_softmax(p: np.ndarray) -> bool:
    """Whether probabilities [n, classes] are softmaxes of softmaxes: logarithms differ by 1 at most, often nearly.

    Three classes at least: of two, weak logits look the same.
    """
    classes = p.shape[1]
    if classes < 3 or p.min() <= 0 or len(p) > A_FEW and not twice_softmax(p[:A_FEW]):
        return False
    logs = np.log(p.astype(np.float64))
    inner = logs - logs.mean(axis=1, keepdims=True) + 1 / classes
    return bool(inner.min() > -0.01 and inner.max() < 1.01 and (inner.max(axis=1) > 0.9).mean() > 0.2)


# labels

EVERYBODY = "members and non-members"


@dataclass(frozen=True)
class Side:
    """Some of the samples: how many there are, how often the answer is the label, and what it would be by chance.

    sure: the mean of the largest fused probability, the accuracy that confidences promise. varied: whether one class
    makes up no more than most of the answers; else they are right by chance, whatever the labels' order.
    """

    name: str
    n: int
    hits: int
    chance: float
    sure: float
    varied: bool

    @property
    def accuracy(self) -> float:
        return self.hits / self.n

    @property
    def promised(self) -> float:
        """How much of what lies above chance confidences promise."""
        return (self.sure - self.chance) / max(1 - self.chance, 1e-9)

    @property
    def above_chance(self) -> bool:
        spread = math.sqrt(self.n * self.chance * (1 - self.chance))
        return self.hits > self.n * self.chance + AT_CHANCE * spread

    def may_be_at_chance(self, least: float) -> bool:
        """Whether answers are sure, varied, and not right more often than by chance."""
        return not self.above_chance and self.promised >= least and self.varied

    def at_chance(self, least: float) -> bool:
        """Whether sure answers are right by chance alone.

        A model whose accuracy keeps a KEPT share (half of it of two classes) of what confidences promise above chance
        is called so with probability ALPHA at most.
        """
        kept = KEPT * (1 - self.chance)
        high = float(metrics.clopper_pearson(self.hits, self.n, ALPHA).high)
        return self.may_be_at_chance(least) and high < self.chance + kept * (self.sure - self.chance)


def side_of(name: str, answers: np.ndarray, labels: np.ndarray, top: np.ndarray) -> Side:
    """The figures of answers and labels int64 [n], and of the largest probabilities [n]."""
    classes = int(max(answers.max(), labels.max())) + 1
    given, true = (np.bincount(one, minlength=classes) / len(one) for one in (answers, labels))
    hits, varied = int((answers == labels).sum()), bool(given.max() <= MOST_OF_ONE)
    return Side(name, len(labels), hits, float(given @ true), float(top.mean()), varied)


def _labels(outputs: Outputs, log_p: np.ndarray, answers: np.ndarray) -> Iterator[Note]:
    """Labels that do not belong to the answers: other numbers of the classes, or another order of the samples."""
    masks = {"members": outputs.member, "non-members": ~outputs.member}
    least = log_p.argmin(axis=1)
    found = {name: _renumbered(answers, outputs.labels, least, mask) for name, mask in masks.items()}
    if len({one is None for one in found.values()}) == 1:  # on neither side, or on both
        everybody = _renumbered(answers, outputs.labels, least, np.ones(len(answers), bool))
        if everybody is not None:
            masks, found = {EVERYBODY: np.ones(len(answers), bool)}, {EVERYBODY: everybody}
    for name, one in found.items():
        if one is not None:
            yield _other_classes(name, one, outputs.labels[masks[name]])
    yield from _at_chance(outputs, log_p, answers, [name for name, one in found.items() if one is not None])


def _renumbered(answers, labels, least, mask) -> Relabelling | None:
    return relabelling(answers[mask], labels[mask], least[mask], alpha=ALPHA / 3)


def _at_chance(outputs: Outputs, log_p: np.ndarray, answers: np.ndarray, explained: list[str]) -> Iterator[Note]:
    if EVERYBODY in explained:
        return
    top = np.exp(log_p.max(axis=1))
    masks = {"members": outputs.member, "non-members": ~outputs.member}
    sides = [side_of(name, answers[mask], outputs.labels[mask], top[mask]) for name, mask in masks.items()]
    bad = [one for one in sides if one.name not in explained and one.at_chance(_least_sure(one, sides))]
    if len(bad) == 1:  # where one side's labels are out of order, less evidence tells the other's
        bad = [one for one in sides if one in bad or one.name not in explained and one.may_be_at_chance(SURE_BESIDE)]
    if not bad and not explained and not any(one.above_chance for one in sides):
        both = side_of(EVERYBODY, answers, outputs.labels, top)
        bad = [both] if both.at_chance(SURE) else []
    if bad:
        yield _other_order(bad)


def _least_sure(one: Side, sides: list[Side]) -> float:
    return SURE_BESIDE if any(other.above_chance for other in sides if other is not one) else SURE


def _other_classes(name: str, found: Relabelling, labels: np.ndarray) -> Note:
    seen = f"on {name} the answers are right in {found.accuracy:.1%} of cases, and in {found.renamed:.1%} {found.how}"
    figures = {"samples": name, "accuracy": found.accuracy, "renamed_accuracy": found.renamed, "map": found.classes}
    if found.shift and labels.min() > 0:
        meaning = f"no sample has label 0: classes are most likely numbered from {found.shift}"
        return Note("classes-from-1", f"{seen}; {meaning}; use labels - {found.shift}", figures)
    if found.least:
        meaning = "the sign of the outputs is most likely turned, as of losses or distances; use -logits"
        return Note("sign-turned", f"{seen}; {meaning}", figures)
    meaning = "the labels most likely number the classes in another order than the outputs do"
    check = f"compare the model's class order with the labels' ({_some(found.classes)})"
    return Note("class-order", f"{seen}; {meaning}; {check}", figures)


def _some(classes: dict[str, int]) -> str:
    named = [f"label {label} is answered as {answer}" for label, answer in list(classes.items())[:3]]
    return ", ".join(named) + (", ..." if len(classes) > 3 else "")


def _other_order(bad: list[Side]) -> Note:
    seen = " and ".join(
        f"on {one.name} the answers' mean probability is {one.sure:.1%}, but they are right in {one.accuracy:.1%} of "
        f"cases, by chance in {one.chance:.1%}"
        for one in bad
    )
    meaning = "the labels most likely stand in another order than the outputs"
    if [one.name for one in bad] == ["non-members"]:
        meaning += " there (else the model learnt nothing that carries over, as from random labels)"
    check = "compute the accuracy where you made the file; a loader that shuffles gives labels and outputs in one pass"
    figures = {one.name: {"accuracy": one.accuracy, "chance": one.chance, "confidence": one.sure} for one in bad}
    return Note("labels-at-chance", f"{seen}; {meaning}; check: {check}", figures)


def of_saturated(attacks: list[str], share: float | None = None, models: tuple[int, ...] = ()) -> list[Note]:
    """Where attack networks read -log(1 - p), as the likeliest class is nearly sure: in a share of the fused answers.

    models: or in those of most samples, of these models of an ensemble.
    """
    if not attacks:
        return []
    largest = (
        f"{share:.0%} of the largest confidences" if share else f"most of models {[*models]}'s largest confidences"
    )
    seen = f"{', '.join(attacks)}: {largest} are above {1 - SATURATED:g}, where a network can hardly tell them apart"
    meaning = "so here these attacks read -log(1 - p), not the softmax p as in their papers"
    figures = {"attacks": attacks} | ({"share": share} if share else {"models": [*models]})
    return [Note("saturated", f"{seen}; {meaning}", figures)]


# membership


def _inverted(outputs: Outputs, log_p: np.ndarray) -> list[Note]:
    """Members that do worse. If membership says nothing of the loss, or more of members', a false alarm in ALPHA."""
    member = outputs.member
    area = metrics.auc(by_rows(log_odds, log_p, outputs.labels, key="odds"), member)
    members, others = int(member.sum()), int((~member).sum())
    spread = math.sqrt((members + others + 1) / (12 * members * others))
    if area is None or area > 0.5 - max(Z * spread, LEAST_INVERTED):
        return []
    seen = f"members have the larger losses: a member's is below a non-member's in {area:.1%} of pairs"
    meaning = "member is most likely the wrong way round: 1 is for samples that the model was trained on"
    check = "if it is not, the non-members are easier samples, and attacks that look at the loss say little"
    return [Note("membership-inverted", f"{seen}; {meaning}; {check}", {"auc": area})]


# rows


def _repeated(outputs: Outputs, log_p: np.ndarray) -> list[Note]:
    values = outputs.logits if outputs.probabilities is None else outputs.probabilities
    found = repeats.find(values, outputs.member, log_p, alpha=ALPHA)
    return [] if found is None else [repeated_note(found, "outputs")]


def repeated_note(found: repeats.Repeats, what: str) -> Note:
    """The note on rows of outputs, losses or scores that repeat."""
    figures = {"rows": found.rows, "repeated": found.repeated, "on_both_sides": found.on_both_sides}
    if found.repeated == found.rows - 1:
        seen = f"all {found.rows:,} rows of the {what} are the same: the model does not look at its input"
        return Note("identical-rows", f"{seen}; check how they were saved", figures)
    seen = f"{found.repeated:,} of {found.rows:,} rows of the {what} repeat an earlier one"
    sides = f", and {found.on_both_sides:,} stand among members and among non-members" * (found.on_both_sides > 0)
    meaning = "samples are most likely in the file twice; intervals and proofs count each as a new one: too narrow"
    check = f"check: len(np.unique({what}, axis=-2)); keep each sample once, on one side"
    return Note("identical-rows", f"{seen}{sides}; {meaning}; {check}", figures)
