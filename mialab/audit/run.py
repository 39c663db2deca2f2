"""One audit: who is attacked, by whom, on which samples.

Attacks cannot cheat by mistake: of membership they get what is known and nothing else, and they see the samples in a
seeded random order, so that a row's number says nothing. Their scores are put back in the caller's order, and every
choice that hangs on membership, a threshold or an epoch, is made here, on known samples.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from mialab import attacks as registry
from mialab import fusion as rules
from mialab import share
from mialab.attacks.base import REMEDIES, AskedModel, Attack, Evidence, Known
from mialab.attacks.lacking import NoOpinion, NotEnough
from mialab.attacks.references import References
from mialab.audit import curves as epochs
from mialab.audit.figures import Result, measured
from mialab.audit.notes import Note, of_outputs
from mialab.audit.reference_notes import accuracy_line, of_references
from mialab.audit.report import Report
from mialab.audit.settings import GIVEN, SPLITS, Settings
from mialab.fusion import FusionRule
from mialab.outputs import AuditError, Outputs, sensitivities
from mialab.seeds import derive


def audit(
    outputs: Outputs,
    *,
    attacks: str | Attack | Iterable[str | Attack] | None = None,
    fusion: str | FusionRule = "confidence",
    white_box: bool = False,
    known: float | np.ndarray = 0.8,
    split: str = "random",
    seed: int = 0,
    references: References | None = None,
    x: Any = None,
    sensitivity: Any = None,
    target: AskedModel | None = None,
    curves: bool = False,
) -> Report:
    """Run attacks and measure them on the samples that they did not learn from.

    attacks: a name or an `Attack` of one's own, or several of them; default: all of `mialab.attacks` that are not
        costly and whose needs are met. An attack sees of references, x and target, and of each model's own outputs,
        only what its `needs` name; one whose need is not met is skipped.
    fusion: "confidence" (mean of the models' softmaxes), "logit" (softmax of their mean logit), or another rule,
        already fitted. The models' accuracy is that of the label which the rule answers.
    white_box: neural attacks see the softmaxes of all models side by side rather than the fused one, and attacks on
        each model's own outputs are among the default ones.
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
    Raises AuditError for a wrong argument. Explained in the chapter "The audit".
    """
    part, split, given = _asked(known, split, len(outputs.labels))
    rule = _rule(fusion)
    settings = Settings(rule.name, white_box, part, split, seed)
    if references is not None:
        references.check(outputs)
    held = {
        "log_confidences": white_box,
        "references": references is not None,
        "x": x is not None,
        "sensitivity": sensitivity is not None,
        "target": target is not None,
    }
    chosen = _usual(held) if attacks is None else _chosen(attacks)
    evidence = replace(
        _evidence(outputs, rule, settings, any("log_confidences" in one.needs for one in chosen)),
        x=_samples(x, len(outputs.labels)),
        sensitivity=_sensitivity(sensitivity, outputs),
        references=references,
        target=target,
    )
    case = _Case(evidence, outputs, _known_mask(outputs, settings) if given is None else given, settings)
    return _report(case, [attack.by_epoch() if curves else attack for attack in chosen])


@dataclass(frozen=True, eq=False)
class _Case:
    """What is attacked, in the caller's order: all evidence there is, and whose membership is known, bool [samples]."""

    evidence: Evidence
    outputs: Outputs
    known_mask: np.ndarray
    settings: Settings


def _report(case: _Case, chosen: list[Attack]) -> Report:
    evidence, outputs = case.evidence, case.outputs
    results, skipped, remarks = _run(case, chosen)
    inside, outside = (float(evidence.correct[outputs.member == side].mean()) for side in (True, False))
    return Report(
        settings=case.settings,
        shape=outputs.logits.shape,
        accuracy=(inside, outside),
        labels=outputs.labels,
        member=outputs.member,
        evaluated=~case.known_mask,
        log_p=evidence.log_p,
        attacks=results,
        skipped=skipped,
        references=_references_text(case),
        notes=(*found(outputs, evidence), *remarks),
    )


def found(outputs: Outputs, evidence: Evidence) -> list[Note]:
    """What looks like a mistake in the arrays: no attack is asked."""
    notes = of_outputs(outputs, evidence.log_p, evidence.answers)
    if evidence.references is not None:
        notes += of_references(evidence.references, outputs, evidence.log_p, evidence.answers)
    return notes


def _references_text(case: _Case) -> str:
    references = case.evidence.references
    if references is None:
        return ""
    return f"{references}\n{accuracy_line(references, case.outputs, case.evidence.answers)}"


def _usual(held: dict[str, bool]) -> list[Attack]:
    return [
        attack for attack in registry.ALL.values() if not attack.costly and all(held[need] for need in attack.needs)
    ]


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


def _evidence(outputs: Outputs, rule: FusionRule, settings: Settings, each_model: bool) -> Evidence:
    """What outputs alone show; each model's own log-probabilities only if asked for: they may be large."""
    logits, saved = outputs.logits, outputs.probabilities
    try:
        log_p = rules.fuse(logits, rule, probabilities=saved)
    except ValueError as error:
        raise AuditError(f"fusion: {error}") from None
    p = rules.predict(logits, rule, probabilities=saved)
    return Evidence(
        p,
        log_p,
        _seen_by_networks(outputs, rule, settings, p),
        outputs.labels,
        rules.answer(logits, rule, probabilities=saved),
        _log_confidences(logits) if each_model else None,
    )


def _seen_by_networks(outputs: Outputs, rule: FusionRule, settings: Settings, p: np.ndarray) -> np.ndarray:
    """All models' softmaxes side by side (white box), or what the rule shows, which usually are the confidences p."""
    if settings.white_box:
        return rules.side_by_side(outputs.logits, probabilities=outputs.probabilities)
    shown = rule.shown(outputs.logits)
    return p if shown is None else shown


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


def _sensitivity(value: object, outputs: Outputs) -> np.ndarray | None:
    return None if value is None else sensitivities("sensitivity", value, outputs.logits.shape[1:])


def _run(case: _Case, chosen: list[Attack]) -> tuple[dict[str, Result], dict[str, str], tuple[Note, ...]]:
    """Results, reasons for having none, and what the attacks remarked."""
    results, skipped = {}, {}
    remarks: dict[str, list[str]] = {}
    shown = _Shuffled(case, chosen)
    for attack in chosen:
        try:
            if attack.learns and not case.settings.known:
                raise NotEnough("learns from known samples, and none are known (known is 0)")
            scores = _scores(attack, shown, remarks)
        except NotEnough as reason:
            skipped[attack.name] = str(reason)
            continue
        results[attack.name] = _result(attack, scores, case)
    noted = (Note("no-opinion", f"{', '.join(of)}: {remark}", {"attacks": of}) for remark, of in remarks.items())
    return results, skipped, tuple(noted)


def _result(attack: Attack, scores: np.ndarray, case: _Case) -> Result:
    """What scores [n] or [epochs, n] are worth."""
    member, known_mask, best = case.outputs.member, case.known_mask, not case.settings.known
    curve: tuple[dict[str, float], ...] = ()
    if scores.ndim == 2:
        curve = epochs.points(scores, member, known_mask, log_odds=attack.log_odds, best=best)
        scores = scores[-1 if attack.epoch == "last" else epochs.chosen(scores, member, known_mask)]
    beyond = _beyond(attack, case.settings.white_box, len(case.outputs.logits))
    return measured(scores, member, known_mask, case.evidence.correct, best=best, beyond=beyond, curve=curve)


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


def _order(outputs: Outputs, seed: int) -> np.ndarray:
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


def _known_mask(outputs: Outputs, settings: Settings) -> np.ndarray:
    """Marks the attacker's share of the samples of every class and side, bool [samples]."""
    samples = len(outputs.labels)
    order = np.arange(samples)
    if settings.split == "random":
        order = np.random.default_rng(derive(settings.seed, "known")).permutation(samples)
    return share.first_of_each(2 * outputs.labels + outputs.member, order, settings.known)
