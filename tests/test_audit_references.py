"""The audit with reference models and with the samples themselves: who runs, who sees what, and how good they are."""

import warnings
from dataclasses import fields, replace

import numpy as np
import pytest
from reference_cases import case, logits_of, overlap, world

from mialab import attacks, metrics
from mialab.attacks import ALL, Evidence, References
from mialab.audit import AuditError, Outputs, audit, run

QUICK = ("lira-online-fixed", "rmia-online")
OPTIONAL = ("log_confidences", "x", "sensitivity", "references", "target")


def outputs_of(made, models=1):
    return Outputs(np.repeat(made.evidence.log_p[None], models, axis=0), made.evidence.labels, made.member)


@pytest.fixture(scope="module")
def small():
    made = case(world(300), 8)
    return outputs_of(made), made.evidence.references


def names(needs):
    return [name for name, one in ALL.items() if set(one.needs) <= set(needs) and not one.costly]


# how good they are


def test_lira_in_an_audit_reaches_the_neyman_pearson_curve():
    made = case(world(4000, shift=(0.5, 3.5)), 64)
    found = audit(outputs_of(made), attacks=["confidence", "lira-online"], references=made.evidence.references, known=0)
    best = made.world.log_ratio(made.odds)
    figures = found.attacks["lira-online"].everyone
    assert overlap(figures.auc, metrics.auc_interval(best, made.member))
    assert overlap(figures.tpr["0.01"], metrics.tpr_at_fpr(best, made.member, 0.01))
    assert figures.auc.low > found.attacks["confidence"].everyone.auc.high


def test_lira_exceeds_what_the_divergence_of_the_confidences_allows_and_the_report_says_so():
    made = case(world(6000, shift=(1.5, 1.5), difficulty=3.0), 32)
    found = audit(outputs_of(made), attacks=["gap", *QUICK], references=made.evidence.references, known=0.5)
    assert found.attacks["lira-online-fixed"].everyone.balanced_accuracy.low > found.divergence.cap
    assert found.attacks["gap"].everyone.balanced_accuracy.value < found.divergence.cap
    assert "% here: lira-online-fixed" in str(found)


def test_shadows_of_shuffled_membership_leave_nothing_to_find():
    made = case(world(600, shift=(0.0, 0.0)), 8)
    found = audit(outputs_of(made), references=made.evidence.references, known=0.5)
    for name in names(("references",)):
        value, low, high = found.attacks[name].everyone.auc
        assert abs(value - 0.5) < (high - low) / 2 * 3.5 / 1.96, name


# who runs


def test_attacks_run_by_default_where_what_they_need_is_given(small):
    outputs, references = small
    assert list(audit(outputs).attacks) == names(())
    assert list(audit(outputs, references=references).attacks) == names(("references",))
    assert list(audit(outputs, white_box=True).attacks) == names(("log_confidences",))
    assert list(audit(outputs, x=np.zeros(300)).attacks) == names(())  # the one that sees x takes minutes


def test_the_six_attacks_have_the_names_that_people_know(small):
    outputs, references = small
    online = ["lira-online", "lira-offline", "lira-online-fixed", "lira-offline-fixed", "rmia-online", "rmia-offline"]
    assert list(audit(outputs, attacks=online, references=references).attacks) == online


def test_variants_run_by_name(small):
    outputs, references = small
    found = audit(outputs, attacks=list(attacks.VARIANTS), references=references)
    assert list(found.attacks) == list(attacks.VARIANTS) and not found.skipped


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lira-online", "needs reference models"),
        ("shadow-thresholds", "needs reference models"),
        ("nasr-paper-x", "needs the samples themselves"),
    ],
)
def test_an_attack_asked_for_by_name_is_skipped_for_what_it_lacks(small, name, reason):
    found = audit(small[0], attacks=[name, "gap"])
    assert list(found.attacks) == ["gap"] and reason in found.skipped[name]


def test_an_own_attack_is_not_called_without_what_it_needs(small):
    def never(*_):
        raise AssertionError("called")

    mine = attacks.from_function("mine", never, needs=("references",))
    assert "needs reference models" in audit(small[0], attacks=mine).skipped["mine"]


def test_costly_attacks_run_by_name_on_the_samples(small):
    outputs, _ = small
    x = np.random.default_rng(0).normal(size=(300, 4)) + 3 * outputs.member[:, None]
    found = audit(outputs, attacks="nasr-paper-x", x=x, known=0.5)
    assert found.attacks["nasr-paper-x"].everyone.auc.value > 0.9
    assert found.attacks["nasr-paper-x"].beyond == ("x",)


# who sees what


def spy(needs, seen):
    def score(evidence, known, seed):
        seen.append(evidence)
        return np.zeros(len(evidence.labels))

    return attacks.from_function(f"needs {' '.join(needs)}", score, learns=True, needs=needs)


@pytest.mark.parametrize("needs", [(), *((name,) for name in OPTIONAL), OPTIONAL])
def test_an_attack_sees_nothing_beyond_the_fused_prediction_but_what_it_names(small, needs):
    outputs, references = small
    models = np.random.default_rng(0).normal(size=(3, 300, 3))
    outputs, seen = Outputs(models, outputs.labels, outputs.member), []
    everything = [spy(needs, seen), spy(OPTIONAL[::-1], [])]  # beside one for whom all of it is there
    given = {"x": np.zeros((300, 2)), "sensitivity": np.zeros((300, 3)), "target": object()}
    audit(outputs, attacks=everything, references=references, **given)
    (evidence,) = seen
    assert {field.name for field in fields(Evidence)} == {
        *("p", "log_p", "features", "labels", "answers", "signal", "query_odds", "held", "scale", "sure_models"),
        *OPTIONAL,
    }
    assert {name for name in OPTIONAL if getattr(evidence, name) is not None} == set(needs)
    assert evidence.features is evidence.p and evidence.p.shape == evidence.log_p.shape == (300, 3)


def test_each_model_s_own_log_probabilities_are_made_only_for_those_who_need_them(small, monkeypatch):
    def never(_):
        raise AssertionError("made unasked")

    outputs, references = small
    with monkeypatch.context() as patched:
        patched.setattr(run, "_log_confidences", never)
        audit(outputs, attacks=["gap", "neural-released"], white_box=True, references=references)
        audit(outputs, references=references)
    seen = []
    audit(outputs, attacks=spy(("log_confidences",), seen))
    np.testing.assert_allclose(np.exp(seen[0].log_confidences).sum(axis=-1), 1)


def test_a_look_at_each_model_s_answers_is_told_also_outside_the_white_box(small):
    two = Outputs(np.repeat(small[0].logits, 2, axis=0), small[0].labels, small[0].member)
    assert "white box: agreement looked at each model's own confidences" in str(audit(two, attacks="agreement"))
    assert "white box" not in str(audit(two, attacks="gap"))
    assert "white box" not in str(audit(small[0], attacks="agreement"))  # of one model there is no more to see


# what is said of the references


def test_the_report_says_what_references_there_were(small):
    outputs, references = small
    line = "8 reference models; each sample in the training sets of 4 to 4, outside of 4 to 4"
    assert line in str(audit(outputs, attacks="gap", references=references)).splitlines()
    assert "reference models;" not in str(audit(outputs, attacks="gap"))


def test_samples_without_an_opinion_are_noted_once_with_the_attacks_they_concern(small):
    outputs, references = small
    member = references.member.copy()
    member[:, :5] = True  # five samples that every shadow was trained on
    references = References(references.logits, member, references.labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = audit(outputs, attacks=["lira-offline-fixed", "rmia-online", "gap"], references=references)
    (first, second) = found.notes
    assert first.code == second.code == "no-opinion"
    assert first.sentence.startswith("lira-offline-fixed: 5 of 300 samples get the median score")
    assert second.sentence.startswith("rmia-online: 5 of 300")
    assert f"note: {first}" in " ".join(str(found).split())


def test_other_warnings_of_an_attack_reach_the_caller(small):
    def score(evidence, known, seed):
        warnings.warn("collapsed", stacklevel=1)
        return np.zeros(len(evidence.labels))

    with pytest.warns(UserWarning, match="collapsed"):
        found = audit(small[0], attacks=attacks.from_function("mine", score))
    assert found.notes == ()


def test_references_of_other_samples_are_refused(small):
    outputs, references = small
    fewer = References(references.logits[:, :299], references.member[:, :299], references.labels[:299])
    with pytest.raises(AuditError, match="found 299 samples and 3 classes; expected 300 and 3"):
        audit(outputs, references=fewer)
    turned = References(references.logits, references.member, (references.labels + 1) % 3)
    with pytest.raises(AuditError, match="labels of the reference: found"):
        audit(outputs, references=turned)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(299), r"x: found type float64 and shape \[299\]; expected numbers \[300, ...\]"),
        (np.float64(1), r"shape \[\]"),
        (np.array(["a"] * 300), "x: found type <U1"),
        ([[1], [1, 2]], "x: cannot be made an array"),
    ],
)
def test_wrong_samples_are_refused(small, x, message):
    with pytest.raises(AuditError, match=message):
        audit(small[0], x=x)


def test_a_need_that_nobody_can_meet_is_refused(small):
    mine = replace(ALL["gap"], name="mine", needs=("weights",))
    with pytest.raises(AuditError, match="attack mine needs 'weights'; an attack may need log_confidences, x, sens"):
        audit(small[0], attacks=mine)


def test_the_same_seed_gives_the_same_report_with_references(small):
    outputs, references = small
    first, again = (audit(outputs, references=references, white_box=True, seed=5) for _ in range(2))
    assert str(first) == str(again) and first.to_dict() == again.to_dict()


def test_references_of_an_ensemble_s_fused_prediction_attack_an_ensemble():
    made = case(world(1000), 16)
    target = np.stack([logits_of(made.odds + shift, made.evidence.labels, 3) for shift in (-0.1, 0.1)])
    outputs = Outputs(target, made.evidence.labels, made.member)
    found = audit(outputs, attacks=QUICK, references=made.evidence.references, known=0.5)
    assert all(result.everyone.auc.low > 0.7 for result in found.attacks.values())
