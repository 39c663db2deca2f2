"""Is it bad? Three lines that answer, before any table.

The answer is one of LEVELS. "no" means that nothing was seen by these attacks on these samples, never that nothing is
there. Of several attacks the best is named, and its interval is widened for the choice (Bonferroni), so that files
without a leak are called leaky in 1 of 20 cases at most. Where the bounds between the levels lie is our choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import expit, logit, ndtri

from mialab.audit.figures import Figures, counts, sides_text
from mialab.audit.findings import Findings
from mialab.metrics import TAIL, Estimate, Z

LEVELS = ("unclear", "no", "slightly", "yes", "badly")
ANSWERS = {
    "unclear": "unclear",
    "no": "no leak seen",
    "slightly": "slightly",
    "yes": "yes",
    "badly": "yes, badly",
}
AUC_YES, AUC_BADLY = 0.6, 0.8  # of the widened interval's lower end
LIFT_YES, LIFT_BADLY = 3, 10  # of the lower end of TPR / FPR
WRONG_FILE = (  # notes that make every figure doubtful
    "classes-from-1",
    "class-order",
    "identical-rows",
    "labels-at-chance",
    "membership-inverted",
    "reference-class-order",
    "reference-has-the-members",
    "reference-is-the-model",
    "reference-membership-inverted",
    "reference-order",
    "sign-turned",
)


@dataclass(frozen=True)
class Headline:
    """The level, one of LEVELS, and three lines of plain words."""

    level: str
    lines: tuple[str, str, str]

    @property
    def answer(self) -> str:
        """The level in words."""
        return ANSWERS[self.level]


def headline(report: Findings) -> Headline:
    """What the report comes to."""
    measured = {name: one.everyone for name, one in report.attacks.items()}
    areas = {name: one.auc for name, one in measured.items() if one.auc is not None}
    doubtful = [note.code for note in report.notes if note.code in WRONG_FILE]
    if not areas:
        first = "Is it bad? unclear: no attack could be measured"
        return Headline("unclear", (first, "No member was compared with a non-member", _basis(report)))
    tried = 2 * len(areas)  # an AUC and a TPR of each
    surest = max(areas, key=lambda name: areas[name].low)
    best = report.best or surest
    low = max(widened(area, tried).low for area in areas.values())
    level = "unclear" if doubtful else _level(low, max(_least_lift(measured[name], tried) for name in areas))
    found, pairs = _found(best, measured[best], report.lowest_fpr), _pairs(report, surest, areas[surest])
    if level == "no" and areas[surest].low > 0.5:
        pairs += f"; as the best of {len(areas)} attacks that may be chance"
    if doubtful:
        wrong = f"Is it bad? unclear: the file is probably wrong; read the notes first ({', '.join(doubtful)})"
        return Headline(level, (wrong, f"As it stands, {found}", _basis(report)))
    if not _beats_guessing(measured[best], report.lowest_fpr):
        found, pairs = pairs, found
    return Headline(level, (f"Is it bad? {ANSWERS[level]}: {found}", pairs, _basis(report)))


def widened(estimate: Estimate, tried: int) -> Estimate:
    """The interval of the best of so many: each end for a share of the error, on the logit scale."""
    factor = -float(ndtri(TAIL / tried)) / Z
    if not 0 < estimate.value < 1:  # the lower end of a perfect result is the error's root
        factor = math.log(TAIL / tried) / math.log(TAIL)
        return Estimate(estimate.value, estimate.low**factor, 1 - (1 - estimate.high) ** factor)
    ends = (logit(end) - logit(estimate.value) for end in (estimate.low, estimate.high))
    low, high = (float(expit(logit(estimate.value) + factor * end)) for end in ends)
    return Estimate(estimate.value, low, high)


def _level(area: float, lift: float) -> str:
    if area >= AUC_BADLY or lift >= LIFT_BADLY:
        return "badly"
    if area >= AUC_YES or lift >= LIFT_YES:
        return "yes"
    return "slightly" if area > 0.5 or lift > 1 else "no"


def _least_lift(figures: Figures, tried: int) -> float:
    lifts = [widened(tpr, tried).low / float(fpr) for fpr, tpr in figures.tpr.items() if tpr is not None]
    return max(lifts, default=0.0)


def _beats_guessing(figures: Figures, fpr: str | None) -> bool:
    tpr = None if fpr is None else figures.tpr[fpr]
    return fpr is None or tpr is None or tpr.value > float(fpr)


def _found(name: str, figures: Figures, fpr: str | None) -> str:
    tpr = None if fpr is None else figures.tpr[fpr]
    if fpr is None or tpr is None:
        return f"too few non-members to say how many members an attack finds; the best by AUC is {name}"
    shares = f"{100 * tpr.value:.1f} % of members [{100 * tpr.low:.1f}, {100 * tpr.high:.1f}]"
    return f"{name} finds {shares}, accusing {100 * float(fpr):g} % of non-members"


def _pairs(report: Findings, name: str, area: Estimate) -> str:
    share = f"{100 * area.value:.1f} % of pairs [{100 * area.low:.1f}, {100 * area.high:.1f}]"
    text = f"{name} tells member from non-member in {share}; guessing: 50 %"
    proof = report.divergence.epsilon_at_least
    return text if proof is None or not proof.value else f"{text}; epsilon >= {proof.value:.2f}"


def _basis(report: Findings) -> str:
    """What the answer rests on, and what would find more."""
    number = len(report.attacks)
    text = f"Measured by {number} {'attack' if number == 1 else 'attacks'} on "
    text += sides_text(counts(report.member[report.evaluated]))
    if report.notes:
        text += "; read the notes"
    return text if report.references else f"{text}; --reference would find more"
