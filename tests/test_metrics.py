"""Metrics against scikit-learn, against Gaussians' closed forms, and their intervals' coverage by simulation."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm, t
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from mialab import metrics


def gaussians(rng, shift, members, nonmembers):
    """Members' scores N(shift, 1), non-members' N(0, 1)."""
    member = np.arange(members + nonmembers) < members
    return rng.normal(size=len(member)) + shift * member, member


def coverage(measure, truth, shift, members, nonmembers, draws=300):
    rng = np.random.default_rng(7)
    estimates = [measure(*gaussians(rng, shift, members, nonmembers)) for _ in range(draws)]
    return np.mean([e.low <= truth <= e.high for e in estimates])


@pytest.mark.parametrize("distinct", [2, 5, 1000])
def test_roc_and_auc_equal_scikit_learn_s_with_any_number_of_ties(distinct):
    rng = np.random.default_rng(distinct)
    member = rng.random(700) < 0.7
    scores = rng.integers(0, distinct, 700) / 7 + member
    curve = metrics.roc(scores, member)
    fpr, tpr, thresholds = roc_curve(member, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    assert metrics.auc(scores, member) == pytest.approx(roc_auc_score(member, scores), abs=1e-12)


def test_auc_counts_a_tie_half():
    assert metrics.auc(np.array([1.0, 1.0, 0.0]), np.array([True, False, False])) == 0.75
    assert metrics.auc(np.zeros(9), np.arange(9) < 4) == 0.5


def test_infinite_scores_are_ordinary_extremes():
    scores, member = np.array([np.inf, 2.0, 1.0, -np.inf, -np.inf]), np.array([1, 1, 0, 1, 0])
    ranks = np.array([3.0, 2.0, 1.0, 0.0, 0.0])
    assert metrics.auc(scores, member) == metrics.auc(ranks, member) == roc_auc_score(member, ranks)
    assert metrics.auc_interval(scores, member) == metrics.auc_interval(ranks, member)
    assert metrics.best_threshold(scores, member) == 2.0


@pytest.mark.parametrize("measure", [metrics.roc, metrics.auc, metrics.auc_interval, metrics.best_threshold])
def test_nan_unequal_lengths_and_odd_membership_are_refused(measure):
    with pytest.raises(ValueError, match="NaN"):
        measure(np.array([np.nan, 0.0]), np.array([1, 0]))
    with pytest.raises(ValueError, match="length"):
        measure(np.zeros(3), np.array([1, 0]))
    with pytest.raises(ValueError, match="0 or 1"):
        measure(np.zeros(2), np.array([2, 0]))


@pytest.mark.parametrize("member", [np.zeros(30, bool), np.ones(30, bool), np.zeros(0, bool)])
def test_figures_are_none_where_a_side_is_empty(member):
    scores = np.arange(len(member)) / 7
    assert metrics.auc(scores, member) is metrics.auc_interval(scores, member) is None
    assert metrics.tpr_at_fpr(scores, member, 0.1) is metrics.best_balanced_accuracy(scores, member) is None
    for measure in (metrics.balanced_accuracy, metrics.accuracy, metrics.advantage):
        assert measure(scores, member, 0.5) is None
    with pytest.raises(ValueError, match="at least one"):
        metrics.roc(scores, member)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_two_gaussians_give_their_closed_forms(shift):
    scores, member = gaussians(np.random.default_rng(0), shift, 200_000, 200_000)
    assert metrics.auc(scores, member) == pytest.approx(norm.cdf(shift / np.sqrt(2)), abs=0.004)
    best = metrics.balanced_accuracy(scores, member, metrics.best_threshold(scores, member)).value
    assert best == pytest.approx(norm.cdf(shift / 2), abs=0.004)
    for fpr in (0.1, 0.01, 0.001):
        expected = norm.sf(norm.isf(fpr) - shift)
        assert metrics.tpr_at_fpr(scores, member, fpr).value == pytest.approx(expected, abs=0.02 * expected**0.5)


@pytest.mark.parametrize(("shift", "members", "nonmembers"), [(0, 50, 50), (1, 10, 10), (1, 300, 60), (3, 50, 50)])
def test_the_auc_interval_covers_the_truth(shift, members, nonmembers):
    covered = coverage(metrics.auc_interval, norm.cdf(shift / np.sqrt(2)), shift, members, nonmembers)
    assert covered > 0.92
    assert covered < 0.99 or shift == 3 or members == 10  # conservative at the edge and with few


@pytest.mark.parametrize(("shift", "members", "nonmembers", "fpr"), [(0, 200, 100, 0.1), (1, 50, 1000, 0.1)])
def test_the_tpr_interval_covers_the_truth(shift, members, nonmembers, fpr):
    truth = norm.sf(norm.isf(fpr) - shift)
    assert coverage(lambda s, m: metrics.tpr_at_fpr(s, m, fpr), truth, shift, members, nonmembers) > 0.93


def test_the_tpr_interval_allows_for_the_threshold_s_own_error():
    rng = np.random.default_rng(3)
    scores, member = gaussians(rng, 2, 100_000, 1000)
    estimate = metrics.tpr_at_fpr(scores, member, 0.01)
    alone = metrics.proportion(round(estimate.value * 100_000), 100_000)
    assert estimate.high - estimate.low > 5 * (alone.high - alone.low)
    assert coverage(lambda s, m: metrics.tpr_at_fpr(s, m, 0.01), norm.sf(norm.isf(0.01) - 2), 2, 5000, 1000) > 0.93


@pytest.mark.parametrize("saturated", [False, True])
@pytest.mark.parametrize(("tied", "members", "nonmembers", "fpr"), [(0.098, 500, 500, 0.1), (0.0095, 2000, 1000, 0.01)])
def test_the_tpr_interval_covers_the_truth_where_many_tie_just_below_the_fpr(tied, members, nonmembers, fpr, saturated):
    """Of the members 0.4 tie at the top, of the others `tied`; below they tie too, or (saturated) spread evenly."""
    rng = np.random.default_rng(7)
    member = np.arange(members + nonmembers) < members
    truth = 0.4 + saturated * 0.6 * (fpr - tied) / (1 - tied)
    covered, widths = [], []
    for _ in range(500):
        below = rng.random(len(member)) if saturated else np.zeros(len(member))
        scores = np.where(rng.random(len(member)) < np.where(member, 0.4, tied), 1.0, below)
        estimate = metrics.tpr_at_fpr(scores, member, fpr)
        covered.append(estimate.low <= truth <= estimate.high)
        widths.append(estimate.high - estimate.low)
    assert np.mean(covered) > 0.93 and np.mean(widths) < 0.47  # the block of 0.4, and little more, is in doubt


@pytest.mark.parametrize(("shift", "fpr"), [(1, 0.1), (2, 0.01)])
def test_the_tpr_interval_is_not_much_wider_than_it_must_be(shift, fpr):
    rng = np.random.default_rng(0)
    estimates = [metrics.tpr_at_fpr(*gaussians(rng, shift, 2000, 2000), fpr) for _ in range(300)]
    exact = 2 * 1.96 * np.std([e.value for e in estimates])
    assert exact < np.mean([e.high - e.low for e in estimates]) < 1.4 * exact


def test_balanced_accuracy_s_interval_covers_the_truth():
    covered = coverage(lambda s, m: metrics.balanced_accuracy(s, m, 0.5), norm.cdf(0.5), 1, 100, 40)
    assert 0.93 < covered < 0.995


@pytest.mark.parametrize("shift", [0, 1])
def test_the_best_over_thresholds_is_optimistic_but_its_interval_covers_the_truth(shift):
    truth = norm.cdf(shift / 2)
    assert coverage(metrics.best_balanced_accuracy, truth, shift, 60, 60) > 0.93
    rng = np.random.default_rng(0)
    assert np.mean([metrics.best_balanced_accuracy(*gaussians(rng, shift, 60, 60)).value for _ in range(50)]) > truth


@pytest.mark.parametrize("k", [1, 5, 100])
def test_a_perfect_order_of_k_pairs_bounds_the_auc_at_its_kth_root(k):
    member = np.arange(3 * k) < k
    area = metrics.auc_interval(member.astype(float), member)
    assert area == (1.0, pytest.approx(0.025 ** (1 / k)), 1.0)
    turned = metrics.auc_interval(-member.astype(float), member)
    assert turned == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / k)))


def test_balanced_accuracy_accuracy_and_advantage_equal_their_definitions():
    rng = np.random.default_rng(0)
    scores, member = gaussians(rng, 1, 500, 100)
    called = scores >= 0.3
    balanced = metrics.balanced_accuracy(scores, member, 0.3)
    assert balanced.value == pytest.approx(balanced_accuracy_score(member, called), abs=1e-12)
    plain = metrics.accuracy(scores, member, 0.3)
    assert plain.value == pytest.approx(np.mean(called == member)) and plain.member_share == pytest.approx(5 / 6)
    advantage = metrics.advantage(scores, member, 0.3)
    assert advantage.value == pytest.approx(called[member].mean() - called[~member].mean())
    assert (advantage.low, advantage.high) == pytest.approx((2 * balanced.low - 1, 2 * balanced.high - 1))


def test_always_saying_member_reaches_the_member_share_and_half_the_balanced_accuracy():
    scores, member = gaussians(np.random.default_rng(0), 0, 500, 100)
    assert metrics.accuracy(scores, member, -9.0).value == pytest.approx(5 / 6)
    assert metrics.balanced_accuracy(scores, member, -9.0).value == 0.5


def test_the_best_threshold_beats_every_other():
    scores, member = gaussians(np.random.default_rng(0), 1, 80, 50)
    best = metrics.balanced_accuracy(scores, member, metrics.best_threshold(scores, member)).value
    others = [metrics.balanced_accuracy(scores, member, threshold).value for threshold in scores]
    assert best == pytest.approx(max(others), abs=1e-12)


def test_of_equally_good_thresholds_the_highest_is_taken():
    scores = np.repeat([3.0, 2.0, 1.0, 2.0, 1.0], [1, 3, 6, 3, 7])  # at 3 and at 2: 1 - 0 = 4 - 3 tenths
    assert metrics.best_threshold(scores, np.arange(20) < 10) == 3.0
    for n in range(2, 60):  # the best member alone, or with as many more of either side: 1 / n = (k + 1) / n - k / n
        levels = np.arange(n, 0, -1.0)
        assert metrics.best_threshold(np.append(levels, levels - 1), np.arange(2 * n) < n) == n


def test_a_score_equal_to_the_threshold_is_called_member():
    assert metrics.balanced_accuracy(np.array([1.0, 0.0]), np.array([1, 0]), 1.0).value == 1.0


def test_tpr_is_read_on_the_steps_and_never_between_tied_scores():
    member = np.arange(200) < 100
    gap = np.where(member, 1.0, np.arange(200) < 120)  # 20 % of the non-members tie with all members
    assert metrics.tpr_at_fpr(gap, member, 0.1).value == 0.0
    scores = np.append(np.arange(100) / 100, np.arange(100) / 100 - 0.105)
    curve = metrics.roc(scores, member)
    assert metrics.tpr_at_fpr(scores, member, 0.1).value == curve.tpr[curve.fpr <= 0.1].max()


def test_fewer_than_ten_expected_false_positives_are_said_not_hidden():
    def with_nonmembers(n):
        return np.arange(n + 50) < 50

    for fpr, needed in ((0.1, 100), (0.01, 1000), (0.001, 10_000), (0.3, 34)):
        assert metrics.too_few(with_nonmembers(needed), fpr) is None
        assert f"needs {needed} non-members" in metrics.too_few(with_nonmembers(needed - 1), fpr)
    assert metrics.tpr_at_fpr(np.zeros(149), with_nonmembers(99), 0.1) is None
    assert metrics.too_few(np.zeros(500, bool), 0.1) == "no members"


def test_proportion_is_clopper_pearson_s():
    low, high = beta.ppf(0.025, 7, 44), beta.ppf(0.975, 8, 43)
    assert metrics.proportion(7, 50) == pytest.approx((0.14, low, high))
    assert metrics.proportion(0, 50) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 50)))
    assert metrics.proportion(50, 50) == pytest.approx((1, 0.025 ** (1 / 50), 1))
    assert metrics.proportion(0, 0) is None


def test_a_mean_over_repetitions_has_student_s_interval_and_it_covers_the_truth():
    values = [0.61, 0.66, 0.58, 0.7]
    expected = t.interval(0.95, 3, loc=np.mean(values), scale=np.std(values, ddof=1) / 2)
    assert metrics.mean_interval(values) == pytest.approx((np.mean(values), *expected))
    assert metrics.mean_interval(values, least=0.6, greatest=0.65)[1:] == (0.6, 0.65)
    rng = np.random.default_rng(0)
    draws = [metrics.mean_interval(rng.normal(0.6, 0.02, 3)) for _ in range(2000)]
    assert 0.935 < np.mean([each.low <= 0.6 <= each.high for each in draws]) < 0.965


def test_one_repetition_has_a_mean_and_no_interval_and_none_has_neither():
    assert metrics.mean_interval([0.6]) == (0.6, None, None)
    for values in ([], [0.5, np.nan]):
        with pytest.raises(ValueError, match="at least one finite number"):
            metrics.mean_interval(values)


def test_shuffled_membership_leaves_an_auc_of_a_half_within_its_interval():
    rng = np.random.default_rng(0)
    scores, member = gaussians(rng, 2, 3000, 600)
    area = metrics.auc_interval(scores, rng.permutation(member))
    assert area.low < 0.5 < area.high and area.high - area.low < 0.06


def test_clopper_and_pearson_s_ends_are_scipy_s_and_stand_in_one_place():
    for successes, trials in ((0, 7), (3, 7), (7, 7), (40, 1000)):
        expected = binomtest(successes, trials).proportion_ci(0.9)
        found = metrics.clopper_pearson(successes, trials, 0.05)
        assert found == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))
    sources = Path(metrics.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "betaincinv" in path.read_text()] == ["metrics.py"]
