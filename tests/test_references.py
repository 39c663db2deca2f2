"""References: what is accepted, what is derived; and what every attack on them must keep."""

import math
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from reference_cases import case, evidence_of, halves, logits_of, world

from mialab import attacks, fusion, metrics
from mialab.attacks import Evidence, Known, NoOpinion, NotEnough, References, reference_files, references
from mialab.outputs import AuditError, Outputs

NAMES = [name for name, attack in (attacks.ALL | attacks.VARIANTS).items() if attack.needs == ("references",)]
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(4, 10, 3)).astype(np.float32)
MEMBER = halves(4, 10, RNG)
LABELS = RNG.integers(0, 3, 10)
OUTPUTS = Outputs(RNG.normal(size=(1, 10, 3)), LABELS, np.arange(10) % 2)


def put(array, index, value):
    array = array.copy()
    array[index] = value
    return array


# what is derived


def test_log_odds_and_log_p_equal_their_definitions_from_logits_probabilities_and_log_probabilities():
    p = fusion.softmax(LOGITS)
    own = np.take_along_axis(p, LABELS[None, :, None], 2)[..., 0]
    given = (
        References(LOGITS, MEMBER, LABELS),
        References(np.log(p), MEMBER, LABELS),
        References.from_probabilities(p, MEMBER, LABELS),
    )
    for one in given:
        assert one.log_odds.dtype == one.log_p.dtype == np.float64 and one.log_odds.shape == (4, 10)
        np.testing.assert_allclose(one.log_odds, np.log(own / (1 - own)), rtol=1e-5)
        np.testing.assert_allclose(one.log_p, np.log(own), rtol=1e-5)


def test_log_odds_are_exact_where_the_confidence_rounds_to_one_or_zero():
    logits = np.array(
        [[50.0, 0, 0], [400, 0, -400], [-900, 0, -np.inf], [0, -np.inf, -np.inf], [1e308, -1e308, -1e308]]
    )
    expected = [50 - math.log(2), 400, -900, 1e100, 1e100]
    labels = np.zeros(5, int)
    np.testing.assert_allclose(fusion.log_odds(logits, labels), expected, rtol=1e-15)
    np.testing.assert_allclose(fusion.log_odds(fusion.log_confidence(logits), labels), expected, rtol=1e-12)
    assert fusion.log_odds(np.array([[-np.inf, 0.0]]), np.array([0])) == -1e100
    np.testing.assert_allclose(references.log_p(np.array([50.0, -900, 0])), [-np.exp(-50), -900, -math.log(2)])


def test_an_ensemble_s_reference_is_fused_by_the_target_s_rule():
    logits = RNG.normal(size=(4, 5, 10, 3)).astype(np.float32)
    for how in fusion.RULES:
        fused = References.of_ensembles(iter(logits), MEMBER, LABELS, how=how)
        assert fused.logits.dtype == np.float32
        expected = [np.maximum(fusion.fuse(one, how), fusion.SMALLEST) for one in logits]
        np.testing.assert_allclose(fused.logits, expected, rtol=1e-6)
    alike = References.of_ensembles(np.repeat(LOGITS[:, None], 5, axis=1), MEMBER, LABELS)
    np.testing.assert_allclose(alike.log_odds, References(LOGITS, MEMBER, LABELS).log_odds, atol=1e-5)


def test_counts_tell_in_how_many_training_sets_a_sample_is():
    inside, outside = References(LOGITS, MEMBER, LABELS).counts
    assert (inside == 2).all() and (outside == 2).all()
    text = str(References(LOGITS, put(MEMBER, (slice(None), 0), False), LABELS))
    assert text == "4 reference models; each sample in the training sets of 0 to 2, outside of 2 to 4"


# what is refused

BAD = {
    "a single model": ({"logits": LOGITS[0]}, r"logits: found shape \[10, 3\]; expected \[shadows, samples, classes\]"),
    "whole ensembles": ({"logits": LOGITS[None]}, r"found shape \[1, 4, 10, 3\]; .*fuse each ensemble first"),
    "no shadows": ({"logits": LOGITS[:0], "member": MEMBER[:0]}, "no shadows"),
    "one class": ({"logits": LOGITS[..., :1]}, "labels: found 2 .*0 to 1"),
    "NaN": ({"logits": put(LOGITS, (2, 3, 1), np.nan)}, "found nan at shadow 2, sample 3, class 1"),
    "member turned": ({"member": MEMBER.T}, r"member: found shape \[10, 4\]; expected \[4, 10\]; use member.T"),
    "the target's member": ({"member": MEMBER[0]}, r"found shape \[10\]; expected \[4, 10\]; one row per shadow"),
    "other shadows' member": ({"member": MEMBER[:3]}, r"found shape \[3, 10\]; expected \[4, 10\]"),
    "member 2": ({"member": put(MEMBER.astype(int), (1, 3), 2)}, "member: found 2 at shadow 1, sample 3; expected 1"),
    "all members": ({"member": put(MEMBER, 2, True)}, "shadow 2 trained on every sample; .* random halves"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_refused_in_one_line_from_memory_and_from_a_file(name, tmp_path):
    changed, message = BAD[name]
    arrays = {"logits": LOGITS, "member": MEMBER, **changed}
    with pytest.raises(AuditError, match=message) as caught:
        References(**arrays, labels=LABELS)
    assert "\n" not in str(caught.value)
    if name != "one class":  # against the outputs' classes it fails earlier
        np.savez(tmp_path / "ref.npz", **arrays)
        with pytest.raises(AuditError, match=message) as caught:
            reference_files.read(tmp_path / "ref.npz", OUTPUTS)
        assert str(caught.value).startswith(f"{tmp_path / 'ref.npz'}: ")


def test_labels_out_of_range_and_what_is_no_probability_are_refused():
    with pytest.raises(AuditError, match="labels: found 3 at sample 0"):
        References(LOGITS, MEMBER, LABELS + 3 - LABELS[0])
    with pytest.raises(AuditError, match=r"probabilities: .* \(shadow 0, sample 0\).* call the array logits"):
        References.from_probabilities(LOGITS, MEMBER, LABELS)


def test_ensembles_are_refused_by_the_shadow_that_is_at_fault():
    logits = RNG.normal(size=(4, 2, 10, 3))
    with pytest.raises(AuditError, match="shadow 1: found nan at model 0, sample 5, class 2"):
        References.of_ensembles(put(logits, (1, 0, 5, 2), np.nan), MEMBER, LABELS)
    with pytest.raises(AuditError, match=r"shapes \[9, 3\] and \[10, 3\]; expected one shape"):
        References.of_ensembles([*logits[:3], logits[3, :, :9]], MEMBER, LABELS)
    with pytest.raises(AuditError, match="fusion: no fusion 'veto'"):
        References.of_ensembles(logits, MEMBER, LABELS, how="veto")
    with pytest.raises(AuditError, match="no shadows"):
        References.of_ensembles([], MEMBER[:0], LABELS)


# files


def test_a_file_holds_logits_or_probabilities_and_needs_no_labels(tmp_path):
    p = fusion.softmax(LOGITS)
    np.savez(tmp_path / "logits.npz", logits=LOGITS, member=MEMBER, note=np.array([{}], dtype=object))
    np.savez(tmp_path / "p.npz", probabilities=p, member=MEMBER.astype(int), labels=LABELS)
    one, other = (reference_files.read(tmp_path / name, OUTPUTS) for name in ("logits.npz", "p.npz"))
    assert (one.logits == LOGITS).all() and (one.member == MEMBER).all() and (one.labels == LABELS).all()
    np.testing.assert_allclose(one.log_odds, other.log_odds, atol=1e-5)


def test_a_file_on_other_samples_is_refused(tmp_path):
    wrong = {
        "samples": (
            {"logits": LOGITS[:, :9], "member": MEMBER[:, :9]},
            "found 9 samples and 3 classes; expected 10 and 3",
        ),
        "classes": ({"logits": LOGITS[..., :2]}, "found 10 samples and 2 classes; expected 10 and 3"),
        "order": ({"labels": np.roll(LABELS, 1)}, "labels of the reference: found .* same order"),
        "nothing": (
            {"member": None},
            r"found logits; expected member too; save it with .*logits=..., labels=..., member=...\)",
        ),
    }
    for name, (changed, message) in wrong.items():
        arrays = {"logits": LOGITS, "member": MEMBER, **changed}
        np.savez(tmp_path / f"{name}.npz", **{key: array for key, array in arrays.items() if array is not None})
        with pytest.raises(AuditError, match=message):
            reference_files.read(tmp_path / f"{name}.npz", OUTPUTS)
    with pytest.raises(AuditError, match="found no such file"):
        reference_files.read(tmp_path / "absent.npz", OUTPUTS)


def test_references_made_in_memory_are_checked_against_outputs_too():
    References(LOGITS, MEMBER, LABELS).check(OUTPUTS)
    with pytest.raises(AuditError, match="labels of the reference"):
        References(LOGITS, MEMBER, np.roll(LABELS, 1)).check(OUTPUTS)
    with pytest.raises(AuditError, match="found 9 samples"):
        References(LOGITS[:, :9], MEMBER[:, :9], LABELS[:9]).check(OUTPUTS)


# too few shadows


def test_up_to_a_tenth_of_the_samples_may_lack_shadows_and_their_number_is_told():
    few = References(LOGITS, put(MEMBER, (slice(None), 0), False), LABELS)
    with pytest.warns(NoOpinion, match="1 of 10 samples get the median score: .* than 1 trained with each sample"):
        fine = references.enough(few, inside=1)
    assert fine.tolist() == [False] + 9 * [True]
    np.testing.assert_array_equal(references.with_median(np.arange(10.0), fine), [5, *range(1, 10)])
    with pytest.raises(NotEnough, match="1 trained with each sample and 1 without it; 20 % of samples have fewer"):
        references.enough(References(LOGITS, put(MEMBER, (slice(None), [0, 1]), False), LABELS), inside=1, outside=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert references.enough(few, outside=2).all()


# every attack that needs references


N = 400


@pytest.fixture(scope="module")
def leaking():
    """An overfit toy: members' answers are surer, of some samples by more."""
    return case(world(N, shift=(1, 3), inside=(0.8, 1.2), outside=(0.8, 1.2)), 12)


@pytest.fixture(scope="module")
def scored(leaking):
    """Scores on it by name, found once."""
    return cache(leaking.score)


@pytest.mark.parametrize("name", NAMES)
def test_members_of_an_overfit_model_score_higher(name, leaking, scored):
    scores = scored(name)
    assert scores.shape == (N,) and scores.dtype == np.float64 and np.isfinite(scores).all()
    assert scores[leaking.member].mean() > scores[~leaking.member].mean()
    assert metrics.auc_interval(scores, leaking.member).low > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_shuffled_membership_leaves_an_auc_of_a_half(name, leaking, scored):
    scores, rng = scored(name), np.random.default_rng(1)
    intervals = [metrics.auc_interval(scores, rng.permutation(leaking.member)) for _ in range(40)]
    assert sum(one.low < 0.5 < one.high for one in intervals) >= 34  # each misses once in twenty


@pytest.mark.parametrize("name", ["lira-online-fixed", "shadow-shokri", "shadow-rahman"])
def test_shadows_with_shuffled_membership_leave_no_opinion_worth_the_name(name):
    even = case(world(400, difficulty=0.0), 12)
    own = even.evidence.references
    shuffled = References(own.logits, halves(12, 400, np.random.default_rng(3)), own.labels)
    taught = even.score(name)
    untaught = replace(even, evidence=replace(even.evidence, references=shuffled)).score(name)
    assert np.median(np.abs(untaught)) < 0.4 * np.median(np.abs(taught))


@pytest.mark.parametrize("name", NAMES)
def test_membership_known_or_not_is_never_looked_at(name, leaking, scored):
    """A sample's score can then not depend on the membership of another either."""
    shuffled = np.random.default_rng(0).permutation(leaking.member)
    for known, member in ((np.ones(N, bool), ~leaking.member), (np.zeros(N, bool), shuffled)):
        scores = attacks.get(name).score(leaking.evidence, Known.of(known, member), 0)
        np.testing.assert_array_equal(scores, scored(name))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("lira") and "fixed" not in name])
def test_a_sample_s_score_depends_on_no_other_sample(name, leaking, scored):
    some = np.arange(0, N, 7)
    own, e = leaking.evidence.references, leaking.evidence
    part = References(own.logits[:, some], own.member[:, some], own.labels[some])
    alone = Evidence(e.p[some], e.log_p[some], e.p[some], e.labels[some], references=part)
    member = leaking.member[some]
    np.testing.assert_allclose(attacks.get(name).score(alone, Known.of(member, member), 0), scored(name)[some])


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("shadow-") or "thresholds" in name])
def test_the_order_of_samples_and_shadows_does_not_matter(name, leaking, scored):
    order, e = np.random.default_rng(0).permutation(N), leaking.evidence
    own, shadows = e.references, slice(None, None, -1)
    if name.startswith("rmia-offline"):  # it chooses a on the first shadows
        shadows = slice(None)
    turned = References(own.logits[shadows][:, order], own.member[shadows][:, order], own.labels[order])
    turned = Evidence(e.p[order], e.log_p[order], e.p[order], e.labels[order], references=turned)
    member = leaking.member[order]
    scores = attacks.get(name).score(turned, Known.of(member, member), 0)
    np.testing.assert_allclose(scores, scored(name)[order], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_without_references_the_error_names_the_remedy(name, leaking):
    bare = replace(leaking.evidence, references=None)
    with pytest.raises(NotEnough, match=r"needs reference models: give outputs of .* random halves \(--reference\)"):
        attacks.get(name).score(bare, Known.of(leaking.member, leaking.member), 0)


def test_other_needs_are_told_with_their_remedies_too(leaking):
    with pytest.raises(NotEnough, match="give their inputs x"):
        leaking.evidence.need("x")
    with pytest.raises(NotEnough, match="every model's outputs"):
        leaking.evidence.need("log_confidences")
    assert leaking.evidence.need("references") is leaking.evidence.references


def test_an_ensemble_of_identical_models_is_attacked_as_the_single_model():
    one = case(world(300), 8)
    own, labels = one.evidence.references, one.evidence.labels
    fused = References.of_ensembles(np.repeat(own.logits[:, None], 3, axis=1), own.member, labels)
    target = fusion.fuse(np.repeat(logits_of(one.odds, labels, 3)[None], 3, axis=0))
    evidence = evidence_of(target, labels, fused)
    for name in ("lira-online", "lira-offline-fixed", "rmia-online"):
        scores = attacks.get(name).score(evidence, Known.of(one.member, one.member), 0)
        assert metrics.auc(scores, one.member) == pytest.approx(metrics.auc(one.score(name), one.member), abs=1e-9)


def test_the_six_attacks_of_the_audit_are_registered_and_variants_are_found_by_name_alone():
    sides = ("online", "offline")
    six = [*(f"lira-{side}{fixed}" for fixed in ("", "-fixed") for side in sides), *(f"rmia-{side}" for side in sides)]
    assert [name for name in NAMES if name in attacks.ALL and not name.startswith("shadow")] == six
    assert not set(attacks.ALL) & set(attacks.VARIANTS)
    assert attacks.get("lira-online-fixed-in") is attacks.VARIANTS["lira-online-fixed-in"]
    assert not any(attack.learns or attack.costly for attack in map(attacks.get, NAMES))
