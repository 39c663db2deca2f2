"""Figures: each takes data and an Axes, draws, and returns the Axes. Captions and alt texts stand in the chapters."""

import itertools

import numpy as np

from mialab import divergence, metrics

MEMBER, NONMEMBER, GUIDE = "#0072b2", "#d55e00", "#666666"  # blue and vermilion: told apart by colour-blind readers
COLORS = (MEMBER, NONMEMBER, "#009e73", "#cc79a7", "#56b4e9", "#000000")
LINES = tuple(zip((*COLORS, MEMBER, NONMEMBER), (*["-"] * len(COLORS), "--", "--"), strict=True))


def histograms(ax, scores, member, *, threshold: float | None = None, bins: int = 40, label: str = "attack score"):
    """Densities of the scores [samples] of members and non-members, with the threshold that would separate them."""
    scores, member = np.asarray(scores, dtype=float), np.asarray(member, dtype=bool)
    edges = _edges(scores, bins)
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


def rocs(ax, scores: dict[str, np.ndarray], member):
    """ROC curves of several attacks (label: scores [samples]) on logarithmic axes; eight can be told apart.

    They begin at one false positive. Below ten, shaded, a curve is mostly chance.
    """
    member = np.asarray(member, dtype=bool)
    one = 1 / max(2, (~member).sum())
    few = metrics.FALSE_POSITIVES
    for (label, values), (color, style) in zip(scores.items(), itertools.cycle(LINES)):
        curve = metrics.roc(values, member)
        first = np.searchsorted(curve.fpr, one, side="right") - 1
        fpr = np.append(one, curve.fpr[first + 1 :])
        ax.step(fpr, curve.tpr[first:], where="post", color=color, linestyle=style, label=label)
    ax.plot([one, 1], [one, 1], color=GUIDE, linewidth=1, linestyle=":", label="guessing")
    ax.axvspan(one, min(1, few * one), color=GUIDE, alpha=0.12, linewidth=0, label=f"below {few} false positives")
    ax.set(xscale="log", yscale="log", xlim=(one, 1), ylim=(one, 1))
    ax.set(xlabel="false positive rate (non-members accused)", ylabel="true positive rate (members found)")
    return ax


def curves(ax, rows: list[dict], x: str, lines: dict[str, str], *, ylabel: str):
    """One line per entry of `lines` (column: label) over column `x`; columns `NAME_low`, `NAME_high` give a band."""
    places = [row[x] for row in rows]
    for (name, label), color in zip(lines.items(), COLORS, strict=False):
        ax.plot(places, [row[name] for row in rows], "o-", color=color, markersize=4, label=label)
        if f"{name}_low" in rows[0]:
            low, high = ([row[f"{name}_{end}"] for row in rows] for end in ("low", "high"))
            ax.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    ax.set(xlabel=x, ylabel=ylabel)
    ax.legend(frameon=False)
    return ax


def densities(ax, places, p, q, *, label: str = "attack score"):
    """The known densities [places] of members, p, and non-members, q; what they share, no attack can tell apart."""
    for density, color, name in ((p, MEMBER, "members"), (q, NONMEMBER, "non-members")):
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
    """The best accuracies that each divergence allows, shaded, and Pinsker's bound, dashed.

    A dot stands at (js, accuracy), in a cross: downright the accuracies that this js allows, across the divergences
    that this accuracy does.
    """
    nats = np.linspace(0, np.log(2), 200)
    ax.fill_between(nats, *divergence.accuracy_bounds(nats), color=GUIDE, alpha=0.2, linewidth=0, label="possible")
    ax.plot(nats, divergence.pinsker_accuracy(nats), color=GUIDE, linewidth=1, linestyle="--", label="Pinsker")
    if js is not None:
        ax.plot([js, js], divergence.accuracy_bounds(js), color=MEMBER)
        ax.plot(divergence.js_bounds(2 * accuracy - 1), [accuracy, accuracy], color=NONMEMBER)
        ax.plot([js], [accuracy], "o", color="black", clip_on=False)
    ax.set(xlabel="JS in nats", ylabel="best accuracy", xlim=(0, nats[-1]), ylim=(0.5, 1.01))
    ax.legend(frameon=False, loc="lower right")
    return ax
