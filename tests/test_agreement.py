"""The level of correct agreement: against ensembles whose factors are known, and identities that hold for any."""

import dataclasses
import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from agreement_cases import HIGH, LOW, Truth, contributions, outputs
from scipy.spatial.distance import jensenshannon
from scipy.stats import ttest_ind

from mialab import agreement, divergence, metrics
from mialab.outputs import AuditError, Outputs


def random_outputs(models=5, n=400, classes=4, seed=0):
    """Outputs that leak: logits of the label are larger on members."""
    rng = np.random.default_rng(seed)
    labels, member = rng.integers(0, classes, n), rng.random(n) < 0.6
    logits = rng.normal(size=(models, n, classes))
    logits[:, np.arange(n), labels] += np.where(member, 1.5, 0.5) + rng.normal(size=n)
    return Outputs(logits, labels, member)


def alone(given, k):
    """The outputs of model k."""
    return Outputs(given.logits[k], given.labels, given.member)


# each sample


def test_the_level_counts_the_models_whose_first_likeliest_class_is_the_label():
    logits = np.array([[[2, 1], [1, 1]], [[0, 3], [0, 1]], [[2, 0], [1, 1]]])
    np.testing.assert_array_equal(agreement.level(logits, np.array([0, 0])), [2, 2])
    np.testing.assert_array_equal(agreement.level(logits, np.array([1, 1])), [1, 1])


@pytest.mark.parametrize("reading", agreement.READINGS)
def test_right_and_wrong_models_confidences_are_those_computed_by_hand(reading):
    p = np.array([[[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]], [[0.2, 0.5, 0.3], [0.8, 0.1, 0.1]]])
    found = agreement.answers(Outputs(np.log(p), [1, 0], [1, 0]), reading=reading)
    # The ensemble's means are (.45, .35, .2) and (.7, .2, .1): it answers 0 twice, and is wrong about the first.
    np.testing.assert_array_equal(found.level, [1, 2])
    np.testing.assert_array_equal(found.correct, [False, True])
    np.testing.assert_allclose(found.correct_confidence, [0.5 if reading == "true" else 0.2, 0.7])
    np.testing.assert_allclose(found.misclassified_confidence, [0.2 if reading == "true" else 0.7, np.nan])
    np.testing.assert_allclose(found.confidence, [0.35 if reading == "true" else 0.45, 0.7])


@pytest.mark.parametrize("reading", agreement.READINGS)
def test_equation_1_gives_the_fused_confidence_of_every_sample(reading):
    found = agreement.answers(random_outputs(), reading=reading)
    c, n = found.level, found.models
    parts = c * np.nan_to_num(found.correct_confidence) + (n - c) * np.nan_to_num(found.misclassified_confidence)
    np.testing.assert_allclose(parts / n, found.confidence, rtol=1e-12)


def test_saved_softmaxes_are_taken_as_they_are():
    given = random_outputs()
    p = np.exp(given.logits) / np.exp(given.logits).sum(axis=-1, keepdims=True)
    saved = agreement.answers(Outputs.from_probabilities(p.astype(np.float32), given.labels, given.member))
    found = agreement.answers(given)
    np.testing.assert_array_equal(saved.level, found.level)
    np.testing.assert_allclose(saved.each, found.each, rtol=1e-6)


def test_looking_at_answers_never_holds_all_models_probabilities_in_float64():
    given = random_outputs(models=20, n=5000, classes=20)
    tracemalloc.start()
    agreement.answers(given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < given.logits.size * 8 / 1.5


# identities


@pytest.mark.parametrize("seed", range(5))
def test_identity_the_gap_in_mean_level_is_the_number_of_models_times_the_mean_generalisation_gap(seed):
    given = random_outputs(models=2 + seed, seed=seed)
    found = agreement.levels(agreement.answers(given))
    right = given.logits.argmax(axis=2) == given.labels
    gaps = right[:, given.member].mean(axis=1) - right[:, ~given.member].mean(axis=1)
    assert found.level_gap == pytest.approx((2 + seed) * gaps.mean(), rel=1e-12)
    assert found.generalisation_gap == pytest.approx(gaps.mean(), rel=1e-12)
    assert found.members.mean_level / (2 + seed) == pytest.approx(right[:, given.member].mean(), rel=1e-12)


def test_identity_the_lead_in_true_class_confidence_is_the_mean_of_the_single_models_leads():
    given = random_outputs()
    single = [agreement.levels(agreement.answers(alone(given, k))).lead.value for k in range(5)]
    assert agreement.levels(agreement.answers(given)).lead.value == pytest.approx(np.mean(single), rel=1e-12)


def test_the_lead_in_max_confidence_is_not_that_mean():
    given = random_outputs()
    single = [agreement.levels(agreement.answers(alone(given, k), reading="max")).lead.value for k in range(5)]
    together = agreement.levels(agreement.answers(given, reading="max")).lead.value
    assert abs(together - np.mean(single)) > 0.01


@pytest.mark.parametrize("reading", agreement.READINGS)
def test_identity_mean_confidence_is_accuracy_times_right_models_plus_error_times_wrong_models(reading):
    found = agreement.levels(agreement.answers(random_outputs(), reading=reading))
    for side in (found.members, found.nonmembers):
        accuracy = side.accuracies.mean()
        mixed = accuracy * side.correct_confidence + (1 - accuracy) * side.misclassified_confidence
        assert side.mean_confidence == pytest.approx(mixed, rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_identity_s_bound_the_level_diverges_at_least_as_much_as_one_model_s_correctness(seed):
    given = random_outputs(models=2 + seed, n=60, seed=seed)
    sides = agreement.levels(agreement.answers(given))
    of_level = divergence.js(sides.members.shares, sides.nonmembers.shares)
    assert of_level >= agreement.shape(agreement.answers(given), resamples=10).js_of_accuracy - 1e-12


# levels


def test_means_and_spreads_by_level_are_those_of_the_samples_at_that_level():
    given = random_outputs()
    answers = agreement.answers(given)
    found = agreement.levels(answers)
    for side, mask in ((found.members, given.member), (found.nonmembers, ~given.member)):
        assert side.samples == mask.sum() and side.counts.sum() == mask.sum()
        for c in range(6):
            at = mask & (answers.level == c)
            assert side.counts[c] == at.sum()
            assert side.mean[c] == pytest.approx(answers.confidence[at].mean())
            assert side.sd[c] == pytest.approx(answers.confidence[at].std())
            assert c == 0 or side.correct[c] == pytest.approx(answers.correct_confidence[at].mean())
            assert c == 5 or side.misclassified[c] == pytest.approx(answers.misclassified_confidence[at].mean())
        assert np.isnan(side.correct[0]) and np.isnan(side.misclassified[5])
        assert side.mean_confidence == pytest.approx(answers.confidence[mask].mean())
        assert side.sd_confidence == pytest.approx(answers.confidence[mask].std())
        pairs = answers.each[:, mask][answers.right[:, mask]]
        assert side.correct_confidence == pytest.approx(pairs.mean())


def test_leads_have_welch_s_interval():
    answers = agreement.answers(random_outputs())
    found = agreement.levels(answers)
    for lead, at in ((found.lead, answers.level >= 0), (found.leads[3], answers.level == 3)):
        sides = [answers.confidence[at & mask] for mask in (answers.member, ~answers.member)]
        expected = ttest_ind(*sides, equal_var=False).confidence_interval()
        assert lead == pytest.approx((sides[0].mean() - sides[1].mean(), expected.low, expected.high))


def test_a_level_that_one_side_lacks_has_no_lead_and_one_sample_has_no_interval():
    p = np.array([[0.9, 0.8, 0.3], [0.7, 0.6, 0.2]])
    found = agreement.levels(agreement.answers(Outputs(np.log(np.stack([p, 1 - p], axis=2)), [0, 0, 0], [1, 0, 0])))
    assert found.leads[0] is None and found.leads[1] is None
    assert found.leads[2] == (pytest.approx(0.1), None, None)
    assert np.isnan(found.members.misclassified_confidence) and found.members.correct_confidence == pytest.approx(0.8)


# the three factors


@pytest.mark.parametrize("models", (1, 2, 7))
def test_shapley_contributions_sum_to_the_gap_exactly(models):
    for reading in agreement.READINGS:
        answers = agreement.answers(random_outputs(models), reading=reading)
        found = agreement.decompose(answers, resamples=10)
        gap = answers.confidence[answers.member].mean() - answers.confidence[~answers.member].mean()
        assert sum(one.value for one in found.contributions.values()) == pytest.approx(gap, rel=1e-12)
        assert found.gap.value == pytest.approx(gap, rel=1e-12)
        assert sum(found.shares.values()) == pytest.approx(1)
        np.testing.assert_allclose(
            found.by_level.sum(axis=1), [one.value for one in found.contributions.values()], rtol=1e-12
        )


def test_shapley_contributions_of_a_simulated_three_factor_model_are_the_known_ones():
    found = agreement.decompose(agreement.answers(outputs(HIGH, LOW)), resamples=10)
    np.testing.assert_allclose([one.value for one in found.contributions.values()], contributions(HIGH, LOW), rtol=1e-9)
    assert found.gap.value == pytest.approx(HIGH.mean - LOW.mean)
    assert found.common == (1, 1)


def test_shapley_s_value_is_the_mean_over_all_orders_of_what_each_factor_brings():
    rng = np.random.default_rng(0)
    members, nonmembers = (agreement.Factors(*rng.random((3, 6))) for _ in range(2))
    expected = np.zeros((3, 6))
    for order in permutations(range(3)):
        for factor in range(3):
            before = {one for one in order if order.index(one) < order.index(factor)}
            without, with_it = (
                agreement.Factors(*(members[one] if one in joined else nonmembers[one] for one in range(3))).confidence
                for joined in (before, before | {factor})
            )
            expected[factor] += (with_it - without) / 6
    np.testing.assert_allclose(agreement.shapley(members, nonmembers), expected, rtol=1e-12)
    np.testing.assert_allclose(agreement.shapley(nonmembers, members), -expected, rtol=1e-12)


@pytest.mark.parametrize("factor", range(3))
def test_shapley_gives_all_to_the_only_factor_that_differs(factor):
    fields = list(LOW)
    fields[factor] = HIGH[factor]
    found = agreement.decompose(agreement.answers(outputs(Truth(*fields), LOW)), resamples=10)
    values = [one.value for one in found.contributions.values()]
    assert values[factor] == pytest.approx(found.gap.value) and abs(found.gap.value) > 0.01
    np.testing.assert_allclose(np.delete(values, factor), 0, atol=1e-12)


def test_shapley_intervals_contain_the_known_contributions_as_often_as_they_say():
    truth, hits = contributions(HIGH, LOW), np.zeros(3)
    for seed in range(100):
        answers = agreement.answers(outputs(HIGH, LOW, (300, 200), noise=0.08, seed=seed))
        found = agreement.decompose(answers, resamples=200, seed=seed).contributions.values()
        hits += [one.low <= known <= one.high for one, known in zip(found, truth, strict=True)]
    assert (hits >= 85).all() and 270 < hits.sum() < 300


def test_shapley_by_the_convention_an_empty_level_counts_for_agreement_alone():
    share = np.array([0, 0.1, 0.2, 0.3, 0.4])
    members = HIGH._replace(share=share)
    found = agreement.decompose(agreement.answers(outputs(members, LOW)), resamples=50)
    borrowed = members._replace(
        misclassified=np.append(LOW.misclassified[0], members.misclassified[1:]),
    )
    np.testing.assert_allclose(
        [one.value for one in found.contributions.values()], contributions(borrowed, LOW), rtol=1e-9
    )
    assert found.gap.value == pytest.approx(members.mean - LOW.mean)
    np.testing.assert_allclose(found.common, (1.0, 0.8))
    np.testing.assert_allclose(found.by_level[1:, 0], 0, atol=1e-15)


def test_shapley_of_one_model_names_what_its_accuracy_and_its_two_confidences_add():
    answers = agreement.answers(alone(random_outputs(), 0))
    found = agreement.decompose(answers, resamples=10)
    sides = agreement.levels(answers)
    surer = [side.correct_confidence - side.misclassified_confidence for side in (sides.members, sides.nonmembers)]
    assert found.contributions["agreement"].value == pytest.approx(sides.generalisation_gap * np.mean(surer))


def test_a_fusion_that_equation_1_is_not_about_cannot_be_decomposed():
    answers = agreement.answers(random_outputs(), fusion="logit")
    with pytest.raises(ValueError, match="use fusion='confidence'"):
        agreement.decompose(answers, resamples=10)
    agreement.levels(answers)  # levels of any fusion can be looked at


def test_the_same_seed_gives_the_same_intervals_and_another_gives_others():
    answers = agreement.answers(random_outputs())
    first, again, other = (agreement.decompose(answers, resamples=20, seed=seed) for seed in (0, 0, 1))
    assert first.contributions == again.contributions and first.gap != other.gap


# at equal level

ONLY_LEVELS = (HIGH, HIGH._replace(share=LOW.share))


def test_where_only_levels_differ_nothing_is_left_at_equal_level():
    answers = agreement.answers(outputs(*ONLY_LEVELS, (3000, 2000), noise=0.08, seed=0))
    lead, found = agreement.lead_at_equal_level(answers), agreement.auc_at_equal_level(answers, resamples=200)
    assert agreement.levels(answers).lead.low > 0.1 and found.plain.low > 0.6
    assert abs(lead.signed.value) < 0.005 and lead.signed.low < 0 < lead.signed.high
    assert lead.absolute.value < lead.chance.high and lead.chance.p_value > 0.05
    assert found.matched.low < 0.5 < found.matched.high and found.matched.high < 0.53
    assert found.mean_within.low < 0.5 < found.mean_within.high
    assert found.js.low < 0 < found.js.high or found.js.null.p_value > 0.05


def test_a_lead_within_levels_is_left_at_equal_level():
    members = LOW._replace(correct=LOW.correct + 0.05)
    lead = agreement.lead_at_equal_level(agreement.answers(outputs(members, LOW)))
    expected = LOW.share @ (np.linspace(0, 1, 5) * 0.05)
    assert lead.signed.value == pytest.approx(expected) and lead.absolute.value == pytest.approx(expected)
    assert lead.confidence == pytest.approx((members.mean, LOW.mean))
    assert lead.chance.p_value < 0.001


def test_leads_of_opposite_sign_cancel_in_the_signed_mean_and_not_in_the_absolute_one():
    step = np.array([0.02, -0.02, 0.02, -0.02, 0])
    flat = Truth(np.full(5, 0.2), LOW.correct, LOW.misclassified)
    right = np.linspace(0, 1, 5)
    members = flat._replace(misclassified=flat.misclassified + step / np.maximum(1 - right, 0.25))
    lead = agreement.lead_at_equal_level(agreement.answers(outputs(members, flat)))
    assert lead.signed.value == pytest.approx(0, abs=1e-12)
    assert lead.absolute.value == pytest.approx(0.016)


def test_chance_is_what_shuffling_membership_within_levels_gives():
    answers = agreement.answers(outputs(HIGH, LOW, (150, 100), noise=0.08, seed=0))
    rng, drawn = np.random.default_rng(0), []
    for _ in range(400):
        member = answers.member.copy()
        for c in range(5):
            at = np.flatnonzero(answers.level == c)
            member[at] = rng.permutation(member[at])
        shuffled = dataclasses.replace(answers, member=member)
        drawn.append(agreement.lead_at_equal_level(shuffled, resamples=1).absolute.value)
    chance = agreement.lead_at_equal_level(answers).chance
    assert chance.mean == pytest.approx(np.mean(drawn), rel=0.05)
    assert chance.high == pytest.approx(np.quantile(drawn, 0.95), rel=0.1)


def test_intervals_at_equal_level_contain_the_truth_as_often_as_they_say():
    members = LOW._replace(misclassified=LOW.misclassified + 0.03)
    big = agreement.auc_at_equal_level(
        agreement.answers(outputs(members, LOW, (100_000, 100_000), noise=0.08, seed=1000)), resamples=1
    )
    hits = np.zeros(3)
    for seed in range(100):
        answers = agreement.answers(outputs(members, LOW, (300, 200), noise=0.08, seed=seed))
        found = agreement.auc_at_equal_level(answers, resamples=1)
        lead = agreement.lead_at_equal_level(answers, resamples=1).signed
        hits += [
            found.matched.low <= big.matched.value <= found.matched.high,
            found.mean_within.low <= big.mean_within.value <= found.mean_within.high,
            lead.low <= LOW.share @ (np.linspace(1, 0, 5) * 0.03) <= lead.high,
        ]
    assert (hits >= 88).all()


def test_the_matched_auc_is_that_of_weighted_pairs():
    answers = agreement.answers(random_outputs(n=120))
    scores = np.round(answers.confidence, 1)  # ties
    found = agreement.auc_at_equal_level(answers, scores, resamples=1)
    member, level = answers.member, answers.level
    each = np.zeros(120)
    for side in (member, ~member):
        for c in range(6):
            each[side & (level == c)] = found.weights[c] / max(1, (side & (level == c)).sum())
    wins = (scores[member][:, None] > scores[~member]) + 0.5 * (scores[member][:, None] == scores[~member])
    assert found.matched.value == pytest.approx(each[member] @ wins @ each[~member])
    for c in range(6):
        assert found.within[c] == metrics.auc_interval(scores[level == c], member[level == c])
    kept = [(w, one.value) for w, one in zip(found.weights, found.within, strict=True) if one]
    assert found.mean_within.value == pytest.approx(sum(w * value for w, value in kept))


def test_a_score_that_is_the_level_tells_nothing_at_equal_level():
    answers = agreement.answers(random_outputs())
    found = agreement.auc_at_equal_level(answers, answers.level, resamples=10)
    assert found.plain == found.by_level_alone and found.plain.low > 0.5
    assert found.matched.value == pytest.approx(0.5) and found.mean_within.value == pytest.approx(0.5)


def test_without_a_common_level_nothing_can_be_compared_and_some_mass_is_said_to_be_lost():
    p = np.array([[0.9, 0.8, 0.3, 0.2], [0.7, 0.6, 0.2, 0.1]])
    given = np.log(np.stack([p, 1 - p], axis=2))
    apart = agreement.answers(Outputs(given, [0] * 4, [1, 1, 0, 0]))
    for function in (agreement.lead_at_equal_level, agreement.auc_at_equal_level):
        with pytest.raises(ValueError, match="no level has both members and non-members"):
            function(apart)
    assert agreement.decompose(apart, resamples=10).common == (0, 0)
    some = agreement.auc_at_equal_level(agreement.answers(Outputs(given, [0] * 4, [1, 0, 0, 0])))
    assert some.common == (1, pytest.approx(1 / 3)) and some.weights.tolist() == [0, 0, 1] and some.js is None


def test_scores_must_be_one_per_sample():
    answers = agreement.answers(random_outputs())
    with pytest.raises(ValueError, match="one length"):
        agreement.auc_at_equal_level(answers, answers.confidence[:5])
    with pytest.raises(ValueError, match="NaN"):
        agreement.auc_at_equal_level(answers, answers.confidence * np.nan)


# shape


def test_copies_of_one_model_show_in_their_level_what_its_accuracy_shows_and_no_more():
    given = alone(random_outputs(), 0)
    found = agreement.shape(agreement.answers(Outputs(np.repeat(given.logits, 4, axis=0), given.labels, given.member)))
    assert found.js.value + found.js.bias == pytest.approx(found.js_of_accuracy)
    assert found.auc.value == pytest.approx(found.auc_of_accuracy)
    assert found.members.unanimous == found.nonmembers.unanimous == 1
    assert found.members.sd == pytest.approx(2 * found.members.sd_if_independent)  # 4 p(1 - p) against 16 p(1 - p)


def test_independent_models_have_levels_as_spread_as_is_said():
    rng = np.random.default_rng(0)
    accuracies = np.array([0.5, 0.7, 0.9])
    right = rng.random((3, 20000)) < accuracies[:, None]
    found = agreement.shape(
        agreement.answers(Outputs(np.stack([right, ~right], axis=2), np.zeros(20000), np.arange(20000) % 2))
    )
    for side in (found.members, found.nonmembers):
        assert side.sd_if_independent == pytest.approx(np.sqrt(accuracies @ (1 - accuracies)), rel=0.01)
        assert side.sd == pytest.approx(side.sd_if_independent, rel=0.02)
        assert side.unanimous == pytest.approx(0.5 * 0.7 * 0.9 + 0.5 * 0.3 * 0.1, abs=0.015)
    assert found.js.low < 0 < found.js.high


def test_independent_models_that_err_more_on_one_side_show_it_in_the_level_beyond_their_accuracy():
    share = [0.9, 0.7]
    rng = np.random.default_rng(0)
    right = rng.random((5, 4000)) < np.repeat(share, 2000)
    answers = agreement.answers(Outputs(np.stack([right, ~right], axis=2), np.zeros(4000), np.repeat([1, 0], 2000)))
    found = agreement.shape(answers)
    assert found.js.low > 2 * found.js_of_accuracy and found.auc.low > found.auc_of_accuracy


# Figure 2


def beta_outputs(n=(6000, 3000), seed=0):
    """One model on two classes; its confidence is Beta(4, 2) on members, Beta(3, 3) on others."""
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.beta(4, 2, n[0]), rng.beta(3, 3, n[1])])
    labels = rng.integers(0, 2, sum(n))
    both = np.where(labels[:, None] == np.arange(2), p[:, None], 1 - p[:, None])
    return Outputs(np.log(both), labels, np.repeat([1, 0], n))


def beta_js(low=0.0, high=1.0):
    """The divergence of the two densities within [low, high], by quadrature, in nats."""
    x = np.linspace(low, high, 200_001)[1:-1]
    one, other = x**3 * (1 - x), x**2 * (1 - x) ** 2
    return jensenshannon(one, other) ** 2


def test_the_js_of_each_part_is_the_known_one():
    found = agreement.split(agreement.answers(beta_outputs()))
    for part, ends in ((found.everyone, (0, 1)), (found.correct, (0.5, 1)), (found.misclassified, (0, 0.5))):
        assert part.js.low < beta_js(*ends) < part.js.high
        assert part.js.high - part.js.low < 0.03
    assert len(found.correct.members) + len(found.misclassified.members) == 6000
    assert (found.correct.nonmembers >= 0.5).all() and (found.misclassified.nonmembers <= 0.5).all()


def test_a_drawn_histogram_prints_scipy_s_numbers_in_one_unit_or_another():
    answers = agreement.answers(beta_outputs())
    part = agreement.split(answers, bins=25).everyone
    shares = [np.histogram(side, 25, (0, 1))[0] for side in (part.members, part.nonmembers)]
    assert part.plug_in.distance == pytest.approx(jensenshannon(*shares))
    assert part.plug_in.distance_bits == pytest.approx(jensenshannon(*shares, base=2))
    assert part.plug_in.nats == pytest.approx(jensenshannon(*shares) ** 2)
    assert part.plug_in.bits == pytest.approx(jensenshannon(*shares, base=2) ** 2)
    assert part.units.nats == part.js.value < part.plug_in.nats


def test_sides_that_share_nothing_have_one_bit_and_the_root_of_ln_2():
    assert agreement.units(np.log(2)) == pytest.approx((np.log(2), 1, np.log(2) ** 0.5, 1))
    assert agreement.units(-0.01).distance == 0


def test_a_printed_histogram_of_few_samples_diverges_where_nothing_differs_and_the_estimate_does_not():
    rng = np.random.default_rng(0)
    p = rng.beta(3, 3, 600)
    answers = agreement.answers(Outputs(np.log(np.stack([p, 1 - p], axis=1)), np.zeros(600), np.arange(600) % 2))
    part = agreement.split(answers, bins=50).everyone
    assert part.plug_in.distance > 0.1
    assert part.js.low < 0 < part.js.high and part.js.null.p_value > 0.05


def test_one_class_is_looked_at_by_itself():
    given = random_outputs(n=2000)
    answers = agreement.answers(given)
    found = agreement.split(answers, label=2, resamples=50)
    for side, mask in ((found.everyone.members, given.member), (found.everyone.nonmembers, ~given.member)):
        np.testing.assert_array_equal(side, answers.confidence[mask & (given.labels == 2)])
    assert found.label == 2 and found.correct.means[0] > found.misclassified.means[0]
    assert found.everyone.sds[0] == pytest.approx(found.everyone.members.std())
    with pytest.raises(ValueError, match="no sample has label 4; labels run from 0 to 3"):
        agreement.split(answers, label=4)
    with pytest.raises(ValueError, match="bins: found 0"):
        agreement.split(answers, bins=0)


def test_a_part_with_nobody_on_one_side_has_no_divergence():
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.2])
    given = Outputs(np.log(np.stack([p, 1 - p], axis=1)), np.zeros(5), [1, 1, 0, 0, 0])
    found = agreement.split(agreement.answers(given), resamples=10)
    assert found.everyone.js is not None and found.misclassified.js is None
    assert found.misclassified.units is None and found.misclassified.plug_in is None and found.misclassified.auc is None
    assert np.isnan(found.misclassified.means[0]) and np.isnan(found.misclassified.sds[0])
    assert found.misclassified.means[1] == pytest.approx(0.2)


# bad input


def test_bad_input_is_refused_with_a_remedy():
    logits = np.zeros((2, 3, 4))
    for labels, member, message in (
        ([0, 1, 4], [1, 0, 0], "found 4 at sample 2"),
        ([0, 1, 2], [1, 1, 1], "found members only; expected both sides"),
        ([0, 1], [1, 0, 0], "labels: found shape"),
    ):
        with pytest.raises(AuditError, match=message):
            agreement.answers(Outputs(logits, labels, member))
    with pytest.raises(ValueError, match="unknown reading 'maximum'; did you mean max"):
        agreement.answers(random_outputs(), reading="maximum")
    with pytest.raises(ValueError, match="no fusion"):
        agreement.answers(random_outputs(), fusion="mean")
    with pytest.raises(ValueError, match="found 1 model; agreement needs at least two"):
        agreement.shape(agreement.answers(alone(random_outputs(), 0)))
    with pytest.raises(ValueError, match="found no models"):
        agreement.level([], np.zeros(3))
    with pytest.raises(ValueError, match=r"model 1 in \[4, 2\]"):
        agreement.level([np.zeros((3, 2)), np.zeros((4, 2))], np.zeros(3))
    with pytest.raises(ValueError, match=r"answers to 3 samples and labels of shape \[5\]"):
        agreement.level([np.zeros((3, 2))], np.zeros(5))
