"""What looks like a mistake in the outputs of reference models, beside those of the audited model.

Shadows are compared with the model and with each other; the membership of the audited samples is looked at only to tell
whether shadows behave as the model does. Explained in the chapter "LiRA".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import stdtrit

from mialab import metrics
from mialab.attacks import References
from mialab.audit.notes import ALPHA, KEPT, Note, Side, Z, form, side_of
from mialab.audit.relabelling import relabelling
from mialab.fusion import by_rows, log_odds
from mialab.outputs import Outputs

MOST_ODDS = 30.0  # nats; log-odds are cut off here, so that a saturated sample decides no mean
UNSURE = 10.0  # nats; samples that are not saturated lie below
FEWEST_UNSURE, MOST_COMPARED = 20, 500
SAME = 2e-3  # of a model's log-odds, plus one: differences that rounding to float16 leaves
ALL_SAME = 0.9  # share of the unsaturated samples
MANY_ALIKE = 0.5  # of them, in two other shadows: then answers are too few to tell models apart
FAR = 0.15  # of accuracy, between shadows and the model
SPREADS = 5  # of the accuracy over shadows, which they must differ by besides
TOGETHER = 0.1  # rank correlation of shadows with each other, from which the model's says something
FEWEST_SAMPLES = 20
A_FEW = 8  # shadows that tell of the numbers of the classes
FEW_SHADOWS = 9  # with fewer, the spread over shadows is itself uncertain


@dataclass(frozen=True, eq=False)
class Shadows:
    """What shadows and the model answered: answers int64 [shadows, n] and [n], log-odds of the true class likewise."""

    references: References
    outputs: Outputs
    answers: np.ndarray
    odds: np.ndarray
    sides: list[Side]
    own_answers: np.ndarray
    own_odds: np.ndarray
    own: Side

    def accuracy(self, inside: bool) -> np.ndarray:
        """Of each shadow that has such samples, on those that it was trained on or on the others."""
        part = self.references.member == inside
        right = self.answers == self.references.labels
        return np.array([one[mask].mean() for one, mask in zip(right, part, strict=True) if mask.any()])

    def own_accuracy(self, inside: bool) -> float:
        """The model's on members, or on non-members."""
        right = self.own_answers == self.outputs.labels
        return float(right[self.outputs.member == inside].mean())

    @property
    def names(self) -> list[int]:
        return list(range(len(self.answers)))


def of_references(references: References, outputs: Outputs, log_p: np.ndarray, answers: np.ndarray) -> list[Note]:
    """What shadows give reason to remark on, beside the model's fused log-probabilities and its answers."""
    seen = _seen(references, outputs, log_p, answers)
    kinds = [form(one) == "sums to 1" for one in references.logits]
    notes = []
    if all(kinds):
        remark = "every row of the reference's logits sums to 1: if they are probabilities, name the array so"
        notes.append(Note("reference-logits-are-probabilities", remark))
    notes += [*the_model_itself(seen), *twice(seen)]
    turned = list(_classes(seen)) or list(order(seen))
    failed = [] if turned else list(_failed(seen))
    if turned or len(failed) and len(failed[0].figures["shadows"]) == len(seen.answers):
        return [*notes, *turned, *failed]
    upside_down = list(inverted(seen))
    return [*notes, *failed, *upside_down, *([] if upside_down else unlike(seen))]


def accuracy_line(references: References, outputs: Outputs, answers: np.ndarray) -> str:
    """Shadows' accuracy on samples IN and OUT, beside the model's."""
    right = np.stack([one.argmax(axis=1) for one in references.logits]) == references.labels
    own = answers == outputs.labels
    inside, outside = (
        f"{100 * right[mask].mean():.2f} %" if mask.any() else "no accuracy"
        for mask in (references.member, ~references.member)
    )
    model = [f"{100 * own[outputs.member == side].mean():.2f} %" for side in (True, False)]
    trained = f"they reach {inside} on samples that they were trained on (the model on members: {model[0]})"
    return f"{trained}, {outside} on others ({model[1]})"


def _seen(references, outputs, log_p, answers):
    given = np.stack([one.argmax(axis=1) for one in references.logits])
    labels, none = references.labels, np.zeros(len(answers))
    return Shadows(
        references,
        outputs,
        given,
        np.clip(references.log_odds, -MOST_ODDS, MOST_ODDS),
        [side_of(f"shadow {k}", one, labels, none) for k, one in enumerate(given)],
        answers,
        np.clip(by_rows(log_odds, log_p, outputs.labels), -MOST_ODDS, MOST_ODDS),
        side_of("the model", answers, outputs.labels, none),
    )


# one model twice


def _alike(odds: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of unsaturated samples on which others [k, n] have the log-odds [n]; NaN where there are too few."""
    unsure = np.flatnonzero(np.abs(odds) < UNSURE)[:MOST_COMPARED]
    if len(unsure) < FEWEST_UNSURE or len(np.unique(odds[unsure])) < FEWEST_UNSURE:
        return np.full(len(others), np.nan)
    near = np.abs(others[:, unsure] - odds[unsure]) <= SAME * (1 + np.abs(odds[unsure]))
    return near.mean(axis=1)


def the_model_itself(seen: Shadows) -> Iterator[Note]:
    alike = _alike(seen.own_odds, seen.odds)
    same = np.flatnonzero(alike >= ALL_SAME)
    if len(same) and (len(same) == len(alike) or np.nanmedian(alike) < MANY_ALIKE):
        meaning = "the audited model is most likely among its own references, which makes LiRA and RMIA look stronger"
        remark = f"{_shadows(same)} gave the very outputs of the audited model; {meaning}; leave such shadows out"
        yield Note("reference-is-the-model", remark, {"shadows": same.tolist()})
        return
    member = seen.references.member
    copied = np.flatnonzero((member == seen.outputs.member).all(axis=1))
    if len(copied) and member.shape[1] >= FEWEST_SAMPLES:
        meaning = "random halves never are; such a shadow tells an attack the membership that it is to find"
        remark = f"{_shadows(copied)} was trained on the audited model's very members; {meaning}; leave it out"
        yield Note("reference-has-the-members", remark, {"shadows": copied.tolist()})


def twice(seen: Shadows) -> Iterator[Note]:
    pairs = []
    for k, one in enumerate(seen.odds[:-1]):
        alike = _alike(one, seen.odds[k + 1 :])
        if len(seen.odds) < 3 or not np.nanmin(np.append(alike, np.inf)) > MANY_ALIKE:
            pairs += [[k, int(j) + k + 1] for j in np.flatnonzero(alike >= ALL_SAME)]
    if pairs:
        meaning = "a shadow is most likely in the file twice, and counts as two; keep one of each"
        named = ", ".join(f"{a} and {b}" for a, b in pairs[:4]) + ", ..." * (len(pairs) > 4)
        yield Note("reference-twice", f"shadows {named} gave the same outputs; {meaning}", {"pairs": pairs})


# shadows that do not fit the samples


def _failed(seen: Shadows) -> Iterator[Note]:
    """Shadows whose accuracy is that of chance, where the model's is not.

    One that keeps a KEPT share of the model's accuracy above chance is named with probability ALPHA at most, all
    shadows together.
    """
    if not seen.own.above_chance:
        return
    tail = ALPHA / len(seen.sides)
    failed = [
        k
        for k, one in enumerate(seen.sides)
        if not one.above_chance
        and float(metrics.clopper_pearson(one.hits, one.n, tail).high)
        < one.chance + KEPT * (seen.own.accuracy - one.chance)
    ]
    if failed:
        reached = np.mean([seen.sides[k].accuracy for k in failed])
        seen_there = f"{_shadows(failed)} answered right in {reached:.1%} of cases, as by chance"
        meaning = f"the model in {seen.own.accuracy:.1%}; such shadows failed to train, or saw the samples or classes"
        remark = f"{seen_there}, {meaning} in another order; leave them out, or compute their accuracy anew"
        yield Note("shadows-at-chance", remark, {"shadows": failed, "accuracy": float(reached)})


def _classes(seen: Shadows) -> Iterator[Note]:
    """Shadows whose outputs number the classes otherwise than the labels do, where the model's do not."""
    some = seen.answers[:A_FEW]
    labels = np.tile(seen.references.labels, len(some))
    found = relabelling(some.ravel(), labels, np.full(labels.shape, -1), alpha=ALPHA)
    if found is None or seen.own.accuracy < (found.accuracy + found.renamed) / 2:
        return
    seen_there = f"shadows answer right in {found.accuracy:.1%} of cases, and in {found.renamed:.1%} {found.how}"
    meaning = "the reference's outputs most likely have the classes in another order than the audited ones"
    figures = {"accuracy": found.accuracy, "renamed_accuracy": found.renamed, "map": found.classes}
    yield Note("reference-class-order", f"{seen_there}; {meaning}; bring them into one order", figures)


def order(seen: Shadows, *, answers: bool = True) -> Iterator[Note]:
    """Samples in another order, all or those of a side: shadows agree with each other, and not with the model.

    If the model agreed with shadows at KEPT of their own agreement, a false alarm in ALPHA at most, per measure.
    """
    if len(seen.answers) < 2 or seen.answers.shape[1] < FEWEST_SAMPLES:
        return
    member = seen.outputs.member
    for side, mask in {"": None, " on members": member, " on non-members": ~member}.items():
        measures = {"give the same answers": _agreement(seen, mask)} if answers else {}
        if mask is None:
            measures["find the same samples hard"] = _correlation(seen)
        for what, (own, among, spread) in measures.items():
            if among - Z * spread > TOGETHER and own + Z * spread < KEPT * among:
                scale = "of what chance leaves open" if "answers" in what else "rank correlation within classes"
                seen_there = f"shadows {what} as each other{side} ({among:.2f} {scale}), and not as the audited model"
                meaning = "the reference's samples most likely stand in another order than the audited ones"
                remark = f"{seen_there} ({max(own, 0.0):.2f}); {meaning}; save labels in both files: they are compared"
                figures = {"side": side.removeprefix(" on "), "with_model": own, "among_shadows": among}
                yield Note("reference-order", remark, figures)
                return


def _agreement(seen: Shadows, mask: np.ndarray | None) -> tuple[float, float, float]:
    """Agreement above chance of shadows with the model and with the next shadow, and the first one's spread.

    Counted where both were trained on the sample or both were not: an overfitted model agrees with nobody elsewhere.
    """
    part = np.ones(len(seen.own_answers), bool) if mask is None else mask
    member = seen.references.member
    with_model = _agreed(seen.answers, [seen.own_answers] * len(member), (member == seen.outputs.member) & part)
    same_side = (
        (member == np.roll(member, 1, axis=0)) & (part if mask is None else member == seen.outputs.member) & part
    )
    with_next = _agreed(seen.answers, np.roll(seen.answers, 1, axis=0), same_side)
    if not with_model or not with_next:
        return 0.0, 0.0, 1.0
    own, among = (float(np.mean([_beyond_chance(one) for one in sides])) for sides in (with_model, with_next))
    chance, counted = (float(np.mean([getattr(one, name) for one in with_model])) for name in ("chance", "n"))
    return own, among, float(np.sqrt(chance / max(1 - chance, 1e-9) / counted))


def _agreed(answers, others, masks) -> list[Side]:
    none = np.zeros(answers.shape[1])
    return [
        side_of("", one[mask], other[mask], none[mask])
        for one, other, mask in zip(answers, others, masks, strict=True)
        if mask.sum() >= FEWEST_SAMPLES
    ]


def _beyond_chance(one: Side) -> float:
    """Of what chance leaves open, the share that is right."""
    return (one.accuracy - one.chance) / max(1 - one.chance, 1e-9)


def _correlation(seen: Shadows) -> tuple[float, float, float]:
    """Rank correlations of log-odds with the shadows' mean, within classes and sides: the model's, and a shadow's."""
    labels, member = seen.references.labels, seen.references.member
    own = _within(seen.own_odds, 2 * labels + seen.outputs.member)
    shadows = np.stack([_within(odds, 2 * labels + side) for odds, side in zip(seen.odds, member, strict=True)])
    total = shadows.sum(axis=0)
    among = [_correlated(one, total - one) for one in shadows]
    return _correlated(own, total), float(np.mean(among)), 1 / np.sqrt(max(len(labels) - 3, 1))


def _within(odds: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Ranks less their group's mean."""
    ranks = np.argsort(np.argsort(odds, kind="stable"), kind="stable").astype(np.float64)
    total, count = np.bincount(group, ranks), np.bincount(group)
    return ranks - (total / np.maximum(count, 1))[group]


def _correlated(a: np.ndarray, b: np.ndarray) -> float:
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0


# membership of the shadows


@dataclass(frozen=True)
class Gap:
    """Mean log-odds IN less OUT in nats, each sample's mean removed, with its standard error.

    other: the same if each shadow had the membership of the one that fits it best, each being given once.
    """

    value: float
    spread: float
    other: float


def _gap(odds: np.ndarray, member: np.ndarray) -> Gap:
    count = len(odds)
    left = odds - odds.mean(axis=0) if count > 1 else odds - odds.mean()
    scale = count / (count - 1) if count > 1 else 1.0  # what is removed holds a part of each shadow's own
    inside, outside = member.sum(axis=1), (~member).sum(axis=1)
    both = (inside > 0) & (outside > 0)
    if not both.any():
        return Gap(0.0, 0.0, 0.0)
    left, member = scale * left[both], member[both]
    gaps = left @ member.T / inside[both] - left @ (~member).T / outside[both]  # [shadow, whose membership]
    own = np.diag(gaps)
    spread = left.std() * np.sqrt(1 / member.sum() + 1 / (~member).sum())
    if len(own) > 2:
        spread = max(spread, float(own.std(ddof=1)) / np.sqrt(len(own)))
    best = gaps[linear_sum_assignment(gaps, maximize=True)]
    return Gap(float(own.mean()), float(spread), float(best.mean()))


def inverted(seen: Shadows) -> Iterator[Note]:
    """Shadows that do worse on their own training samples: if membership says nothing, a false alarm in ALPHA."""
    gap = _gap(seen.odds, seen.references.member)
    quantile = -float(stdtrit(max(len(seen.odds) - 1, 1), ALPHA)) if 2 < len(seen.odds) < FEW_SHADOWS else Z
    if gap.value < -quantile * gap.spread and -gap.value > gap.other:
        seen_there = f"shadows are less sure of samples that they were trained on, by {-gap.value:.2g} nats of log-odds"
        meaning = "the reference's member is most likely the wrong way round: 1 is for samples in the training set"
        yield Note("reference-membership-inverted", f"{seen_there}; {meaning}", {"gap": gap.value})


def unlike(seen: Shadows, *, accuracy: bool = True) -> Iterator[Note]:
    gap, member = _gap(seen.odds, seen.references.member), seen.outputs.member
    inside, outside = seen.own_odds[member], seen.own_odds[~member]
    own = float(inside.mean() - outside.mean())
    own_low = own - Z * np.sqrt(inside.var() / len(inside) + outside.var() / len(outside))
    if own_low > 0 and gap.value + Z * gap.spread < KEPT * own_low:
        seen_there = (
            f"shadows answer samples IN as those OUT ({gap.value:.2g} nats of log-odds more), the model does not"
        )
        of_others = f"belong to others (rows in another order fit: {gap.other:.2g})" * (gap.other > Z * gap.spread)
        meaning = f"({own:.2g} on members); the rows or columns of the reference's member most likely"
        remark = f"{seen_there} {meaning} {of_others or 'belong to others'}, or shadows were trained otherwise"
        yield Note("reference-in-like-out", remark, {"shadows": gap.value, "model": own, "other_rows": gap.other})
        return
    if not accuracy:
        return
    for inside_too, where in ((True, "in their training sets"), (False, "outside of them")):
        reached, model = seen.accuracy(inside_too), seen.own_accuracy(inside_too)
        count = int((member == inside_too).sum())
        noise = np.sqrt(0.25 / max(count, 1)) + (reached.std(ddof=1) if len(reached) > 1 else 0.05)
        if len(reached) and abs(reached.mean() - model) > max(FAR, SPREADS * noise):
            sides = f"the model's on {'members' if inside_too else 'non-members'} is {model:.1%}"
            remark = f"the shadows' accuracy on samples {where} is {reached.mean():.1%}, {sides}"
            meaning = "they were most likely trained otherwise than the model: LiRA and RMIA then understate"
            figures = {"samples": "in" if inside_too else "out", "shadows": float(reached.mean()), "model": model}
            yield Note("shadows-unlike-the-model", f"{remark}; {meaning}", figures)


def _shadows(which) -> str:
    named = ", ".join(map(str, list(which)[:6])) + ", ..." * (len(which) > 6)
    return f"shadow {named}" if len(which) == 1 else f"{len(which)} shadows ({named})"
