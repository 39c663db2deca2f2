"""Verdicts as text for a terminal and as JSON types. Both depend on results only: no seconds, dates or paths."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from mialab.claims.claim import Claim, Filter
from mialab.claims.printed import Finding, audit
from mialab.claims.verdict import NO_EFFECT, NOT_RUN, UNDECIDED, VERDICTS, Verdict, over_all
from mialab.names import unknown

PAPERS = ("ensemble", "pruning")
WIDTH = 120
MISSES = 0.025  # of the times an interval lies wholly on one side of the truth, at most
LEGEND = (
    "A verdict comes from the 95 % interval of the effect over seeds (Student's t). supported: all of it lies where "
    "the claim puts the effect. contradicted: none of it does. no relevant effect: all of it is nearer to 0 than the "
    "smallest effect of interest, 0.01 where the claim names no other (our choice), on whichever side. undecided: it "
    "holds the border (0, for an effect above or below 0), or there is no interval (fewer than three seeds, or the "
    "same number in all of them where it is neither a count nor a share of known trials), or cells of the result are "
    "missing. not run: there is no result, or both sides of the comparison are one. 'Within 0 ± m' is supported by two "
    "one-sided tests at 2.5 % each.",
    "Over all: a sentence is about all of its paper's settings, and supported only if each of them is. flips at: the "
    "border, margin or smallest effect of interest at which this interval would no longer decide so.",
    "A seed is a repetition: a fresh draw of the data where they are synthetic (textures), else another training and "
    "another share known to the attacker on the same data. On those, an interval says nothing of other data.",
    "The papers' own data and architectures are judged at preset paper only; a stand-in speaks for itself, at every "
    "preset, and the papers' own settings with fewer epochs (preset course) count as stand-ins. Of several results one "
    "is judged, and which one does not depend on what it says: none that is superseded if there is another; then one "
    "that lacks no cell; one with three seeds or more; the larger preset; more "
    "seeds; recorded before local. Results of different devices are never pooled. paper: the same effect "
    "in the paper's own tables.",
)


def text(verdicts: Sequence[Verdict], *, paper: str | None = None, verdict: str | None = None) -> str:
    """The judged claims by paper, a legend, and the audit of the printed numbers; ends in a newline.

    Claims that were not run are counted by experiment; verdict="not run" lists them. paper, verdict: only these; with a
    verdict, the audit is left out. Raises ValueError for an unknown one, with close names.
    """
    chosen, listed, whole = _chosen(verdicts, paper, verdict), verdict == NOT_RUN, _over_all(verdicts)
    blocks = [
        _of_paper(name, own, whole, listed=listed)
        for name in PAPERS
        if (own := [v for v in chosen if v.claim.paper == name])
    ]
    blocks += [[line for part in (*LEGEND, chance(chosen)) for line in _wrapped(part)]]
    if verdict is None:
        blocks.append(_printed([finding for finding in audit() if paper in (None, finding.check.paper)]))
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def to_dict(verdicts: Sequence[Verdict], *, paper: str | None = None, verdict: str | None = None) -> dict:
    """The same as JSON types: {"version": 1, "claims": [CLAIM], "printed": [CHECK]}.

    CLAIM: {"id", "paper", "section", "sentence", "experiment", "test", "choice", "matters", "over_all", "verdicts":
    [{"verdict", "setting", "stand_in", "effect": {"value", "low", "high"} or None, "flips_at", "seeds", "missing",
    "reason", "compared", "preset", "origin", "device" (None of a local result), "paper_effect"}]}. CHECK: {"id",
    "paper", "where", "sentence", "said", "consistent", "numbers"}. Raises ValueError as `text` does.
    """
    chosen, whole = _chosen(verdicts, paper, verdict), _over_all(verdicts)
    findings = audit() if verdict is None else []
    return {
        "version": 1,
        "claims": [_claim_dict(claim, own, whole[claim.id]) for claim, own in _by_claim(chosen)],
        "printed": [_finding_dict(finding) for finding in findings if paper in (None, finding.check.paper)],
    }


def judged_rows(verdicts: Sequence[Verdict]) -> list[dict]:
    """A row for each verdict that rests on a result, for `notebook.table`."""
    whole = _over_all(verdicts)
    return [
        {
            "claim": _said(verdict.claim) + _whole(verdict.claim, whole),
            "verdict": verdict.verdict,
            "effect": f"{effect_text(verdict)}; {_to_be(verdict.claim)}{_flips(verdict)}",
            "measured on": f"{_where(verdict)}; {plural(verdict.seeds, 'seed')}",
        }
        for verdict in verdicts
        if verdict.verdict != NOT_RUN
    ]


def waiting_rows(verdicts: Sequence[Verdict]) -> list[dict]:
    """A row for each claim that was not run on all of its paper's settings, for `notebook.table`."""
    return [
        {
            "claim": _said(claim),
            "effect": _to_be(claim),
            "experiment": claim.experiment,
            "on": _settings(own),
        }
        for claim, own in _by_claim([verdict for verdict in verdicts if verdict.verdict == NOT_RUN])
    ]


def check_rows(findings: Sequence[Finding]) -> list[dict]:
    """A row for each check of the printed numbers, for `notebook.table`."""
    return [
        {
            "where": finding.check.where,
            "would have to hold": finding.check.sentence,
            "holds": "yes" if finding.consistent else "no",
            "numbers": numbers_text(finding),
        }
        for finding in findings
    ]


def count(verdicts: Sequence[Verdict]) -> str:
    """How many of each kind, in words."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    return ", ".join(f"{counts[kind]} {kind}" for kind in VERDICTS if counts[kind])


def chance(verdicts: Sequence[Verdict]) -> str:
    """How many of these verdicts are wrong by chance, at most and in the mean over repetitions of everything."""
    judged = [verdict for verdict in verdicts if verdict.effect is not None and not verdict.reason]
    sampled = sum(not verdict.claim.effect.counted for verdict in judged)
    if not sampled:
        return "None of these verdicts rests on an interval with sampling error."
    decided = sum(not verdict.claim.effect.counted and verdict.verdict != UNDECIDED for verdict in judged)
    return (
        f"{sampled} of these verdicts rest on an interval with sampling error, and {decided} of them decide something. "
        f"Whatever is true, an interval decides wrongly on a given side in at most {100 * MISSES:g} % of all cases. So "
        f"in the mean at most {MISSES * sampled:.1f} of the {sampled} are wrong, and {2 * MISSES * sampled:.1f} if "
        "every true effect lay exactly on its border. They share runs, so that errors come in groups. What is counted, "
        "such as weights, has no such error and is left out."
    )


def plural(number: int, name: str) -> str:
    """A number and what is counted: "1 seed", "2 seeds"."""
    return f"{number} {name}{'s' * (number != 1)}"


def place(setting: Filter) -> str:
    """A data set and its architecture, in words."""
    return ", ".join(" or ".join(value) if isinstance(value, tuple) else str(value) for value in setting.values())


def effect_text(verdict: Verdict) -> str:
    """The effect and its interval, or nothing."""
    if verdict.effect is None:
        return ""
    value, low, high = (number_text(verdict.claim, number) for number in verdict.effect)
    return f"{value} [{low}, {high}]" if low else value


def number_text(claim: Claim, number: float | None) -> str:
    """An effect in four decimals where they show something, else in four digits; a sign where 0 is the border."""
    if number is None:
        return ""
    sign = "" if claim.null else "+"
    return f"{number:{sign}.4f}" if number == 0 or 0.001 <= abs(number) < 10 else f"{number:{sign}.4g}"


def source_text(verdict: Verdict) -> str:
    """Where a verdict comes from: preset, origin and, of a recorded result, device; and what keeps it from judging."""
    named = verdict.origin != "local" or ", " in verdict.device  # this machine, unless several had a part in it
    where = f"{verdict.origin} on {verdict.device}" if named else verdict.origin
    return f"{verdict.preset}, {where}" + (f"; {verdict.reason}" if verdict.reason else "")


def _chosen(verdicts, paper, verdict) -> list[Verdict]:
    for kind, name, known in (("paper", paper, PAPERS), ("verdict", verdict, VERDICTS)):
        if name is not None and name not in known:
            raise ValueError(unknown(kind, name, known))
    return [v for v in verdicts if paper in (None, v.claim.paper) and verdict in (None, v.verdict)]


def _by_claim(verdicts: Sequence[Verdict]) -> list[tuple[Claim, list[Verdict]]]:
    claims: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        claims.setdefault(verdict.claim.id, []).append(verdict)
    return [(own[0].claim, own) for own in claims.values()]


def _over_all(verdicts: Sequence[Verdict]) -> dict[str, str]:
    return {claim.id: over_all(own) for claim, own in _by_claim(verdicts)}


def _of_paper(paper: str, verdicts: Sequence[Verdict], whole: dict[str, str], *, listed: bool) -> list[str]:
    lines = [f"{paper} paper: {len(_by_claim(verdicts))} claims"]
    for stand_in, name in ((False, "on its own data and architectures"), (True, "on stand-ins")):
        if counted := count([verdict for verdict in verdicts if verdict.stand_in == stand_in]):
            lines.append(f"  {name}: {counted}")
    said = Counter(whole[claim.id] for claim, _ in _by_claim(verdicts))
    lines.append("  claims over all of their settings: " + ", ".join(f"{said[k]} {k}" for k in VERDICTS if said[k]))
    waiting = [verdict for verdict in verdicts if verdict.verdict == NOT_RUN]
    shown = waiting if listed else [verdict for verdict in verdicts if verdict.verdict != NOT_RUN]
    lines += [line for claim, own in _by_claim(shown) for line in _of_claim(claim, own, whole[claim.id])]
    return lines + ([] if listed else _counted(waiting))


def _counted(waiting: Sequence[Verdict]) -> list[str]:
    """A line for each experiment of claims that were not run, and how to see these."""
    experiments: dict[str, list[Verdict]] = {}
    for verdict in waiting:
        experiments.setdefault(verdict.claim.experiment, []).append(verdict)
    lines = [
        f"  {name}: {plural(len(_by_claim(own)), 'claim')}, {plural(len(own), 'verdict')}"
        for name, own in experiments.items()
    ]
    return [f"{NOT_RUN}, listed by --verdict '{NOT_RUN}':", *lines] if lines else []


def _of_claim(claim: Claim, verdicts: Sequence[Verdict], whole: str) -> list[str]:
    lines = _wrapped(f"{_said(claim)} [effect {_to_be(claim)}]", indent=4)
    for verdict in verdicts:
        if verdict.verdict != NOT_RUN:
            seeds = plural(verdict.seeds, "seed")
            lines += _wrapped(f"  {verdict.verdict:<18}  {effect_text(verdict):<26}  {seeds:<7}  {_where(verdict)}", 59)
        if verdict.verdict not in (UNDECIDED, NOT_RUN):
            lines += _wrapped(f"{'':<22}{verdict.compared}{_flips(verdict)}", indent=22)
    if len(claim.settings) > 1:
        lines.append(f"  over all: {whole}")
    if missing := [verdict for verdict in verdicts if verdict.verdict == NOT_RUN]:
        lines += _wrapped(f"  {NOT_RUN:<18}  {claim.experiment}: {_settings(missing)}", indent=22)
    return lines


def _said(claim: Claim) -> str:
    return f"{claim.id} ({claim.section}): {claim.sentence}"


def _whole(claim: Claim, whole: dict[str, str]) -> str:
    return f" Over all {len(claim.settings)} settings: {whole[claim.id]}." if len(claim.settings) > 1 else ""


def _to_be(claim: Claim) -> str:
    return f"to be {claim.test}" + (f" ({claim.choice})" if claim.choice else "")


def _flips(verdict: Verdict) -> str:
    if verdict.flips_at is None:
        return ""
    number = number_text(verdict.claim, verdict.flips_at)
    if verdict.claim.direction == "=" or verdict.verdict == NO_EFFECT:
        return f"; flips at a margin of {number.lstrip('+')}"
    return f"; flips at {number}"


def _settings(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(place(verdict.setting) + _on_paper(verdict) for verdict in verdicts)


def _where(verdict: Verdict) -> str:
    stand_in = "stand-in " if verdict.stand_in else ""
    return f"{stand_in}{place(verdict.setting)}: {source_text(verdict)}{_on_paper(verdict)}"


def _on_paper(verdict: Verdict) -> str:
    return "" if verdict.paper_effect is None else f" (paper {number_text(verdict.claim, verdict.paper_effect)})"


def _printed(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for said, what in ((True, "what the papers say"), (False, "what we observe and the papers do not say")):
        own = [finding for finding in findings if finding.check.said == said]
        agree = sum(finding.consistent for finding in own)
        lines.append(f"audit of the printed numbers, {what}: {agree} of {len(own)} agree (per cent, points, millions)")
        for finding in own:
            check, answer = finding.check, "agrees" if finding.consistent else "does not agree"
            lines += _wrapped(f"{check.id} ({check.where}): {check.sentence}", indent=4)
            lines += _wrapped(f"  {answer:<14}  {numbers_text(finding)}", indent=18)
    return lines


def numbers_text(finding: Finding) -> str:
    """A finding's numbers in one line."""
    return "; ".join(f"{name} {value:g}" for name, value in rounded(finding).items())


def rounded(finding: Finding) -> dict[str, float]:
    """A finding's numbers, to four digits: as the papers print theirs."""
    return {name: float(f"{value:.4g}") for name, value in finding.numbers.items()}


def _wrapped(line: str, indent: int = 0) -> list[str]:
    """The line broken at 120 columns; what follows the first is indented."""
    lead = len(line) - len(line.lstrip())
    body = textwrap.fill(
        line.lstrip(),
        WIDTH,
        initial_indent=" " * lead,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return body.splitlines()


def _claim_dict(claim: Claim, verdicts: Sequence[Verdict], whole: str) -> dict:
    plain = ("id", "paper", "section", "sentence", "experiment", "test", "choice", "matters")
    said = {name: getattr(claim, name) for name in plain}
    return {**said, "over_all": whole, "verdicts": [_verdict_dict(verdict) for verdict in verdicts]}


def _verdict_dict(verdict: Verdict) -> dict:
    plain = (
        *("verdict", "stand_in", "flips_at", "seeds", "missing", "reason"),
        *("compared", "preset", "origin", "paper_effect"),
    )
    return {
        **{name: getattr(verdict, name) for name in plain},
        "setting": {name: list(v) if isinstance(v, tuple) else v for name, v in verdict.setting.items()},
        "effect": verdict.effect and verdict.effect._asdict(),
        "device": None if verdict.origin in ("", "local") else verdict.device,
    }


def _finding_dict(finding: Finding) -> dict:
    said = {name: getattr(finding.check, name) for name in ("id", "paper", "where", "sentence", "said")}
    return {**said, "consistent": finding.consistent, "numbers": rounded(finding)}
