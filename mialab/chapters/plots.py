"""Figures: each takes data and an Axes, draws, and returns the Axes. Captions and alt texts stand in the chapters.

Colours of the whole book stand here and nowhere else: one for members, one for non-members, and one for each family of
attacks, whose variants differ by marker and line. Colour-blind readers can tell them apart, and grey print can by the
markers and lines.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from mialab import divergence, metrics
from mialab.names import unknown

MEMBER, NONMEMBER, GUIDE, PLAIN = "#0072b2", "#d55e00", "#666666", "#000000"
IN, OUT = MEMBER, NONMEMBER  # shadow models trained with a record, and without it
COLORS = (MEMBER, NONMEMBER, "#009e73", "#cc79a7", "#56b4e9", "#000000")
LINES = tuple(zip((*COLORS, MEMBER, NONMEMBER), (*["-"] * len(COLORS), "--", "--"), strict=True))
ATTACKS = {  # how the names of a family's attacks begin: colour, marker and line
    "gap": ("#000000", "s", "-"),
    "confidence": ("#009e73", "o", "-"),
    "loss": ("#009e73", "8", "--"),
    "entropy": ("#009e73", "*", ":"),
    "modified-entropy": ("#009e73", "H", "-."),
    "privacy-risk": ("#009e73", "d", (0, (1, 3))),
    "neural": ("#cc79a7", "^", "-"),
    "agreement": ("#e69f00", "D", "-"),
    "white-box": ("#e69f00", "D", "-"),
    "nasr": ("#8c510a", "X", "-"),
    "shadow": ("#56b4e9", "v", "-"),
    "samia": ("#aa4499", "<", "-"),
    "lira": ("#332288", "P", "-"),
    "rmia": ("#882255", "p", "-"),
    "exposure": ("#999933", "h", "-"),
    "label": ("#44aa99", "<", "-"),
    "gradient": ("#6b6b00", ">", "-"),
}
SIDES = {
    "members": (MEMBER, "o", "-"),
    "non-members": (NONMEMBER, "d", "-"),
    "IN": (IN, "o", "-"),
    "OUT": (OUT, "d", "-"),
    "guessing": (GUIDE, "None", ":"),
}
VARIANTS = {  # what follows the family's name, the first that fits: the line
    "offline-fixed": "-.",
    "offline": "--",
    "per-class": "--",
    "released": "--",
    "code": "--",
    "rahman": "--",
    "noise": "--",
    "input": "--",
    "fixed": ":",
    "thresholds": ":",
    "boundary": ":",
    "paper-x": ":",
    "ensemble": "--",
}


def color(name: str) -> str:
    """The colour of "members", "non-members", "IN", "OUT", "guessing" or an attack. Raises ValueError."""
    return str(look(name)["color"])


def look(name: str) -> dict[str, object]:
    """Colour, marker and line style of such a name, as keywords of `Axes.plot`.

    Variants of an attack (`lira-online`, `lira-offline`) share colour and marker; their lines differ. Raises ValueError
    for a name that the book does not have.
    """
    known = SIDES | ATTACKS
    start = max((each for each in known if f"{name}-".startswith(f"{each}-")), key=len, default=name)
    if start not in known:
        raise ValueError(unknown("thing with a colour", name, known))
    added = name.removeprefix(start)
    ink, marker, line = known[start]
    line = next((other for word, other in VARIANTS.items() if word in added), line)
    return {"color": ink, "marker": marker, "linestyle": line}


def panels(number: int, *, height: float = 2.4, figure=None, **options):
    """A figure of stacked panels, as a phone can show them, and their list of Axes.

    height: of a panel, in inches. figure: an empty one to divide, as `explore` hands out; None: a new one of pyplot.
    options: as for `Figure.subplots`, such as sharex.
    """
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure()
    figure.set_size_inches(figure.get_figwidth(), height * number)
    return figure, list(np.atleast_1d(figure.subplots(number, 1, **options)))


def dots(
    ax,
    rows: Sequence[dict],
    *,
    value: str,
    by: str = "attack",
    group: str | None = None,
    guessing: float | None = None,
    label: str | None = None,
):
    """A line for each row with a dot at column `value` and its interval, under the names of the column `group`.

    rows: dicts; row[value] is a number, its interval in columns `VALUE_low` and `VALUE_high`, or an Estimate. Rows
    without a value (None) keep their line. Lines are named by column `by`. They look like the attack of this name, or
    else like the attack that their group is named after. Groups stand in the order of first appearance. The Axes
    should be `dots_height` high. A dotted line is at `guessing`.
    """
    ticks, names, at = [], [], 0.0
    for title, members in _grouped(rows, group).items():
        if group is not None:
            ax.text(0.015, at, str(title), transform=ax.get_yaxis_transform(), weight="bold", va="center", ha="left")
            at += 1
        for row in members:
            _dot(ax, row, value, by, at, title)
            ticks.append(at)
            names.append(str(row[by]))
            at += 1
        at += 0.4
    if guessing is not None:
        ax.axvline(guessing, color=GUIDE, linewidth=1, linestyle=":", zorder=0)
    ax.set(yticks=ticks, yticklabels=names, ylim=(at - 0.4, -1), xlabel=label or value)
    ax.grid(visible=False, axis="y")
    return ax


def dots_height(rows: Sequence[dict], *, group: str | None = None) -> float:
    """How high a figure of `dots` should be, in inches."""
    groups = len(_grouped(rows, group))
    return 0.7 + 0.21 * (len(rows) + (1.4 * groups if group is not None else 0))


def _grouped(rows: Sequence[dict], group: str | None) -> dict[object, list[dict]]:
    groups: dict[object, list[dict]] = {}
    for row in rows:
        groups.setdefault(None if group is None else row[group], []).append(row)
    return groups


def _dot(ax, row: dict, value: str, by: str, at: float, title: object) -> None:
    found = row[value]
    if found is None:
        return
    low, high = row.get(f"{value}_low"), row.get(f"{value}_high")
    if isinstance(found, tuple):
        found, low, high = found
    style = _look(row[by], otherwise=_look(title, otherwise={"color": PLAIN, "marker": "o", "linestyle": "-"}))
    if low is not None and high is not None:
        ax.plot([low, high], [at, at], color=style["color"], linestyle=style["linestyle"], linewidth=1.6)
    face = style["color"] if style["linestyle"] == "-" else "white"
    ax.plot([found], [at], marker=style["marker"], color=style["color"], markerfacecolor=face, markersize=6)


def _look(name: object, *, otherwise: dict[str, object]) -> dict[str, object]:
    """The look of what the book has a colour for; of the rest, `otherwise`."""
    try:
        return look(str(name))
    except ValueError:
        return otherwise


def histograms(
    ax,
    scores,
    member,
    *,
    threshold: float | None = None,
    bins: int = 40,
    label: str = "attack score",
    names: tuple[str, str] = ("members", "non-members"),
):
    """Densities of the scores [samples] of members and non-members, with the threshold that would separate them.

    names: of the two sides, such as ("IN", "OUT").
    """
    scores, member = np.asarray(scores, dtype=float), np.asarray(member, dtype=bool)
    edges = _edges(scores, bins)
    for side, color, name in zip((member, ~member), (MEMBER, NONMEMBER), names, strict=True):
        ax.hist(scores[side], edges, density=True, color=color, alpha=0.45, label=name)
    if threshold is not None:
        ax.axvline(threshold, color=GUIDE, linewidth=2)
    ax.set(xlabel=label, ylabel="density")
    ax.legend(frameon=False)
    return ax


def roc(ax, scores, member, *, mark: float | None = None, label: str | None = None, color: str = MEMBER, log=False):
    """The ROC curve of scores [samples]; `mark` puts a dot where the threshold is `mark`.

    On logarithmic axes it starts where the non-members give ten false positives: further left it is mere chance.
    """
    member, curve = np.asarray(member, dtype=bool), metrics.roc(scores, member)
    start = min(1, metrics.FALSE_POSITIVES / (~member).sum()) if log else 0
    first = np.searchsorted(curve.fpr, start, side="right") - 1
    ax.plot([start, 1], [start, 1], color=GUIDE, linewidth=1, linestyle=":")
    fpr = np.append(start, curve.fpr[first + 1 :])
    ax.step(fpr, curve.tpr[first:], where="post", color=color, label=label)
    if mark is not None:
        called = np.asarray(scores) >= mark
        ax.plot([called[~member].mean()], [called[member].mean()], "o", color=GUIDE, markersize=9, clip_on=False)
    ax.set(xlabel="false positive rate", ylabel="true positive rate")
    if log:
        left = min(start, ax.get_xlim()[0]) if ax.get_xscale() == "log" else start
        ax.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(left, 1))
    if label:
        ax.legend(frameon=False, loc="lower right")
    return ax


def rocs(ax, scores: dict[str, np.ndarray], member):
    """ROC curves of several attacks (label: scores [samples]) on logarithmic axes, each in its own look.

    Labels that are no attack's name take the looks of `LINES`, of which eight can be told apart.

    They begin at one false positive. Below ten, shaded, a curve is mostly chance.
    """
    member = np.asarray(member, dtype=bool)
    one = 1 / max(2, (~member).sum())
    few = metrics.FALSE_POSITIVES
    for (label, values), place in zip(scores.items(), itertools.cycle(LINES)):
        ink, dash = place
        style = _look(label, otherwise={"color": ink, "linestyle": dash})
        curve = metrics.roc(values, member)
        first = np.searchsorted(curve.fpr, one, side="right") - 1
        fpr = np.append(one, curve.fpr[first + 1 :])
        ax.step(fpr, curve.tpr[first:], where="post", color=style["color"], linestyle=style["linestyle"], label=label)
    ax.plot([one, 1], [one, 1], color=GUIDE, linewidth=1, linestyle=":", label="guessing")
    ax.axvspan(one, min(1, few * one), color=GUIDE, alpha=0.12, linewidth=0, label=f"below {few} false positives")
    ax.set(xscale="log", yscale="log", xlim=(one, 1), ylim=(one, 1))
    ax.set(xlabel="non-members accused (FPR)", ylabel="members found (TPR)")
    return ax


def curves(ax, rows: list[dict], x: str, lines: dict[str, str], *, ylabel: str):
    """One line per entry of `lines` (column: label) over column `x`; columns `NAME_low`, `NAME_high` give a band."""
    places = [row[x] for row in rows]
    for (name, label), place in zip(lines.items(), COLORS, strict=False):
        style = _look(label, otherwise={"color": place, "marker": "o", "linestyle": "-"})
        color = style["color"]
        ax.plot(places, [row[name] for row in rows], **style, markersize=4, label=label)
        if f"{name}_low" in rows[0]:
            low, high = ([row[f"{name}_{end}"] for row in rows] for end in ("low", "high"))
            ax.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    ax.set(xlabel=x, ylabel=ylabel)
    ax.legend(frameon=False)
    return ax


def densities(ax, places, p, q, *, label: str = "attack score", names: tuple[str, str] = ("members", "non-members")):
    """The known densities [places] of members, p, and non-members, q; what they share, no attack can tell apart.

    names: of the two sides, such as ("IN", "OUT").
    """
    for density, color, name in zip((p, q), (MEMBER, NONMEMBER), names, strict=True):
        ax.fill_between(places, density, color=color, alpha=0.45, linewidth=0, label=name)
    ax.set(xlabel=label, ylabel="density", ylim=(0, None))
    ax.legend(frameon=False, loc="upper left")
    return ax


def answers(ax, places, probability, *, label: str = "attack score"):
    """What an attack answers to each score [places]: the probability of 'member'; a coin's one half is dotted."""
    ax.plot(places, probability, color=GUIDE)
    return _probabilities(ax, label)


def shares(ax, scores, member, *, bins: int = 20, label: str = "attack score"):
    """The members' share in each bin if both sides were equally many: an estimate of the best attack's answers.

    Bins are those of `histograms`; where one is empty, there is a gap.
    """
    scores, member = np.asarray(scores, dtype=float), np.asarray(member, dtype=bool)
    edges = _edges(scores, bins)
    members, others = (np.histogram(scores[side], edges)[0] / side.sum() for side in (member, ~member))
    both = members + others
    ax.stairs(np.divide(members, both, out=np.full(bins, np.nan), where=both > 0), edges, color=GUIDE, baseline=None)
    return _probabilities(ax, label)


def _probabilities(ax, label: str):
    ax.axhline(0.5, color=GUIDE, linewidth=1, linestyle=":")
    ax.set(xlabel=label, ylabel="P(member)", ylim=(-0.05, 1.05), yticks=(0, 0.5, 1))
    return ax


def _edges(scores: np.ndarray, bins: int) -> np.ndarray:
    return np.linspace(scores.min(), scores.max() + 1e-9, bins + 1)


def allowed(ax, *, js: float | None = None, accuracy: float | None = None):
    """The best accuracies that each divergence allows, shaded, and Pinsker's bound, dotted.

    A dot stands at (js, accuracy), in a cross: upright, solid, the accuracies that this js allows; across,
    dashed, the divergences that this accuracy does.
    """
    nats = np.linspace(0, np.log(2), 200)
    ax.fill_between(nats, *divergence.accuracy_bounds(nats), color=GUIDE, alpha=0.2, linewidth=0, label="possible")
    ax.plot(nats, divergence.pinsker_accuracy(nats), color=GUIDE, linewidth=1, linestyle=":", label="Pinsker")
    if js is not None and accuracy is not None:
        ax.plot([js, js], divergence.accuracy_bounds(js), color=PLAIN)
        ax.plot(divergence.js_bounds(2 * accuracy - 1), [accuracy, accuracy], color=PLAIN, linestyle="--")
        ax.plot([js], [accuracy], "o", color=PLAIN, clip_on=False)
    ax.set(xlabel="JS in nats", ylabel="best accuracy", xlim=(0, nats[-1]), ylim=(0.5, 1.01))
    ax.legend(frameon=False, loc="lower right")
    return ax
