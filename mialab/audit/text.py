"""A report as tables of plain text, at most 120 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence

from mialab import metrics
from mialab.audit.figures import FPRS, Result, counts, sides_text
from mialab.audit.findings import Findings
from mialab.audit.headline import headline
from mialab.audit.leakage import Proof, tv
from mialab.audit.settings import GIVEN
from mialab.divergence import Divergence

WIDTH = 120
TOO_FEW = "too few"
NOTHING = "nothing"  # what a bound of 0 proves
ONE = {"losses": "loss", "scores": "score"}
MOST_NAMED = 4  # attacks in a line of text
LEAST_P = 0.001  # below it, a thousand shuffles cannot tell
DIVERGENCE_LEGEND = """\
JS, distance   Jensen-Shannon divergence of members and non-members, from 0 to 0.693 nats (1 bit); root of the nats.
               An estimate, its bias removed: below 0 it means 0, and the gain of -1.386 with it
p              chance of so large a JS if membership said nothing
gain           of the best attack on these outputs, -log 4 + 2 JS: from -1.386, a coin's, to 0
TV, bal. acc.  what the interval of JS allows: total variation, and balanced accuracy of the best attack
confidence     of the true class, as log-odds, by a histogram, bias removed; by class: the mean within classes
prediction     the whole fused prediction and the label, by a cross-fitted classifier: a lower bound caps nothing
proven         by the best of the attacks tried, which share the error (Bonferroni). A JS is proven by attacks on
               prediction and label alone. Epsilon of differential privacy (delta 0) is proven by any attack, and is
               an indication: samples of one model are not independent trials
not covered    attacks that look at x, at reference models or at each model's own answers, or ask the model: these may
               exceed the cap"""


def tables(report: Findings) -> str:
    """Heading, tables of the attacks and of the divergences, each with its legend, and what was skipped."""
    blocks = [_opening(report), *([_notes(report)] if report.notes else []), _heading(report)]
    if report.attacks:
        parts = [_by_correctness(report)] if report.classified else []
        blocks += [_overview(report), _low_fpr(report), *parts, _risk(report), _legend(report)]
    blocks += [_divergences(report), *([_proofs(report)] if report.attacks else []), _divergence_legend(report)]
    if report.skipped:
        blocks.append(["skipped", *_skipped(report)])
    return "\n\n".join("\n".join(block) for block in blocks)


def _heading(report: Findings) -> list[str]:
    how, (models, samples, classes) = report.settings, report.shape
    part = f"{100 * how.known:g} % of each class and side"
    known = {
        "random": f"{part}, at random (seed {how.seed})",
        "file-order": f"{part}, the first ones in file order",
        GIVEN: sides_text(counts(report.member[~report.evaluated]), " and ") + ", as given",
    }
    rule = {"losses": "the mean of exp(-loss)", "scores": "their mean"}.get(report.kind, how.fusion)
    what = f"{classes} classes" if report.kind == "outputs" else f"a {ONE[report.kind]} per sample, no outputs"
    queried = f", {report.queries} queries per sample" if report.queries > 1 else ""
    lines = [
        f"{samples:,} samples: {_sides_text(report.member)}; {what}{queried}",
        f"{models} models, fused by {rule}" if models > 1 else "1 model",
        f"accuracy: {_accuracy_text(report)}",
        f"known to the attacker: {known[how.split] if how.known else 'no memberships'}",
        f"evaluated on {'the rest' if how.known else 'everything'}: {_sides_text(report.member[report.evaluated])}",
    ]
    return [*lines, *_more_seen(report)]


def _opening(report: Findings) -> list[str]:
    """Three lines that answer whether it is bad, each of one line if it fits."""
    lines: list[str] = []
    for line in headline(report).lines:
        lines += textwrap.wrap(line, WIDTH, subsequent_indent="  ")
    return lines


def _risk(report: Findings) -> list[str]:
    """Advantage, and at the lowest FPR that can be told lift, precision and members found; in the legend's words."""
    at = report.lowest_fpr or FPRS[0]
    head = (f"at {100 * float(at):g} % FPR", "lift", "precision %", "members found", "advantage")
    rows = []
    for name, one in report.risks.items():
        counted = one.found[at]
        found = TOO_FEW if counted is None else "{:,} of {:,}".format(*counted)
        shares = (_text(one.lift[at]), _text(one.precision[at], scale=100))
        rows.append((name, *shares, found, _text(one.advantage, decimals=3)))
    return _table([head, *rows])


def _notes(report: Findings) -> list[str]:
    lines: list[str] = []
    for note in report.notes:
        lines += textwrap.wrap(f"note: {note}", WIDTH, subsequent_indent="      ")
    return lines


def _more_seen(report: Findings) -> list[str]:
    """What attackers had beside the fused prediction."""
    lines = report.references.splitlines()
    if report.settings.white_box:
        return [*lines, "white box: neural attacks see the confidences of all models side by side"]
    inside = [name for name, result in report.attacks.items() if "log_confidences" in result.beyond]
    return [*lines, f"white box: {_named(inside)} looked at each model's own confidences"] if inside else lines


def _sides_text(member) -> str:
    return sides_text(counts(member))


def _skipped(report: Findings) -> list[str]:
    """Attacks by their reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in report.skipped.items():
        by_reason.setdefault(reason, []).append(name)
    lines: list[str] = []
    for reason, names in by_reason.items():
        lines += textwrap.wrap(f"  {', '.join(names)}: {reason}", WIDTH, subsequent_indent="    ")
    return lines


def _accuracy_text(report: Findings) -> str:
    if not report.classified:
        return "no labels" if report.kind == "outputs" else f"unknown of {report.kind}"
    return "{} % on members, {} % on non-members".format(*(_text(side, scale=100) for side in report.accuracies))


def _overview(report: Findings) -> list[str]:
    best = "" if report.settings.known else "best "
    return _of_attacks(("attack", "AUC", f"{best}balanced acc. %", "acc. %"), report, _overview_row)


def _overview_row(result: Result) -> tuple[str, ...]:
    figures = result.everyone
    shares = (_text(estimate, scale=100) for estimate in (figures.balanced_accuracy, figures.accuracy))
    return _text(figures.auc, decimals=3), *shares


def _low_fpr(report: Findings) -> list[str]:
    head = ("attack", *(f"TPR % at {100 * float(fpr):g} % FPR" for fpr in FPRS))
    return _of_attacks(head, report, lambda result: [_text(tpr, scale=100) for tpr in result.everyone.tpr.values()])


def _by_correctness(report: Findings) -> list[str]:
    head = ("attack", "AUC, correct", "AUC, misclassified")
    return _of_attacks(
        head, report, lambda result: [_text(f.auc, decimals=3) for f in (result.correct, result.misclassified)]
    )


def _legend(report: Findings) -> list[str]:
    share = report.member[report.evaluated].mean()
    chosen = "chosen on the known samples" if report.settings.known else "best for these samples: optimistic"
    wanted = f"a TPR needs {metrics.FALSE_POSITIVES} expected false positives, the other figures both sides"
    return [
        "Higher is worse for privacy. [low, high]: 95 % interval."
        + " correct, misclassified: as the models classify them." * report.classified,
        "AUC            chance that a member scores above a non-member; guessing: 0.5",
        f"balanced acc.  right answers, both sides counted alike; guessing: 50 %; threshold: {chosen}",
        f"acc.           right answers at that threshold; always answering 'member': {100 * share:.2f} %",
        "TPR at x FPR   members found while at most the share x of non-members is accused; guessing: x",
        "lift           TPR / FPR: how many times likelier a member is accused than a non-member; guessing: 1",
        f"precision      share of the accused who are members, if {100 * report.prior:g} % of all people are (--prior)",
        "advantage      TPR - FPR at the threshold of the balanced accuracy; guessing: 0",
        f"{TOO_FEW:<15}{wanted}",
    ]


def _divergences(report: Findings) -> list[str]:
    head = ("divergence", "JS, nats", "bits", "distance", "p", "gain", "TV", "best bal. acc. %")
    leak = report.divergence
    what = "confidence" if report.kind == "outputs" else report.kind
    rows: dict[str, Divergence | None] = {}
    if report.odds is not None:
        rows[what] = leak.confidence
    if report.odds is not None and report.labelled:
        rows[f"{what}, by class"] = leak.confidence_per_class
    if report.kind == "outputs":
        rows["prediction, at least"] = leak.prediction
    return _table([head, *((name, *_divergence_row(one)) for name, one in rows.items())])


def _divergence_row(one: Divergence | None) -> tuple[str, ...]:
    if one is None:
        return TOO_FEW, "", "", "", "", "", ""
    js = f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"
    chance = "<0.001" if one.null.p_value < LEAST_P else f"{one.null.p_value:.3f}"
    measures = (f"{one.bits:.4f}", f"{one.distance:.3f}", chance, f"{one.gain:.3f}")
    bounds = (_range(*tv(one), decimals=3), _range(*(100 * float(share) for share in one.accuracy), decimals=2))
    return (js, *measures, *bounds)


def _range(low: float, high: float, *, decimals: int) -> str:
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def _proofs(report: Findings) -> list[str]:
    claimed = [] if report.claim is None else textwrap.wrap(str(report.claim), WIDTH, subsequent_indent="  ")
    if not report.settings.known:
        why = "thresholds must be chosen on known samples (known is 0)"
        return [f"proven by an attack: nothing, as {why}", *claimed]
    head = ("proven at 95 %", "at least", "attack", "tried", "members found", "non-members accused")
    leak = report.divergence
    rows = {"JS, nats": leak.js_at_least, "epsilon": leak.epsilon_at_least}
    return [*_table([head, *((name, *_proof_row(one)) for name, one in rows.items())]), *claimed]


def _proof_row(one: Proof | None) -> tuple[str, ...]:
    if one is None:
        return TOO_FEW, "", "", "", ""
    counted = ("{:,} of {:,}".format(*rate) for rate in (one.caught, one.accused))
    proven = f"{one.value:.4f}" if one.value > 0 else NOTHING
    return proven, one.attack, str(one.tried), *counted


def _divergence_legend(report: Findings) -> list[str]:
    return [*DIVERGENCE_LEGEND.splitlines(), *_above(report)]


def _above(report: Findings) -> list[str]:
    """Names the attacks that are surely better than any on the confidence alone."""
    cap = report.divergence.cap
    measured = {name: one.everyone.balanced_accuracy for name, one in report.attacks.items()}
    above = [name for name, accuracy in measured.items() if accuracy is not None and accuracy.low > cap]
    return [f"               above {100 * cap:.2f} % here: {_named(above)}"] if above else []


def _named(names: Sequence[str]) -> str:
    further = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {further} more" if further > 0 else "")


def _text(estimate, *, scale: int = 1, decimals: int = 2) -> str:
    if estimate is None:
        return TOO_FEW
    value, low, high = (f"{scale * figure:.{decimals}f}" for figure in estimate[:3])
    return f"{value} [{low}, {high}]"


def _of_attacks(head: Sequence[str], report: Findings, row: Callable[[Result], Iterable[str]]) -> list[str]:
    return _table([head, *((name, *row(result)) for name, result in report.attacks.items())])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines: the first row is the head, the first column stands to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([cells[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)])
        for cells in rows
    ]
    lines = [line.rstrip() for line in lines]
    return [lines[0], "-" * sum(widths, 2 * (len(widths) - 1)), *lines[1:]]
