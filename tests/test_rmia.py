"""RMIA against its definition by all pairs, and on shadows whose Gaussians are known."""

import tracemalloc

import numpy as np
import pytest
from reference_cases import Case, case, evidence_of, halves, logits_of, overlap, world
from scipy.special import expit

from mialab import attacks, metrics
from mialab.attacks import NoOpinion, NotEnough, References
from mialab.attacks.rmia import GRID, Rmia, _areas, best_a


def by_all_pairs(case, *, gamma, a=None):
    """The definition: a table of every x against every z."""
    p, member = expit(case.evidence.references.log_odds), case.evidence.references.member
    outside = np.array([one[~side].mean() for one, side in zip(p.T, member.T, strict=True)])
    if a is None:
        prior = (np.array([one[side].mean() for one, side in zip(p.T, member.T, strict=True)]) + outside) / 2
    else:
        prior = ((1 + a) * outside + 1 - a) / 2
    ratio = expit(case.odds) / prior
    return (ratio[:, None] / ratio[None] >= gamma * (1 - 1e-12)).mean(axis=1)


@pytest.mark.parametrize("gamma", [0.5, 1, 2])
def test_ranks_equal_the_table_of_all_pairs(gamma):
    some = case(world(300), 10)
    np.testing.assert_array_equal(some.score(Rmia(True, gamma)), by_all_pairs(some, gamma=gamma))
    for a in (0, 0.3, 1):
        np.testing.assert_array_equal(some.score(Rmia(False, gamma, a)), by_all_pairs(some, gamma=gamma, a=a))


def test_gamma_ties_samples_and_never_reorders_them():
    some = case(world(2000), 16)
    one, two = some.score("rmia-online"), some.score("rmia-online-gamma-2")
    order = np.argsort(one, kind="stable")
    assert (np.diff(two[order]) >= 0).all() and len(np.unique(two)) < len(np.unique(one))
    assert len(np.unique(one)) == 2000 and one.min() > 0 and one.max() == 1


def test_with_many_shadows_the_auc_is_that_of_the_ratio_with_exact_means():
    many = case(world(difficulty=1.0), 256)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    inside, outside = (
        expit(mean[:, None] + nodes) @ weights / weights.sum() for mean in (many.world.mean_in, many.world.mean_out)
    )
    exact = metrics.auc_interval(expit(many.odds) / (inside + outside), many.member)
    assert overlap(many.auc("rmia-online"), exact) and abs(many.auc("rmia-online").value - exact.value) < 0.005
    assert many.auc("rmia-online").high < many.oracle()[0].low + 0.02  # no ratio beats Neyman and Pearson's
    assert many.auc("rmia-online").low > 0.7


def test_a_is_chosen_on_shadows_and_serves_the_target():
    some = case(world(3000), 16)
    chosen = best_a(some.evidence.references)
    areas = {a: metrics.auc(by_ratio(some, a), some.member) for a in GRID}
    assert areas[chosen] > max(areas.values()) - 0.005 > min(areas.values()) + 0.005
    np.testing.assert_array_equal(some.score("rmia-offline"), some.score(Rmia(False, a=chosen)))


def test_a_shadow_is_attacked_with_the_help_of_the_others_alone():
    references = case(world(200), 6).evidence.references
    p, member = np.exp(references.log_p), references.member
    outside = np.array([p[1:, i][~member[1:, i]].mean() for i in range(200)])
    for a, area in zip(GRID, _areas(references, 0), strict=True):
        assert area == pytest.approx(metrics.auc(p[0] / ((1 + a) * outside + 1 - a), member[0]), abs=1e-9)


def by_ratio(case, a):
    references = case.evidence.references
    outside = np.exp(references.log_p).mean(axis=0, where=~references.member)
    return expit(case.odds) / ((1 + a) * outside + 1 - a)


def test_the_less_members_confidence_depends_on_the_sample_the_smaller_the_a_chosen():
    """Confidence IN is a times that OUT, plus 1 - a: where a is small members are all sure, and p_out matters less."""
    rng = np.random.default_rng(0)
    labels, outside = rng.integers(0, 2, 3000), rng.uniform(0.05, 0.95, 3000)
    chosen = []
    for a in (0.1, 0.5, 0.9):
        inside = halves(12, 3000, rng)
        p = np.where(inside, a * outside + 1 - a, outside) * rng.uniform(0.6, 1, (12, 3000))
        chosen.append(best_a(References(logits_of(np.log(p) - np.log1p(-p), labels, 2), inside, labels)))
    assert chosen == sorted(chosen) and chosen[2] >= chosen[0] + 0.4


def test_confidences_that_underflow_still_have_a_ratio():
    labels = np.zeros(6, int)
    odds = np.array([[-900.0, -800, -5, 0, 40, 900]] * 4) + np.arange(4)[:, None]
    member = np.tile([[True], [False]], (2, 6)) ^ (np.arange(6) % 2 == 0)
    references = References(logits_of(odds, labels, 2), member, labels)
    target = odds[0] + [4, -2, 0, 0, 0, 0]
    scores = attacks.get("rmia-online").score(
        evidence_of(logits_of(target, labels, 2), labels, references), *2 * [None]
    )
    assert np.isfinite(scores).all() and scores[0] == 1 and scores[1] == 1 / 6


def test_memory_grows_with_samples_and_not_with_their_square():
    large = case(world(20_000), 4)
    large.evidence.references.log_p  # noqa: B018 - derived once, whatever attack comes first
    tracemalloc.start()
    try:
        for name in ("rmia-online", "rmia-offline"):
            large.score(name)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000 * 8 * 100  # a hundred numbers per sample; the table would have 20,000


def test_online_needs_both_sides_and_offline_a_mixed_shadow_or_a():
    some = case(world(40), 8)
    references = References(some.evidence.references.logits, np.zeros((8, 40)), some.evidence.labels)
    outside = Case(None, evidence_of(some.evidence.log_p, some.evidence.labels, references), some.member, some.odds)
    with pytest.raises(NotEnough, match="1 trained with each sample and 1 without it"):
        outside.score("rmia-online")
    with pytest.raises(NotEnough, match=r"chooses a on a shadow .* or give a: .*Rmia\(online=False, a=0.3\)"):
        outside.score("rmia-offline")
    assert len(np.unique(outside.score(Rmia(False, a=0.3)))) == 40


def test_a_sample_that_all_shadows_were_trained_on_is_no_part_of_the_population():
    some = case(world(100), 8)
    member = some.evidence.references.member.copy()
    member[:, 0] = True
    references = References(some.evidence.references.logits, member, some.evidence.labels)
    short = Case(None, evidence_of(some.evidence.log_p, some.evidence.labels, references), some.member, some.odds)
    with pytest.warns(NoOpinion, match="1 of 100 samples"):
        scores = short.score("rmia-online")
    assert scores[0] == np.median(scores[1:])
    np.testing.assert_allclose(np.sort(scores[1:]), np.arange(1, 100) / 99)


@pytest.mark.parametrize("wrong", [{"gamma": 0}, {"gamma": np.inf}, {"a": 0.5}, {"online": False, "a": 1.1}])
def test_a_wrong_gamma_or_a_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a"):
        Rmia(**{"online": True, **wrong})


def test_where_log_odds_are_gaussian_lira_whose_model_is_right_beats_it():
    some = case(world(), 64)
    assert some.auc("lira-online-fixed").low > some.auc("rmia-online").high
    assert overlap(some.auc("lira-online-fixed"), some.oracle()[0])


def test_the_attacks_and_variants_are_registered():
    assert attacks.get("rmia-offline") == Rmia(online=False)
    assert attacks.get("rmia-offline-gamma-2") == Rmia(online=False, gamma=2)
