"""The rules by name, and what they make of an ensemble's outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mialab.fusion.arithmetic import log_confidence, softmax
from mialab.fusion.choices import LeastConfident, MostConfident, RandomAgreeing, Vote
from mialab.fusion.learnt import Stacking
from mialab.fusion.means import Confidence, Logit, Median, RawLogit, TrimmedMean, Weighted
from mialab.fusion.rule import FusionRule

RULES: dict[str, FusionRule] = {
    rule.name: rule
    for rule in (
        Confidence(),
        Logit(),
        Vote(),
        Median(),
        TrimmedMean(),
        MostConfident(),
        LeastConfident(),
        RandomAgreeing(),
    )
}
# Those that only experiments ask for: a rule that shows attackers more, and rules that must be fitted before they fuse.
FURTHER: dict[str, FusionRule] = {rule.name: rule for rule in (RawLogit(), Weighted(), Stacking())}


def get(rule: str | FusionRule) -> FusionRule:
    """The rule of that name, or the rule itself; ValueError naming the rules where there is none.

    One that learns is not fitted yet.
    """
    if isinstance(rule, FusionRule):
        return rule
    if rule not in RULES and rule not in FURTHER:
        raise ValueError(f"no fusion {rule!r}; choose one of {', '.join((*RULES, *FURTHER))}")
    return RULES.get(rule) or FURTHER[rule]


def stacked(models: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """What all models answer, as one array [models, n, classes].

    Raises ValueError for no model, and for models that answer other samples or other classes than the first one.
    """
    shapes = [np.shape(one) for one in models]
    if not shapes:
        raise ValueError("found no models; expected an array [samples, classes] for each, of one at least")
    if len(shapes[0]) != 2:
        raise ValueError(f"model 0 answers in shape {list(shapes[0])}; expected [samples, classes] of each model")
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"model 0 answers in shape {list(shapes[0])}, model {number} in {list(shape)}; expected "
                "[samples, classes], the same of all models"
            )
    return np.asarray(models)


def fuse(
    logits: np.ndarray, how: str | FusionRule = "confidence", *, probabilities: np.ndarray | None = None
) -> np.ndarray:
    """Log-probabilities [n, classes], float64, of the ensemble with outputs [models, n, classes].

    Rows sum to one: the likeliest class's entry is found from the others, also in `probabilities`, of which a zero
    counts as the smallest positive number of their type.
    Models are taken one at a time: memory beyond the outputs is a few arrays of [n, classes].
    Raises ValueError for an unknown rule, and as `stacked`.
    """
    rule, logits = get(how), stacked(logits)
    if probabilities is None or (p := rule.of_softmaxes(probabilities)) is None:
        return rule(logits)
    return log_confidence(np.log(np.maximum(p, np.finfo(probabilities.dtype).smallest_subnormal)))


def predict(
    logits: np.ndarray, how: str | FusionRule = "confidence", *, probabilities: np.ndarray | None = None
) -> np.ndarray:
    """The ensemble's confidences [n, classes], float64, by plain arithmetic: np.mean's and a softmax's.

    Raises ValueError for an unknown rule, and as `stacked`.
    """
    rule, logits = get(how), stacked(logits)
    p = None if probabilities is None else rule.of_softmaxes(probabilities)
    return rule.confidences(logits) if p is None else p


def answer(
    logits: np.ndarray, how: str | FusionRule = "confidence", *, probabilities: np.ndarray | None = None
) -> np.ndarray:
    """The labels that the ensemble answers, int64 [n], by which its accuracy is counted. ValueError as `predict`."""
    rule, logits = get(how), stacked(logits)
    p = None if probabilities is None else rule.of_softmaxes(probabilities)
    return rule.answers(logits) if p is None else p.argmax(axis=1)


def side_by_side(logits: np.ndarray, *, probabilities: np.ndarray | None = None) -> np.ndarray:
    """All models' softmaxes in a row per sample: float32 [n, models * classes], model by model (white box, 4.1)."""
    models, n, classes = logits.shape
    row = np.empty((n, models, classes), dtype=np.float32)
    for k in range(models):
        row[:, k] = softmax(logits[k]) if probabilities is None else probabilities[k]
    return row.reshape(n, models * classes)
