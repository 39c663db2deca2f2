"""How the outputs of several models become one prediction: logits [models, n, classes] in, log-probabilities out.

A rule is one object, a `FusionRule`; `get` finds one by its name. All arithmetic is float64. `predict` gives the
confidences by plain arithmetic: ties stay ties, and predictions are those that anyone's mean of the softmaxes gives.
`fuse` gives their logarithms, in which a confidence that rounds to 1 keeps its distance from 1; `answer` gives the
labels. Softmaxes saved as such (`probabilities`) are averaged as they are, whatever they sum to. Explained in the
chapter "The audit".
"""

from mialab.fusion.apply import FURTHER, RULES, answer, fuse, get, predict, side_by_side, stacked
from mialab.fusion.arithmetic import LARGEST, SMALLEST, log_confidence, log_odds, softmax
from mialab.fusion.calibration import calibration_error
from mialab.fusion.choices import LeastConfident, MostConfident, RandomAgreeing, Vote
from mialab.fusion.learnt import Stacking
from mialab.fusion.means import Confidence, Logit, Median, RawLogit, TrimmedMean, Weighted
from mialab.fusion.rows import Rows, by_rows
from mialab.fusion.rule import FusionRule, draws

__all__ = [
    "FURTHER",
    "LARGEST",
    "RULES",
    "SMALLEST",
    "Confidence",
    "FusionRule",
    "LeastConfident",
    "Logit",
    "Median",
    "MostConfident",
    "RandomAgreeing",
    "RawLogit",
    "Stacking",
    "Rows",
    "TrimmedMean",
    "Vote",
    "Weighted",
    "answer",
    "by_rows",
    "calibration_error",
    "draws",
    "fuse",
    "get",
    "log_confidence",
    "log_odds",
    "predict",
    "side_by_side",
    "softmax",
    "stacked",
]
