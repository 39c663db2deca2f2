"""The page's sections: each a title and what stands under it, or None where there is nothing to say."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping

import numpy as np

from mialab import metrics
from mialab.audit.figures import FPRS, Result, counts, sides_text
from mialab.audit.findings import Findings
from mialab.audit.headline import Headline
from mialab.audit.leakage import Proof, tv
from mialab.audit.page import drawings, words
from mialab.audit.page.markup import Markup, described, joined, listed, table, tag
from mialab.audit.settings import GIVEN
from mialab.divergence import Divergence
from mialab.metrics import Estimate

MOST_CURVES = 6  # that a reader can tell apart
MOST_EXPOSED = 20
QUANTILES = (5, 25, 50, 75, 95)

Section = tuple[str, Markup]


def answer(report: Findings, opening: Headline) -> Section:
    """The verdict, what it means in numbers of people, and what to do."""
    verdict = tag("p", words.LEVEL[opening.level], class_="verdict")
    plain = [tag("p", sentence) for sentence in words.plainly(report)]
    parts = [tag("div", verdict, *plain, class_=f"answer {opening.level}")]
    if todo := words.advice(report, opening):
        parts += [tag("h3", "What to do next"), listed(map(_coded, todo))]
    return "Is it bad?", joined(parts)


def notes(report: Findings) -> Section | None:
    """What looks like a mistake in the file."""
    if not report.notes:
        return None
    items = []
    for note in report.notes:
        named = note.code in ("no-opinion", "saturated")  # it begins with attacks' names
        sentence = str(note) if named else _begun(str(note))
        items.append(tag("li", tag("strong", note.code), tag("br"), f"{sentence}."))
    return "Notes: look at these first", tag("ul", *items, class_="notes")


def _coded(sentence: str) -> Markup:
    """With the command's options as code, which no line break cuts."""
    parts = re.split(r"(--[a-z][a-z-]*)", sentence)
    return joined(tag("code", one) if one.startswith("--") else one for one in parts)


def _begun(sentence: str) -> str:
    """With a capital letter."""
    return f"{sentence[:1].upper()}{sentence[1:]}"


def audited(report: Findings) -> Section:
    """The samples, the models and what the attacker knows."""
    how, (models, samples, classes) = report.settings, report.shape
    known, evaluated = (sides_text(counts(report.member[rows])) for rows in (~report.evaluated, report.evaluated))
    split = {
        "random": f", drawn at random (seed {how.seed})",
        "file-order": ", the first in the file",
        GIVEN: ", as given",
    }
    classed = f"{classes} classes" if report.kind == "outputs" else f"a number per sample ({report.kind}), no outputs"
    pairs = [
        ("Samples", f"{samples:,}: {sides_text(counts(report.member))}"),
        ("Model", f"{models} models, fused by {how.fusion}; {classed}" if models > 1 else f"1 model; {classed}"),
        ("Known to the attacker", f"{known}{split[how.split]}" if how.known else "no memberships"),
        ("Evaluated", evaluated if how.known else f"{evaluated}: all"),
    ]
    if report.queries > 1:
        pairs.append(("Queries per sample", str(report.queries)))
    if report.references:
        pairs.append(("Reference models", "; ".join(report.references.splitlines())))
    parts = [described(pairs)]
    if report.classified:
        rows = zip(("members", "non-members"), report.accuracies, strict=True)
        shown = [(side, words.shares(accuracy, 2)) for side, accuracy in rows]
        parts.append(table(("side", "accuracy [95 % interval]"), shown, caption="How often the model is right"))
    return "What was audited", joined(parts)


def attacks(report: Findings) -> Section | None:
    """Every attack with a dot and its interval, then further figures."""
    measured = {name: one for name, one in report.attacks.items() if one.everyone.auc is not None}
    if not measured:
        return None
    parts = [tag("p", "The dot is the figure, the line its 95 % interval; dotted: guessing. Further right is worse.")]
    at = report.lowest_fpr
    if at is not None:
        rates = {name: one.everyone.tpr[at] for name, one in measured.items()}
        caption = f"Members found while {drawings.share(float(at))} of non-members are accused"
        parts.append(_dots(rates, (0.0, 1.0), float(at), caption, scale=100, head="% of members"))
    areas = {name: one.everyone.auc for name, one in measured.items()}
    lowest = min(one.low for one in areas.values() if one is not None)
    least = min(0.4, math.floor(10 * lowest) / 10)
    caption = "AUC: how often a member scores above a non-member"
    parts.append(_dots(areas, (least, 1.0), 0.5, caption, scale=1, head="AUC"))
    best = "" if report.settings.known else "best "
    halves = ("AUC, right answers", "AUC, wrong answers") * report.classified
    head = ("attack", f"{best}balanced accuracy, %", "accuracy, %", *halves)
    lines = [_further(report, name, one) for name, one in measured.items()]
    parts.append(table(head, lines, caption="Further figures"))
    return "How well each attack does", joined(parts)


def _dots(
    figures: Mapping[str, Estimate | None],
    span: tuple[float, float],
    guess: float,
    caption: str,
    *,
    scale: int,
    head: str,
) -> Markup:
    """A table of attacks, best first, with a dot and its interval between the name and the figure."""
    told = {name: one for name, one in figures.items() if one is not None}
    number, digits = (5, 1) if scale == 100 else (round(10 * (span[1] - span[0])) + 1, 3)
    ticks = [round(scale * (span[0] + (span[1] - span[0]) * i / (number - 1)), 2) for i in range(number)]
    rows = []
    for name in sorted(told, key=lambda name: -told[name].value):
        drawn = tag("td", drawings.dot(told[name], span, guess, drawings.ink(name)), class_="plot")
        rows.append(tag("tr", tag("th", name, scope="row"), drawn, tag("td", _plain(told[name], scale, digits))))
    shown = drawings.scale((scale * span[0], scale * span[1]), ticks)
    plot = tag("th", shown, class_="plot", scope="col", aria_label="plot")
    top = tag("tr", tag("th", "attack", scope="col"), plot, tag("th", head, scope="col"))
    return tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *rows), class_="dots")


def _further(report: Findings, name: str, one: Result) -> tuple[str, ...]:
    figures = one.everyone
    cells = [_plain(figures.balanced_accuracy, 100, 1), _plain(figures.accuracy, 100, 1)]
    if report.classified:
        cells += [words.number(part.auc) for part in (one.correct, one.misclassified)]
    return name, *cells


def _plain(estimate: Estimate | metrics.Accuracy | None, scale: int, digits: int) -> str:
    if estimate is None:
        return "too few"
    value, low, high = (f"{scale * one:.{digits}f}" for one in estimate[:3])
    return f"{value} [{low}, {high}]"


def curves(report: Findings) -> Section | None:
    """The ROC curves of the best attacks, and the TPR of all at three FPRs."""
    rows = report.evaluated
    if report.best is None:
        return None
    names = _best(report)
    at = report.lowest_fpr
    title = "ROC curves on logarithmic axes"
    told = f"Members found against non-members accused, for {', '.join(names)}. The table below has the figures."
    shown = {name: report.attacks[name].scores[rows] for name in names}
    drawn = drawings.roc(shown, report.member[rows], ident="roc", title=title, told=told)
    rates = {name: report.attacks[name].everyone.tpr[at] for name in names} if at else {}
    figures = {name: words.percent(one.value) for name, one in rates.items() if one is not None}
    measure = f"; figures: members found at {drawings.share(float(at))} FPR" if at else ""
    few = f"Shaded: fewer than {metrics.FALSE_POSITIVES} non-members accused, mostly chance"
    caption = tag("figcaption", f"{title}. {few}{measure}.")
    figure = tag("figure", drawn, drawings.key(names, figures), caption)
    head = ("attack", *(f"at {drawings.share(float(fpr))} FPR, %" for fpr in FPRS))
    cells = []
    for name, one in report.attacks.items():
        cells.append((name, *(_plain(tpr, 100, 1) for tpr in one.everyone.tpr.values())))
    lines = table(head, cells, caption="Members found at low false positive rates (TPR)")
    few = f"Too few: a rate needs {metrics.FALSE_POSITIVES} expected false positives, hence that many non-members."
    return "How many members are found, at what price", joined([figure, lines, tag("p", few, class_="soft")])


def _best(report: Findings) -> list[str]:
    """The attacks to draw, best first: different curves before equal ones, and gap, to compare with."""
    at = report.lowest_fpr

    def rank(name: str) -> tuple[float, float]:
        figures = report.attacks[name].everyone
        tpr = None if at is None else figures.tpr[at]
        return (-tpr.value if tpr else 0.0), (-figures.auc.value if figures.auc else 0.0)

    seen: dict[tuple, str] = {}
    for name in sorted(report.attacks, key=rank):
        figures = report.attacks[name].everyone
        seen.setdefault((figures.auc, *figures.tpr.values()), name)
    chosen = [name for name in seen.values() if name != "gap"][: MOST_CURVES - 1]
    return chosen + ["gap"] * ("gap" in report.attacks)


def scores(report: Findings) -> Section | None:
    """Histograms of both sides: of what the model is sure of, and of the best attack's score."""
    rows, figures = report.evaluated, []
    member = report.member[rows]
    if not all(counts(member)):
        return None
    if report.odds is not None:
        label = "log-odds of the right answer" if report.kind == "outputs" else f"score made of the {report.kind}"
        figures.append(_histogram(report.odds[rows], member, label, "odds"))
    if report.best is not None:
        values = report.attacks[report.best].scores[rows]
        same = report.odds is not None and len(np.unique(values)) > 2 and _one_order(values, report.odds[rows])
        if not same:
            figures.append(_histogram(values, member, f"score of {report.best}", "best", mark=_mark(report)))
    if not figures:
        return None
    text = "The more the two sides lie apart, the easier they are told apart. Members stand above the line, non-members"
    text += " below it. Values beyond the ends are counted in the last bar."
    return "Members and non-members side by side", joined([tag("p", text), tag("div", *figures, class_="pair")])


def _one_order(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two scores put the samples in one order."""
    order = np.argsort(a, kind="stable")
    return bool((np.diff(b[order]) >= 0).all())


def _mark(report: Findings) -> float | None:
    """The threshold at the lowest FPR that can be told."""
    at = report.lowest_fpr
    if at is None or report.best is None:
        return None
    curve = metrics.roc(report.attacks[report.best].scores[report.evaluated], report.member[report.evaluated])
    return float(curve.thresholds[np.searchsorted(curve.fpr, float(at) + 1e-12, side="right") - 1])


def _histogram(values: np.ndarray, member: np.ndarray, label: str, ident: str, mark: float | None = None) -> Markup:
    told = f"Histograms of the {label}: members above, non-members below. The table below has their percentiles."
    drawn = drawings.histograms(values, member, label=label, ident=ident, title=label, told=told, mark=mark)
    head = ("side", *(f"{q}{words.SPACE}%" for q in QUANTILES))
    finite = np.clip(values, -1e9, 1e9)
    lines = [
        (side, *(f"{q:.3g}" for q in np.percentile(finite[rows], QUANTILES)))
        for side, rows in (("members", member), ("non-members", ~member))
    ]
    dashed = "; dashed: who scores above is accused at the lowest FPR" if mark is not None else ""
    caption = tag("figcaption", f"{label[0].upper()}{label[1:]}{dashed}.")
    return tag("figure", drawn, caption, table(head, lines, caption="Percentiles"))


def people(report: Findings) -> Section | None:
    """Members found, lift, precision and advantage."""
    if report.best is None:
        return None
    at = report.lowest_fpr or FPRS[0]
    rows = []
    for name, one in report.risks.items():
        counted = one.found[at]
        found = "too few" if counted is None else "{:,} of {:,}".format(*counted)
        cells = (found, words.number(one.lift[at], 2), _plain(one.precision[at], 100, 1), words.number(one.advantage))
        rows.append((name, *cells))
    head = ("attack", "members found", "lift", "precision, %", "advantage")
    lines = table(head, rows, caption=f"Risk where {drawings.share(float(at))} of non-members are accused")
    assumed = f"{100 * report.prior:g}{words.SPACE}%"
    terms: list[tuple[str, str]] = [
        ("Lift", "How many times likelier a member is accused than a non-member; guessing: 1."),
        ("Precision", _coded(f"How many of the accused are members, if {assumed} of all people are (--prior).")),
        (
            "Advantage",
            "Members found less non-members accused, at the threshold of the balanced accuracy; guessing: 0.",
        ),
    ]
    return "What that means for people", joined([lines, described(terms)])


def exposed(report: Findings) -> Section | None:
    """The members that the best attack is surest of."""
    if report.best is None:
        return None
    scores = report.attacks[report.best].scores
    rows = np.flatnonzero(report.evaluated & report.member)
    others = np.sort(scores[report.evaluated & ~report.member])
    top = rows[np.argsort(-scores[rows], kind="stable")][:MOST_EXPOSED]
    lines = []
    for row in top:
        above = len(others) - np.searchsorted(others, scores[row])
        cells = [f"{scores[row]:.4g}", f"{above:,} of {len(others):,}"]
        if report.classified:
            confidence = float(np.exp(report.log_p[row, report.labels[row]]))
            cells += [str(report.labels[row]), words.percent(confidence)]
        lines.append((f"{row:,}", *cells))
    classed = ("class", "confidence in it") * report.classified
    head = ("row, from 0", "score", "non-members who score as high", *classed)
    caption = f"Members that {report.best} is surest of"
    text = (
        "If the data are about people, these are the ones to look at first: rare, mislabelled or repeated records often"
        " stand here. Rows are those of the audited file; --scores OUT.npz has every sample's scores."
    )
    return "The most exposed samples", joined([tag("p", _coded(text)), table(head, lines, caption=caption)])


def bounds(report: Findings) -> Section | None:
    """What the outputs allow any attack that sees them alone, and what attacks prove."""
    leak = report.divergence
    if leak.confidence is None and leak.prediction is None and leak.epsilon_at_least is None:
        return None
    what = "confidence" if report.kind == "outputs" else report.kind
    rows = {
        what: leak.confidence,
        f"{what}, within classes": leak.confidence_per_class,
        "whole prediction, at least": leak.prediction,
    }
    lines = [_bound(name, one) for name, one in rows.items() if one is not None]
    parts: list[Markup] = []
    if lines:
        head = ("of", "JS, nats", "total variation", "best balanced accuracy, %")
        text = "How far members' and non-members' outputs lie apart (Jensen-Shannon divergence, 0 to 0.693 nats), and"
        text += " what that allows an attack that sees the fused prediction alone. Below 0 an estimate means 0."
        parts += [tag("p", text), table(head, lines, caption="Distance of members and non-members")]
    proofs = {"JS, nats": leak.js_at_least, "epsilon (delta 0)": leak.epsilon_at_least}
    told = [_proof(name, one) for name, one in proofs.items() if one is not None]
    if told:
        found = ("proven at 95 %", "at least", "by", "members found", "non-members accused")
        parts.append(table(found, told, caption="What the attacks prove"))
    if report.claim is not None:
        parts.append(tag("p", f"{_begun(str(report.claim))}.", class_="claim"))
    return "What the outputs allow, and what is proven", joined(parts)


def _bound(name: str, one: Divergence) -> tuple[str, ...]:
    low, high = tv(one)
    least, most = (100 * float(share) for share in one.accuracy)
    js = f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"
    return name, js, f"{low:.3f} to {high:.3f}", f"{least:.1f} to {most:.1f}"


def _proof(name: str, one: Proof) -> tuple[str, ...]:
    proven = f"{one.value:.4f}" if one.value > 0 else "nothing"
    counted = ("{:,} of {:,}".format(*rate) for rate in (one.caught, one.accused))
    return name, proven, f"{one.attack}, of {one.tried} tried", *counted


def meaning() -> Section:
    """How to read the figures, and how not to."""
    read, unsaid = (tag("h3", title) for title in ("How to read them", "What they do not say"))
    return "What the figures mean, and what not", joined([read, listed(words.MEANS), unsaid, listed(words.MEANS_NOT)])


def again(report: Findings, command: str) -> Section:
    """What was left out, the command, and the versions."""
    parts: list[Markup] = [tag("pre", tag("code", command or _call(report)), tabindex="0")]
    pairs = [("NumPy", np.__version__), ("Python", ".".join(map(str, sys.version_info[:3])))]
    parts.append(described(pairs))
    if report.skipped:
        parts += [tag("h3", "Attacks that were not run"), listed(_reasons(report))]
    return "To get this page again", joined(parts)


def _reasons(report: Findings) -> list[str]:
    grouped: dict[str, list[str]] = {}
    for name, reason in report.skipped.items():
        grouped.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in grouped.items()]


def _call(report: Findings) -> str:
    """The same from Python."""
    how = report.settings
    asked = [*report.attacks, *report.skipped]
    known = "mask" if how.split == GIVEN else f"{how.known:g}"
    options = [f"attacks={asked}", f"fusion={how.fusion!r}", f"white_box={how.white_box}", f"known={known}"]
    if how.split != GIVEN:
        options.append(f"split={how.split!r}")
    options += [f"seed={how.seed}", f"prior={report.prior:g}"]
    if report.references:
        options.append("references=references")
    if report.claimed is not None:
        options.append(f"claimed={report.claimed}")
    inside = ",\n    ".join(["outputs", *options])
    return f"from mialab.audit import audit\n\naudit(\n    {inside},\n).to_html('report.html')"
