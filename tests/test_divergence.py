"""Divergences against closed forms, bounds against the cases that reach them, estimators against known truths."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from scipy.stats import beta, norm

from mialab import divergence, metrics
from mialab.divergence import Mixture

LN2 = math.log(2)
unhurried = settings(deadline=None, derandomize=True)
STANDARD = Mixture((0.0,), (1.0,))
EXPOSED = Mixture((0.0, 4.0), (1.0, 0.3), (0.95, 0.05))  # one member in twenty lies far out
CASES = {
    "alike": STANDARD,
    "half a deviation": Mixture((0.5,), (1.0,)),
    "one deviation": Mixture((1.0,), (1.0,)),
    "three deviations": Mixture((3.0,), (1.0,)),
    "twice as wide": Mixture((0.0,), (2.0,)),
    "few exposed": EXPOSED,
}

weights = hnp.arrays(float, 6, elements=st.floats(0, 1)).filter(lambda w: w.sum() > 1e-3)
distributions = weights.map(lambda w: w / w.sum())
shares = st.floats(0, 1)


def truth(members, nonmembers=STANDARD):
    nodes = divergence.on_nodes(members, nonmembers)
    return divergence.js(nodes.p, nodes.q)


def draw(members, n, m, seed, nonmembers=STANDARD):
    scores = np.concatenate([members.sample(n, seed=2 * seed), nonmembers.sample(m, seed=2 * seed + 1)])
    return scores, np.arange(n + m) < n


def repeat(estimate, members, n, m, times, **settings):
    return [estimate(*draw(members, n, m, seed), seed=seed, **settings) for seed in range(times)]


def values(estimates):
    return np.array([estimate.value for estimate in estimates])


def integrated(f, members, nonmembers=STANDARD, points=()):
    """f(p, q) integrated over the line by SciPy's adaptive quadrature."""

    def at(x):
        return f(np.exp(members.log_density(x)), np.exp(nonmembers.log_density(x)))

    return quad(at, -40, 40, points=[0, *points], limit=2000, epsabs=1e-12)[0]


def js_density(p, q):
    middle = (p + q) / 2
    return (rel_entr(p, middle) + rel_entr(q, middle)) / 2


# Known distributions


def test_an_example_by_hand():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])
    assert divergence.js(p, q) == pytest.approx(LN2 / 2)  # half of the mass tells all, half tells nothing
    assert divergence.in_bits(divergence.js(p, q)) == pytest.approx(0.5)
    assert divergence.tv(p, q) == 0.5
    assert divergence.optimal_accuracy(p, q) == 0.75
    np.testing.assert_allclose(divergence.optimal_attack(p, q), [0.5, 1, 0])
    assert divergence.gain(p, q, attack=np.array([0.5, 1, 0])) == pytest.approx(-LN2)  # -log 4 + 2 ln 2 / 2
    assert divergence.optimal_auc(p, q) == pytest.approx(0.875)  # 1 - P(neither value tells) / 2


def test_equal_distributions_leave_a_coin_and_disjoint_ones_certainty():
    p, q = np.array([0.3, 0.7, 0.0]), np.array([0.0, 0.0, 1.0])
    assert divergence.js(p, p) == divergence.tv(p, p) == 0
    assert divergence.optimal_accuracy(p, p) == 0.5 and divergence.optimal_auc(p, p) == pytest.approx(0.5)
    assert divergence.optimal_gain(divergence.js(p, p)) == pytest.approx(-math.log(4))
    assert divergence.js(p, q) == pytest.approx(LN2) and divergence.js(p, q) <= LN2
    assert divergence.tv(p, q) == divergence.optimal_accuracy(p, q) == divergence.optimal_auc(p, q) == 1
    assert divergence.optimal_gain(divergence.js(p, q)) == pytest.approx(0)


def test_scipy_s_function_is_the_distance_not_the_divergence():
    for p, q in np.random.default_rng(0).dirichlet(np.full(6, 0.3), size=(200, 2)):
        js = divergence.js(p, q)
        assert js == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-12)
        assert divergence.in_bits(js) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)
        assert divergence.distance(js) == pytest.approx(jensenshannon(p, q), abs=1e-9)


@unhurried
@given(distributions, st.floats(0, 1e-15))
def test_sides_that_differ_by_rounding_have_no_divergence_where_scipy_s_may_be_nan_or_infinite(p, change):
    assert 0 <= divergence.js(p, p * (1 + change)) < 1e-15
    assert divergence.js(np.array([1.0, 0.0, 0.0]), np.array([1.0, 5e-324, 1e-310])) < 1e-15


@unhurried
@given(distributions, distributions, hnp.arrays(float, 6, elements=st.floats(0, 1)))
def test_no_attack_gains_more_than_the_optimal_one_whose_gain_is_equation_10_s(p, q, attack):
    best = divergence.optimal_gain(divergence.js(p, q))
    assert divergence.gain(p, q, attack=divergence.optimal_attack(p, q)) == pytest.approx(best, abs=1e-9)
    assert divergence.gain(p, q, attack=attack) <= best + 1e-9


def test_an_attack_that_is_sure_and_wrong_gains_minus_infinity():
    even = np.array([0.5, 0.5])
    assert divergence.gain(even, even, attack=np.array([0.5, 0.0])) == -math.inf
    assert divergence.gain(even, even, attack=np.array([0.5, 0.5])) == pytest.approx(-math.log(4))
    with pytest.raises(ValueError, match="attack must lie in"):
        divergence.gain(even, even, attack=np.array([0.5, 50.0]))


@unhurried
@given(distributions, distributions, st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_divergences_are_symmetric_and_merging_values_never_raises_them(p, q, place):
    merged = [np.bincount(place, side, minlength=3) for side in (p, q)]
    for measure in (divergence.js, divergence.tv):
        assert measure(p, q) == pytest.approx(measure(q, p), abs=1e-12)
        assert measure(*merged) <= measure(p, q) + 1e-12
    assert divergence.optimal_auc(*merged) <= divergence.optimal_auc(p, q) + 1e-12


@unhurried
@given(distributions, distributions)
def test_the_optimal_roc_is_concave_and_no_threshold_lies_above_it(p, q):
    curve = divergence.optimal_roc(p, q)
    np.testing.assert_allclose([curve.fpr[-1], curve.tpr[-1]], 1)
    assert np.max(curve.tpr - curve.fpr) == pytest.approx(divergence.tv(p, q), abs=1e-9)
    for tpr, fpr in zip(np.cumsum(p), np.cumsum(q), strict=True):
        assert tpr <= np.interp(fpr + 1e-12, curve.fpr, curve.tpr) + 1e-6
    rise, run = np.diff(curve.tpr), np.diff(curve.fpr)
    assert np.all(rise[:-1] * run[1:] >= rise[1:] * run[:-1] - 1e-12)


def test_the_mean_over_classes_is_the_divergence_of_value_and_label_together():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), size=(2, 3))
    prior = np.array([0.5, 0.3, 0.2])
    joint = divergence.js((p * prior[:, None]).ravel(), (q * prior[:, None]).ravel())
    assert divergence.js(p, q).shape == (3,)
    assert divergence.js(p, q) @ prior == pytest.approx(joint)
    assert divergence.tv(p, q) @ prior == pytest.approx(np.abs(p - q).sum(axis=1) @ prior / 2)


@pytest.mark.parametrize(
    ("p", "q", "words"),
    [([1, 2], [1, 2], "divide counts"), ([0.5, 0.5], [1.0], "same values"), ([1.5, -0.5], [0.5, 0.5], "divide counts")],
)
def test_what_is_no_pair_of_distributions_is_refused(p, q, words):
    for measure in (divergence.js, divergence.tv, divergence.optimal_roc):
        with pytest.raises(ValueError, match=words):
            measure(np.array(p), np.array(q))


@pytest.mark.parametrize("shift", [0.0, 0.01, 1.0, 2.5, 9.0])
def test_gaussians_give_their_closed_forms(shift):
    nodes = divergence.on_nodes(Mixture((shift,), (1.0,)), STANDARD)
    assert divergence.tv(nodes.p, nodes.q) == pytest.approx(2 * norm.cdf(shift / 2) - 1, abs=1e-12)
    assert divergence.optimal_accuracy(nodes.p, nodes.q) == pytest.approx(norm.cdf(shift / 2), abs=1e-12)
    assert divergence.optimal_auc(nodes.p, nodes.q) == pytest.approx(norm.cdf(shift / math.sqrt(2)), abs=1e-4)
    curve = divergence.optimal_roc(nodes.p, nodes.q)
    fpr = np.array([0.001, 0.01, 0.1, 0.5])
    np.testing.assert_allclose(np.interp(fpr, curve.fpr, curve.tpr), norm.sf(norm.isf(fpr) - shift), atol=2e-3)


@pytest.mark.parametrize("name", CASES)
def test_the_optimal_attack_s_gain_survives_places_where_it_is_all_but_sure(name):
    nodes = divergence.on_nodes(CASES[name], STANDARD)
    found = divergence.gain(nodes.p, nodes.q, attack=divergence.optimal_attack(nodes.p, nodes.q))
    assert found == pytest.approx(divergence.optimal_gain(truth(CASES[name])), abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_quadrature_agrees_with_scipy_s(name):
    nodes = divergence.on_nodes(CASES[name], STANDARD)
    np.testing.assert_allclose([nodes.p.sum(), nodes.q.sum()], 1, atol=1e-12)
    points = CASES[name].means
    assert divergence.js(nodes.p, nodes.q) == pytest.approx(
        integrated(js_density, CASES[name], points=points), abs=1e-9
    )
    expected = integrated(lambda p, q: abs(p - q) / 2, CASES[name], points=points)
    assert divergence.tv(nodes.p, nodes.q) == pytest.approx(expected, abs=1e-7)


def test_a_component_a_thousand_times_narrower_is_not_missed():
    spike = Mixture((0.0, 0.3), (1.0, 0.001), (0.5, 0.5))
    nodes = divergence.on_nodes(spike, STANDARD)
    expected = integrated(js_density, spike, points=0.3 + 0.001 * np.arange(-6, 7))
    assert divergence.js(nodes.p, nodes.q) == pytest.approx(expected, abs=1e-9)


def test_a_mixture_s_density_cumulative_and_samples_are_one_distribution():
    x = EXPOSED.sample(50_000, seed=0)
    for at in (-1.0, 0.5, 3.8, 4.2):
        assert quad(lambda u: np.exp(EXPOSED.log_density(u)), -30, at)[0] == pytest.approx(EXPOSED.cdf(at), abs=1e-8)
        assert np.mean(x <= at) == pytest.approx(EXPOSED.cdf(at), abs=4 * 0.5 / math.sqrt(50_000))
    assert Mixture((0.0, 1.0), (1.0, 1.0)).weights == (0.5, 0.5)


@pytest.mark.parametrize(
    ("given", "words"),
    [(((0.0,), (0.0,)), "sds above 0"), (((0.0, 1.0), (1.0,)), "as many"), (((0.0,), (1.0,), (2.0,)), "sum to 1")],
)
def test_what_is_no_mixture_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Mixture(*given)


# Bounds


@unhurried
@given(distributions, distributions, hnp.arrays(float, 6, elements=st.floats(0.01, 0.99)))
def test_every_bound_holds(p, q, attack):
    js, tv, accuracy = divergence.js(p, q), divergence.tv(p, q), divergence.optimal_accuracy(p, q)
    slack = 1e-9
    low, high = divergence.accuracy_bounds(js)
    assert low - slack <= accuracy <= high + 1e-7
    assert high <= divergence.pinsker_accuracy(js) + slack
    assert divergence.tv_bounds(js).low - slack <= tv <= divergence.tv_bounds(js).high + 1e-7
    assert divergence.pinsker_js(tv) - slack <= divergence.js_bounds(tv).low <= js + slack
    assert js <= divergence.js_bounds(tv).high + slack
    assert (
        divergence.auc_bounds(tv).low - slack <= divergence.optimal_auc(p, q) <= divergence.auc_bounds(tv).high + slack
    )
    called = attack > 0.5  # any attack at all proves less than the truth
    measured = (p[called].sum() + q[~called].sum()) / 2
    assert divergence.js_at_least(measured) <= js + slack
    assert divergence.tv_at_least(measured) <= tv + slack
    assert divergence.js_at_least_from_bce(-divergence.gain(p, q, attack=attack) / 2) <= js + slack


@unhurried
@given(shares)
def test_a_part_without_overlap_beside_a_part_without_difference_reaches_the_lower_accuracy(t):
    p, q = np.array([t, 1 - t, 0]), np.array([0, 1 - t, t])
    js = divergence.js(p, q)
    assert js == pytest.approx(divergence.js_bounds(t).high, abs=1e-12)
    assert divergence.accuracy_bounds(js).low == pytest.approx(divergence.optimal_accuracy(p, q), abs=1e-12)
    assert divergence.auc_bounds(t).high == pytest.approx(divergence.optimal_auc(p, q), abs=1e-12)


@unhurried
@given(st.floats(0.5, 1))
def test_two_mirrored_coins_reach_the_upper_accuracy_and_what_an_accuracy_proves(a):
    p, q = np.array([a, 1 - a]), np.array([1 - a, a])
    js = divergence.js(p, q)
    assert js == pytest.approx(LN2 - divergence.binary_entropy(a), abs=1e-12)
    assert divergence.js_at_least(a) == pytest.approx(js, abs=1e-12)
    assert divergence.accuracy_bounds(js).high == pytest.approx(a, abs=1e-7)
    assert divergence.auc_bounds(divergence.tv(p, q)).low == pytest.approx(divergence.optimal_auc(p, q), abs=1e-12)


@unhurried
@given(distributions, distributions)
def test_the_optimal_attack_s_cross_entropy_proves_the_whole_divergence(p, q):
    bce = -divergence.gain(p, q, attack=divergence.optimal_attack(p, q)) / 2
    assert divergence.js_at_least_from_bce(bce) == pytest.approx(divergence.js(p, q), abs=1e-9)
    assert divergence.js_at_least_from_bce(2.0) == 0


def test_pinsker_is_tight_only_towards_zero():
    tv = np.array([1e-4, 0.1, 0.5, 1.0])
    ratio = divergence.pinsker_js(tv) / divergence.js_bounds(tv).low
    assert (
        ratio[0] == pytest.approx(1, abs=1e-6) and np.all(np.diff(ratio) < 0) and ratio[-1] == pytest.approx(0.5 / LN2)
    )
    assert divergence.pinsker_accuracy(LN2) == 1.0 == divergence.accuracy_bounds(LN2).high
    printed = divergence.pinsker_js(divergence.tv_at_least(np.array([0.6199, 0.5902])))  # the pruning paper's Table 5
    np.testing.assert_allclose(printed, [0.0288, 0.0163], atol=5e-5)


@unhurried
@given(st.floats(1e-14, 1))
def test_the_bounds_of_divergence_and_of_variation_undo_each_other(tv):
    low, high = divergence.js_bounds(tv)
    assert divergence.tv_bounds(low).high == pytest.approx(tv, rel=1e-6, abs=1e-7)
    assert divergence.tv_bounds(high).low == pytest.approx(tv)


def test_bounds_take_arrays_and_count_estimates_beyond_the_range_as_its_ends():
    low, high = divergence.accuracy_bounds(np.array([-0.01, 0.1, 0.8]))
    np.testing.assert_allclose(low, [0.5, 0.5 + 0.1 / (2 * LN2), 1.0])
    assert high[0] == 0.5 and high[2] == 1.0 and high[1] == pytest.approx(0.7198, abs=1e-4)
    assert divergence.js_at_least(0.4) == divergence.tv_at_least(0.4) == 0  # worse than a coin proves nothing
    with pytest.raises(ValueError, match="NaN"):
        divergence.accuracy_bounds(math.nan)
    for measure in (divergence.js_at_least, divergence.tv_at_least, divergence.js_bounds, divergence.auc_bounds):
        with pytest.raises(ValueError, match="per cent"):
            measure(61.99)


def test_an_attack_that_looks_at_x_exceeds_the_bound_on_attacks_that_see_outputs():
    """An output is a sample's own level (sd 3), noise (sd 1), and 1 for members. Who knows x knows the level."""
    blind = truth(Mixture((1.0,), (math.sqrt(10),)), Mixture((0.0,), (math.sqrt(10),)))
    cap = divergence.accuracy_bounds(blind).high
    rng = np.random.default_rng(0)
    level, member = 3 * rng.normal(size=20_000), rng.random(20_000) < 0.5
    output = level + rng.normal(size=20_000) + member
    assert metrics.best_balanced_accuracy(output, member).value < cap + 0.005
    looking = metrics.balanced_accuracy(output - level, member, 0.5)
    assert looking.low > cap + 0.1 and looking.value == pytest.approx(norm.cdf(0.5), abs=0.01)
    assert divergence.js_at_least(looking.low) > blind  # so what it proves is no divergence of outputs


# Differential privacy


@pytest.mark.parametrize("delta", [0.0, 0.1])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.0])
def test_randomized_response_has_the_largest_advantage_that_epsilon_and_delta_allow(epsilon, delta):
    kept = np.array([np.exp(epsilon), 1]) / (1 + np.exp(epsilon)) * (1 - delta)
    p, q = np.array([delta, *kept, 0]), np.array([0, *kept[::-1], delta])
    assert divergence.advantage_at_most(epsilon, delta=delta) == pytest.approx(divergence.tv(p, q))


def test_epsilon_6_28_promises_next_to_nothing():
    assert divergence.advantage_at_most(6.28) == pytest.approx(0.996, abs=5e-4)
    assert divergence.advantage_at_most(math.inf) == 1 and divergence.advantage_at_most(0.0) == 0
    assert np.all(np.diff(divergence.advantage_at_most(np.linspace(0, 5, 9))) > 0)


def test_epsilon_is_that_of_the_clopper_pearson_ends():
    low, high = beta.ppf(0.025, 40, 61), beta.ppf(0.975, 6, 95)
    assert divergence.epsilon_at_least((40, 100), (5, 100)) == pytest.approx(math.log(low / high))
    assert divergence.epsilon_at_least((40, 100), (5, 100), delta=0.1) == pytest.approx(math.log((low - 0.1) / high))
    assert divergence.epsilon_at_least((40, 100), (5, 100), confidence=0.99) < math.log(low / high)


def test_epsilon_follows_from_whichever_error_is_rarer():
    assert divergence.epsilon_at_least((99, 100), (60, 100)) == divergence.epsilon_at_least((40, 100), (1, 100)) > 1
    assert divergence.epsilon_at_least((50, 100), (50, 100)) == divergence.epsilon_at_least((1, 100), (9, 100)) == 0


def test_even_a_perfect_attack_refutes_only_what_its_samples_can():
    ends = 0.025 ** (1 / np.array([10, 1000]))
    found = [divergence.epsilon_at_least((n, n), (0, n)) for n in (10, 1000)]
    np.testing.assert_allclose(found, np.log(ends / (1 - ends)))


def test_epsilon_s_lower_bound_exceeds_the_truth_in_at_most_a_twentieth_of_trials_and_comes_near_it():
    rng, epsilon, n = np.random.default_rng(0), 1.0, 500
    rate = math.e / (1 + math.e)
    trials = zip(rng.binomial(n, rate, 2000), rng.binomial(n, 1 - rate, 2000), strict=True)
    found = np.array([divergence.epsilon_at_least((t, n), (f, n)) for t, f in trials])
    assert np.mean(found > epsilon) <= 0.05 and found.mean() > 0.7
    assert divergence.epsilon_at_least((round(rate * 10**7), 10**7), (round((1 - rate) * 10**7), 10**7)) > 0.998


@pytest.mark.parametrize(("caught", "accused"), [((11, 10), (0, 10)), ((1, 10), (0, 0)), ((-1, 10), (0, 10))])
def test_impossible_counts_are_refused(caught, accused):
    with pytest.raises(ValueError, match="expected counts"):
        divergence.epsilon_at_least(caught, accused)


# The histogram


@pytest.mark.parametrize(
    ("name", "n", "m"),
    [
        ("alike", 60, 60),
        ("alike", 1000, 200),
        ("half a deviation", 300, 300),
        ("one deviation", 60, 60),
        ("one deviation", 1000, 200),
        ("three deviations", 300, 100),
        ("twice as wide", 300, 300),
        ("few exposed", 1000, 200),
    ],
)
def test_the_histogram_is_right_on_average_and_its_interval_covers_the_truth(name, n, m):
    exact = truth(CASES[name])
    estimates = repeat(divergence.histogram, CASES[name], n, m, 60, resamples=200)
    assert np.mean([e.low <= exact <= e.high for e in estimates]) >= 0.9
    found = values(estimates)
    assert found.mean() == pytest.approx(exact, abs=3 * found.std() / 60**0.5 + 0.02 * exact + 0.001)


def test_the_bias_is_gone_also_where_the_sides_differ_much():
    """Twenty values, rising on one side as they fall on the other: nothing is merged, all that is off is bias."""
    p, rng, found = np.exp(-0.2 * np.arange(20)), np.random.default_rng(0), []
    p /= p.sum()
    for seed in range(200):
        scores = np.concatenate([rng.choice(20, 200, p=p), rng.choice(20, 200, p=p[::-1])])
        found.append(divergence.histogram(scores, np.arange(400) < 200, bins=20, resamples=20, seed=seed))
    exact, plug_in = divergence.js(p, p[::-1]), np.mean([e.value + e.bias for e in found])
    assert exact > 0.5 * LN2 and plug_in - exact > 0.02
    assert values(found).mean() == pytest.approx(exact, abs=0.009)


def test_an_interval_for_no_difference_is_not_wider_than_the_null_must_make_it():
    estimates = repeat(divergence.histogram, STANDARD, 1000, 1000, 20, resamples=200)
    assert np.mean([e.high - e.low for e in estimates]) < 8 * np.std(values(estimates))


def test_a_histogram_per_class_with_a_thousand_nonmembers_seems_to_find_a_difference_where_none_is():
    """Figure 2 of the ensemble paper: confidences of one class, 5,000 members and 1,000 others, bins of equal width."""
    rng, edges, found = np.random.default_rng(0), np.linspace(0, 1, 101), []
    for seed in range(40):
        confidences = rng.beta(2, 1, size=6000)
        found.append(divergence.histogram(confidences, np.arange(6000) < 5000, bins=edges, resamples=100, seed=seed))
    plug_in = np.array([e.value + e.bias for e in found])
    assert plug_in.mean() == pytest.approx(99 / 8 * (1 / 5000 + 1 / 1000), rel=0.08)  # 0.015 nats
    assert 0.11 < divergence.distance(plug_in).mean() < 0.13  # beside the figure's 0.16 to 0.38
    assert abs(values(found).mean()) < 3 * values(found).std() / math.sqrt(40)
    assert np.mean([e.null.p_value < 0.1 for e in found]) < 0.25


@pytest.mark.parametrize(
    ("n", "m", "distinct", "bins"),
    [(100, 100, None, None), (300, 60, None, None), (200, 100, 4, None), (200, 200, None, np.linspace(-4, 4, 101))],
)
def test_the_histogram_s_p_values_are_even_where_there_is_no_difference(n, m, distinct, bins):
    rng, found = np.random.default_rng(5), []
    for seed in range(200):
        scores = rng.normal(size=n + m) if distinct is None else rng.integers(0, distinct, n + m)
        estimate = divergence.histogram(scores, np.arange(n + m) < n, bins=bins, resamples=99, seed=seed)
        found.append(estimate.null.p_value)
    for level in (0.1, 0.25, 0.5, 0.75):
        slack = 3.3 * math.sqrt(level * (1 - level) / 200) + 0.05 * (
            n != m
        )  # exact for equal sides, nearly so for others
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=slack)


def test_the_null_lies_about_zero_below_its_quantile_and_far_below_a_true_difference():
    estimate = divergence.histogram(*draw(CASES["one deviation"], 500, 500, 0))
    assert estimate.null.mean == pytest.approx(0, abs=1e-12) and 0 < estimate.null.high < 0.02 < estimate.low
    assert estimate.null.p_value == 1 / 1001


def test_few_exposed_members_far_out_are_not_lost_in_wide_bins():
    scores, member = draw(EXPOSED, 10_000, 10_000, 0)
    found = divergence.histogram(scores, member).value
    wide = divergence.histogram(scores, member, bins=np.quantile(scores, np.linspace(0, 1, 21))).value
    assert wide < 0.6 * truth(EXPOSED) and 0.85 * truth(EXPOSED) < found < 1.15 * truth(EXPOSED)


@settings(unhurried, max_examples=30)
@given(hnp.arrays(float, 40, elements=st.floats(-5, 5, width=16)), st.integers(0, 100))
def test_only_the_order_of_scores_counts_and_infinite_ones_are_its_ends(scores, seed):
    member = np.random.default_rng(seed).random(40) < np.linspace(0.2, 0.8, 40)
    member[:2], member[2:4] = True, False
    found = divergence.histogram(scores, member, resamples=20)
    ends = np.where(scores == scores.max(), np.inf, np.where(scores == scores.min(), -np.inf, scores))
    assert divergence.histogram(np.arctan(scores), member, resamples=20) == found
    assert divergence.histogram(ends, member, resamples=20) == found


def test_few_distinct_scores_have_a_bin_each():
    rng = np.random.default_rng(0)
    member = np.arange(900) < 600
    scores = np.where(member, rng.choice(4, 900, p=[0.1, 0.2, 0.3, 0.4]), rng.choice(4, 900, p=[0.4, 0.3, 0.2, 0.1]))
    shares = [np.bincount(scores[side], minlength=4) / side.sum() for side in (member, ~member)]
    found = divergence.histogram(scores, member)
    assert found.value + found.bias == pytest.approx(divergence.js(*shares))


@settings(unhurried, max_examples=30)
@given(hnp.arrays(float, 30, elements=st.floats(0, 1)), st.sets(st.integers(1, 9), min_size=1))
def test_coarser_bins_never_raise_the_plug_in_value(scores, kept):
    member, fine = np.arange(30) % 3 > 0, np.linspace(0, 1, 11)
    coarse = np.array([0, *sorted(fine[list(kept)]), 1])
    found = [divergence.histogram(scores, member, bins=edges, resamples=2) for edges in (fine, coarse)]
    assert found[1].value + found[1].bias <= found[0].value + found[0].bias + 1e-12


def test_sides_that_share_no_score_give_ln_2_and_an_interval_that_narrows_with_their_number():
    found = []
    for n in (10, 100, 1000):
        member = np.arange(2 * n) < n
        found.append(divergence.histogram(member + np.linspace(0, 0.5, 2 * n), member))
        assert found[-1].value == pytest.approx(LN2) and found[-1].accuracy.high == 1
    assert found[0].low < found[1].low < found[2].low < LN2
    assert found[0].low < 0.55 and found[2].low > 0.65


@pytest.mark.parametrize("estimate", [divergence.histogram, divergence.classifier])
def test_the_sides_weigh_the_same_whatever_their_numbers(estimate):
    scores, member = draw(CASES["one deviation"], 3000, 3000, 1)
    few = member | (np.arange(6000) < 4000)
    balanced, unbalanced = estimate(scores, member), estimate(scores[few], member[few])
    assert (unbalanced.members, unbalanced.nonmembers) == (3000, 1000)
    assert unbalanced.value == pytest.approx(balanced.value, abs=0.015) and unbalanced.low < truth(STANDARD) + 0.12


@pytest.mark.parametrize("estimate", [divergence.histogram, divergence.classifier])
def test_a_seed_gives_the_same_estimate_again(estimate):
    scores, member = draw(CASES["half a deviation"], 200, 100, 2)
    assert estimate(scores, member, seed=3) == estimate(scores, member.astype(int), seed=3)
    assert estimate(scores, member, seed=3) != estimate(scores, member, seed=4)


# Classes


def classes(n, seed, levels):
    """Scores of classes at their own levels and spreads; members of each are one deviation above its non-members."""
    rng = np.random.default_rng(seed)
    labels, member = rng.integers(0, len(levels), n), rng.random(n) < 0.6
    return (rng.normal(size=n) + member) * (1 + 4 * (labels % 2)) + np.array(levels)[labels], member, labels


@pytest.mark.parametrize("estimate", [divergence.histogram, divergence.classifier])
def test_within_classes_a_difference_is_seen_that_their_levels_hide(estimate):
    scores, member, labels = classes(8000, 0, range(-12, 13, 6))
    within, pooled = estimate(scores, member, labels=labels), estimate(scores, member)
    assert within.value == pytest.approx(truth(CASES["one deviation"]), abs=0.012)
    assert within.low < truth(CASES["one deviation"]) and pooled.high < 0.07


def test_classes_weigh_the_mean_of_their_shares_and_differing_shares_alone_are_no_difference():
    rng = np.random.default_rng(0)
    member = np.arange(20_000) < 15_000
    labels = np.where(member, rng.random(20_000) < 0.8, rng.random(20_000) < 0.4).astype(int)
    scores = labels * 5 + rng.integers(0, 3, 20_000)
    for estimate in (divergence.histogram, divergence.classifier):
        assert estimate(scores, member, labels=labels).value == pytest.approx(0, abs=0.002)
        assert (
            estimate(scores, member).value > 0.05
        )  # without labels, the score tells the class, and the class the side
    scores = np.where(labels == 1, rng.random(20_000) < np.where(member, 0.9, 0.1), 0)
    expected = 0.6 * divergence.js(np.array([0.1, 0.9]), np.array([0.9, 0.1]))  # (0.8 + 0.4) / 2
    assert divergence.histogram(scores, member, labels=labels).value == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("estimate", [divergence.histogram, divergence.classifier])
def test_classes_without_two_samples_on_a_side_are_left_out_and_not_counted(estimate):
    scores, member, labels = classes(600, 1, (0, 1))
    alone = np.concatenate([labels, [2, 2, 2, 3]])
    found = estimate(np.append(scores, [9, 9, 9, 9]), np.append(member, [1, 1, 0, 1]), labels=alone)
    expected = estimate(scores, member, labels=labels)
    assert (found.members + found.nonmembers, found.value) == (600, pytest.approx(expected.value, abs=1e-12))
    with pytest.raises(ValueError, match="of one class"):
        estimate(np.arange(4.0), np.array([1, 1, 0, 0]), labels=np.array([0, 1, 0, 1]))


@pytest.mark.parametrize("labels", [None, 10])
def test_per_class_bias_adds_up_and_is_removed(labels):
    rng, found = np.random.default_rng(0), []
    for seed in range(30):
        scores = rng.normal(size=1200)
        label = None if labels is None else rng.integers(0, labels, 1200)
        found.append(divergence.histogram(scores, np.arange(1200) < 1000, labels=label, resamples=200, seed=seed))
    plug_in, spread = np.mean([e.value + e.bias for e in found]), values(found).std()
    assert plug_in > (0.015 if labels is None else 0.025) and abs(values(found).mean()) < 3 * spread / math.sqrt(30)


# The classifier


@pytest.mark.parametrize(
    ("name", "n", "m", "model"),
    [
        ("alike", 200, 200, "splines"),
        ("one deviation", 200, 200, "splines"),
        ("one deviation", 1000, 200, "logistic"),
        ("three deviations", 200, 200, "logistic"),
        ("twice as wide", 300, 100, "splines"),
        ("few exposed", 300, 300, "splines"),
    ],
)
def test_the_classifier_s_bound_is_below_the_truth_on_average_and_its_low_end_nearly_always(name, n, m, model):
    exact = truth(CASES[name])
    estimates = repeat(divergence.classifier, CASES[name], n, m, 25, model=model)
    found = values(estimates)
    assert exact - 0.02 < found.mean() < exact + 3 * found.std() / 5
    assert np.mean([e.low <= exact for e in estimates]) >= 0.9


def test_the_classifier_nears_the_truth_with_more_samples():
    for name, model in (("one deviation", "logistic"), ("twice as wide", "splines"), ("few exposed", "splines")):
        found = divergence.classifier(*draw(CASES[name], 15_000, 15_000, 3), model=model)
        assert found.low <= truth(CASES[name]) and found.value == pytest.approx(truth(CASES[name]), abs=0.004)


def test_a_classifier_that_cannot_see_the_difference_gives_a_low_bound_not_a_wrong_one():
    found = divergence.classifier(*draw(CASES["twice as wide"], 2000, 2000, 0), model="logistic")
    assert found.high < 0.01 < truth(CASES["twice as wide"])
    assert found.lower_bound and found.accuracy.high == 1


def test_vectors_give_the_divergence_of_their_mahalanobis_distance():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    direction = rng.normal(size=5)
    shift = root @ (direction / np.linalg.norm(direction))  # one deviation away in the metric of root root'
    member = np.arange(12_000) < 6000
    vectors = rng.normal(size=(12_000, 5)) @ root.T + member[:, None] * shift
    found = divergence.classifier(vectors, member, model="logistic")
    assert found.value == pytest.approx(truth(CASES["one deviation"]), abs=0.01) and found.low < truth(
        CASES["one deviation"]
    )


def test_with_labels_vectors_are_compared_at_their_class_s_level():
    rng, member, labels = np.random.default_rng(0), np.arange(6000) < 3000, np.arange(6000) % 5
    vectors = rng.normal(size=(6000, 2)) + 6 * labels[:, None] + member[:, None] / math.sqrt(2)
    found = divergence.classifier(vectors, member, labels=labels, model="logistic")
    assert found.value == pytest.approx(truth(CASES["one deviation"]), abs=0.012)
    assert divergence.classifier(vectors, member, model="logistic").high < 0.02


@pytest.mark.parametrize(("n", "m", "d", "labels"), [(80, 80, 1, None), (150, 50, 6, None), (150, 150, 1, 3)])
def test_the_classifier_s_p_values_are_not_too_small_and_its_bound_not_positive_without_a_difference(n, m, d, labels):
    rng, found = np.random.default_rng(1), []
    for seed in range(30):
        given = {"labels": None if labels is None else rng.integers(0, labels, n + m), "seed": seed}
        given["model"] = "splines" if d == 1 else "logistic"
        found.append(divergence.classifier(rng.normal(size=(n + m, d)), np.arange(n + m) < n, **given))
    p = np.array([e.null.p_value for e in found])
    assert np.mean(p < 0.05) <= 0.12 and np.mean(p < 0.3) <= 0.45 and np.mean(p < 0.9) > 0.6
    assert values(found).mean() < 0 and np.mean([e.low > 0 for e in found]) <= 0.05


def test_the_classifier_takes_infinite_scores_as_extremes():
    scores, member = draw(CASES["three deviations"], 300, 300, 0)
    ends = np.where(scores > 4, np.inf, np.where(scores < -1, -np.inf, scores))
    for model in ("splines", "logistic"):
        found = divergence.classifier(ends, member, model=model)
        assert found.value == pytest.approx(truth(CASES["three deviations"]), abs=0.06)
    only = divergence.classifier(np.where(member, np.inf, -np.inf), member, model="logistic")
    assert only.value > 0.6 and only.null.p_value < 1e-6


def test_constant_scores_tell_nothing():
    member = np.arange(50) < 30
    for found in (divergence.histogram(np.zeros(50), member), divergence.classifier(np.zeros(50), member)):
        assert found.value == pytest.approx(0, abs=1e-9) and found.null.p_value == 1


def test_features_hold_log_odds_likeliest_classes_correctness_and_entropy():
    log_p = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]))
    found = divergence.features(log_p, np.array([0, 1]))
    np.testing.assert_allclose(found[:, 0], [np.log(0.7 / 0.3), np.log(0.25 / 0.75)])
    np.testing.assert_allclose(np.exp(found[:, 1:4]), [[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]])
    assert found[:, 4].tolist() == [1, 0]
    np.testing.assert_allclose(found[1, 5], -np.log([0.25, 0.25, 0.5]) @ [0.25, 0.25, 0.5])
    with np.errstate(divide="ignore"):
        sure = divergence.features(np.log(np.eye(12)[[0, 0]]), np.array([0, 3]))
    assert sure.shape == (2, 13) and sure[:, 0].tolist() == [np.inf, -np.inf] and np.all(sure[:, -1] == 0)


def test_a_prediction_s_features_keep_a_difference_that_the_label_s_confidence_loses():
    """Members' wrong classes share what is left equally, non-members' do not; the label's confidence is alike."""
    rng, n = np.random.default_rng(0), 4000
    member, labels = np.arange(n) < n // 2, rng.integers(0, 4, n)
    rest = np.where(member[:, None], 1 / 3, rng.dirichlet(np.ones(3), size=n))
    confidence = rng.beta(4, 2, size=n)
    p = np.zeros((n, 4))
    np.put_along_axis(p, (labels[:, None] + np.arange(1, 4)) % 4, rest * (1 - confidence[:, None]), axis=1)
    p[np.arange(n), labels] = confidence
    assert divergence.histogram(confidence, member, labels=labels).value < 0.01
    found = divergence.classifier(divergence.features(np.log(p), labels), member, labels=labels, model="logistic")
    assert found.low > 0.2


# Both


def test_an_estimate_knows_its_units_gain_and_the_accuracies_it_allows():
    scores, member = draw(CASES["one deviation"], 4000, 4000, 0)
    found = divergence.histogram(scores, member)
    assert found.bits == found.value / LN2 and found.distance == pytest.approx(found.value**0.5)
    assert found.gain == pytest.approx(-math.log(4) + 2 * found.value)
    assert found.accuracy.low < norm.cdf(0.5) < found.accuracy.high < 0.78
    assert found.accuracy.low == pytest.approx(0.5 + found.low / (2 * LN2))
    attack = metrics.best_balanced_accuracy(scores, member)
    assert divergence.js_at_least(attack.low) < truth(CASES["one deviation"]) < found.high


@pytest.mark.parametrize("estimate", [divergence.histogram, divergence.classifier])
def test_nan_unequal_lengths_odd_membership_and_single_samples_are_refused(estimate):
    member = np.array([1, 1, 0, 0])
    for scores, side, words in (
        (np.array([0, 1, np.nan, 2]), member, "NaN"),
        (np.zeros(5), member, "one length"),
        (np.zeros(4), member * 2, "0 or 1"),
        (np.zeros(4), np.array([1, 0, 0, 0]), "at least 2 members"),
        (np.zeros((4, 1, 1)), member, "number"),
    ):
        with pytest.raises(ValueError, match=words):
            estimate(scores, side)
    with pytest.raises(ValueError, match="one length"):
        estimate(np.zeros(4), member, labels=np.zeros(3, int))


def test_an_unknown_model_and_a_single_fold_are_refused():
    scores, member = draw(STANDARD, 10, 10, 0)
    with pytest.raises(ValueError, match="did you mean splines"):
        divergence.classifier(scores, member, model="spline")
    with pytest.raises(ValueError, match="at least 2"):
        divergence.classifier(scores, member, folds=1)


def test_sixty_thousand_samples_take_a_second_or_two():
    scores, member = draw(CASES["half a deviation"], 50_000, 10_000, 0)
    labels = np.arange(60_000) % 10
    started = time.process_time()
    for estimate in (divergence.histogram, divergence.classifier):
        found = estimate(scores, member, labels=labels)
        assert found.low < truth(CASES["half a deviation"]) and found.value == pytest.approx(0.03, abs=0.006)
    assert time.process_time() - started < 6
