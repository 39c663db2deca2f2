"""What an attack's success means for the people in the data, at a stated share of members.

advantage   TPR - FPR at the attack's threshold (Yeom et al. 2018): 0 for guessing, 1 for a perfect attack.
lift        TPR / FPR at a low FPR: how many times likelier a member is accused than a non-member.
precision   the share of the accused who are members, if a share `prior` of all people in question are:
            prior TPR / (prior TPR + (1 - prior) FPR) (Jayaraman et al. 2021).
found       members found at that FPR, of all evaluated ones.
Explained in the chapter "The audit".
"""

from __future__ import annotations

from dataclasses import dataclass

from mialab.audit.figures import FPRS, Figures
from mialab.metrics import Estimate

EVEN = 0.5  # the share of members that is assumed where nobody states one


@dataclass(frozen=True)
class Risk:
    """One attack's risk figures; by FPR where a dict. None where there are too few samples."""

    advantage: Estimate | None
    lift: dict[str, Estimate | None]
    precision: dict[str, Estimate | None]
    found: dict[str, tuple[int, int] | None]

    def to_dict(self) -> dict:
        """The JSON of one attack's risk."""
        return {
            **_json("advantage", self.advantage),
            **_json_by_fpr("lift", self.lift),
            **_json_by_fpr("precision", self.precision),
            "found": {fpr: None if one is None else list(one) for fpr, one in self.found.items()},
        }


def of(figures: Figures, prior: float) -> Risk:
    """The risk figures of an attack, from its figures on all evaluated samples."""
    balanced = figures.balanced_accuracy
    advantage = None if balanced is None else Estimate(*(2 * end - 1 for end in balanced))
    rates = {fpr: figures.tpr[fpr] for fpr in FPRS}
    return Risk(
        advantage,
        {fpr: None if tpr is None else Estimate(*(end / float(fpr) for end in tpr)) for fpr, tpr in rates.items()},
        {
            fpr: None if tpr is None else Estimate(*(precision(end, float(fpr), prior) for end in tpr))
            for fpr, tpr in rates.items()
        },
        {
            fpr: None if tpr is None else (round(tpr.value * figures.members), figures.members)
            for fpr, tpr in rates.items()
        },
    )


def precision(tpr: float, fpr: float, prior: float) -> float:
    """The share of the accused who are members, in [0, 1]."""
    return prior * tpr / (prior * tpr + (1 - prior) * fpr)


def _json(name: str, estimate: Estimate | None) -> dict:
    interval = None if estimate is None else [estimate.low, estimate.high]
    return {name: None if estimate is None else estimate.value, f"{name}_interval": interval}


def _json_by_fpr(name: str, estimates: dict[str, Estimate | None]) -> dict:
    each = {fpr: _json(name, one) for fpr, one in estimates.items()}
    return {key: {fpr: one[key] for fpr, one in each.items()} for key in (name, f"{name}_interval")}
