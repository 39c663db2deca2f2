"""The audit: outputs of a model or an ensemble in, a report of what attacks learn from them out."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from mialab import fusion, metrics
from mialab.attacks import ALL, Attack, Evidence, NotEnough, get
from mialab.metrics import Accuracy, Estimate
from mialab.outputs import AuditError, Outputs, read
from mialab.seeds import derive

__all__ = ["AuditError", "Figures", "Outputs", "Report", "Result", "Settings", "audit", "read"]

FPRS = ("0.1", "0.01", "0.001")
SPLITS = ("random", "file-order")
TOO_FEW = "too few"
LOGITS_NOTE = "every row of the logits sums to 1: if they are probabilities, name the array so"


@dataclass(frozen=True)
class Settings:
    """How an audit was run; `known` is the share of each class and side that attacks learn from."""

    fusion: str = "confidence"
    white_box: bool = False
    known: float = 0.8
    split: str = "random"
    seed: int = 0

    def __post_init__(self):
        if not isinstance(self.known, Real) or not 0 <= self.known < 1:
            raise AuditError(f"known: found {self.known!r}; expected at least 0 and below 1, such as 0.8")
        if not isinstance(self.seed, Integral):
            raise AuditError(f"seed: found {self.seed!r}; expected a whole number")
        if self.split not in SPLITS:
            raise AuditError(f"split: found {self.split!r}; expected {' or '.join(SPLITS)}")


@dataclass(frozen=True)
class Figures:
    """An attack's success on some of the evaluated samples, counted by side; None where there are too few of them."""

    members: int
    nonmembers: int
    auc: Estimate | None
    balanced_accuracy: Estimate | None
    accuracy: Accuracy | None
    tpr: dict[str, Estimate | None]

    def to_dict(self) -> dict:
        """The JSON of one attack, or of one of its two parts by correctness."""
        return {
            "auc": _value(self.auc),
            "auc_interval": _interval(self.auc),
            "balanced_accuracy": _value(self.balanced_accuracy),
            "balanced_accuracy_interval": _interval(self.balanced_accuracy),
            "tpr": {fpr: _value(estimate) for fpr, estimate in self.tpr.items()},
            "tpr_interval": {fpr: _interval(estimate) for fpr, estimate in self.tpr.items()},
            "evaluated": {"members": self.members, "nonmembers": self.nonmembers},
        }


@dataclass(frozen=True, eq=False)
class Result:
    """One attack: its scores [samples], and its figures on the evaluated samples, all and by correctness."""

    scores: np.ndarray
    everyone: Figures
    correct: Figures
    misclassified: Figures

    def to_dict(self) -> dict:
        """The JSON of one attack."""
        parts = {"correct": self.correct.to_dict(), "misclassified": self.misclassified.to_dict()}
        return {**self.everyone.to_dict(), **parts}


@dataclass(frozen=True, eq=False)
class Report:
    """What an audit found; `str` gives tables.

    shape: models, samples, classes. accuracy: of the fused prediction on all members and on all non-members.
    member, evaluated: bool [samples]; every attack was measured on the same, evaluated samples.
    attacks, skipped: results, and reasons for having none, by the attacks' names in the order asked for.
    """

    settings: Settings
    shape: tuple[int, int, int]
    accuracy: tuple[float, float]
    member: np.ndarray
    evaluated: np.ndarray
    attacks: dict[str, Result]
    skipped: dict[str, str]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """The report as JSON types, the same for every caller; None where there are too few samples.

        {"version": 1, "samples": SIDES, "accuracy": SIDES, "attacks": {name: ATTACK}, "skipped": {name: reason}}, where
        SIDES is {"members", "nonmembers"} and ATTACK is {"auc", "auc_interval": [low, high], "balanced_accuracy",
        "balanced_accuracy_interval", "tpr": {"0.1", "0.01", "0.001"} by FPR, "tpr_interval" likewise, "evaluated":
        SIDES, and "correct" and "misclassified", each with all of the foregoing on those samples}. Units: shares.
        """
        return {
            "version": 1,
            "samples": _sides(_counts(self.member)),
            "accuracy": _sides(self.accuracy),
            "attacks": {name: result.to_dict() for name, result in self.attacks.items()},
            "skipped": dict(self.skipped),
        }

    def __str__(self) -> str:
        blocks = [_heading(self)]
        if self.attacks:
            blocks += [_overview(self), _low_fpr(self), _by_correctness(self), _legend(self)]
        if self.skipped:
            blocks.append(["skipped", *(f"  {name}: {reason}" for name, reason in self.skipped.items())])
        return "\n\n".join("\n".join(block) for block in blocks)


def audit(
    outputs: Outputs,
    *,
    attacks=None,
    fusion: str = "confidence",
    white_box: bool = False,
    known: float = 0.8,
    split: str = "random",
    seed: int = 0,
) -> Report:
    """Run attacks and measure them on the samples that they did not learn from.

    attacks: a name or an `Attack` of one's own, or several of them; default: all of `mialab.attacks`.
    fusion: "confidence" (mean of the models' softmaxes) or "logit" (softmax of their mean logit).
    white_box: neural attacks see the softmaxes of all models side by side rather than the fused one.
    known: share of each class and side that attacks learn from and thresholds are chosen on. With 0, everything is
        evaluated, attacks that learn are skipped, and balanced accuracy is the best over thresholds.
    split: "random", or "file-order" for the first ones, as the released script does.
    Raises AuditError for a wrong argument.
    """
    settings = Settings(fusion, white_box, known, split, seed)
    chosen = _chosen(ALL if attacks is None else [attacks] if isinstance(attacks, str | Attack) else attacks)
    evidence = _evidence(outputs, settings)
    correct = evidence.p.argmax(axis=1) == evidence.labels
    mask = _known(outputs, settings)
    results, skipped = {}, {}
    for attack in chosen:
        try:
            if attack.learns and not known:
                raise NotEnough("learns from known samples, and none are known (known is 0)")
            scores = _scores(attack, evidence, mask, outputs.member, seed)
            results[attack.name] = _result(scores, outputs.member, mask, correct, best=not known)
        except NotEnough as reason:
            skipped[attack.name] = str(reason)
    sides = [float(correct[outputs.member == side].mean()) for side in (True, False)]
    notes = (LOGITS_NOTE,) if outputs.look_like_probabilities else ()
    return Report(settings, outputs.logits.shape, tuple(sides), outputs.member, ~mask, results, skipped, notes)


def _chosen(asked) -> list[Attack]:
    chosen = {}
    for one in asked if isinstance(asked, Iterable) else [asked]:
        if not isinstance(one, str | Attack):
            raise AuditError(f"attacks: found {one!r}; expected names or objects of class Attack")
        try:
            attack = get(one) if isinstance(one, str) else one
        except ValueError as error:
            raise AuditError(str(error)) from None
        if chosen.setdefault(attack.name, attack) is not attack:
            raise AuditError(f"attacks: found two that are named {attack.name!r}; rename one")
    return list(chosen.values())


def _evidence(outputs, settings):
    saved = {"probabilities": outputs.probabilities}
    try:
        log_p = fusion.fuse(outputs.logits, settings.fusion, **saved)
    except ValueError as error:
        raise AuditError(f"fusion: {error}") from None
    p = fusion.predict(outputs.logits, settings.fusion, **saved)
    features = fusion.side_by_side(outputs.logits, **saved) if settings.white_box else p
    return Evidence(p, log_p, features, outputs.labels)


def _scores(attack, evidence, known, member, seed) -> np.ndarray:
    """The attack's scores; AuditError where a stranger's are not one number per sample."""
    scores = np.asarray(attack.score(evidence, known, member, seed))
    if scores.shape != member.shape or scores.dtype.kind not in "fiub" or np.isnan(scores).any():
        found = f"scores of type {scores.dtype} and shape {list(scores.shape)}, or NaN among them"
        raise AuditError(f"attack {attack.name}: found {found}; expected a number for each of {len(member)} samples")
    return scores.astype(np.float64)


def _known(outputs, settings) -> np.ndarray:
    """Marks int(known * n) of the n samples of every class and side, bool [samples]."""
    samples = len(outputs.labels)
    order = np.arange(samples)
    if settings.split == "random":
        order = np.random.default_rng(derive(settings.seed, "known")).permutation(samples)
    stratum = 2 * outputs.labels + outputs.member
    order = order[np.argsort(stratum[order], kind="stable")]  # stratum after stratum, each in the order drawn
    sizes = np.bincount(stratum)
    rank = np.empty(samples, np.int64)
    rank[order] = np.arange(samples) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank < (settings.known * sizes).astype(np.int64)[stratum]


def _result(scores, member, known, correct, *, best) -> Result:
    threshold = None if best else _threshold(scores[known], member[known])
    parts = (~known, ~known & correct, ~known & ~correct)
    return Result(scores, *(_figures(scores[part], member[part], threshold) for part in parts))


def _threshold(scores, member) -> float:
    """The best on known samples; NaN, which yields no figure, where they are of one side."""
    return metrics.best_threshold(scores, member) if member.any() and not member.all() else math.nan


def _figures(scores, member, threshold) -> Figures:
    """Figures at a threshold; at the best one for these very samples where it is None."""
    best = threshold is None
    at = _threshold(scores, member) if best else threshold
    balanced = metrics.best_balanced_accuracy(scores, member) if best else metrics.balanced_accuracy(scores, member, at)
    return Figures(
        *_counts(member),
        metrics.auc_interval(scores, member),
        None if math.isnan(at) else balanced,
        None if math.isnan(at) else metrics.accuracy(scores, member, at),
        {fpr: metrics.tpr_at_fpr(scores, member, float(fpr)) for fpr in FPRS},
    )


def _counts(member):
    return int(member.sum()), int((~member).sum())


def _sides(pair):
    return {"members": pair[0], "nonmembers": pair[1]}


def _value(estimate):
    return None if estimate is None else estimate.value


def _interval(estimate):
    return None if estimate is None else [estimate.low, estimate.high]


def _heading(report):
    how, (models, samples, classes) = report.settings, report.shape
    part = f"{100 * how.known:g} % of each class and side"
    drawn = {"random": f"at random (seed {how.seed})", "file-order": "the first ones in file order"}[how.split]
    lines = [
        f"{samples:,} samples: {_sides_text(report.member)}; {classes} classes",
        f"{models} models, fused by {how.fusion}" if models > 1 else "1 model",
        f"accuracy: {_accuracy_text(report)}",
        f"known to the attacker: {f'{part}, {drawn}' if how.known else 'no memberships'}",
        f"evaluated on {'the rest' if how.known else 'everything'}: {_sides_text(report.member[report.evaluated])}",
    ]
    if how.white_box:
        lines.append("white box: neural attacks see the confidences of all models side by side")
    return [*lines, *(f"note: {note}" for note in report.notes)]


def _sides_text(member):
    return "{:,} members, {:,} non-members".format(*_counts(member))


def _accuracy_text(report):
    counts = _counts(report.member)
    sides = (metrics.proportion(round(share * n), n) for share, n in zip(report.accuracy, counts, strict=True))
    return "{} % on members, {} % on non-members".format(*(_text(side, scale=100) for side in sides))


def _overview(report):
    best = "" if report.settings.known else "best "
    return _table(("attack", "AUC", f"{best}balanced acc. %", "acc. %"), report, _overview_row)


def _overview_row(result):
    figures = result.everyone
    shares = (_text(estimate, scale=100) for estimate in (figures.balanced_accuracy, figures.accuracy))
    return _text(figures.auc, decimals=3), *shares


def _low_fpr(report):
    head = ("attack", *(f"TPR % at {100 * float(fpr):g} % FPR" for fpr in FPRS))
    return _table(head, report, lambda result: [_text(tpr, scale=100) for tpr in result.everyone.tpr.values()])


def _by_correctness(report):
    head = ("attack", "AUC, correct", "AUC, misclassified")
    return _table(
        head, report, lambda result: [_text(f.auc, decimals=3) for f in (result.correct, result.misclassified)]
    )


def _text(estimate, *, scale=1, decimals=2):
    if estimate is None:
        return TOO_FEW
    value, low, high = (f"{scale * figure:.{decimals}f}" for figure in estimate[:3])
    return f"{value} [{low}, {high}]"


def _table(head, report, row):
    rows = [head, *((name, *row(result)) for name, result in report.attacks.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([cells[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)])
        for cells in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _legend(report):
    share = report.member[report.evaluated].mean()
    chosen = "chosen on the known samples" if report.settings.known else "best for these samples: optimistic"
    wanted = f"a TPR needs {metrics.FALSE_POSITIVES} expected false positives, the other figures both sides"
    return [
        "Higher is worse for privacy. [low, high]: 95 % interval. correct, misclassified: as the models classify them.",
        "AUC            chance that a member scores above a non-member; guessing: 0.5",
        f"balanced acc.  right answers, both sides counted alike; guessing: 50 %; threshold: {chosen}",
        f"acc.           right answers at that threshold; always answering 'member': {100 * share:.2f} %",
        "TPR at x FPR   members found while at most the share x of non-members is accused; guessing: x",
        f"{TOO_FEW:<15}{wanted}",
    ]
