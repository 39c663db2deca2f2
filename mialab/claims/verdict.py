"""From rows to verdicts: which result speaks for a claim, the interval over its seeds, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mialab import metrics
from mialab.claims import tables
from mialab.claims.claim import Claim, Effect, Filter, Trend, matches
from mialab.engine.grid import PRESETS
from mialab.metrics import Estimate

if TYPE_CHECKING:
    from mialab.results.lines import Result

SUPPORTED, CONTRADICTED, NO_EFFECT = "supported", "contradicted", "no relevant effect"
UNDECIDED, NOT_RUN = "undecided", "not run"
VERDICTS = (SUPPORTED, CONTRADICTED, NO_EFFECT, UNDECIDED, NOT_RUN)
PLACE = ("data", "model")
FEWEST_SEEDS = 3  # with two, the interval is 18 standard deviations wide: they decide by luck
ROUNDING = 1e-9  # relative width up to which an interval is one number: sums of floats differ by less


@dataclass(frozen=True)
class Verdict:
    """What one result says of a claim on one data set and architecture.

    setting: data and model; of a claim that was not run, the filter that found nothing. stand_in: not the paper's own.
    effect: mean and 95 % interval over `seeds` repetitions (Student's t; no interval from a single one; of a share that
    is the same in all of them, Clopper and Pearson's over all its draws or samples), None if not run. compared: the
    effect in words, with the epochs and sizes that were found. preset, origin ("local", "recorded", "superseded"),
    device: of the result that spoke; missing: cells with a part in the effect that it still lacks. reason: why the
    effect cannot be judged, "" where it can. paper_effect: the same effect in the paper's own tables, None where these
    lack it.
    """

    claim: Claim
    verdict: str
    setting: Filter
    stand_in: bool = False
    effect: Estimate | None = None
    seeds: int = 0
    compared: str = ""
    preset: str = ""
    origin: str = ""
    device: str = ""
    missing: int = 0
    reason: str = ""
    paper_effect: float | None = None

    @property
    def flips_at(self) -> float | None:
        """The border, or the margin, at which this interval would no longer decide so; None where it does not decide.

        Of "> 0" supported by [0.03, 0.05] it is 0.03, of "within 0 ± 0.02" contradicted by the same it is a margin of
        0.03, of no relevant effect the smallest effect of interest that would be too small.
        """
        if self.effect is None or self.verdict in (UNDECIDED, NOT_RUN):
            return None
        low, high, null = self.effect.low, self.effect.high, self.claim.null
        distances = abs(low - null), abs(high - null)
        if self.verdict == NO_EFFECT:
            return max(distances)
        holds = self.verdict == SUPPORTED
        if self.claim.direction == "=":
            return max(distances) if holds else min(distances)
        return low if holds == (self.claim.direction == ">") else high


class _Heard(NamedTuple):
    """A result that can be asked about a claim at one place: its effect by seed, and of how many trials a share."""

    result: Result
    effect: Effect | Trend
    by_seed: dict[int, float]
    trials: int | None


def verdicts(results: Iterable[Result], claims: Sequence[Claim]) -> list[Verdict]:
    """A verdict for every claim on every setting of the paper, and for every stand-in that has a result.

    The paper's own settings are judged on results of preset `paper` only; what `course` shows on them, with fewer
    epochs, is marked as a stand-in's. Of several results one speaks and the others are not heard, by a rule that does
    not look at what they say; see `rank`. A result that lacks cells
    of a data set and architecture which may have a part in the effect is undecided there: what "first" and "last" mean,
    and which seeds there are, is known only of a whole grid.
    """
    by_experiment: dict[str, list[Result]] = {}
    for result in results:
        by_experiment.setdefault(result.experiment, []).append(result)
    return [verdict for claim in claims for verdict in _of_claim(claim, by_experiment.get(claim.experiment, []))]


def decide(claim: Claim, effect: Estimate, seeds: int) -> str:
    """The verdict that an interval over seeds gives; undecided with fewer than three of them.

    No relevant effect where the whole interval is nearer to 0 than the smallest effect of interest, on whichever side.
    Else supported where the whole interval has what the claim says, contradicted where the whole interval lacks it. For
    "above 0" that means that it holds 0 when undecided; for "within 0 ± m", that it holds -m or m: two one-sided tests
    at 2.5 % each. Also undecided where all seeds agree to the last digit, since that says nothing of precision, unless
    the effect is counted (weights) or a share of a known number of trials.
    """
    if why_not(claim, effect, seeds):
        return UNDECIDED
    low, high, null, margin = effect.low, effect.high, claim.null, claim.margin
    if -claim.matters < low and high < claim.matters:
        return NO_EFFECT
    holds, fails = {
        ">": (low > null, high < null),
        "<": (high < null, low > null),
        "=": (null - margin < low and high < null + margin, high < null - margin or low > null + margin),
    }[claim.direction]
    return SUPPORTED if holds else CONTRADICTED if fails else UNDECIDED


def why_not(claim: Claim, effect: Estimate, seeds: int, missing: int = 0) -> str:
    """Why an effect cannot be judged whatever its size, in a few words; "" where it can."""
    if missing:
        return f"{missing} cell{'s' * (missing != 1)} missing"
    if seeds < FEWEST_SEEDS:
        return f"{seeds} of the {FEWEST_SEEDS} seeds that a verdict needs"
    if not claim.effect.counted and effect.high - effect.low <= ROUNDING * max(1.0, abs(effect.value)):
        return "the same in all seeds, no interval"
    return ""


def rank(result: Result, seeds: int, missing: int) -> tuple:
    """Which of several results speaks: the one with the greatest rank, whatever it says.

    A superseded one only when there is no other. Then one that lacks nothing at the place in question before one that
    does; one that can decide (three seeds or more) before one that cannot; the larger preset; more seeds; recorded
    before local. Equals are told apart by the device's name. Only one device is heard: rows are never pooled.
    """
    current, recorded = result.origin != "superseded", result.origin == "recorded"
    return current, not missing, seeds >= FEWEST_SEEDS, PRESETS.index(result.preset), seeds, recorded


def _of_claim(claim: Claim, results: Sequence[Result]) -> list[Verdict]:
    at_scale, smaller = ([r for r in results if r.preset in presets] for presets in (("paper",), ("course",)))
    own = [verdict for setting in claim.settings for verdict in _of_setting(claim, setting, at_scale)]
    others = [(setting, smaller) for setting in claim.settings] + [(setting, results) for setting in claim.stand_ins]
    return own + [
        verdict
        for setting, heard in others
        for verdict in _of_setting(claim, setting, heard, stand_in=True)
        if verdict.verdict != NOT_RUN
    ]


def over_all(verdicts: Sequence[Verdict]) -> str:
    """What a claim's verdicts say of its sentence, which is about all of the paper's settings at once.

    Supported where all of them are: at 2.5 % for each, no more than 2.5 % for all. Contradicted, or no relevant effect,
    where one of them is: of many settings, one may be so by chance. Else undecided where any was run. Stand-ins do not
    count.
    """
    kinds = {verdict.verdict for verdict in verdicts if not verdict.stand_in}
    for kind in (CONTRADICTED, NO_EFFECT):
        if kind in kinds:
            return kind
    return kinds.pop() if len(kinds) == 1 else UNDECIDED


def _of_setting(claim: Claim, setting: Filter, results: Sequence[Result], *, stand_in: bool = False) -> list[Verdict]:
    """One verdict for each architecture found under the setting; "not run" where there is none."""
    heard: dict[tuple, list[_Heard]] = {}
    for result in sorted(results, key=lambda result: result.device):
        for place, rows in _places(setting, result.rows).items():
            if by_seed := claim.effect.per_seed(rows):
                effect = claim.effect.resolved(rows)
                heard.setdefault(place, []).append(_Heard(result, effect, by_seed, effect.trials(rows)))
    if not heard:
        return [Verdict(claim, NOT_RUN, setting, stand_in=stand_in, paper_effect=tables.effect(claim, setting))]
    return [
        _of_place(claim, dict(zip(PLACE, place, strict=True)), candidates, stand_in)
        for place, candidates in sorted(heard.items())
    ]


def _of_place(claim: Claim, place: Filter, candidates: Sequence[_Heard], stand_in: bool) -> Verdict:
    def standing(heard: _Heard) -> tuple:
        return rank(heard.result, len(heard.by_seed), heard.result.missing_at(dict(place), claim.effect.concerns))

    result, effect, by_seed, trials = max(candidates, key=standing)
    estimate, seeds = _estimate(list(by_seed.values()), trials), len(by_seed)
    missing = result.missing_at(dict(place), claim.effect.concerns)
    reason = why_not(claim, estimate, seeds, missing)
    return Verdict(
        claim,
        UNDECIDED if reason else decide(claim, estimate, seeds),
        place,
        stand_in=stand_in,
        effect=estimate,
        seeds=seeds,
        compared=str(effect),
        preset=result.preset,
        origin=result.origin,
        device=result.device,
        missing=missing,
        reason=reason,
        paper_effect=tables.effect(claim, place),
    )


def _estimate(values: Sequence[float], trials: int | None) -> Estimate:
    """Over seeds; of a share that is the same in all of them, over the trials that they have together."""
    found = metrics.mean_interval(values)
    if trials is None or len(values) < FEWEST_SEEDS or max(values) - min(values) > ROUNDING:
        return found
    return metrics.proportion(round(found.value * trials), trials) or found


def _places(setting: Filter, rows: Sequence[dict]) -> dict[tuple, list[dict]]:
    places: dict[tuple, list[dict]] = {}
    for row in rows:
        if matches(row, setting):
            places.setdefault(tuple(row[column] for column in PLACE), []).append(row)
    return places
