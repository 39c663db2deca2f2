"""From rows to verdicts: which result speaks for a claim, the interval over its seeds, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mialab import metrics
from mialab.claims import tables
from mialab.claims.claim import Claim, Criterion, Filter, matches
from mialab.engine.grid import PRESETS
from mialab.metrics import Estimate

if TYPE_CHECKING:
    from mialab.results.lines import Result

SUPPORTED, CONTRADICTED, NO_EFFECT = "supported", "contradicted", "no relevant effect"
UNDECIDED, NOT_RUN = "undecided", "not run"
VERDICTS = (SUPPORTED, CONTRADICTED, NO_EFFECT, UNDECIDED, NOT_RUN)
PLACE = ("data", "model")
FEWEST_SEEDS = 3
OWN_PRESET = "paper"  # the only one that changes nothing about a paper's setting
ROUNDING = 1e-9  # relative width up to which an interval is one number: sums of floats differ by less
# The most that a verdict of each kind is wrong by chance, whatever the truth: where there is no effect at all, at the
# bound, and where the margin is narrow beside the interval.
ERRORS = {"direction": 0.05, "bound": 0.025, "equivalence": 0.05}


@dataclass(frozen=True)
class Judged:
    """What the rows of one place say of one test.

    effect: mean and 95 % interval over `seeds` repetitions (Student's t; no interval from a single one), None if it was
    not measured. constant: the same in every seed, so that the interval is no sampling error but half the smallest
    effect of interest on either side. compared: the effect in words, with the epochs and sizes that were found. reason:
    why the effect cannot be judged, "" where it can.
    """

    test: Criterion
    verdict: str
    effect: Estimate | None = None
    seeds: int = 0
    constant: bool = False
    compared: str = ""
    reason: str = ""

    @property
    def sampled(self) -> bool:
        """Whether a verdict could come of it, and chance could make it wrong."""
        return self.effect is not None and not self.reason and not self.constant

    @property
    def flips_at(self) -> float | None:
        """The margin, bound or smallest effect of interest at which another verdict would come; None without any.

        Of likeness, the margin from which (contradicted: up to which) it is supported. Of a bound, where it would stop
        being kept (contradicted: being missed). Else the smallest effect of interest from which none is relevant.
        """
        if self.effect is None or self.reason:
            return None
        (_, low, high), null = self.effect, self.test.null
        if self.test.kind == "bound":
            return low if (self.test.direction == ">") != (self.verdict == CONTRADICTED) else high
        if self.test.kind == "equivalence" and self.verdict == CONTRADICTED:
            return max(low - null, null - high)
        return max(abs(low - null), abs(high - null))


@dataclass(frozen=True)
class Verdict:
    """What one result says of a claim on one data set and architecture.

    setting: data and model; of a claim that was not run, the filter that found nothing. stand_in: not in the paper's
    name, be it another data set or network, or the paper's own with a preset that shortens its training. main: of the
    claim's test. also, given: of its further ones. preset, origin ("local", "recorded", "superseded"), device: of the
    result that spoke; missing: cells that it still lacks. paper_effect: the same effect in the paper's own tables or
    its Figure 2, None where these lack it.
    """

    claim: Claim
    verdict: str
    setting: Filter
    stand_in: bool = False
    main: Judged | None = None
    also: tuple[Judged, ...] = ()
    given: tuple[Judged, ...] = ()
    preset: str = ""
    origin: str = ""
    device: str = ""
    missing: int = 0
    paper_effect: float | None = None

    @property
    def parts(self) -> tuple[Judged, ...]:
        """All that was judged, the claim's own test first."""
        return ((self.main,) if self.main else ()) + self.also + self.given

    @property
    def effect(self) -> Estimate | None:
        """That of the claim's test."""
        return self.main.effect if self.main else None

    @property
    def seeds(self) -> int:
        """How many repetitions the claim's test saw."""
        return self.main.seeds if self.main else 0

    @property
    def reason(self) -> str:
        """Why nothing can be said, or "": of the claim's test, or of what it takes for granted."""
        if self.main is None or self.main.reason:
            return self.main.reason if self.main else ""
        unmet = [one for one in self.given if one.verdict != SUPPORTED]
        return "what the sentence takes for granted is not shown" if unmet else ""

    @property
    def errors(self) -> float:
        """The most by which chance makes this verdict wrong: 0.05 is one case in twenty."""
        if self.verdict == NOT_RUN or self.reason:
            return 0.0
        return sum(ERRORS[one.test.kind] for one in (*self.parts[:1], *self.also) if one.sampled)


@dataclass(frozen=True)
class Overall:
    """A claim's verdict in the paper's name, over all of the paper's settings.

    Supported only if each setting supports it, which asks so much that nothing need be corrected for their number.
    Contradicted, or without relevant effect, if any is: each such verdict stands for its setting alone, and the more
    settings there are, the likelier is one by chance. by: the settings' verdicts.
    """

    claim: Claim
    verdict: str
    by: dict[str, list[Verdict]]


class _Heard(NamedTuple):
    """A result that can be asked about a claim at one place, with its rows there and the seeds that have the effect."""

    result: Result
    rows: list[dict]
    seeds: int


def verdicts(results: Iterable[Result], claims: Sequence[Claim]) -> list[Verdict]:
    """A verdict for every claim on every setting of the paper, and for every stand-in that has a result.

    The paper's own settings are judged in its name on results of preset `paper` only, and apart from that, like a
    stand-in, on those of `course`, which shortens the training. Of several results one speaks and the others are not
    heard, by a rule that does not look at what they say; see `rank`. A result that lacks cells of a data set and
    architecture, of which a claim may read rows, is undecided there: what "first" and "last" mean, and which seeds
    there are, is known only of a whole grid.
    """
    by_experiment: dict[str, list[Result]] = {}
    for result in results:
        by_experiment.setdefault(result.experiment, []).append(result)
    return [verdict for claim in claims for verdict in _of_claim(claim, by_experiment.get(claim.experiment, []))]


def overall(verdicts: Sequence[Verdict]) -> list[Overall]:
    """The verdict on each claim in its paper's name: from those on the paper's own settings, and from no stand-in."""
    claims: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if not verdict.stand_in:
            claims.setdefault(verdict.claim.id, []).append(verdict)
    return [_overall(own) for own in claims.values()]


def _overall(own: Sequence[Verdict]) -> Overall:
    by = {kind: there for kind in VERDICTS if (there := [verdict for verdict in own if verdict.verdict == kind])}
    found = next((kind for kind in (CONTRADICTED, NO_EFFECT) if kind in by), UNDECIDED)
    return Overall(own[0].claim, next(iter(by)) if len(by) == 1 else found, by)


def judge(test: Criterion, rows: Sequence[dict], missing: int = 0) -> Judged:
    """What the rows of one place, of which so many cells are missing, say of a test."""
    if not (by_seed := test.effect.per_seed(rows)):
        return Judged(test, UNDECIDED, reason="not measured")
    effect, constant = interval(test, rows)
    reason = why_not(len(by_seed), missing)
    found = UNDECIDED if reason else decide(test, effect)
    return Judged(test, found, effect, len(by_seed), constant, str(test.effect.resolved(rows)), reason)


def interval(test: Criterion, rows: Sequence[dict]) -> tuple[Estimate, bool]:
    """Mean and 95 % interval of a test's effect over seeds, and whether it is the same in every seed.

    Of a share of draws, the interval also holds what the draws of all seeds together leave open (Clopper and Pearson):
    none of 60 may still be one in 20. Any other number that is the same in every seed to the last digit has no spread
    to tell an interval by. It is taken to be known to half the smallest effect of interest: were there a spread that
    matters, seeds would not agree.
    """
    values = list(test.effect.per_seed(rows).values())
    effect, drawn = metrics.mean_interval(values), test.effect.drawn(rows)
    value = effect.value
    if len(values) < FEWEST_SEEDS:
        return effect, False
    if drawn:
        low, high = metrics.clopper_pearson(value * drawn, drawn, metrics.TAIL)
        return Estimate(value, min(effect.low, float(low)), max(effect.high, float(high))), False
    if effect.high - effect.low > ROUNDING * max(1.0, abs(value)):
        return effect, False
    half = test.effect.smallest / 2
    return Estimate(value, value - half, value + half), True


def decide(test: Criterion, effect: Estimate) -> str:
    """The verdict that an interval gives.

    No relevant effect where the whole interval is closer to the number that means none than the smallest effect of
    interest. Else supported where the whole interval has what the claim says, and contradicted where the whole interval
    lacks it. Likeness ("within 0 ± m") by a 95 % interval is two one-sided tests at 2.5 % each.
    """
    low, high, null, margin = effect.low, effect.high, test.null, test.margin
    if test.kind == "direction" and null - test.sesoi <= low and high <= null + test.sesoi:
        return NO_EFFECT
    holds, fails = {
        ">": (low > null, high < null),
        "<": (high < null, low > null),
        "=": (null - margin < low and high < null + margin, high < null - margin or low > null + margin),
    }[test.direction]
    return SUPPORTED if holds else CONTRADICTED if fails else UNDECIDED


def why_not(seeds: int, missing: int = 0) -> str:
    """Why an effect cannot be judged whatever its size, in a few words; "" where it can."""
    if missing:
        return f"{missing} cell{'s' * (missing != 1)} missing"
    return f"fewer than {FEWEST_SEEDS} seeds" if seeds < FEWEST_SEEDS else ""


def rank(result: Result, seeds: int, missing: int) -> tuple:
    """Which of several results speaks: the one with the greatest rank, whatever it says.

    A superseded one only when there is no other. Then one that lacks nothing at the place in question before one that
    does; one that can be judged (three seeds or more) before one that cannot; the larger preset; more seeds; recorded
    before local. Equals are told apart by the device's name. Only one device is heard: rows are never pooled.
    """
    current, recorded = result.origin != "superseded", result.origin == "recorded"
    return current, not missing, seeds >= FEWEST_SEEDS, PRESETS.index(result.preset), seeds, recorded


def _of_claim(claim: Claim, results: Sequence[Result]) -> list[Verdict]:
    whole = [result for result in results if result.preset == OWN_PRESET]
    shortened = [result for result in results if result.preset == "course"]
    own = [verdict for setting in claim.settings for verdict in _of_setting(claim, setting, whole)]
    others = [(setting, shortened) for setting in claim.settings] + [(setting, results) for setting in claim.stand_ins]
    return own + [
        verdict
        for setting, heard in others
        for verdict in _of_setting(claim, setting, heard, stand_in=True)
        if verdict.verdict != NOT_RUN
    ]


def _of_setting(claim: Claim, setting: Filter, results: Sequence[Result], *, stand_in: bool = False) -> list[Verdict]:
    """One verdict for each architecture found under the setting; "not run" where there is none."""
    heard: dict[tuple, list[_Heard]] = {}
    for result in sorted(results, key=lambda result: result.device):
        for place, rows in _places(setting, result.rows).items():
            if by_seed := claim.test.effect.per_seed(rows):
                heard.setdefault(place, []).append(_Heard(result, rows, len(by_seed)))
    if not heard:
        return [Verdict(claim, NOT_RUN, setting, stand_in=stand_in, paper_effect=tables.effect(claim, setting))]
    return [
        _of_place(claim, dict(zip(PLACE, place, strict=True)), candidates, stand_in)
        for place, candidates in sorted(heard.items())
    ]


def _of_place(claim: Claim, place: Filter, candidates: Sequence[_Heard], stand_in: bool) -> Verdict:
    tests = (claim.test, *claim.also, *claim.given)

    def missing_of(result: Result) -> int:
        return result.missing_at(dict(place), lambda columns: any(test.effect.reads(columns) for test in tests))

    result, rows, _ = max(candidates, key=lambda heard: rank(heard.result, heard.seeds, missing_of(heard.result)))
    missing = missing_of(result)
    main = judge(claim.test, rows, missing)
    also, given = (tuple(judge(one, rows, missing) for one in further) for further in (claim.also, claim.given))
    return Verdict(
        claim,
        _together([one.verdict for one in (main, *also)], [one.verdict for one in given]),
        place,
        stand_in=stand_in,
        main=main,
        also=also,
        given=given,
        preset=result.preset,
        origin=result.origin,
        device=result.device,
        missing=missing,
        paper_effect=tables.effect(claim, place),
    )


def _together(parts: Sequence[str], given: Sequence[str]) -> str:
    """What follows if a sentence has several parts and takes some things for granted."""
    if any(kind != SUPPORTED for kind in given):
        return UNDECIDED
    return next((kind for kind in (CONTRADICTED, NO_EFFECT, UNDECIDED) if kind in parts), SUPPORTED)


def _places(setting: Filter, rows: Sequence[dict]) -> dict[tuple, list[dict]]:
    places: dict[tuple, list[dict]] = {}
    for row in rows:
        if matches(row, setting):
            places.setdefault(tuple(row[column] for column in PLACE), []).append(row)
    return places
