"""Audits of what has no output per class: one output, a loss or a score per sample, no labels, several queries."""

import math

import numpy as np
import pytest
from reference_cases import case, halves, world

from mialab import attacks, fusion, metrics
from mialab.attacks import References, ReferenceScores
from mialab.audit import AuditError, Outputs, Scores, audit
from mialab.per_sample import signal

N, K = 600, 16
SIGNAL = ("lira-online", "lira-offline", "lira-online-fixed", "lira-offline-fixed", "rmia-online", "rmia-offline")


@pytest.fixture(scope="module")
def made():
    """A model and shadows with logits, and what a cross-entropy makes of them."""
    found = case(world(N), K)
    logits, labels, references = found.evidence.log_p, found.evidence.labels, found.evidence.references
    return logits, labels, found.member, references


def losses_of(logits, labels):
    where = np.broadcast_to(labels, logits.shape[:-1])[..., None]
    return -np.take_along_axis(fusion.log_confidence(logits), where, -1)[..., 0]


def aucs(report):
    return {name: one.everyone.auc.value for name, one in report.attacks.items()}


# one output


@pytest.mark.parametrize("shape", [(N,), (N, 1), (1, N, 1)])
@pytest.mark.parametrize("dtype", [int, bool, float, "uint8"])
def test_one_output_gives_what_two_give(shape, dtype):
    rng = np.random.default_rng(0)
    member, labels = rng.random(N) < 0.5, rng.integers(0, 2, N)
    z = rng.normal(size=N) + (2 * labels - 1) * (1 + member)
    two = audit(Outputs(np.stack([0 * z, z], 1), labels, member)).to_dict()
    assert audit(Outputs(z.reshape(shape), labels.astype(dtype), member)).to_dict() == two
    p = (1 / (1 + np.exp(-z))).reshape(shape)
    asked = ["gap", "confidence", "loss", "modified-entropy"]
    found = aucs(audit(Outputs.from_probabilities(p, labels.astype(dtype), member), attacks=asked))
    assert found == pytest.approx({name: two["attacks"][name]["auc"] for name in asked}, abs=1e-12)


def test_one_output_of_an_ensemble_and_of_references_gives_what_two_give():
    rng = np.random.default_rng(0)
    member, labels, inside = rng.random(N) < 0.5, rng.integers(0, 2, N), halves(K, N, rng)
    z = rng.normal(size=(3, N)) + (2 * labels - 1) * (1 + member)
    shadows = rng.normal(size=(K, N)) + (2 * labels - 1) * (1 + inside)
    two = References(np.stack([0 * shadows, shadows], -1), inside, labels)
    one = References(shadows[..., None], inside, labels)
    expected = audit(Outputs(np.stack([0 * z, z], -1), labels, member), references=two)
    assert audit(Outputs(z[..., None], labels, member), references=one).to_dict() == expected.to_dict()


def test_one_probability_outside_of_0_and_1_is_refused():
    with pytest.raises(AuditError, match="found 1.5, one output per sample; .* call the array logits"):
        Outputs.from_probabilities(np.array([0.5, 1.5]), [0, 1], [0, 1])


# a loss or a score per sample


def test_losses_give_the_numbers_of_the_logits(made):
    logits, labels, member, references = made
    shadows = ReferenceScores(losses_of(references.logits, labels), references.member, kind="losses")
    own = Scores(losses_of(logits, labels), member, labels, kind="losses")
    found, expected = (
        aucs(audit(one, references=others))
        for one, others in ((own, shadows), (Outputs(logits, labels, member), references))
    )
    assert set(found) == {"loss", "loss-per-class", *SIGNAL}
    assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-9)


def test_log_odds_as_scores_give_the_numbers_of_the_logits(made):
    logits, labels, member, references = made
    shadows = ReferenceScores(references.log_odds, references.member)
    found = aucs(audit(Scores(fusion.log_odds(logits, labels), member), references=shadows))
    expected = aucs(audit(Outputs(logits, labels, member), references=references))
    # without labels other samples are known: compare what nobody learns from
    everyone = {"known": 0.0}
    found = aucs(audit(Scores(fusion.log_odds(logits, labels), member), references=shadows, **everyone))
    expected = aucs(audit(Outputs(logits, labels, member), references=references, **everyone))
    assert set(found) == {"score", *SIGNAL}
    assert found == pytest.approx({name: expected.get(name, expected["confidence"]) for name in found}, abs=1e-9)


def test_losses_of_shadows_serve_a_model_with_logits(made):
    logits, labels, member, references = made
    shadows = ReferenceScores(losses_of(references.logits, labels), references.member, kind="losses")
    found = aucs(audit(Outputs(logits, labels, member), references=shadows, attacks=SIGNAL))
    assert found == pytest.approx(aucs(audit(Outputs(logits, labels, member), references=references, attacks=SIGNAL)))


def test_an_ensemble_s_losses_are_fused_as_its_confidences():
    rng = np.random.default_rng(0)
    logits, labels, member = rng.normal(size=(3, N, 4)), rng.integers(0, 4, N), np.arange(N) % 2
    own = audit(Scores(losses_of(logits, labels), member, labels, kind="losses"), attacks=["loss"])
    other = audit(Outputs(logits, labels, member), attacks=["loss"])
    np.testing.assert_allclose(own.attacks["loss"].scores, other.attacks["loss"].scores, rtol=1e-9)


def test_gaussian_scores_have_the_auc_of_the_closed_form():
    rng = np.random.default_rng(0)
    member = np.arange(40_000) % 2 == 1
    figures = audit(Scores(rng.normal(1.5 * member), member)).attacks["score"].everyone
    exact = 0.5 + 0.5 * math.erf(1.5 / 2)
    assert figures.auc.low < exact < figures.auc.high and figures.auc.high - figures.auc.low < 0.03


@pytest.mark.parametrize("kind", ["losses", "scores"])
def test_shuffled_membership_leaves_an_auc_of_one_half(kind):
    rng = np.random.default_rng(1)
    report = audit(Scores(rng.gamma(2, 1, 4000), rng.random(4000) < 0.5, kind=kind))
    (one,) = report.attacks.values()
    assert one.everyone.auc.low < 0.5 < one.everyone.auc.high and not report.notes


def test_negative_losses_of_densities_are_taken_as_they_are():
    rng = np.random.default_rng(0)
    member, inside = rng.random(N) < 0.5, halves(K, N, rng)
    hard = rng.normal(0, 3, N)
    own, shadows = hard - member + rng.normal(size=N), hard - inside + rng.normal(size=(K, N))
    moved = own + 20, shadows + 20  # large ones, all positive: log-odds are then minus the loss as well
    report, other = (
        audit(
            Scores(a, member, kind="losses"), references=ReferenceScores(b, inside, kind="losses"), attacks=SIGNAL[:4]
        )
        for a, b in ((own, shadows), moved)
    )
    assert aucs(report) == pytest.approx(aucs(other), abs=5e-3)
    assert report.attacks["lira-online-fixed"].everyone.auc.low > 0.5


def test_what_cannot_be_run_is_skipped_with_its_reason(made):
    logits, labels, member, _ = made
    report = audit(Scores(losses_of(logits, labels), member, kind="losses"))
    assert list(report.attacks) == ["loss"]
    assert report.skipped["entropy"] == attacks.base.READS["outputs"]
    assert report.skipped["loss-per-class"] == attacks.base.READS["labels"]
    assert str(report).count("needs an output per class") == 1
    assert (
        audit(Scores(-losses_of(logits, labels), member), attacks=["loss"]).skipped["loss"].startswith("needs a loss")
    )


def test_the_loss_of_a_certain_answer_is_finite():
    losses = np.array([0.0, 1e-7, 1.0, 50.0, 800.0], np.float32)
    found = Scores(losses, [0, 1, 0, 1, 0], kind="losses").signal(plain=False)
    assert np.isfinite(found.odds).all() and (np.diff(found.odds) < 0).all()
    np.testing.assert_allclose(found.odds[2:], [-math.log(math.e - 1), -50, -800], rtol=1e-6)
    odds = np.array([-700.0, -3, 0, 3, 30])
    np.testing.assert_allclose(signal(np.logaddexp(0, -odds), "losses").odds, odds, rtol=1e-9, atol=1e-12)


BAD = {
    "outputs": ({"values": np.zeros((6, 3))}, "call the array logits"),
    "NaN": ({"values": [0, 1, np.nan, 0, 1, 2]}, "found nan at model 0, sample 2; drop such samples .1 of 6"),
    "short": ({"values": np.zeros(5)}, r"expected \[samples\] or \[models, samples\] of 6 samples"),
    "tokens": ({"values": np.zeros((1, 6, 2, 3))}, r"take the mean: scores.mean\(-1\)"),
    "labels": ({"labels": [0, 1, -1, 0, 0, 0]}, "labels: found -1; .*leave labels out"),
    "member": ({"member": np.ones(6)}, "members only"),
    "kind": ({"kind": "loss"}, "kind: found 'loss'; expected losses or scores"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_scores_are_refused_in_one_line(case):
    changed, message = BAD[case]
    with pytest.raises(AuditError, match=message) as caught:
        Scores(**{"values": np.zeros(6), "member": np.arange(6) % 2, **changed})
    assert "\n" not in str(caught.value)


def test_references_on_another_scale_are_refused(made):
    logits, labels, member, references = made
    own = Scores(losses_of(logits, labels), member, kind="losses")
    with pytest.raises(AuditError, match="found scores beside losses"):
        audit(own, references=ReferenceScores(references.log_odds, references.member))
    with pytest.raises(AuditError, match="found scores beside outputs per class"):
        audit(Outputs(logits, labels, member), references=ReferenceScores(references.log_odds, references.member))
    with pytest.raises(AuditError, match="found 500 samples; expected 600"):
        ReferenceScores(references.log_odds[:, :500], references.member[:, :500], kind="losses").check(own)
    with pytest.raises(AuditError, match="they are averaged"):
        audit(own, fusion="median")


# notes


def codes(report):
    return [note.code for note in report.notes]


def test_notes_on_scores_speak_of_planted_mistakes(made):
    logits, labels, member, references = made
    losses, shadows = losses_of(logits, labels), losses_of(references.logits, labels)
    inside = references.member

    def found(own=losses, of=member, others=shadows, design=inside):
        own = Scores(own, of, kind="losses")
        return codes(audit(own, references=ReferenceScores(others, design, kind="losses"), attacks=["loss"]))

    assert found() == []
    assert "membership-inverted" in found(of=~member)
    assert "reference-is-the-model" in found(others=put(shadows, 3, losses))
    assert "reference-twice" in found(others=put(shadows, 3, shadows[4]), design=put(inside, 3, inside[4]))
    assert "reference-order" in found(others=shadows[:, ::-1], design=inside[:, ::-1])
    assert "reference-membership-inverted" in found(design=~inside)
    twice = Scores(np.r_[losses, losses], np.r_[member, member], kind="losses")
    assert codes(audit(twice, attacks=["loss"])) == ["identical-rows"]


def put(array, row, value):
    array = array.copy()
    array[row] = value
    return array


def test_no_note_on_honest_scores():
    """Ground truth: nobody made a mistake here."""
    settings, spoken = 0, []
    for seed in range(100):
        rng = np.random.default_rng([seed, 5])
        n, shadows = int(rng.choice([60, 300, 2000])), int(rng.choice([2, 4, 16]))
        scale, leak, hard = rng.choice([1e-3, 1, 1e3]), rng.choice([0.0, 0.3, 2.0]), rng.choice([0.0, 1, 3])
        inside = rng.random((shadows + 1, n)) < 0.5
        inside[:, 0], inside[:, 1] = True, False
        odds = rng.normal(size=(shadows + 1, n)) + hard * rng.normal(size=n) + leak * inside
        kind = ("losses", "scores")[seed % 2]
        values = scale * (np.logaddexp(0, -odds) if kind == "losses" else odds)
        if seed % 3 == 0:
            values = np.round(values / scale, 1)  # with ties
        own = Scores(values[0], inside[0], kind=kind)
        report = audit(own, references=ReferenceScores(values[1:], inside[1:], kind=kind), attacks=[kind_name(kind)])
        spoken += [f"{code} at seed {seed}" for code in codes(report)]
        settings += 1
    print(f"{settings} honest settings of scores, {len(spoken)} notes")
    assert settings == 100 and not spoken


def kind_name(kind):
    return "loss" if kind == "losses" else "score"


# no labels


def test_what_needs_no_labels_runs_without_them(made):
    logits, labels, member, references = made
    report = audit(Outputs(logits, None, member))
    assert list(report.attacks) == ["entropy", "neural-published", "neural-released"]
    assert report.skipped["gap"] == attacks.base.READS["labels"]
    assert report.to_dict()["accuracy"] == {"members": None, "nonmembers": None}
    assert "accuracy: no labels" in str(report) and "misclassified" not in str(report)
    assert report.divergence.confidence is None and report.divergence.prediction is not None
    plain = audit(Outputs(logits, labels, member), attacks=["entropy"])
    np.testing.assert_array_equal(report.attacks["entropy"].scores, plain.attacks["entropy"].scores)


# several queries per sample


def asked_several(n=2000, queries=4, shadows=32, seed=0):
    """Log-odds whose noise differs from query to query, of a model and shadows; two classes."""
    rng = np.random.default_rng(seed)
    labels, inside = rng.integers(0, 2, n), np.concatenate([rng.random((1, n)) < 0.5, halves(shadows, n, rng)])
    hard = 2 * rng.normal(size=n)
    odds = hard[:, None] + inside[..., None] + rng.normal(size=(shadows + 1, n, queries))
    z = odds * (2 * labels - 1)[:, None]
    return np.stack([0 * z, z], -1), labels, inside, odds


def test_queries_are_combined_as_lira_s_authors_do_and_by_mean():
    logits, labels, inside, odds = asked_several()
    outputs, references = Outputs(logits[:1], labels, inside[0]), References(logits[1:], inside[1:], labels)
    found = audit(outputs, references=references, known=0)
    names = ("lira-online-fixed", "lira-online-fixed-averaged")
    assert set(names) <= set(found.attacks) and "4 queries per sample" in str(found)
    single = [
        audit(
            Outputs(logits[0, :, k], labels, inside[0]),
            references=References(logits[1:, :, k], inside[1:], labels),
            attacks=[names[0]],
            known=0,
        )
        .attacks[names[0]]
        .scores
        for k in range(4)
    ]
    np.testing.assert_allclose(found.attacks[names[0]].scores, np.mean(single, axis=0), rtol=1e-6)
    scores = Scores(odds[0].mean(axis=1), inside[0]), ReferenceScores(odds[1:].mean(axis=2), inside[1:])
    averaged = audit(scores[0], references=scores[1], attacks=[names[0]], known=0).attacks[names[0]].scores
    np.testing.assert_allclose(found.attacks[names[1]].scores, averaged, rtol=1e-6)


def test_four_queries_tell_what_twice_the_shift_tells():
    """Ground truth: the mean of four has half the deviation, so the best AUC is Phi(2 / sqrt 2)."""
    logits, labels, inside, _ = asked_several(n=4000, shadows=64)
    outputs, references = Outputs(logits[:1], labels, inside[0]), References(logits[1:], inside[1:], labels)
    found = audit(outputs, references=references, attacks=["lira-online-fixed-averaged", "lira-online-fixed"], known=0)
    for one in found.attacks.values():
        exact = 0.5 + 0.5 * math.erf(1)
        assert one.everyone.auc.low - 0.01 < exact < one.everyone.auc.high + 0.01


def test_other_attacks_see_the_mean_confidence_of_the_queries():
    logits, labels, inside, _ = asked_several(n=300)
    found = audit(Outputs(logits[:1], labels, inside[0]), attacks=["loss", "gap"])
    other = audit(Outputs(np.moveaxis(logits[0], 1, 0), labels, inside[0]), attacks=["loss", "gap"])
    np.testing.assert_allclose(found.attacks["loss"].scores, other.attacks["loss"].scores, atol=1e-6)
    assert found.accuracy == other.accuracy


def test_queries_of_scores_are_averaged_and_each_has_its_gaussian():
    _, labels, inside, odds = asked_several(n=500)
    own, references = Scores(odds[:1], inside[0]), ReferenceScores(odds[1:], inside[1:])
    found = audit(own, references=references, known=0)
    np.testing.assert_allclose(found.attacks["score"].scores, odds[0].mean(axis=1))
    assert "lira-online-averaged" in found.attacks
    assert metrics.auc(found.attacks["lira-online"].scores, inside[0]) > 0.8
