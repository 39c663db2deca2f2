"""What a report comes to, in sentences for people who do not know the terms."""

from __future__ import annotations

from mialab.audit.figures import FPRS, Figures, counts
from mialab.audit.findings import Findings
from mialab.audit.headline import Headline
from mialab.metrics import Estimate

SPACE = "\u00a0"  # between a number and its per cent sign
LEVEL = {
    "unclear": "Unclear: the file is probably wrong, or too little was measured. Do not rely on these figures yet.",
    "no": "No leak seen: these attacks did no better than guessing.",
    "slightly": "Slightly: the model's answers say a little about which samples it was trained on.",
    "yes": "Yes: the model's answers give away which samples it was trained on, some of them clearly.",
    "badly": "Yes, badly: many of the samples that the model was trained on can be told from its answers.",
}
MEANS = (
    "Members are the samples that the model was trained on; non-members are samples that it has never seen. An attack"
    " is somebody who sees what the model answers and guesses for each sample which of the two it is.",
    "An attack that finds many members while it accuses few non-members tells somebody who holds a person's record"
    " that this person was in the training data. Where the data are of patients or of debtors, that alone is a secret.",
    "The rate at a low false positive rate (TPR at 1 % FPR) matters most: it counts the people who can be accused with"
    " good reason. AUC and balanced accuracy are averages over everybody, and hide a few who are fully exposed.",
    "Every figure is of the evaluated samples alone, and has a 95 % interval: with other samples from the same source"
    " it would most likely lie in there.",
)
MEANS_NOT = (
    "No leak seen is no proof of safety. Other attacks, more queries or better reference models may find more: a report"
    " like this can show that a model leaks, never that it does not.",
    "The figures hold for this model and these samples. Another training run of the same recipe gives other ones.",
    "Members and non-members should come from the same source. If they differ in date, place or preparation, an attack"
    " finds that difference, and the figures say nothing about training.",
    "A sample with a high score is not proven to be a member; the precision says how often such an accusation is right,"
    " and only for the share of members that was assumed.",
    "An epsilon that attacks prove is a lower bound of differential privacy's epsilon, and an indication, as samples of"
    " one model are not independent trials. The true epsilon may be far larger.",
    "Membership is one kind of leak. Whether records or attributes can be rebuilt is another question.",
)


def percent(value: float, digits: int = 1) -> str:
    """A share in per cent."""
    return f"{100 * value:.{digits}f}{SPACE}%"


def shares(estimate: Estimate | None, digits: int = 1) -> str:
    """A share with its interval, in per cent."""
    if estimate is None:
        return "too few"
    low, high = (f"{100 * end:.{digits}f}" for end in estimate[1:3])
    return f"{percent(estimate.value, digits)} [{low}, {high}]"


def number(estimate: Estimate | None, digits: int = 3) -> str:
    """A figure with its interval."""
    if estimate is None:
        return "too few"
    value, low, high = (f"{one:.{digits}f}" for one in estimate[:3])
    return f"{value} [{low}, {high}]"


def plainly(report: Findings) -> list[str]:
    """What the best attack comes to, in numbers of people."""
    name = report.best
    if name is None:
        return ["No attack could be measured on members and non-members."]
    figures = report.attacks[name].everyone
    return [*_of_thousand(report, name, figures), *_pairs(name, figures), *_accuracy(report), *_promise(report)]


def _of_thousand(report: Findings, name: str, figures: Figures) -> list[str]:
    at = report.lowest_fpr
    tpr = None if at is None else figures.tpr[at]
    if at is None or tpr is None:
        return ["There are too few non-members to say how many members an attack finds at a low false positive rate."]
    blamed = 1000 * float(at)
    found, low, high = (f"{1000 * one:.0f}" for one in tpr[:3])
    sentence = (
        f"Of 1,000 members, the best attack ({name}) finds {found} [{low} to {high}], while it accuses"
        f" {blamed:g} of 1,000 non-members by mistake. Guessing would find {blamed:g}."
    )
    precision = report.risks[name].precision[at]
    if precision is None or tpr.value <= float(at):
        return [sentence]
    assumed = f"If {100 * report.prior:g}{SPACE}% of all people in question are members"
    return [sentence, f"{assumed}, {percent(precision.value)} of those whom it accuses are."]


def _pairs(name: str, figures: Figures) -> list[str]:
    if figures.auc is None:
        return []
    return [f"Shown one member and one non-member, it picks the member in {percent(figures.auc.value)} of pairs."]


def _accuracy(report: Findings) -> list[str]:
    inside, outside = report.accuracy
    if inside is None or outside is None:
        return []
    gap = 100 * (inside - outside)
    text = f"The model is right on {percent(inside)} of members and on {percent(outside)} of non-members"
    return [f"{text}: a gap of {gap:.1f} points, which anybody can use who knows the right answer."]


def _promise(report: Findings) -> list[str]:
    claim = report.claim
    if claim is None:
        return []
    promised = f"epsilon {claim.epsilon:g} (delta {claim.delta:g}) was promised"
    if claim.at_least is None:
        return [f"Differential privacy with {promised}; here nothing can be said about that."]
    proven = f"{claim.at_least.attack} proves at least {claim.at_least.value:.2f}"
    kept = "That does not contradict the promise, and does not prove it"
    verdict = "That refutes the promise" if claim.refuted else kept
    return [f"Differential privacy with {promised}; {proven}. {verdict}."]


def advice(report: Findings, opening: Headline) -> list[str]:
    """What to do next, the most urgent first."""
    todo = []
    if any(note.code not in ("no-opinion", "saturated") for note in report.notes):
        todo.append("Read the notes, and check the file as each of them says; then audit again.")
    if opening.level in ("yes", "badly"):
        todo.append(
            "Do not publish the model or its probabilities as they are. What helps: stop training earlier, regularise,"
            " use more data, train with differential privacy (DP-SGD); then audit again, with the same samples."
        )
    elif opening.level == "slightly":
        text = "Decide whether so much is acceptable for these people, and set a limit for later models"
        todo.append(f"{text} (--fail-if).")
    if not report.references:
        todo.append(
            "Audit with reference models (--reference): attacks that know how hard each sample is usually find more."
        )
    fewest = min(counts(report.member[report.evaluated]))
    if report.lowest_fpr != FPRS[-1]:
        text = "Audit with more samples: false positive rates of 0.1 % need 10,000 evaluated non-members"
        todo.append(f"{text}, and here the smaller side has {fewest:,}.")
    return todo
