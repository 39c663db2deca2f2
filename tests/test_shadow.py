"""Shadow attacks: they learn on shadows alone, and reach what can be learnt there."""

import numpy as np
import pytest
from reference_cases import Case, case, evidence_of, logits_of, world
from scipy.special import expit
from scipy.stats import norm

from mialab import metrics
from mialab.attacks import NotEnough, References, neural, shadow
from mialab.metrics import best_threshold

NETWORKS = ["shadow-shokri", "shadow-rahman"]
NAMES = [*NETWORKS, "shadow-thresholds"]


@pytest.mark.parametrize("name", NAMES)
def test_on_two_known_gaussians_they_come_near_the_optimum_with_no_membership_known(name):
    """Samples are all alike, hence the best attack is a threshold on log-odds, at the middle of both means."""
    alike = case(world(2000, shift=(1.5, 1.5), difficulty=0.0), 6, classes=2)
    scores = alike.score(name)
    reached = metrics.balanced_accuracy(scores, alike.member, 0.0).value
    assert norm.cdf(0.75) - 0.03 < reached < norm.cdf(0.75) + 0.02
    assert alike.auc(name).high > norm.cdf(1.5 / np.sqrt(2)) - 0.01


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_judged_by_its_own_shadows_answers(name):
    """In class 1 members are less sure than others: a single rule for both classes would be wrong on one."""
    alike = case(world(2000, difficulty=0.0), 6, classes=2)
    labels, references = alike.evidence.labels, alike.evidence.references
    sign = 1 - 2 * labels
    turned = References(logits_of(sign * references.log_odds, labels, 2), references.member, labels)
    case_ = Case(None, evidence_of(logits_of(sign * alike.odds, labels, 2), labels, turned), alike.member, None)
    own = labels == 0
    scores = case_.score(name)
    assert metrics.auc(scores[own], alike.member[own]) > 0.8
    if name in NETWORKS:  # a threshold knows one direction
        assert metrics.auc(scores[~own], alike.member[~own]) > 0.8


def test_thresholds_are_the_best_on_each_class_s_shadows():
    some = case(world(300, difficulty=1.0), 6)
    labels, references = some.evidence.labels, some.evidence.references
    for label in range(3):
        own = labels == label
        bound = best_threshold(references.log_odds[:, own].ravel(), references.member[:, own].ravel())
        np.testing.assert_allclose(some.score("shadow-thresholds")[own], some.odds[own] - bound, atol=1e-9)


@pytest.mark.parametrize(("name", "hidden"), [("shadow-shokri", [64]), ("shadow-rahman", [128, 64])])
def test_the_networks_are_of_the_stated_sizes_and_learn_on_shadows_answers_only(name, hidden, monkeypatch):
    some, seen = case(world(300), 6), []
    train = neural._train

    def watched(variant, evidence, known, rng):
        network = train(variant, evidence, known, rng)
        seen.append((evidence, known, network))
        return network

    monkeypatch.setattr(neural, "_train", watched)
    some.score(name)
    references = some.evidence.references
    assert len(seen) == 3
    for label, (evidence, known, network) in enumerate(seen):
        assert [layer.shape[1] for layer in network.layers] == [*hidden, 1]
        own = references.labels == label
        answers = expit(references.log_odds[:, own])
        for side in (False, True):
            learnt = evidence.features[known.rows[known.member == side], label]
            expected = answers[references.member[:, own] == side]
            np.testing.assert_allclose(np.sort(learnt), np.sort(expected), atol=1e-6)


def test_many_answers_are_thinned_at_random_and_few_are_all_taken(monkeypatch):
    evidence = case(world(300), 6).evidence
    assert len(shadow._answers(evidence, 0)[1]) == 1800
    monkeypatch.setattr(shadow, "MOST_ANSWERS", 500)
    drawn, again, other = (shadow._answers(evidence, seed)[0] for seed in (0, 0, 1))
    assert len(np.unique(drawn, axis=0)) == 500
    assert (drawn == again).all() and not np.array_equal(drawn, other)


def test_networks_follow_the_seed_and_thresholds_need_none():
    some = case(world(300), 4)
    for name in NAMES:
        first, again, other = (some.score(name, seed=seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert np.array_equal(first, other) == (name == "shadow-thresholds")


@pytest.mark.parametrize("name", NAMES)
def test_shadows_that_were_trained_on_none_of_the_samples_teach_nothing(name):
    some = case(world(100), 4)
    references = References(some.evidence.references.logits, np.zeros((4, 100)), some.evidence.labels)
    with pytest.raises(NotEnough, match="no class has .* train more shadows"):
        Case(None, evidence_of(some.evidence.log_p, some.evidence.labels, references), some.member, None).score(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_seen_on_one_side_only_scores_no_opinion(name):
    some = case(world(300), 4)
    member = some.evidence.references.member & (some.evidence.labels != 1)
    references = References(some.evidence.references.logits, member, some.evidence.labels)
    short = Case(None, evidence_of(some.evidence.log_p, some.evidence.labels, references), some.member, None)
    assert ((short.score(name) == 0) == (some.evidence.labels == 1)).all()
