"""Attacks on all members' outputs, where each member's outputs and the best attack on them are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, norm

from mialab import attacks, fusion, metrics
from mialab.attacks import Known, white_box
from mialab.attacks.neural import PUBLISHED, pooled

AGREEMENT, LEARNT = (attack.score for attack in white_box.ATTACKS)


def evidence_of(logits, labels):
    """Of an ensemble's logits [models, n, classes]."""
    log_p = fusion.fuse(logits)
    features = fusion.side_by_side(logits)
    return attacks.Evidence(np.exp(log_p), log_p, features, labels, log_confidences=fusion.log_confidence(logits))


def gaussians(shift, *, models=4, n=6000, seed=0):
    """Every model's log-odds of the true one of two classes: independent, N(shift * member, 1)."""
    rng = np.random.default_rng(seed)
    member, labels = rng.random(n) < 0.5, rng.integers(0, 2, n)
    logits = np.zeros((models, n, 2))
    logits[:, np.arange(n), labels] = rng.normal(size=(models, n)) + shift * member
    return evidence_of(logits, labels), rng.random(n) < 0.5, member


def reached(scores, known, member):
    threshold = metrics.best_threshold(scores[known], member[known])
    return metrics.balanced_accuracy(scores[~known], member[~known], threshold).value


def test_the_level_is_the_number_of_models_that_are_right_and_the_first_of_equals_is_the_answer():
    logits = np.log([[[0.5, 0.5], [0.2, 0.8]], [[0.9, 0.1], [0.3, 0.7]], [[0.1, 0.9], [0.6, 0.4]]])
    np.testing.assert_array_equal(white_box.level(evidence_of(logits, np.array([0, 1]))), [2, 2])
    np.testing.assert_array_equal(white_box.level(evidence_of(logits, np.array([1, 0]))), [1, 1])


def test_agreement_s_auc_is_that_of_two_binomials():
    rng = np.random.default_rng(0)
    member, labels = rng.random(20_000) < 0.5, rng.integers(0, 2, 20_000)
    right = rng.random((5, 20_000)) < np.where(member, 0.9, 0.7)
    logits = np.where(np.eye(2, dtype=bool)[labels] == right[:, :, None], 1.0, 0.0)
    scores = AGREEMENT(evidence_of(logits, labels), Known.of(member, member), 0)
    inside, outside = binom.pmf(range(6), 5, 0.9), binom.pmf(range(6), 5, 0.7)
    expected = inside @ (np.cumsum(outside) - outside / 2)
    estimate = metrics.auc_interval(scores, member)
    assert estimate.low < expected < estimate.high and estimate.high - estimate.low < 0.02


def test_features_are_each_model_s_log_odds_in_rising_order_and_the_level():
    evidence, _, _ = gaussians(1.0, n=50)
    found = white_box.features(evidence)
    own = np.take_along_axis(evidence.log_confidences, evidence.labels[None, :, None], axis=2)[..., 0]
    odds = np.sort(own - np.log1p(-np.exp(own)), axis=0).T
    expected = np.column_stack([odds, (own > np.log(0.5)).sum(axis=0)])
    np.testing.assert_allclose(found, (expected - expected.mean(axis=0)) / expected.std(axis=0), atol=1e-9)


@pytest.mark.parametrize("models", [1, 4])
def test_on_known_gaussians_the_network_comes_near_the_optimum(models):
    evidence, known, member = gaussians(1.0, models=models)
    optimum = norm.cdf(np.sqrt(models) / 2)  # the sum of all models' log-odds decides
    assert optimum - 0.03 < reached(LEARNT(evidence, Known.of(known, member), 0), known, member) < optimum + 0.025


def test_seeing_the_label_tells_more_than_all_confidences_without_it():
    evidence, known, member = gaussians(1.0)
    without = reached(pooled(PUBLISHED, evidence, Known.of(known, member), 0), known, member)
    assert reached(LEARNT(evidence, Known.of(known, member), 0), known, member) > without + 0.05


def test_the_order_of_the_models_does_not_matter():
    evidence, known, member = gaussians(1.0, n=400)
    turned = replace(evidence, log_confidences=evidence.log_confidences[::-1])
    for score in (AGREEMENT, LEARNT):
        np.testing.assert_array_equal(
            score(evidence, Known.of(known, member), 0), score(turned, Known.of(known, member), 0)
        )


def test_shuffled_labels_change_the_scores():
    evidence, known, member = gaussians(1.0, n=400)
    turned = replace(evidence, labels=1 - evidence.labels)
    for score in (AGREEMENT, LEARNT):
        assert (
            np.abs(score(evidence, Known.of(known, member), 0) - score(turned, Known.of(known, member), 0)).max() > 0.1
        )


@pytest.mark.parametrize("score", [AGREEMENT, LEARNT])
def test_shuffled_membership_leaves_an_auc_of_a_half(score):
    covered = []
    for seed in range(8):
        evidence, known, member = gaussians(1.0, n=500, seed=seed)
        shuffled = np.random.default_rng(100 + seed).permutation(member)
        scores = score(evidence, Known.of(known, shuffled), seed)
        estimate = metrics.auc_interval(scores[~known], shuffled[~known])
        covered.append(estimate.low < 0.5 < estimate.high)
    assert sum(covered) >= 6


def test_certain_predictions_leave_finite_features():
    logits = np.array([[[0.0, -np.inf], [-np.inf, 0.0]]] * 2)
    assert np.isfinite(white_box.features(evidence_of(logits, np.array([0, 0])))).all()


@pytest.mark.parametrize("attack", white_box.ATTACKS, ids=lambda attack: attack.name)
def test_without_each_model_s_outputs_there_is_no_attack(attack):
    evidence, known, member = gaussians(1.0, n=100)
    assert attack.needs == ("log_confidences",)
    with pytest.raises(attacks.NotEnough, match="give every model's outputs"):
        attack.score(replace(evidence, log_confidences=None), Known.of(known, member), 0)
