"""Figures: each takes data and an Axes, draws, and returns the Axes. Captions and alt texts stand in the chapters."""

import numpy as np

from mialab import metrics

MEMBER, NONMEMBER, GUIDE = "#0072b2", "#d55e00", "#666666"  # blue and vermilion: told apart by colour-blind readers


def histograms(ax, scores, member, *, threshold: float | None = None, bins: int = 40, label: str = "attack score"):
    """Densities of the scores [samples] of members and non-members, with the threshold that would separate them."""
    scores, member = np.asarray(scores, dtype=float), np.asarray(member, dtype=bool)
    edges = np.linspace(scores.min(), scores.max() + 1e-9, bins + 1)
    for side, color, name in ((member, MEMBER, "members"), (~member, NONMEMBER, "non-members")):
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


def curves(ax, rows: list[dict], x: str, lines: dict[str, str], *, ylabel: str):
    """One line per entry of `lines` (column: label) over column `x`; columns `NAME_low`, `NAME_high` give a band."""
    colors = (MEMBER, NONMEMBER, "#009e73", "#cc79a7", "#56b4e9", "#000000")
    places = [row[x] for row in rows]
    for (name, label), color in zip(lines.items(), colors, strict=False):
        ax.plot(places, [row[name] for row in rows], "o-", color=color, markersize=4, label=label)
        if f"{name}_low" in rows[0]:
            low, high = ([row[f"{name}_{end}"] for row in rows] for end in ("low", "high"))
            ax.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    ax.set(xlabel=x, ylabel=ylabel)
    ax.legend(frameon=False)
    return ax
