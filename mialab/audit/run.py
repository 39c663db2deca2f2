"""One audit: who is attacked, by whom, on which samples."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from numbers import Real

import numpy as np

from mialab import fusion
from mialab.attacks import ALL, Attack, Evidence, NoOpinion, NotEnough, References, get
from mialab.attacks.base import REMEDIES
from mialab.audit.figures import Result, measured
from mialab.audit.report import Report
from mialab.audit.settings import GIVEN, SPLITS, Settings
from mialab.outputs import AuditError, Outputs
from mialab.seeds import derive

LOGITS_NOTE = "every row of the logits sums to 1: if they are probabilities, name the array so"


def audit(
    outputs: Outputs,
    *,
    attacks=None,
    fusion: str = "confidence",
    white_box: bool = False,
    known: float | np.ndarray = 0.8,
    split: str = "random",
    seed: int = 0,
    references: References | None = None,
    x=None,
) -> Report:
    """Run attacks and measure them on the samples that they did not learn from.

    attacks: a name or an `Attack` of one's own, or several of them; default: all of `mialab.attacks` that are not
        costly and whose needs are met. An attack sees of the last two arguments, and of each model's own outputs, only
        what its `needs` name; one whose need is not met is skipped.
    fusion: "confidence" (mean of the models' softmaxes) or "logit" (softmax of their mean logit).
    white_box: neural attacks see the softmaxes of all models side by side rather than the fused one, and attacks on
        each model's own outputs are among the default ones.
    known: share of each class and side that attacks learn from and thresholds are chosen on. With 0, everything is
        evaluated, attacks that learn are skipped, and balanced accuracy is the best over thresholds. Or a mask of the
        known samples, bool [samples], where somebody else has dealt the roles.
    split: "random", or "file-order" for the first ones, as the released script does.
    references: outputs of models trained on random halves of the samples, for LiRA, RMIA and shadow attacks.
    x: the samples themselves, numbers [samples, ...], for attacks that look at them.
    Raises AuditError for a wrong argument.
    """
    known, split, given = _asked(known, split, len(outputs.labels))
    settings = Settings(fusion, white_box, known, split, seed)
    if references is not None:
        references.check(outputs)
    held = {"log_confidences": white_box, "references": references is not None, "x": x is not None}
    chosen = _usual(held) if attacks is None else _chosen(attacks)
    own = any("log_confidences" in attack.needs for attack in chosen)
    evidence = _evidence(outputs, settings, _samples(x, len(outputs.labels)), references, own)
    mask = _known(outputs, settings) if given is None else given
    return _report(chosen, evidence, mask, outputs, settings)


def _report(chosen: list[Attack], evidence: Evidence, mask: np.ndarray, outputs: Outputs, settings: Settings) -> Report:
    correct = evidence.p.argmax(axis=1) == evidence.labels
    results, skipped, remarks = _run(chosen, evidence, mask, outputs, settings)
    return Report(
        settings=settings,
        shape=outputs.logits.shape,
        accuracy=tuple(float(correct[outputs.member == side].mean()) for side in (True, False)),
        labels=outputs.labels,
        member=outputs.member,
        evaluated=~mask,
        log_p=evidence.log_p,
        attacks=results,
        skipped=skipped,
        references="" if evidence.references is None else str(evidence.references),
        notes=(*([LOGITS_NOTE] if outputs.look_like_probabilities else []), *remarks),
    )


def _usual(held: dict[str, bool]) -> list[Attack]:
    return [attack for attack in ALL.values() if not attack.costly and all(held[need] for need in attack.needs)]


def _chosen(asked: object) -> list[Attack]:
    chosen = {}
    for one in [asked] if isinstance(asked, str) or not isinstance(asked, Iterable) else asked:
        if not isinstance(one, str | Attack):
            raise AuditError(f"attacks: found {one!r}; expected names or objects of class Attack")
        try:
            attack = get(one) if isinstance(one, str) else one
        except ValueError as error:
            raise AuditError(str(error)) from None
        if chosen.setdefault(attack.name, attack) is not attack:
            raise AuditError(f"attacks: found two that are named {attack.name!r}; rename one")
        if strange := set(attack.needs) - set(REMEDIES):
            raise AuditError(f"attack {attack.name} needs {min(strange)!r}; an attack may need {', '.join(REMEDIES)}")
    return list(chosen.values())


def _evidence(
    outputs: Outputs, settings: Settings, x: np.ndarray | None, references: References | None, own: bool
) -> Evidence:
    """All that there is to see; each model's own log-probabilities only if asked for: they may be large."""
    saved = {"probabilities": outputs.probabilities}
    try:
        log_p = fusion.fuse(outputs.logits, settings.fusion, **saved)
    except ValueError as error:
        raise AuditError(f"fusion: {error}") from None
    p = fusion.predict(outputs.logits, settings.fusion, **saved)
    features = fusion.side_by_side(outputs.logits, **saved) if settings.white_box else p
    each = _log_confidences(outputs.logits) if own else None
    return Evidence(p, log_p, features, outputs.labels, log_confidences=each, x=x, references=references)


def _log_confidences(logits: np.ndarray) -> np.ndarray:
    """Each model's log-probabilities, in the logits' own precision if that is float32 or better."""
    each = np.empty(logits.shape, np.result_type(logits, np.float32))
    for one, row in zip(logits, each, strict=True):
        row[:] = fusion.log_confidence(one)
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


def _run(
    chosen: list[Attack], evidence: Evidence, mask: np.ndarray, outputs: Outputs, settings: Settings
) -> tuple[dict[str, Result], dict[str, str], tuple[str, ...]]:
    """Results, reasons for having none, and what the attacks remarked."""
    correct = evidence.p.argmax(axis=1) == evidence.labels
    results, skipped, remarks = {}, {}, {}
    for attack in chosen:
        try:
            if attack.learns and not settings.known:
                raise NotEnough("learns from known samples, and none are known (known is 0)")
            scores = _scores(attack, evidence, mask, outputs.member, settings.seed, remarks)
        except NotEnough as reason:
            skipped[attack.name] = str(reason)
            continue
        beyond = _beyond(attack, settings.white_box, len(outputs.logits))
        best = not settings.known
        results[attack.name] = measured(scores, outputs.member, mask, correct, best=best, beyond=beyond)
    return results, skipped, tuple(f"{', '.join(names)}: {remark}" for remark, names in remarks.items())


def _beyond(attack: Attack, white_box: bool, models: int) -> tuple[str, ...]:
    """What the attack saw beside the fused prediction. A single model's own outputs are no more than that."""
    seen = {*attack.needs, *(["log_confidences"] if white_box and attack.learns else [])}
    return tuple(sorted(seen - ({"log_confidences"} if models == 1 else set())))


def _scores(attack, evidence, known, member, seed, remarks: dict[str, list[str]]) -> np.ndarray:
    """The attack's scores; AuditError where a stranger's are not one number per sample."""
    for name in attack.needs:
        evidence.need(name)
    shown = replace(evidence, **{name: None for name in REMEDIES if name not in attack.needs})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NoOpinion)
        scores = np.asarray(attack.score(shown, known, member, seed))
    for one in caught:
        if issubclass(one.category, NoOpinion):
            remarks.setdefault(str(one.message), []).append(attack.name)
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if scores.shape != member.shape or scores.dtype.kind not in "fiub" or np.isnan(scores).any():
        found = f"scores of type {scores.dtype} and shape {list(scores.shape)}, or NaN among them"
        raise AuditError(f"attack {attack.name}: found {found}; expected a number for each of {len(member)} samples")
    return scores.astype(np.float64)


def _asked(known, split, samples: int) -> tuple[float, str, np.ndarray | None]:
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
