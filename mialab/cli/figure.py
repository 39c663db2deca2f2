"""The figure of an audit: how many members attacks find at each false positive rate."""

from __future__ import annotations

from typing import BinaryIO

from matplotlib import rc_context
from matplotlib.figure import Figure

from mialab import plots
from mialab.audit import Report
from mialab.audit.figures import FPRS, counts

MOST_CURVES = 8  # that a reader can tell apart
DATELESS = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same report gives the same bytes


def save(file: BinaryIO, report: Report, kind: str) -> None:
    """Draw the ROC curves of the best attacks on logarithmic axes; kind: png, pdf or svg.

    ValueError where no attack was measured on both sides.
    """
    drawing = _draw(report)
    with rc_context({"svg.hashsalt": "mialab"}):
        drawing.savefig(file, format=kind, dpi=150, metadata=DATELESS[kind])


def _draw(report: Report) -> Figure:
    sides = counts(report.member[report.evaluated])
    if not report.attacks or not all(sides):
        raise ValueError("found no attack that was measured on members and non-members; expected one to draw")
    at = _lowest_fpr(report)
    names = _best(report, at)
    rates = {name: _rate(report, name, at) for name in names}
    shown = {f"{name}: {100 * rates[name]:.3g} %": report.attacks[name].scores[report.evaluated] for name in names}
    figure = Figure(figsize=(8, 5), layout="constrained")
    plots.rocs(ax := figure.add_subplot(), shown, report.member[report.evaluated])
    title = "{:,} members and {:,} non-members".format(*sides)
    measure = f"TPR at {100 * float(at):g} % FPR" if at else "AUC"
    if len(names) < len(report.attacks):
        title += f"\n{len(names)} of {len(report.attacks)} attacks: the best by {measure}, and gap"
    ax.set_title(title, fontsize="medium", loc="left")
    ax.legend(title=measure, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small")
    return figure


def _lowest_fpr(report: Report) -> str | None:
    """The lowest FPR at which there is a TPR, the same for all attacks; None where there are too few non-members."""
    tpr = next(iter(report.attacks.values())).everyone.tpr
    return next((fpr for fpr in reversed(FPRS) if tpr[fpr] is not None), None)


def _best(report: Report, at: str | None) -> list[str]:
    """The attacks to draw, the best first; gap always, to compare with."""
    ranked = sorted(report.attacks, key=lambda name: -_rate(report, name, at))
    last = [name for name in ranked[MOST_CURVES - 1 :] if name == "gap"] or ranked[MOST_CURVES - 1 :]
    return ranked[: MOST_CURVES - 1] + last[:1]


def _rate(report: Report, name: str, at: str | None) -> float:
    figures = report.attacks[name].everyone
    return figures.tpr[at].value if at else figures.auc.value
