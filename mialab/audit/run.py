"""One audit: who is attacked, by whom, on which samples.

Attacks cannot cheat by mistake: of membership they get what is known and nothing else, and they see the samples in a
seeded random order, so that a row's number says nothing. Their scores are put back in the caller's order, and every
choice that hangs on membership, a threshold or an epoch, is made here, on known samples.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from mialab import attacks as registry
from mialab import fusion as rules
from mialab import share
from mialab.attacks.base import REMEDIES, AskedModel, Attack, Evidence, Known
from mialab.attacks.lacking import NoOpinion, NotEnough
from mialab.attacks.reference_scores import ReferenceScores
from mialab.attacks.references import References, odds_by_query
from mialab.attacks.scale import ON_FEATURES, ON_FUSED, Scale, saturated, share_of_saturated
from mialab.audit import curves as epochs
from mialab.audit.figures import Result, measured
from mialab.audit.notes import Note, of_outputs, of_saturated
from mialab.audit.reference_notes import accuracy_line, of_references
from mialab.audit.report import Report
from mialab.audit.risk import EVEN
from mialab.audit.score_notes import of_reference_scores, of_scores
from mialab.audit.settings import GIVEN, SPLITS, Settings
from mialab.fusion import FusionRule, Rows
from mialab.fusion.rows import LARGE
from mialab.outputs import AuditError, Outputs, sensitivities
from mialab.per_sample import Scores
from mialab.progress import bar
from mialab.seeds import derive

BY_SAMPLE = ("confidence", "logit")  # rules that fuse each sample for itself, whoever stands beside it
PATIENCE = 2.0  # seconds that nobody minds
AVERAGED = tuple(name for name in registry.VARIANTS if name.endswith("-averaged"))


def audit(
    outputs: Outputs | Scores,
    *,
    attacks: str | Attack | Iterable[str | Attack] | None = None,
    fusion: str | FusionRule = "confidence",
    white_box: bool = False,
    published: bool = False,
    known: float | np.ndarray = 0.8,
    split: str = "random",
    seed: int = 0,
    references: References | ReferenceScores | None = None,
    x: Any = None,
    sensitivity: Any = None,
    target: AskedModel | None = None,
    curves: bool = False,
    prior: float = EVEN,
    claimed: tuple[float, float] | None = None,
    progress: bool = False,
) -> Report:
    """Run attacks and measure them on the samples that they did not learn from.

    outputs: per class (`Outputs`, with labels or without), or a loss or score per sample (`Scores`). What an attack
        reads and is not there is the reason for which it is skipped.
    attacks: a name or an `Attack` of one's own, or several of them; default: all of `mialab.attacks` that are not
        costly and whose needs are met. An attack sees of references, x and target, and of each model's own outputs,
        only what its `needs` name; one whose need is not met is skipped. With several queries per sample also LiRA on
        their average.
    fusion: "confidence" (mean of the models' softmaxes), "logit" (softmax of their mean logit), or another rule,
        already fitted. The models' accuracy is that of the label which the rule answers.
    white_box: neural attacks see the softmaxes of all models side by side rather than the fused one, and attacks on
        each model's own outputs are among the default ones.
    published: attack networks read confidences as in their papers also where these are saturated. Else they are shown
        -log(1 - p) there (`mialab.attacks.scale`), by which sure answers can be told apart, and a note says so.
    known: share of each class and side that attacks learn from and thresholds are chosen on. With 0, everything is
        evaluated, attacks that learn are skipped, and balanced accuracy is the best over thresholds. Or a mask of the
        known samples, bool [samples], where somebody else has dealt the roles.
    split: "random", or "file-order" for the first ones, as the released script does.
    references: outputs of models trained on random halves of the samples, for LiRA, RMIA and shadow attacks.
    x: the samples themselves, numbers [samples, ...], for attacks that look at them.
    sensitivity: how far each probability moves under noise [samples, classes], for attacks that look at it:
        `mialab.attacks.sensitivity` measures it.
    target: the model itself (`mialab.attacks.target.Target`), for attacks that ask it about x.
    curves: have attacks that train a network say how they fare after every epoch: see `Result.curve`. No score changes.
    prior: the share of members among the people in question, for the precision of an accusation.
    claimed: an (epsilon, delta) of differential privacy that was promised, to be compared with what attacks prove.
    progress: show a bar where somebody watches, from two seconds on.
    Raises AuditError for a wrong argument. Explained in the chapter "The audit".
    """
    part, split, given = _asked(known, split, len(outputs.labels))
    rule = _rule(fusion)
    settings = Settings(rule.name, white_box, part, split, seed)
    if isinstance(references, ReferenceScores):
        references = references.beside(outputs)
    elif references is not None:
        references.check(outputs)
    held = {
        "log_confidences": white_box,
        "references": references is not None,
        "x": x is not None,
        "sensitivity": sensitivity is not None,
        "target": target is not None,
    }
    chosen = _chosen(attacks) if attacks is not None else _usual(held, outputs, references)
    each_model = any("log_confidences" in one.needs for one in chosen)
    evidence = replace(
        _of_scores(outputs, rule, references)
        if isinstance(outputs, Scores)
        else _evidence(outputs, rule, settings, each_model, published),
        x=_samples(x, len(outputs.labels)),
        sensitivity=_sensitivity(sensitivity, outputs),
        references=references,
        target=target,
    )
    case = _Case(evidence, outputs, _known_mask(outputs, settings) if given is None else given, settings)
    report = _report(case, [attack.by_epoch() if curves else attack for attack in chosen], progress)
    return replace(report, prior=_prior(prior), claimed=_claimed(claimed))


def _prior(prior: object) -> float:
    share = float(prior) if isinstance(prior, Real) else 0.0
    if not 0 < share < 1:
        raise AuditError(f"prior: found {prior!r}; expected a share of members between 0 and 1, such as 0.1")
    return share


def _claimed(claimed: Any) -> tuple[float, float] | None:
    if claimed is None:
        return None
    try:
        epsilon, delta = (float(one) for one in claimed)
    except (TypeError, ValueError):
        raise AuditError(f"claimed: found {claimed!r}; expected (epsilon, delta), such as (8, 1e-5)") from None
    if not 0 <= epsilon < float("inf") or not 0 <= delta < 1:
        raise AuditError(f"claimed: found {claimed!r}; expected an epsilon from 0 on, and a delta from 0 to below 1")
    return epsilon, delta


@dataclass(frozen=True, eq=False)
class _Case:
    """What is attacked, in the caller's order: all evidence there is, and whose membership is known, bool [samples]."""

    evidence: Evidence
    outputs: Outputs | Scores
    known_mask: np.ndarray
    settings: Settings


def _report(case: _Case, chosen: list[Attack], progress: bool) -> Report:
    evidence, outputs = case.evidence, case.outputs
    results, skipped, remarks = _run(case, chosen, progress)
    right = {"outputs", "labels"} <= evidence.held
    inside, outside = (
        float(evidence.correct[outputs.member == side].mean()) if right else None for side in (True, False)
    )
    return Report(
        settings=case.settings,
        shape=(*outputs.values.shape[:2], 0) if isinstance(outputs, Scores) else outputs.logits.shape,
        accuracy=(inside, outside),
        labelled=outputs.labelled,
        kind=outputs.kind if isinstance(outputs, Scores) else "outputs",
        queries=_queries(outputs),
        labels=outputs.labels,
        member=outputs.member,
        evaluated=~case.known_mask,
        log_p=evidence.log_p,
        odds=evidence.odds if "signal" in evidence.held else None,
        attacks=results,
        skipped=skipped,
        references=_references_text(case),
        notes=(*found(outputs, evidence), *_saturated(evidence, results), *remarks),
    )


def found(outputs: Outputs | Scores, evidence: Evidence) -> list[Note]:
    """What looks like a mistake in the arrays: no attack is asked."""
    if isinstance(outputs, Scores):
        return of_scores(outputs, evidence.odds, evidence.references)
    notes = of_outputs(outputs, evidence.log_p, evidence.answers)
    if isinstance(evidence.references, ReferenceScores):
        notes += of_reference_scores(evidence.references, outputs, evidence.odds)
    elif evidence.references is not None and outputs.labelled:
        notes += of_references(evidence.references, outputs, evidence.log_p, evidence.answers)
    return notes


def _saturated(evidence: Evidence, results: dict[str, Result]) -> Iterator[Note]:
    """Which attacks read stretched answers rather than the confidences of their papers."""
    if evidence.scale is not None:
        readers = ON_FUSED + (ON_FEATURES if evidence.features is evidence.p else ())
        share = share_of_saturated(np.exp(evidence.log_p.max(axis=1)))
        yield from of_saturated([name for name in results if name in readers], share)
    if evidence.sure_models:
        yield from of_saturated([name for name in results if name in ON_FEATURES], models=evidence.sure_models)


def _references_text(case: _Case) -> str:
    references = case.evidence.references
    if references is None:
        return ""
    outputs = case.outputs
    if isinstance(references, ReferenceScores) or isinstance(outputs, Scores) or not outputs.labelled:
        return str(references)
    return f"{references}\n{accuracy_line(references, outputs, case.evidence.answers)}"


def _usual(held: dict[str, bool], outputs: Outputs | Scores, references: object) -> list[Attack]:
    usual = [
        attack for attack in registry.ALL.values() if not attack.costly and all(held[need] for need in attack.needs)
    ]
    if isinstance(outputs, Scores) and outputs.kind == "scores":
        usual += registry.SCORES.values()
    several = _queries(outputs) > 1 and getattr(references, "query_odds", None) is not None
    return usual + [registry.VARIANTS[name] for name in AVERAGED if several]


def _queries(outputs: Outputs | Scores) -> int:
    """How many of each sample there are."""
    if isinstance(outputs, Scores):
        return outputs.values.shape[2]
    return 1 if outputs.by_query is None else outputs.by_query.shape[2]


def _chosen(asked: object) -> list[Attack]:
    chosen: dict[str, Attack] = {}
    for one in [asked] if isinstance(asked, str) or not isinstance(asked, Iterable) else asked:
        if not isinstance(one, str | Attack):
            raise AuditError(f"attacks: found {one!r}; expected names or objects of class Attack")
        try:
            attack = registry.get(one) if isinstance(one, str) else one
        except ValueError as error:
            raise AuditError(str(error)) from None
        if not isinstance(getattr(attack, "name", None), str):
            raise AuditError(f"attacks: {type(attack).__name__} has no name; set one, such as name = 'mine'")
        if chosen.setdefault(attack.name, attack) is not attack:
            raise AuditError(f"attacks: found two that are named {attack.name!r}; rename one")
        if strange := set(attack.needs) - set(REMEDIES):
            raise AuditError(f"attack {attack.name} needs {min(strange)!r}; an attack may need {', '.join(REMEDIES)}")
    return list(chosen.values())


def _rule(fusion: str | FusionRule) -> FusionRule:
    try:
        return rules.get(fusion)
    except ValueError as error:
        raise AuditError(f"fusion: {error}") from None


def _of_scores(outputs: Scores, rule: FusionRule, references: References | ReferenceScores | None) -> Evidence:
    """What a number per sample shows: no outputs."""
    if rule.name != rules.get("confidence").name:
        raise AuditError(f"fusion: found {rule.name!r} beside {outputs.kind}, one per sample: they are averaged")
    samples = len(outputs.member)
    plain = outputs.negative or isinstance(references, ReferenceScores) and references.plain
    none = np.empty((samples, 0))
    held = {"signal", outputs.kind} | ({"labels"} if outputs.labelled else set())
    return Evidence(
        none,
        none,
        none,
        outputs.labels,
        np.full(samples, -1),
        signal=outputs.signal(plain),
        query_odds=outputs.by_query(plain) if outputs.values.shape[2] > 1 else None,
        held=frozenset(held),
    )


def _evidence(outputs: Outputs, rule: FusionRule, settings: Settings, each_model: bool, published: bool) -> Evidence:
    """What outputs alone show; each model's own log-probabilities only if asked for: they may be large."""
    logits = outputs.logits
    fused = _by_sample if logits.shape[1] * logits.shape[2] >= LARGE and rule.name in BY_SAMPLE else _of_all
    try:
        log_p = fused(rules.fuse, outputs, rule)
    except ValueError as error:
        raise AuditError(f"fusion: {error}") from None
    p, answers = (fused(one, outputs, rule) for one in (rules.predict, rules.answer))
    own = rule.shown(outputs.logits)
    black_box = p if own is None else own, ()
    features, sure = _side_by_side(outputs, published) if settings.white_box else black_box
    return Evidence(
        p,
        log_p,
        features,
        outputs.labels,
        np.concatenate([some for _, some in answers.pieces()]) if isinstance(answers, Rows) else answers,
        _log_confidences(logits) if each_model else None,
        query_odds=_query_odds(outputs, rule),
        held=Evidence.held if outputs.labelled else frozenset({"outputs"}),
        scale=None if published or not saturated(np.exp(log_p.max(axis=1))) else Scale.of(log_p),
        sure_models=sure,
    )


def _side_by_side(outputs: Outputs, published: bool) -> tuple[np.ndarray, tuple[int, ...]]:
    """All models' softmaxes (white box), a saturated model's stretched unless as published; and which these are."""
    row = rules.side_by_side(outputs.logits, probabilities=outputs.probabilities)
    models, n, classes = outputs.logits.shape
    each = row.reshape(n, models, classes)
    sure = tuple(k for k in range(models) if not published and saturated(each[:, k].max(axis=1)))
    for k in sure:
        log_p = rules.log_confidence(outputs.logits[k])
        each[:, k] = Scale.of(log_p)(log_p)
    return row, sure


def _of_all(function: Callable[..., np.ndarray], outputs: Outputs, rule: FusionRule) -> Any:
    """What a function of `mialab.fusion` makes of all the outputs."""
    return function(outputs.logits, rule, probabilities=outputs.probabilities)


def _by_sample(function: Callable[..., np.ndarray], outputs: Outputs, rule: FusionRule) -> Any:
    """The same, made anew for each of the samples that are asked for."""
    logits, saved = outputs.logits, outputs.probabilities

    def of(samples: np.ndarray) -> np.ndarray:
        return function(logits[:, samples], rule, probabilities=None if saved is None else saved[:, samples])

    return Rows(of, np.arange(logits.shape[1]), logits.shape[2])


def _query_odds(outputs: Outputs, rule: FusionRule) -> np.ndarray | None:
    """Log-odds of each query, the models fused: float64 [n, queries]; None where there is one, or no labels."""
    if outputs.by_query is None or not outputs.labelled:
        return None
    each = [rules.fuse(outputs.by_query[:, :, k], rule) for k in range(outputs.by_query.shape[2])]
    return odds_by_query(np.stack(each, axis=1)[None], outputs.labels)[0]


def _log_confidences(logits: np.ndarray) -> np.ndarray:
    """Each model's log-probabilities, in the logits' own precision if that is float32 or better."""
    each = np.empty(logits.shape, np.result_type(logits, np.float32))
    for one, row in zip(logits, each, strict=True):
        row[:] = rules.log_confidence(one)
    return each


def _samples(x: object, samples: int) -> np.ndarray | None:
    if x is None:
        return None
    try:
        array = np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AuditError(f"x: cannot be made an array ({error})") from None
    if array.dtype.kind not in "fiub" or array.shape[:1] != (samples,):
        found = f"found type {array.dtype} and shape {list(array.shape)}"
        raise AuditError(f"x: {found}; expected numbers [{samples}, ...], one input per sample, in the labels' order")
    return array


def _sensitivity(value: object, outputs: Outputs | Scores) -> np.ndarray | None:
    if isinstance(outputs, Scores):
        return None
    return None if value is None else sensitivities("sensitivity", value, outputs.logits.shape[1:])


def _run(
    case: _Case, chosen: list[Attack], progress: bool
) -> tuple[dict[str, Result], dict[str, str], tuple[Note, ...]]:
    """Results, reasons for having none, and what the attacks remarked."""
    results, skipped = {}, {}
    remarks: dict[str, list[str]] = {}
    shown = _Shuffled(case, chosen)
    for attack in _watched(chosen, progress):
        try:
            if (lack := case.evidence.lacks(attack.reads)) is not None:
                raise NotEnough(lack)
            if attack.learns and not case.settings.known:
                raise NotEnough("learns from known samples, and none are known (known is 0)")
            scores = _scores(attack, shown, remarks)
        except NotEnough as reason:
            skipped[attack.name] = str(reason)
            continue
        results[attack.name] = _result(attack, scores, case)
    noted = (Note("no-opinion", f"{', '.join(of)}: {remark}", {"attacks": of}) for remark, of in remarks.items())
    return results, skipped, tuple(noted)


def _watched(chosen: list[Attack], progress: bool) -> Iterator[Attack]:
    """The attacks one by one, with a bar that names the one at work; not a word of it before two seconds."""
    start = time.monotonic()
    with bar(chosen, show=progress, desc="attacks", unit="attack", delay=PATIENCE) as steps:
        for attack in steps:
            steps.set_postfix_str(attack.name, refresh=time.monotonic() > start + PATIENCE)
            yield attack


def _result(attack: Attack, scores: np.ndarray, case: _Case) -> Result:
    """What scores [n] or [epochs, n] are worth."""
    member, known_mask, best = case.outputs.member, case.known_mask, not case.settings.known
    curve: tuple[dict[str, float], ...] = ()
    if scores.ndim == 2:
        curve = epochs.points(scores, member, known_mask, log_odds=attack.log_odds, best=best)
        scores = scores[-1 if attack.epoch == "last" else epochs.chosen(scores, member, known_mask)]
    models = 1 if isinstance(case.outputs, Scores) else len(case.outputs.logits)
    beyond = _beyond(attack, case.settings.white_box, models)
    parts = {"outputs", "labels"} <= case.evidence.held
    correct = case.evidence.correct if parts else None
    return measured(scores, member, known_mask, correct, best=best, beyond=beyond, curve=curve)


class _Shuffled:
    """A case as attacks see it: the samples in a seeded random order, and membership of the known ones alone.

    The known ones are listed in the caller's order, which says nothing of the others.
    """

    def __init__(self, case: _Case, chosen: list[Attack]):
        self.seed = case.settings.seed
        self.order = _order(case.outputs, self.seed)
        self.place = np.argsort(self.order)  # of each of the caller's samples among those shown
        needed = tuple({need for attack in chosen for need in attack.needs})
        self.evidence = case.evidence.only(needed).reordered(self.order)
        rows = np.flatnonzero(case.known_mask)
        self.known = Known(self.place[rows], case.outputs.member[rows])

    def scores(self, attack: Attack) -> np.ndarray:
        """The attack's scores in the caller's order."""
        for name in attack.needs:
            self.evidence.need(name)
        scores = np.asarray(attack.score(self.evidence.only(attack.needs), self.known, self.seed))
        if scores.shape[-1:] != self.place.shape or scores.ndim > 2 or not len(scores) or not _numbers(scores):
            found = f"scores of type {scores.dtype} and shape {list(scores.shape)}, or NaN among them"
            expected = f"a number for each of {len(self.place)} samples, or a row of them per epoch"
            raise AuditError(f"attack {attack.name}: found {found}; expected {expected}")
        return scores[..., self.place].astype(np.float64)


def _beyond(attack: Attack, white_box: bool, models: int) -> tuple[str, ...]:
    """What the attack saw beside the fused prediction. A single model's own outputs are no more than that."""
    seen = {*attack.needs, *(["log_confidences"] if white_box and attack.learns else [])}
    return tuple(sorted(seen - ({"log_confidences"} if models == 1 else set())))


def _order(outputs: Outputs | Scores, seed: int) -> np.ndarray:
    """The samples in random order, int [samples]: drawn with their membership, so that no attack can draw the same."""
    digest = hashlib.blake2b(outputs.member.tobytes(), digest_size=8).hexdigest()
    return np.random.default_rng(derive(seed, "audit", "order", digest)).permutation(len(outputs.labels))


def _numbers(array: np.ndarray) -> bool:
    return array.dtype.kind in "fiub" and not np.isnan(array).any()


def _scores(attack: Attack, shown: _Shuffled, remarks: dict[str, list[str]]) -> np.ndarray:
    """The attack's scores, and what it remarks; AuditError where a stranger's are not numbers for all samples."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NoOpinion)
        scores = shown.scores(attack)
    for one in caught:
        if issubclass(one.category, NoOpinion):
            remarks.setdefault(str(one.message), []).append(attack.name)
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return scores


def _asked(known, split, samples):
    """The share that is known, how it is split off, and the mask itself where the caller gave one."""
    if known is None or isinstance(known, Real | str):
        if split == GIVEN:
            raise AuditError(f"split: found {GIVEN!r} without a mask; give one as known, or leave split out")
        return known, split, None  # `Settings` checks the share
    try:
        mask = np.asarray(known)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AuditError(f"known: cannot be made an array ({error})") from None
    if mask.dtype != bool or mask.shape != (samples,):
        found = f"type {mask.dtype} and shape {list(mask.shape)}"
        raise AuditError(f"known: found {found}; expected a share such as 0.8, or a mask: True or False [{samples}]")
    if mask.all():
        raise AuditError("known: found a mask that is True throughout; expected some samples left to evaluate on")
    if split != SPLITS[0]:
        raise AuditError(f"split: found {split!r} beside a mask of known samples, which leaves no choice; leave it out")
    return float(mask.mean()), GIVEN, mask


def _known_mask(outputs: Outputs | Scores, settings: Settings) -> np.ndarray:
    """Marks the attacker's share of the samples of every class and side, bool [samples]."""
    samples = len(outputs.labels)
    order = np.arange(samples)
    if settings.split == "random":
        order = np.random.default_rng(derive(settings.seed, "known")).permutation(samples)
    return share.first_of_each(2 * outputs.labels + outputs.member, order, settings.known)
