"""Rules that count votes, and rules that hand on what one model says: ours, but for the majority vote.

The second kind keeps the label of the mean of confidences, hence its accuracy, and shows the confidence of one model
that gives this label. So the level of correct agreement is not averaged into the answer. Whether that helps privacy is
what the ensemble experiments measure.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from mialab.fusion.arithmetic import in_blocks, log_confidence
from mialab.fusion.means import Confidence
from mialab.fusion.rule import FusionRule, draws


@dataclass(frozen=True)
class Vote(FusionRule):
    """Each class's share of the models that choose it (the ensemble paper, 2.1): "majority vote"; of equals the first.

    What one model says is its label alone; a class without a vote has the log-probability -inf.
    """

    name = "vote"

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self.confidences(logits))

    def confidences(self, logits: np.ndarray) -> np.ndarray:
        models, n, classes = logits.shape
        votes = np.zeros((n, classes))
        for one in logits:
            votes[np.arange(n), one.argmax(axis=1)] += 1
        return votes / models

    def of_softmaxes(self, probabilities: np.ndarray) -> np.ndarray:
        return self.confidences(probabilities)


class _Agreeing(FusionRule):
    """The prediction of one model, chosen from those whose own answer is the label that the mean of confidences gives.

    Where no model answers that label, the mean itself. So the label is always that of the rule "confidence".
    """

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return in_blocks(self._of, logits)

    def answers(self, logits: np.ndarray) -> np.ndarray:
        return Confidence().answers(logits)

    @abstractmethod
    def pick(self, agree: np.ndarray, sure: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The chosen model's number, int [n].

        agree: which models give the label, bool [models, n]. sure: their log-probability of it, float64 [models, n].
        """

    def _of(self, logits: np.ndarray) -> np.ndarray:
        log_p, label = log_confidence(logits), self.answers(logits)
        agree = logits.argmax(axis=2) == label
        sure = np.take_along_axis(log_p, label[None, :, None], axis=2)[..., 0]
        found = log_p[self.pick(agree, sure, logits), np.arange(len(label))]
        none = ~agree.any(axis=0)
        if none.any():
            found[none] = Confidence()(logits[:, none])
        return found


@dataclass(frozen=True)
class MostConfident(_Agreeing):
    """The surest of the models that agree with the ensemble's label."""

    name = "most-confident"

    def pick(self, agree: np.ndarray, sure: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return np.where(agree, sure, -np.inf).argmax(axis=0)


@dataclass(frozen=True)
class LeastConfident(_Agreeing):
    """The least sure of the models that agree with the ensemble's label."""

    name = "least-confident"

    def pick(self, agree: np.ndarray, sure: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return np.where(agree, sure, np.inf).argmin(axis=0)


@dataclass(frozen=True)
class RandomAgreeing(_Agreeing):
    """One of the models that agree with the ensemble's label at random, the same one whenever the input comes again.

    Drawn by `draws`, which is keyed to the order of classes: with few classes many samples share their draw.
    """

    name = "random-agreeing"
    seed: int = 0

    def pick(self, agree: np.ndarray, sure: np.ndarray, logits: np.ndarray) -> np.ndarray:
        which = (draws(logits, self.seed) * agree.sum(axis=0)).astype(int)
        return (agree.cumsum(axis=0) > which).argmax(axis=0)
