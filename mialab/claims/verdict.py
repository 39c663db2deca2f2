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

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN = "supported", "contradicted", "undecided", "not run"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN)
PLACE = ("data", "model")
FEWEST_SEEDS = 2
ROUNDING = 1e-9  # relative width up to which an interval is one number: sums of floats differ by less


@dataclass(frozen=True)
class Verdict:
    """What one result says of a claim on one data set and architecture.

    setting: data and model; of a claim that was not run, the filter that found nothing. stand_in: not the paper's own.
    effect: mean and 95 % interval over `seeds` repetitions (Student's t; no interval from a single one), None if not
    run. compared: the effect in words, with the epochs and sizes that were found. preset, origin ("local", "recorded",
    "superseded"), device: of the result that spoke; missing: cells that it still lacks. reason: why the effect cannot
    be judged, "" where it can. paper_effect: the same effect in the paper's own tables, None where these lack it.
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


class _Heard(NamedTuple):
    """A result that can be asked about a claim at one place: its effect by seed."""

    result: Result
    effect: Effect | Trend
    by_seed: dict[int, float]


def verdicts(results: Iterable[Result], claims: Sequence[Claim]) -> list[Verdict]:
    """A verdict for every claim on every setting of the paper, and for every stand-in that has a result.

    The paper's own settings are judged on results of presets `course` and `paper` only. Of several results one speaks
    and the others are not heard, by a rule that does not look at what they say; see `rank`. A result that lacks cells
    of a data set and architecture is undecided there: what "first" and "last" mean, and which seeds there are, is known
    only of a whole grid.
    """
    by_experiment: dict[str, list[Result]] = {}
    for result in results:
        by_experiment.setdefault(result.experiment, []).append(result)
    return [verdict for claim in claims for verdict in _of_claim(claim, by_experiment.get(claim.experiment, []))]


def decide(claim: Claim, effect: Estimate, seeds: int) -> str:
    """The verdict that an interval over seeds gives; undecided with fewer than two of them.

    Supported where the whole interval has what the claim says, contradicted where the whole interval lacks it. For
    "above 0" that means that it holds 0 when undecided; for "within 0 ± m", that it holds -m or m. Also undecided where
    all seeds agree to the last digit, since that says nothing of precision, unless the effect is counted (weights).
    """
    if why_not(claim, effect, seeds):
        return UNDECIDED
    low, high, null, margin = effect.low, effect.high, claim.null, claim.margin
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
        return "one seed has no interval"
    if not claim.effect.counted and effect.high - effect.low <= ROUNDING * max(1.0, abs(effect.value)):
        return "the same in all seeds, no interval"
    return ""


def rank(result: Result, seeds: int, missing: int) -> tuple:
    """Which of several results speaks: the one with the greatest rank, whatever it says.

    A superseded one only when there is no other. Then one that lacks nothing at the place in question before one that
    does; one with an interval (two seeds or more) before one without; the larger preset; more seeds; recorded
    before local. Equals are told apart by the device's name. Only one device is heard: rows are never pooled.
    """
    current, recorded = result.origin != "superseded", result.origin == "recorded"
    return current, not missing, seeds >= FEWEST_SEEDS, PRESETS.index(result.preset), seeds, recorded


def _of_claim(claim: Claim, results: Sequence[Result]) -> list[Verdict]:
    at_scale = [result for result in results if result.preset != "smoke"]
    own = [verdict for setting in claim.settings for verdict in _of_setting(claim, setting, at_scale)]
    return own + [
        verdict
        for setting in claim.stand_ins
        for verdict in _of_setting(claim, setting, results, stand_in=True)
        if verdict.verdict != NOT_RUN
    ]


def _of_setting(claim: Claim, setting: Filter, results: Sequence[Result], *, stand_in: bool = False) -> list[Verdict]:
    """One verdict for each architecture found under the setting; "not run" where there is none."""
    heard: dict[tuple, list[_Heard]] = {}
    for result in sorted(results, key=lambda result: result.device):
        for place, rows in _places(setting, result.rows).items():
            if by_seed := claim.effect.per_seed(rows):
                heard.setdefault(place, []).append(_Heard(result, claim.effect.resolved(rows), by_seed))
    if not heard:
        return [Verdict(claim, NOT_RUN, setting, stand_in=stand_in, paper_effect=tables.effect(claim, setting))]
    return [
        _of_place(claim, dict(zip(PLACE, place, strict=True)), candidates, stand_in)
        for place, candidates in sorted(heard.items())
    ]


def _of_place(claim: Claim, place: Filter, candidates: Sequence[_Heard], stand_in: bool) -> Verdict:
    def standing(heard: _Heard) -> tuple:
        return rank(heard.result, len(heard.by_seed), heard.result.missing_at(dict(place)))

    result, effect, by_seed = max(candidates, key=standing)
    estimate, seeds = metrics.mean_interval(list(by_seed.values())), len(by_seed)
    missing = result.missing_at(dict(place))
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


def _places(setting: Filter, rows: Sequence[dict]) -> dict[tuple, list[dict]]:
    places: dict[tuple, list[dict]] = {}
    for row in rows:
        if matches(row, setting):
            places.setdefault(tuple(row[column] for column in PLACE), []).append(row)
    return places
