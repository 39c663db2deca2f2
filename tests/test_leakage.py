"""The audit's divergences and proofs on outputs whose divergence is known, and what they must not claim."""

import json
import math

import numpy as np
import pytest

from mialab import attacks, divergence
from mialab.audit import Outputs, audit, leakage, report, run

GAUSSIANS = divergence.on_nodes(divergence.Mixture((1.5,), (1,)), divergence.Mixture((0.0,), (1,)))
TRUE_JS = float(divergence.js(GAUSSIANS.p, GAUSSIANS.q))
TRUE_TV = float(divergence.tv(GAUSSIANS.p, GAUSSIANS.q))


def gaussians(members=6000, nonmembers=3000, *, shift=1.5, classes=3, seed=0):
    """One model whose log-odds of the true class are N(shift, 1) on members and N(0, 1) on others, in any class."""
    rng = np.random.default_rng(seed)
    n = members + nonmembers
    labels, member = rng.integers(classes, size=n), rng.permutation(n) < members
    logits = np.full((n, classes), -math.log(classes - 1))
    logits[np.arange(n), labels] = rng.normal(shift * member)
    return Outputs(logits, labels, member)


def seeing(outputs, values, name="mine", needs=()):
    """An attack that gives these scores, in the order of the outputs: it knows how the audit shuffles them."""

    def score(evidence, known, seed):
        return np.asarray(values, float)[run._order(outputs, seed)]

    return attacks.from_function(name, score, needs=needs)


# estimates


def test_the_interval_of_the_confidence_holds_the_divergence_of_the_two_gaussians():
    found = audit(gaussians(), attacks="confidence", known=0.5).divergence
    for estimate in (found.confidence, found.confidence_per_class):
        assert estimate.low < TRUE_JS < estimate.high and estimate.high - estimate.low < 0.25 * TRUE_JS
        assert (estimate.members, estimate.nonmembers) == (3000, 1501)


def test_the_prediction_s_divergence_is_bounded_from_below_and_the_bound_is_near():
    lows = [audit(gaussians(seed=s), attacks="confidence", known=0.5).divergence.prediction.low for s in range(3)]
    assert min(lows) > 0.8 * TRUE_JS and max(lows) < TRUE_JS


def test_total_variation_and_the_best_accuracy_lie_within_the_bounds():
    found = audit(gaussians(), attacks="confidence", known=0.5).divergence.to_dict()
    best = (1 + TRUE_TV) / 2
    for name in ("confidence", "confidence_per_class", "prediction"):
        (low, high), (least, most) = found[name]["tv"], found[name]["best_balanced_accuracy"]
        assert low < TRUE_TV < high and least < best < most
        assert (least, most) == pytest.approx(((1 + low) / 2, (1 + high) / 2))
    assert found["prediction"]["lower_bound"] and found["prediction"]["best_balanced_accuracy"][1] == 1
    assert found["confidence"]["best_balanced_accuracy"][1] < 0.9


def test_shuffled_membership_has_no_divergence_and_proves_nothing():
    p_values = []
    for seed in range(12):
        found = audit(gaussians(800, 600, shift=0, seed=seed), attacks=["gap", "confidence"], known=0.5).divergence
        p_values.append(found.confidence.null.p_value)
        assert found.confidence.low < 0 < found.confidence.high or p_values[-1] < 0.1
        assert found.prediction.low < 0.002 and found.js_at_least.value < 0.005
    assert sum(p < 0.05 for p in p_values) <= 3 and max(p_values) > 0.5


def test_every_unit_is_that_of_the_value_in_nats():
    one = audit(gaussians(900, 900), attacks="gap").divergence.to_dict()["confidence"]
    assert one["bits"] == pytest.approx(one["js"] / math.log(2))
    assert one["distance"] == pytest.approx(math.sqrt(one["js"]))
    assert one["gain"] == pytest.approx(2 * one["js"] - math.log(4))


def test_a_divergence_of_the_label_alone_is_none_of_the_class_conditional_one():
    rng = np.random.default_rng(0)
    member = np.arange(6000) % 2
    labels = (rng.random(6000) < np.where(member, 0.8, 0.2)).astype(int)  # members are of class 1, mostly
    confidence = rng.normal(2.0 * labels)  # and class 1 is easier, for members and others alike
    logits = np.zeros((6000, 2))
    logits[np.arange(6000), labels] = confidence
    found = audit(Outputs(logits, labels, member), attacks="gap", known=0.5).divergence
    assert found.confidence.low > 0.05
    assert found.confidence_per_class.low < 0.002 and found.confidence_per_class.null.p_value > 0.01


def test_too_few_samples_have_no_divergence_and_small_classes_none_within():
    few = audit(gaussians(60, 19), known=0, attacks="gap")
    assert few.divergence.confidence is few.divergence.prediction is None and few.divergence.cap == 1
    assert "too few" in str(few)
    classes = audit(gaussians(300, 190, classes=2), known=0, attacks="gap").divergence
    assert classes.confidence is not None and classes.confidence_per_class is None
    assert audit(gaussians(300, 300, classes=2), known=0, attacks="gap").divergence.confidence_per_class is not None


# proofs


def proven(outputs, attack_list, **options):
    found = audit(outputs, attacks=attack_list, known=0.5, **options)
    return leakage.proven(found.attacks, found.member, found.evaluated)


def test_what_an_attack_proves_of_the_divergence_is_true_and_no_trifle():
    proofs = [proven(gaussians(4000, 4000, seed=s), ["gap", "confidence"])[0] for s in range(20)]
    curve = divergence.optimal_roc(GAUSSIANS.p, GAUSSIANS.q)
    answers = np.clip([[curve.tpr, 1 - curve.tpr], [curve.fpr, 1 - curve.fpr]], 0, 1)
    most = divergence.js(*np.moveaxis(answers, 1, 2)).max()  # that a yes and a no of the best attack can hold
    assert sum(proof.value > most for proof in proofs) <= 1
    assert all(proof.value > 0.65 * most and proof.attack == "confidence" for proof in proofs)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_randomized_response_is_proven_to_be_no_more_private_than_it_is(epsilon):
    member = np.arange(8000) % 2 == 1
    honest = 1 / (1 + math.exp(-epsilon))
    outputs = Outputs(np.zeros((8000, 2)), member * 0, member)
    found = []
    for seed in range(20):
        answers = np.where(np.random.default_rng(seed).random(8000) < honest, member, ~member)
        found.append(proven(outputs, [seeing(outputs, answers), "gap"])[1])
    assert sum(proof.value > epsilon for proof in found) <= 1
    assert all(proof.value > epsilon - 0.35 and proof.attack == "mine" for proof in found)


def test_a_proof_s_threshold_is_chosen_on_known_samples_and_its_counts_are_of_the_others():
    outputs = gaussians(400, 400)
    drawn = audit(outputs, attacks="gap", known=0.5)
    overfitted = np.where(drawn.evaluated, np.random.default_rng(1).random(800), outputs.member)
    proof = audit(outputs, attacks=seeing(outputs, overfitted), known=0.5).divergence.js_at_least
    assert proof.value < 0.003  # what it knows by heart proves nothing
    one_sided = np.where(outputs.member, np.arange(800) < 250, 0.0)
    proof = audit(outputs, attacks=seeing(outputs, one_sided), known=0.5).divergence.epsilon_at_least
    found = one_sided[drawn.evaluated & outputs.member].sum()
    assert proof.caught == (found, (drawn.evaluated & outputs.member).sum())
    assert proof.accused == (0, (drawn.evaluated & ~outputs.member).sum())


def test_the_more_attacks_are_tried_the_less_is_proven():
    outputs = gaussians(1000, 1000)
    noise = [seeing(outputs, np.random.default_rng(k).random(2000), f"noise {k}") for k in range(20)]
    alone = audit(outputs, attacks=["confidence"], known=0.5).divergence
    among = audit(outputs, attacks=["confidence", *noise], known=0.5).divergence
    assert (alone.js_at_least.tried, among.js_at_least.tried) == (1, 21)
    assert among.js_at_least.attack == "confidence" and among.js_at_least.value < alone.js_at_least.value
    assert among.epsilon_at_least.value < alone.epsilon_at_least.value


def test_without_known_samples_or_attacks_nothing_is_proven():
    unknown = audit(gaussians(300, 300), known=0)
    assert unknown.divergence.js_at_least is unknown.divergence.epsilon_at_least is None
    assert "proven by an attack: nothing, as thresholds must be chosen on known samples" in str(unknown)
    nobody = audit(gaussians(300, 300), attacks=[])
    assert nobody.divergence.epsilon_at_least is None and "proven" in str(nobody)


@pytest.mark.parametrize("need", ["x", "references", "log_confidences"])
def test_an_attack_that_sees_more_proves_an_epsilon_but_no_divergence_of_the_outputs(need):
    outputs = gaussians(1000, 1000, shift=0.5)
    two = Outputs(np.repeat(outputs.logits, 2, axis=0), outputs.labels, outputs.member)
    references = attacks.References(outputs.logits, np.arange(2000)[None] % 2, outputs.labels)
    by_sight = seeing(outputs, outputs.member, "by sight", needs=(need,))
    found = audit(two, attacks=["confidence", by_sight], known=0.5, x=np.zeros(2000), references=references)
    assert found.attacks["by sight"].beyond == (need,) and found.attacks["confidence"].beyond == ()
    assert found.divergence.epsilon_at_least.attack == "by sight" and found.divergence.epsilon_at_least.tried == 2
    assert found.divergence.js_at_least.attack == "confidence" and found.divergence.js_at_least.tried == 1


def test_in_a_white_box_what_has_learnt_proves_no_divergence_of_the_fused_prediction():
    rng = np.random.default_rng(0)
    member = np.arange(2000) % 2
    p = np.full((2, 2000, 2), 0.5)
    p[:, :, 0] += np.array([[0.3], [-0.3]]) * member  # the models disagree on members; the mean is the same for all
    outputs = Outputs.from_probabilities(np.stack([p[..., 0], 1 - p[..., 0]], -1), rng.integers(2, size=2000), member)
    found = audit(outputs, attacks=["neural-published", "confidence"], white_box=True)
    assert found.divergence.epsilon_at_least.attack == "neural-published"
    assert found.divergence.epsilon_at_least.value > 3
    assert found.divergence.js_at_least.attack == "confidence" and found.divergence.js_at_least.value < 0.01
    assert found.divergence.confidence.high < 0.02 and found.divergence.prediction.low < 0.01


# what is said


def test_attacks_above_the_cap_are_named_beside_what_the_bound_does_not_cover():
    outputs = gaussians(1000, 1000, shift=0.5)
    by_sight = seeing(outputs, outputs.member, "by sight", needs=("x",))
    text = str(audit(outputs, attacks=["confidence", by_sight], known=0.5, x=np.zeros(2000)))
    assert "not covered    attacks that look at x, at reference models or at each model's own answers" in text
    assert "% here: by sight\n" in text + "\n"
    assert "% here" not in str(audit(outputs, attacks="confidence", known=0.5))


def test_the_divergence_has_exactly_the_documented_keys_and_plain_values():
    found = audit(gaussians(1000, 1000), attacks=["gap", "confidence"], known=0.5).to_dict()["divergence"]
    estimate = {"js", "js_interval", "bits", "distance", "gain", "tv", "best_balanced_accuracy", "null"}
    estimate |= {"lower_bound", "evaluated"}
    proof = {"value", "attack", "tried", "caught", "accused"}
    layout = {"confidence": estimate, "confidence_per_class": estimate, "prediction": estimate}
    assert {name: set(one) for name, one in found.items()} == {
        **layout,
        "js_at_least": proof,
        "epsilon_at_least": proof,
    }
    assert set(found["confidence"]["null"]) == {"mean", "high", "p_value"}
    assert found["confidence"]["evaluated"] == {"members": 500, "nonmembers": 501}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for name in (*layout, "js_at_least", "epsilon_at_least", *estimate, *proof, "mean", "high", "p_value"):
        assert f'"{name}"' in report.Report.to_dict.__doc__


def test_nothing_is_estimated_until_it_is_asked_for(monkeypatch):
    def never(*_, **__):
        raise AssertionError("estimated unasked")

    monkeypatch.setattr(leakage, "measure", never)
    assert audit(gaussians(100, 100)).attacks["confidence"].everyone.auc is not None


def test_the_same_seed_gives_the_same_divergences():
    first, again, other = (audit(gaussians(300, 300), attacks="gap", seed=s).divergence.to_dict() for s in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_logits_of_any_size_have_a_divergence(scale):
    outputs = gaussians(200, 200)
    found = audit(Outputs(outputs.logits * scale, outputs.labels, outputs.member), attacks="confidence").divergence
    assert all(math.isfinite(value) for value in (found.confidence.value, found.prediction.value))
