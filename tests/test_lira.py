"""LiRA on shadows whose Gaussians are known: it must reach the Neyman-Pearson curve, and its versions must differ."""

from functools import cache

import numpy as np
import pytest
from reference_cases import Case, case, evidence_of, logits_of, overlap, world
from scipy.stats import norm

from mialab import attacks, metrics
from mialab.attacks import NoOpinion, NotEnough, References
from mialab.attacks.lira import ATTACKS, VARIANTS, Lira

NAMES = [attack.name for attack in (*ATTACKS, *VARIANTS)]


def test_the_versions_bear_the_names_of_their_choices():
    assert NAMES[:4] == ["lira-online", "lira-offline", "lira-online-fixed", "lira-offline-fixed"]
    assert {"lira-online-fixed-in", "lira-offline-density", "lira-online-fixed-in-median"} <= set(NAMES)
    assert all(attacks.get(attack.name) is attack for attack in (*ATTACKS, *VARIANTS))
    for wrong in ({"variance": "out"}, {"against": "tails"}, {"centre": "mode"}, {"against": "density"}):
        with pytest.raises(ValueError, match="expected|is for"):
            Lira(online=True, **wrong)
    with pytest.raises(ValueError, match="is for online"):
        Lira(online=False, variance="in")


@pytest.mark.parametrize("spread", [{}, {"shift": (0, 3), "inside": (0.5, 1.5), "outside": (0.5, 2)}])
def test_with_many_shadows_online_reaches_the_neyman_pearson_curve(spread):
    many = case(world(**spread), 256)
    area, tpr = many.oracle()
    scores = many.score("lira-online")
    assert overlap(metrics.auc_interval(scores, many.member), area)
    assert overlap(metrics.tpr_at_fpr(scores, many.member, 0.01), tpr)
    assert abs(metrics.auc(scores, many.member) - area.value) < 0.01


@cache
def equal():
    """Every sample's two Gaussians alike, 1.5 deviations apart."""
    return case(world(shift=(1.5, 1.5)), 256)


@pytest.mark.parametrize("name", ["lira-online", "lira-online-fixed", "lira-online-fixed-in", "lira-offline-fixed"])
def test_with_equal_gaussians_auc_and_tpr_are_those_of_the_closed_form(name):
    scores = equal().score(name)
    area, tpr = metrics.auc_interval(scores, equal().member), metrics.tpr_at_fpr(scores, equal().member, 0.01)
    assert area.low < norm.cdf(1.5 / np.sqrt(2)) < area.high
    assert tpr.low < norm.sf(norm.isf(0.01) - 1.5) < tpr.high


def test_with_few_shadows_one_variance_for_all_beats_one_for_each():
    few = case(world(shift=(0, 3)), 8)
    for side in ("online", "offline"):
        fixed, own = few.score(f"lira-{side}-fixed"), few.score(f"lira-{side}")
        assert metrics.auc(fixed, few.member) > metrics.auc(own, few.member) + 0.01
        better, worse = (metrics.tpr_at_fpr(scores, few.member, 0.01) for scores in (fixed, own))
        assert better.low > worse.value


def test_with_many_shadows_own_variances_beat_one_for_all_where_they_differ():
    many = case(world(shift=(1, 1), inside=(0.2, 2), outside=(0.2, 2)), 256)
    assert many.auc("lira-online").low > many.auc("lira-online-fixed").high


def test_offline_lies_below_online_where_members_shifts_differ():
    differing = case(world(shift=(-1, 3)), 128)
    for fixed in ("", "-fixed"):
        assert differing.auc(f"lira-offline{fixed}").high < differing.auc(f"lira-online{fixed}").low


def test_scores_are_the_textbook_formulas():
    small = case(world(50), 16)
    member = small.evidence.references.member
    values = np.where(member, *2 * [small.evidence.references.log_odds])
    found = small.odds
    for i in range(50):
        inside, outside = values[member[:, i], i], values[~member[:, i], i]
        fits = [norm(side.mean(), side.std(ddof=1)) for side in (inside, outside)]
        assert small.score("lira-online")[i] == pytest.approx(fits[0].logpdf(found[i]) - fits[1].logpdf(found[i]))
        assert small.score("lira-offline")[i] == pytest.approx(-fits[1].logsf(found[i]))
        assert small.score("lira-offline-density")[i] == pytest.approx(-fits[1].logpdf(found[i]))
        median = norm(np.median(outside), outside.std(ddof=1))
        assert small.score("lira-offline-density-median")[i] == pytest.approx(-median.logpdf(found[i]))


def test_the_released_versions_order_samples_as_the_scripts_formulas_do():
    some = case(world(200, inside=(0.5, 0.8), outside=(1, 2)), 17)  # an odd number: medians of odd and even counts
    member, values = some.evidence.references.member, some.evidence.references.log_odds
    everything = np.std(values[member])  # one number for both sides, differences between samples included
    inside, outside = (np.array([np.median(values[side[:, i], i]) for i in range(200)]) for side in (member, ~member))
    online = norm.logpdf(some.odds, inside, everything) - norm.logpdf(some.odds, outside, everything)
    offline = -norm.logpdf(some.odds, outside, np.std(values[~member]))
    for name, expected in (("lira-online-fixed-in-median", online), ("lira-offline-fixed-density-median", offline)):
        np.testing.assert_array_equal(np.argsort(some.score(name)), np.argsort(expected))


def test_the_two_variance_conventions_differ_and_own_is_better_where_the_sides_spread_differently():
    uneven = case(world(shift=(1, 1), inside=(0.4, 0.4), outside=(1.6, 1.6)), 64)
    own, same = uneven.auc("lira-online-fixed"), uneven.auc("lira-online-fixed-in")
    assert own.low > same.high
    assert overlap(own, uneven.oracle()[0])
    assert uneven.auc("lira-online").low > uneven.auc("lira-online-in").high


def test_the_density_takes_unusually_low_log_odds_for_membership_and_the_tail_does_not():
    many = case(world(1001), 64)
    odds = many.world.mean_out + np.linspace(-6, 6, 1001)
    odd = Case(None, answered(many, odds, many.evidence.references), many.member, odds)
    middle, lowest = slice(480, 520), slice(0, 40)
    for name in ("lira-offline-density", "lira-offline-fixed-density"):
        assert odd.score(name)[lowest].min() > odd.score(name)[middle].max()
    for name in ("lira-offline", "lira-offline-fixed"):
        assert odd.score(name)[lowest].max() < odd.score(name)[middle].min()
    assert many.auc("lira-offline-fixed").low > many.auc("lira-offline-fixed-density").high


def test_the_tail_keeps_samples_apart_whose_probability_rounds_to_one():
    many = case(world(1000), 64)
    odds = many.world.mean_out + np.linspace(12, 30, 1000)
    sure = Case(None, answered(many, odds, many.evidence.references), many.member, odds)
    scores = sure.score("lira-offline-fixed")
    assert len(np.unique(scores)) == 1000 and len(np.unique(-np.expm1(-scores))) == 1
    assert scores.argmax() > 900 and scores.argmin() < 100


def answered(case, odds, references):
    """Evidence of other answers of the target, or with other references."""
    return evidence_of(logits_of(odds, case.evidence.labels, 3), case.evidence.labels, references)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_answers_get_finite_scores(name):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(16, 40, 3))
    logits[:, :4] *= 1e300
    logits[:, 4:8] = 0  # no spread at all
    member, labels = rng.permuted(np.tile(np.arange(16) < 8, (40, 1)), axis=1).T, rng.integers(0, 3, 40)
    target = rng.normal(size=(40, 3))
    target[::2] *= 1e300
    target[1::4, 0] = -np.inf
    evidence = evidence_of(target, labels, References(logits, member, labels))
    scores = attacks.get(name).score(evidence, None, 0)
    assert scores.dtype == np.float64 and np.isfinite(scores).all()


def test_fewer_than_four_shadows_on_a_side_are_not_enough_for_a_variance_of_one_s_own():
    three = case(world(40), 6)
    for name in ("lira-online", "lira-offline"):
        with pytest.raises(
            NotEnough, match=r"4 .*100 % of samples have fewer; train more shadows, .*or use a fixed variance"
        ):
            three.score(name)
    assert np.isfinite(three.score("lira-online-fixed")).all() and np.isfinite(case(world(40), 8).score(NAMES[0])).all()


def test_two_shadows_show_no_spread_and_one_sided_ones_serve_offline_attacks_only():
    with pytest.raises(NotEnough, match="two on a side"):
        case(world(40), 2).score("lira-online-fixed")
    both = case(world(40), 8)
    references = References(both.evidence.references.logits, np.zeros((8, 40)), both.evidence.labels)
    outside = Case(None, answered(both, both.odds, references), both.member, both.odds)
    with pytest.raises(NotEnough, match="1 trained with each sample and 1 without it; 100 %"):
        outside.score("lira-online-fixed")
    assert len(np.unique(outside.score("lira-offline"))) == 40


def test_without_references_the_error_names_the_remedy():
    few = case(world(40), 8)
    bare = Case(None, answered(few, few.odds, None), few.member, few.odds)
    with pytest.raises(NotEnough, match="--reference"):
        bare.score("lira-online")


@pytest.mark.parametrize(("name", "count"), [("lira-online", 4), ("lira-online-fixed", 3), ("lira-offline", 1)])
def test_samples_with_too_few_shadows_are_counted_and_get_the_median_score(name, count):
    some = case(world(200), 16)
    member = some.evidence.references.member.copy()
    member[:, :3] = False  # trained with none of the shadows
    member[:, 3] = np.arange(16) < 13
    references = References(some.evidence.references.logits, member, some.evidence.labels)
    short = Case(None, answered(some, some.odds, references), some.member, some.odds)
    with pytest.warns(NoOpinion, match=f"^{count} of 200 samples get the median score"):
        scores = short.score(name)
    without = {"lira-online": [0, 1, 2, 3], "lira-online-fixed": [0, 1, 2], "lira-offline": [3]}[name]
    assert set(scores[without]) == {np.median(np.delete(scores, without))}
    assert len(np.unique(np.delete(scores, without))) == 200 - count
