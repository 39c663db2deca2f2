"""The page's figures, as SVG: they follow the page's colours, light or dark, and need nothing from elsewhere.

Each has a title and a description for those who do not see it, and stands beside a table of what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mialab import metrics
from mialab.audit.page.markup import Markup, joined, tag
from mialab.metrics import Estimate

WIDTH, HEIGHT = 380, 300  # of a figure's own units: a phone shows them one to one
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 12, 42  # margins
STEPS = 320  # places at which a curve is read, on the logarithmic axis
BINS = (12, 36)  # fewest, and most
TRIMMED = 0.005  # share of the scores that a histogram leaves out at either end
INK = {  # members, non-members and families of attacks: on white, on black
    "members": ("#0072b2", "#56b4ff"),
    "non-members": ("#d55e00", "#ff8f3f"),
    "gap": ("#000000", "#f2f2f2"),
    "confidence": ("#009e73", "#2fd3a5"),
    "loss": ("#009e73", "#2fd3a5"),
    "entropy": ("#009e73", "#2fd3a5"),
    "modified-entropy": ("#009e73", "#2fd3a5"),
    "privacy-risk": ("#009e73", "#2fd3a5"),
    "neural": ("#cc79a7", "#e79ac6"),
    "shadow": ("#56b4e9", "#7fcbff"),
    "lira": ("#332288", "#a79bff"),
    "rmia": ("#882255", "#ff7fb0"),
    "other": ("#666666", "#a8a8a8"),
}
DASHES = (None, "7 3", "2 2.5", "8 2.5 2 2.5", "1 4", "12 4")


def ink(name: str) -> str:
    """The class of an attack's colour: that of its family, or of none."""
    fits = [family for family in INK if f"{name}-".startswith(f"{family}-")]
    return f"ink-{max(fits, key=len, default='other')}"


def looks(names: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Class and dash of each curve: those of one colour differ by their dash."""
    taken: dict[str, int] = {}
    found: dict[str, tuple[str, str | None]] = {}
    for name in names:
        one = ink(name)
        colour = INK[one.removeprefix("ink-")][0]
        found[name] = one, DASHES[taken.get(colour, 0) % len(DASHES)]
        taken[colour] = taken.get(colour, 0) + 1
    return found


def roc(scores: dict[str, np.ndarray], member: np.ndarray, *, ident: str, title: str, told: str) -> Markup:
    """ROC curves on logarithmic axes from one false positive on; below ten, shaded, a curve is mostly chance."""
    one = 1 / max(2, int((~member).sum()))
    grid = np.geomspace(one, 1, STEPS)
    few = min(1.0, metrics.FALSE_POSITIVES * one)
    x, y = _logarithmic(one, LEFT, WIDTH - RIGHT), _logarithmic(one, HEIGHT - BOTTOM, TOP)
    lines = []
    for name, (look, dash) in looks(list(scores)).items():
        curve = metrics.roc(scores[name], member)
        tpr = curve.tpr[np.searchsorted(curve.fpr, grid + 1e-12, side="right") - 1]
        lines.append(_steps(x(grid), y(np.maximum(tpr, one)), look, dash))
    shade = tag("rect", x=LEFT, y=TOP, width=_short(x(few) - LEFT), height=HEIGHT - BOTTOM - TOP, class_="shade")
    guess = tag("line", x1=LEFT, y1=HEIGHT - BOTTOM, x2=WIDTH - RIGHT, y2=TOP, class_="guess")
    decades = [10.0**power for power in range(math.ceil(math.log10(one) - 1e-9), 1)]
    axes = _axes([(float(x(d)), share(d)) for d in decades], [(float(y(d)), share(d)) for d in decades])
    beside = _upright("members found (TPR)", (TOP + HEIGHT - BOTTOM) / 2, "axis-title")
    names = joined([_beneath("non-members accused (FPR)"), beside])
    return _svg(shade, axes, guess, *lines, names, ident=ident, title=title, told=told)


def key(names: Sequence[str], figures: dict[str, str]) -> Markup:
    """The legend of curves: dash, name and figure of each."""
    items = []
    for name, (look, dash) in looks(names).items():
        line = tag("line", x1=1, y1=6, x2=33, y2=6, stroke_dasharray=dash)
        swatch = tag("svg", line, class_=f"swatch {look}", width=34, height=12, aria_hidden="true")
        items.append(tag("li", swatch, " ", name, " ", tag("span", figures.get(name, ""), class_="soft")))
    dotted = tag("svg", tag("line", x1=1, y1=6, x2=33, y2=6, class_="guess"), width=34, height=12, aria_hidden="true")
    items.append(tag("li", dotted, " guessing"))
    return tag("ul", *items, class_="key")


def histograms(
    values: np.ndarray, member: np.ndarray, *, label: str, ident: str, title: str, told: str, mark: float | None = None
) -> Markup:
    """Members' values above the line, non-members' below it, each side as shares of its own; mark: a threshold."""
    edges = _edges(values)
    kept = np.clip(values, edges[0], edges[-1])
    sides = [np.histogram(kept[side], edges)[0] / max(1, side.sum()) for side in (member, ~member)]
    most = max(float(side.max()) for side in sides)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    half = middle - TOP - 4
    x = _linear(edges[0], edges[-1], LEFT, WIDTH - RIGHT)
    bars = []
    for side, sign, look in zip(sides, (-1, 1), ("ink-members", "ink-non-members"), strict=True):
        path = _outline(x(edges), middle + sign * half * side / most, middle)
        bars.append(tag("path", d=path, class_=f"area {look}"))
    ticks = [(float(x(tick)), f"{tick:g}") for tick in _round_ticks(edges[0], edges[-1])]
    shares = [tick for tick in _round_ticks(0, most, fewest=2) if tick > 0]
    heights = [(middle + sign * half * tick / most, share(tick)) for sign in (-1, 1) for tick in shares]
    words = [_upright("members", middle - half / 2, "ink-members label")]
    words.append(_upright("non-members", middle + half / 2, "ink-non-members label"))
    if mark is not None and edges[0] < mark < edges[-1]:
        at = _short(x(mark))
        words.append(tag("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
    line = tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=_short(middle), y2=_short(middle), class_="axis")
    names = _beneath(label)
    return _svg(_axes(ticks, heights), *bars, line, *words, names, ident=ident, title=title, told=told)


def dot(estimate: Estimate, span: tuple[float, float], guess: float, look: str) -> Markup:
    """A dot with its interval on a scale from span[0] to span[1]; it fills the cell of a table, whatever its width."""
    at = _linear(*span, 2, 98)
    value, low, high, middle = (f"{float(at(np.clip(one, *span))):.2f}%" for one in (*estimate[:3], guess))
    return tag(
        "svg",
        tag("line", x1=middle, x2=middle, y1=0, y2=22, class_="guess"),
        tag("line", x1=low, x2=high, y1=11, y2=11, class_="whisker"),
        tag("circle", cx=value, cy=11, r=4.5),
        class_=f"dot {look}",
        height=22,
        aria_hidden="true",
    )


def scale(span: tuple[float, float], ticks: Sequence[float]) -> Markup:
    """The scale above such dots."""
    at = _linear(*span, 2, 98)
    words = []
    for i, tick in enumerate(ticks):
        anchor = "start" if i == 0 else "end" if i == len(ticks) - 1 else "middle"
        words.append(tag("text", f"{tick:g}", x=f"{float(at(tick)):.2f}%", y=11, text_anchor=anchor))
    return tag("svg", *words, class_="dot scale", height=14, aria_hidden="true")


def share(value: float) -> str:
    """A share in per cent, to the digits that it needs."""
    return f"{100 * value:.3g}\u00a0%"


def _svg(*inside: Markup, ident: str, title: str, told: str) -> Markup:
    named = (tag("title", title, id=f"{ident}-title"), tag("desc", told, id=f"{ident}-told"))
    return tag(
        "svg",
        *named,
        *inside,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{ident}-title {ident}-told",
        class_="figure",
    )


def _axes(across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]]) -> Markup:
    """Ticks with their words, and a fine line at each."""
    parts = []
    for at, word in across:
        parts.append(tag("line", x1=_short(at), x2=_short(at), y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"))
        parts.append(tag("text", word, x=_short(at), y=HEIGHT - BOTTOM + 14, text_anchor="middle"))
    for at, word in up:
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=_short(at), y2=_short(at), class_="grid"))
        parts.append(tag("text", word, x=LEFT - 5, y=_short(at + 4), text_anchor="end"))
    frame = (LEFT, TOP, WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP)
    x, y, width, height = frame
    parts.append(tag("rect", x=x, y=y, width=width, height=height, class_="frame"))
    return joined(parts)


def _beneath(words: str) -> Markup:
    """What the axis below means."""
    return tag("text", words, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle", class_="axis-title")


def _upright(words: str, middle: float, class_: str) -> Markup:
    """Words along the axis on the left."""
    at = _short(middle)
    return tag("text", words, x=12, y=at, text_anchor="middle", transform=f"rotate(-90 12 {at})", class_=class_)


def _steps(x: np.ndarray, y: np.ndarray, look: str, dash: str | None) -> Markup:
    """A curve that keeps its height until the next step."""
    parts = [f"M{_short(x[0])} {_short(y[0])}"]
    for i in np.flatnonzero(np.diff(y)) + 1:
        parts.append(f"H{_short(x[i])}V{_short(y[i])}")
    return tag("path", d="".join([*parts, f"H{_short(x[-1])}"]), class_=f"curve {look}", stroke_dasharray=dash)


def _outline(x: np.ndarray, y: np.ndarray, base: float) -> str:
    parts = [f"M{_short(x[0])} {_short(base)}"]
    for left, right, height in zip(x[:-1], x[1:], y, strict=True):
        parts.append(f"L{_short(left)} {_short(height)}L{_short(right)} {_short(height)}")
    return "".join([*parts, f"L{_short(x[-1])} {_short(base)}Z"])


def _edges(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.linspace(-1, 1, BINS[0] + 1)
    low, high = np.quantile(finite, [TRIMMED, 1 - TRIMMED])
    if low == high:
        low, high = finite.min(), finite.max()
    if low == high:
        low, high = low - 1, high + 1
    return np.linspace(low, high, int(np.clip(math.sqrt(len(values)), *BINS)) + 1)


def _round_ticks(low: float, high: float, fewest: int = 3) -> list[float]:
    """Round numbers between two, a few more than the fewest."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= max(factor for factor in (1, 2, 2.5, 5, 10) if factor * step <= (high - low) / fewest)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _linear(low: float, high: float, start: float, end: float):
    return lambda value: start + (np.asarray(value, float) - low) / (high - low) * (end - start)


def _logarithmic(least: float, start: float, end: float):
    """From start at `least` to end at 1."""
    return lambda value: end + (start - end) * np.log(np.asarray(value, float)) / math.log(least)


def _short(number: float) -> str:
    return f"{float(number):.1f}".removesuffix(".0")
