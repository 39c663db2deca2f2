"""A limit for pipelines: fail if a figure of a report is beyond it.

    tpr@0.01 > 0.05                  any attack finds more than 5 % of members at 1 % FPR: by the interval's lower end
    value auc of loss >= 0.6         the same by the figure itself, of one attack
    epsilon > 3                      what the attacks prove

Figures: auc, advantage, balanced_accuracy, tpr@FPR, epsilon, js. Of the interval counts its lower end ("low", default),
the figure ("value") or its upper end ("high"). A proof is a lower end already.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mialab import metrics
from mialab.audit.figures import Result
from mialab.audit.findings import Findings
from mialab.catalogue import NAMES
from mialab.metrics import Estimate
from mialab.names import unknown
from mialab.outputs import AuditError

FIGURES = ("auc", "advantage", "balanced_accuracy", "tpr", "epsilon", "js")
PROOFS = ("epsilon", "js")
MOST = {"epsilon": math.inf, "js": math.log(2)}  # of the figures that are no shares
FORM = re.compile(
    r"\s*(?:(?P<end>low|value|high)\s+)?(?P<figure>[a-z_]+)(?:@(?P<fpr>[0-9.eE%-]+))?(?:\s+of\s+(?P<attack>[\w-]+))?"
    r"\s*(?P<sign>>=|>)\s*(?P<limit>[0-9.eE-]+%?)\s*"
)


class Untold(AuditError):
    """The figure that a limit asks for cannot be told: one line that says why."""


@dataclass(frozen=True)
class Gate:
    """A limit: the figure, of which attack (None: any), which end of its interval, and what it may not exceed."""

    text: str
    figure: str
    limit: float
    end: str = "low"
    fpr: float | None = None
    attack: str | None = None
    strict: bool = True

    def broken(self, report: Findings) -> str | None:
        """One line on the first attack beyond the limit; None where none is. Raises Untold."""
        if self.figure in PROOFS:
            return self._proof(report)
        names = list(report.attacks) if self.attack is None else [self.attack]
        if self.attack is not None and self.attack not in report.attacks:
            known = self.attack in NAMES
            reason = report.skipped.get(self.attack, "it was not asked for")
            why = f"{self.attack} was not run: {reason}" if known else unknown("attack", self.attack, report.attacks)
            raise Untold(f"--fail-if {self.text!r}: {why}")
        if not names:
            raise Untold(f"--fail-if {self.text!r}: found no attack that was run")
        found = {name: self._estimate(report.attacks[name], report) for name in names}
        told = {name: one for name, one in found.items() if one is not None}
        if not told:
            few = metrics.too_few(report.member[report.evaluated], self.fpr) if self.fpr else None
            why = few or "there are too few samples"
            raise Untold(f"--fail-if {self.text!r}: cannot be told: {why}")
        worst = max(told, key=lambda name: getattr(told[name], self.end))
        one = told[worst]
        if not self._beyond(getattr(one, self.end)):
            return None
        return f"{self.text}: {worst} has {one.value:.4g} [{one.low:.4g}, {one.high:.4g}]"

    def _beyond(self, value: float) -> bool:
        return value > self.limit if self.strict else value >= self.limit

    def _estimate(self, result: Result, report: Findings) -> Estimate | None:
        if self.figure == "auc":
            return result.everyone.auc
        balanced = result.everyone.balanced_accuracy
        if self.figure == "tpr":
            rows = report.evaluated
            return metrics.tpr_at_fpr(result.scores[rows], report.member[rows], self.fpr or 0.0)
        if balanced is None or self.figure == "balanced_accuracy":
            return balanced
        return Estimate(*(2 * end - 1 for end in balanced))

    def _proof(self, report: Findings) -> str | None:
        leak = report.divergence
        proof = leak.epsilon_at_least if self.figure == "epsilon" else leak.js_at_least
        if proof is None:
            raise Untold(f"--fail-if {self.text!r}: cannot be told: there are too few samples, or known is 0")
        return f"{self.text}: {proof.attack} proves {proof.value:.4g}" if self._beyond(proof.value) else None


def parse(text: str) -> Gate:
    """The limit that a line states; AuditError, one line, where it states none."""
    form = FORM.fullmatch(text)
    if form is None or form["figure"] not in FIGURES:
        figures = ", ".join(name if name != "tpr" else "tpr@0.01" for name in FIGURES)
        raise AuditError(f"found {text!r}; expected such as 'tpr@0.01 > 0.05'; figures are {figures}")
    figure, end = form["figure"], form["end"]
    if (figure == "tpr") != (form["fpr"] is not None):
        raise AuditError(f"found {text!r}; a TPR needs an FPR, and nothing else does: 'tpr@0.01 > 0.05'")
    if figure in PROOFS and (end or form["attack"]):
        raise AuditError(f"found {text!r}; {figure} is what all attacks prove: '{figure} > 1'")
    fpr = None if form["fpr"] is None else _number(form["fpr"], text)
    if fpr is not None and not 0 < fpr < 1:
        raise AuditError(f"found {text!r}; expected an FPR between 0 and 1, such as 0.01")
    limit, strict = _number(form["limit"], text), form["sign"] == ">"
    if (most := MOST.get(figure, 1.0)) < limit or most == limit and strict:
        raise AuditError(f"found {text!r}; {figure} is never beyond {limit:g}: it is {most:.4g} at most")
    return Gate(text, figure, limit, end or "low", fpr, form["attack"], strict)


def _number(word: str, text: str) -> float:
    try:
        return float(word.removesuffix("%")) / (100 if word.endswith("%") else 1)
    except ValueError:
        raise AuditError(f"found {text!r}; {word!r} is no number; expected such as 0.05 or 5%") from None
