"""Verdicts as text for a terminal and as JSON types. Both depend on results only: no seconds, dates or paths."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from mialab.claims.claim import Claim, Filter, matches
from mialab.claims.printed import Finding, audit
from mialab.claims.verdict import ERRORS, NOT_RUN, SUPPORTED, VERDICTS, Judged, Overall, Verdict, overall
from mialab.names import unknown

PAPERS = ("ensemble", "pruning")
WIDTH = 120
ASKED = {"direction": "a direction", "bound": "a bound", "equivalence": "likeness"}
FLIPS = {"direction": "smallest effect of interest", "bound": "bound", "equivalence": "margin"}
LEGEND = (
    "A verdict comes from the 95 % interval of the effect over seeds (Student's t). no relevant effect: all of it lies "
    "closer to none than the smallest effect of interest, which is our choice. Else supported: all of it lies where "
    "the claim puts the effect. contradicted: none of it does. undecided: it holds the border, or there are fewer than "
    "three seeds, or cells of the result are missing, or what the sentence takes for granted is not shown. not run: "
    "there is no result, or both sides of the comparison are one. Likeness is two one-sided tests at 2.5 % each.",
    "flips: the margin, bound or smallest effect of interest at which another verdict would come. A number that is the "
    "same in every seed has no spread. It is taken to be known to half the smallest effect of interest; a share of "
    "random draws, to what all draws together leave open.",
    "An effect of two standard deviations between seeds is found by three seeds in about half of all cases, by five in "
    "nine of ten.",
    "A seed is a repetition: a fresh draw of the data where they are synthetic (textures), else another training and "
    "another share known to the attacker on the same data. On those, an interval says nothing of other data.",
    "Only preset paper speaks in a paper's name, on the paper's own data and architectures, and a claim is supported "
    "there only if each of these supports it. A shortened training (course) and a stand-in speak for themselves. Of "
    "several results one is judged, and which one does not depend on what it says: none that is superseded if there is "
    "another; then one that lacks no cell; one with three seeds or more; the larger preset; more seeds; recorded "
    "before local. Results of different devices are never pooled. paper: the same effect in the paper's own tables, or "
    "in its Figure 2, whose unit is not stated.",
)


def text(verdicts: Sequence[Verdict], *, paper: str | None = None, verdict: str | None = None) -> str:
    """The judged claims by paper, a legend, and the audit of the printed numbers; ends in a newline.

    Claims that were not run are counted by experiment; verdict="not run" lists them. paper, verdict: only these; with a
    verdict, the audit is left out. Raises ValueError for an unknown one, with close names.
    """
    chosen, listed = _chosen(verdicts, paper, verdict), verdict == NOT_RUN
    blocks = [_of_paper(name, own, listed) for name in PAPERS if (own := [v for v in chosen if v.claim.paper == name])]
    blocks += [[line for part in (*LEGEND, chance(chosen)) for line in _wrapped(part)]]
    if verdict is None:
        blocks.append(_printed([finding for finding in audit() if paper in (None, finding.check.paper)]))
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def to_dict(verdicts: Sequence[Verdict], *, paper: str | None = None, verdict: str | None = None) -> dict:
    """The same as JSON types: {"version": 1, "claims": [CLAIM], "printed": [CHECK]}.

    CLAIM: {"id", "paper", "section", "sentence", "experiment", "test", "also", "given", "choice", "verdict" (in the
    paper's name, over all its settings), "verdicts": [{"verdict", "setting", "stand_in", "reason", "main": TEST or
    None, "also": [TEST], "given": [TEST], "missing", "preset", "origin", "device" (None of a local result),
    "paper_effect"}]}. TEST: {"verdict", "effect": {"value", "low", "high"} or None, "seeds", "constant", "compared",
    "reason", "flips_at"}. CHECK: {"id", "paper", "where", "sentence", "observation", "consistent", "note", "numbers"}.
    Raises ValueError as `text` does.
    """
    chosen = _chosen(verdicts, paper, verdict)
    findings = audit() if verdict is None else []
    said = {one.claim.id: one.verdict for one in overall(verdicts)}
    return {
        "version": 1,
        "claims": [_claim_dict(claim, own, said.get(claim.id)) for claim, own in _by_claim(chosen)],
        "printed": [_finding_dict(finding) for finding in findings if paper in (None, finding.check.paper)],
    }


def overall_rows(verdicts: Sequence[Verdict]) -> list[dict]:
    """A row for each claim of which something was run on its paper's own settings, for `notebook.table`."""
    return [
        {"claim": _said(one.claim), "in the paper's name": one.verdict, "on": _places(one)}
        for one in overall(verdicts)
        if one.verdict != NOT_RUN
    ]


def judged_rows(verdicts: Sequence[Verdict]) -> list[dict]:
    """A row for each verdict that rests on a result, for `notebook.table`."""
    return [
        {
            "claim": _said(verdict.claim),
            "verdict": verdict.verdict,
            "effect": "; ".join([f"{effect_text(verdict)}, {_to_be(verdict.claim)}", *_texts(verdict)[1:]]),
            "flips at": "; ".join(flips_text(one) for one in verdict.parts if one.flips_at is not None),
            "measured on": f"{_where(verdict)}; {plural(verdict.seeds, 'seed')}",
        }
        for verdict in verdicts
        if verdict.verdict != NOT_RUN
    ]


def waiting_rows(verdicts: Sequence[Verdict]) -> list[dict]:
    """A row for each claim that was not run on all of its paper's settings, for `notebook.table`."""
    return [
        {"claim": _said(claim), "effect": _asked(claim), "experiment": claim.experiment, "on": _settings(own)}
        for claim, own in _by_claim([verdict for verdict in verdicts if verdict.verdict == NOT_RUN])
    ]


def check_rows(findings: Sequence[Finding]) -> list[dict]:
    """A row for each check of the printed numbers, for `notebook.table`."""
    return [
        {
            "where": finding.check.where,
            "observation" if finding.check.observation else "would have to hold": finding.check.sentence,
            "holds": "yes" if finding.consistent else "no",
            "numbers": numbers_text(finding),
        }
        for finding in findings
    ]


def count(verdicts: Sequence[Verdict | Overall]) -> str:
    """How many of each kind, in words."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    return ", ".join(f"{counts[kind]} {kind}" for kind in VERDICTS if counts[kind])


def chance(verdicts: Sequence[Verdict]) -> str:
    """How many of these verdicts chance may make wrong at most, by what is asked, in words."""
    judged = [v for v in verdicts if v.verdict != NOT_RUN and not v.reason]
    counts = Counter(one.test.kind for v in judged for one in (*v.parts[:1], *v.also) if one.sampled)
    if not counts:
        return "None of these verdicts rests on an interval that chance has a part in."
    asked = ", ".join(f"{counts[kind]} for {ASKED[kind]} ({100 * ERRORS[kind]:g} %)" for kind in ERRORS if counts[kind])
    wrong = sum(verdict.errors for verdict in judged)
    return (
        f"These verdicts rest on {plural(counts.total(), 'test')} in which chance has a part: {asked}. In brackets is "
        "how often chance makes such a test wrong at most, which is where the truth is least favourable: no effect at "
        f"all, or one at the very bound. So at most {wrong:.1f} of these verdicts are to be expected wrong. They share "
        "runs, so that errors come in groups. Numbers that are the same in every seed are not counted."
    )


def plural(number: int, name: str) -> str:
    """A number and what is counted: "1 seed", "2 seeds"."""
    return f"{number} {name}{'s' * (number != 1)}"


def place(setting: Filter) -> str:
    """A data set and its architecture, in words."""
    return ", ".join(" or ".join(value) if isinstance(value, tuple) else str(value) for value in setting.values())


def effect_text(verdict: Verdict) -> str:
    """The effect and its interval, or nothing."""
    return "" if verdict.main is None else _effect(verdict.main)


def flips_text(one: Judged) -> str:
    """The margin, bound or smallest effect of interest at which a verdict would flip; nothing where there is none."""
    return "" if one.flips_at is None else f"{FLIPS[one.test.kind]} {one.flips_at:.3g}"


def _effect(one: Judged) -> str:
    if one.effect is None:
        return ""
    value, *ends = _numbers(one.test.null, *(number for number in one.effect if number is not None))
    if one.constant:
        return f"{value} in every seed"
    return f"{value} [{', '.join(ends)}]" if ends else value


def _numbers(null: float, *numbers: float) -> list[str]:
    """Effects in four decimals where they show something, else in four digits; a sign where one may be below 0."""
    sign, most = "" if null > 0 else "+", max(map(abs, numbers))
    digits = "4f" if most == 0 or 0.001 <= most < 10 else "4g"
    return [f"{number:{sign}.{digits}}" for number in numbers]


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


def _of_paper(paper: str, verdicts: Sequence[Verdict], listed: bool) -> list[str]:
    said = {one.claim.id: one for one in overall(verdicts)}
    lines = [f"{paper} paper: {len(_by_claim(verdicts))} claims"]
    lines += [f"  in the paper's name, over all its settings: {count(list(said.values()))}"] if said else []
    if stand_ins := count([verdict for verdict in verdicts if verdict.stand_in]):
        lines.append(f"  on stand-ins and shortened trainings, each by itself: {stand_ins}")
    waiting = [verdict for verdict in verdicts if verdict.verdict == NOT_RUN]
    shown = waiting if listed else [verdict for verdict in verdicts if verdict.verdict != NOT_RUN]
    lines += [line for claim, own in _by_claim(shown) for line in _of_claim(claim, own, said.get(claim.id))]
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


def _of_claim(claim: Claim, verdicts: Sequence[Verdict], said: Overall | None) -> list[str]:
    lines = _wrapped(f"{_said(claim)} [effect {_to_be(claim)}]", indent=4)
    if said and said.verdict != NOT_RUN:
        lines += _wrapped(f"  in the paper's name: {said.verdict} ({_places(said)})", indent=4)
    for verdict in verdicts:
        if verdict.verdict != NOT_RUN:
            seeds = plural(verdict.seeds, "seed")
            lines += _wrapped(f"  {verdict.verdict:<18}  {effect_text(verdict):<26}  {seeds:<7}  {_where(verdict)}", 59)
            lines += [line for said in _details(verdict) for line in _wrapped(f"{'':<22}{said}", indent=24)]
    if missing := [verdict for verdict in verdicts if verdict.verdict == NOT_RUN]:
        lines += _wrapped(f"  {NOT_RUN:<18}  {claim.experiment}: {_settings(missing)}", indent=22)
    return lines


def _details(verdict: Verdict) -> list[str]:
    """What was compared and where the verdict would flip, and the same of the claim's further tests."""
    flips = (f"; flips at {flips_text(one)}" if one.flips_at is not None else "" for one in verdict.parts)
    return [said + flip for said, flip in zip(_texts(verdict), flips, strict=True)]


def _texts(verdict: Verdict) -> list[str]:
    """What was compared, and what became of the claim's further tests."""
    further = [f"{word}: {_further(one)}" for word in ("also", "given") for one in getattr(verdict, word)]
    return [verdict.main.compared if verdict.main else "", *further]


def _further(one: Judged) -> str:
    return f"{one.compared or one.test.effect} {_effect(one) or one.reason} to be {one.test}: {one.verdict}"


def _places(said: Overall) -> str:
    """Where a claim has which verdict; only the number of settings where it has but one."""
    if len(said.by) == 1 and said.verdict in (SUPPORTED, NOT_RUN):
        return plural(len(said.by[said.verdict]), "setting")
    return "; ".join(f"{kind}: {' / '.join(place(one.setting) for one in own)}" for kind, own in said.by.items())


def _said(claim: Claim) -> str:
    return f"{claim.id} ({claim.section}): {claim.sentence}"


def _to_be(claim: Claim) -> str:
    return f"to be {claim.test}" + (f"; {claim.choice}" if claim.choice else "")


def _asked(claim: Claim) -> str:
    """All that a claim asks for, its further tests too."""
    further = [f"{word} {one.effect} {one}" for word in ("also", "given") for one in getattr(claim, word)]
    return "; ".join([_to_be(claim), *further])


def _settings(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(place(verdict.setting) + _on_paper(verdict) for verdict in verdicts)


def _where(verdict: Verdict) -> str:
    own = any(matches(dict(verdict.setting), setting) for setting in verdict.claim.settings)
    kind = ("shortened " if own else "stand-in ") if verdict.stand_in else ""
    return f"{kind}{place(verdict.setting)}: {source_text(verdict)}{_on_paper(verdict)}"


def _on_paper(verdict: Verdict) -> str:
    found = verdict.paper_effect
    return "" if found is None else f" (paper {_numbers(verdict.claim.test.null, found)[0]})"


def _printed(findings: Sequence[Finding]) -> list[str]:
    sentences = [finding for finding in findings if not finding.check.observation]
    observations = [finding for finding in findings if finding.check.observation]
    agree = sum(finding.consistent for finding in sentences)
    lines = [f"audit of the printed numbers: {agree} of {len(sentences)} sentences agree (per cent, points, millions)"]
    lines += [line for finding in sentences for line in _finding(finding, "agrees", "does not agree")]
    if observations:
        lines += ["observations on the printed numbers, which no sentence of the paper states or denies"]
    return lines + [line for finding in observations for line in _finding(finding, "holds", "does not hold")]


def _finding(finding: Finding, yes: str, no: str) -> list[str]:
    check, answer = finding.check, yes if finding.consistent else no
    return [
        *_wrapped(f"{check.id} ({check.where}): {check.sentence}", indent=4),
        *_wrapped(f"  {answer:<14}  {numbers_text(finding)}", indent=18),
    ]


def numbers_text(finding: Finding) -> str:
    """A finding's numbers in one line, and what there is to say of them."""
    numbers = "; ".join(f"{name} {value:g}" for name, value in rounded(finding).items())
    return f"{numbers}. {finding.check.note}" if finding.check.note else numbers


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


def _claim_dict(claim: Claim, verdicts: Sequence[Verdict], said: str | None) -> dict:
    plain = {name: getattr(claim, name) for name in ("id", "paper", "section", "sentence", "experiment", "choice")}
    tests = {"test": str(claim.test), "also": list(map(str, claim.also)), "given": list(map(str, claim.given))}
    return {**plain, **tests, "verdict": said, "verdicts": [_verdict_dict(verdict) for verdict in verdicts]}


def _verdict_dict(verdict: Verdict) -> dict:
    plain = ("verdict", "stand_in", "missing", "reason", "preset", "origin", "paper_effect")
    return {
        **{name: getattr(verdict, name) for name in plain},
        "setting": {name: list(v) if isinstance(v, tuple) else v for name, v in verdict.setting.items()},
        "main": verdict.main and _judged_dict(verdict.main),
        **{name: list(map(_judged_dict, getattr(verdict, name))) for name in ("also", "given")},
        "device": None if verdict.origin in ("", "local") else verdict.device,
    }


def _judged_dict(one: Judged) -> dict:
    plain = ("verdict", "seeds", "constant", "compared", "reason", "flips_at")
    return {name: getattr(one, name) for name in plain} | {"effect": one.effect and one.effect._asdict()}


def _finding_dict(finding: Finding) -> dict:
    said = {name: getattr(finding.check, name) for name in ("id", "paper", "where", "sentence", "observation", "note")}
    return {**said, "consistent": finding.consistent, "numbers": rounded(finding)}
