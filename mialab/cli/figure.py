"""The figure of an audit: how many members attacks find at each false positive rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mialab.audit import Report
from mialab.audit.figures import counts, sides_text
from mialab.chapters import plots

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
    rows = report.evaluated
    sides = counts(report.member[rows])
    if not report.attacks or not all(sides):
        raise ValueError("found no attack that was measured on members and non-members; expected one to draw")
    at = report.lowest_fpr
    rates = {name: _rate(report, name, at) for name in report.attacks}
    names, measure = _best(report, rates), f"TPR at {100 * float(at):g} % FPR" if at else "AUC"
    labels = {name: f"{name}: " + (f"{100 * rates[name]:.2f} %" if at else f"{rates[name]:.3f}") for name in names}
    figure = Figure(figsize=(8, 5), layout="constrained")
    ax = figure.add_subplot()
    plots.rocs(ax, {label: report.attacks[name].scores[rows] for name, label in labels.items()}, report.member[rows])
    _tell_apart(ax.lines)
    title = sides_text(sides, " and ")
    if len(names) < len(rates):
        title += f"\n{len(names)} of {len(rates)} attacks: the best by {measure}" + ", and gap" * ("gap" in names)
    ax.set_title(title, fontsize="medium", loc="left")
    ax.legend(title=measure, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small")
    return figure


def _tell_apart(lines: Iterable[Line2D]) -> None:
    """Give curves that look like one before them, as variants of an attack do, another line, or a look to spare."""
    taken: set[tuple[object, object]] = set()
    for line in lines:
        ink = line.get_color()
        looks = [(ink, line.get_linestyle()), *((ink, dash) for dash in ("-", "--", "-.", ":")), *plots.LINES]
        look = next((look for look in looks if look not in taken), looks[0])
        line.set(color=look[0], linestyle=look[1])
        taken.add(look)


def _rate(report, name, at):
    figures = report.attacks[name].everyone
    return figures.tpr[at].value if at else figures.auc.value


def _best(report: Report, rates: dict[str, float]) -> list[str]:
    """The attacks to draw, the best first: gap always, to compare with, and different curves before equal ones."""
    ranked = sorted(rates, key=lambda name: -rates[name])
    curves: dict[tuple, str] = {}
    for name in ranked:
        figures = report.attacks[name].everyone
        curves.setdefault((figures.auc, *figures.tpr.values()), name)
    distinct = list(curves.values())
    queue = distinct + [name for name in ranked if name not in distinct]
    rest = queue[MOST_CURVES - 1 :]
    chosen = queue[: MOST_CURVES - 1] + (["gap"] if "gap" in rest else rest[:1])
    return sorted(chosen, key=ranked.index)
