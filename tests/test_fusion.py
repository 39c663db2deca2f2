"""Fusing outputs: against plain arithmetic where that is safe, and at its limits where it is not."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import kstest

from mialab import audit, fusion
from mialab.attacks import References

AGREEING = ("most-confident", "least-confident", "random-agreeing")
AVERAGES = ("confidence", "logit", "median", "trimmed-mean")


def some_logits(*shape, scale=3.0):
    return np.random.default_rng(0).normal(scale=scale, size=shape)


def test_log_confidence_is_the_log_softmax():
    logits = some_logits(50, 10)
    np.testing.assert_allclose(fusion.log_confidence(logits), log_softmax(logits, axis=-1), atol=1e-13)


@pytest.mark.parametrize("scale", [1e3, 1e30, 1e300])
def test_log_confidence_is_finite_for_logits_of_any_size(scale):
    logits = some_logits(50, 10, scale=1.0) * scale
    log_p = fusion.log_confidence(logits.astype(np.float32) if scale < 1e38 else logits)
    assert np.isfinite(log_p).all() and (log_p.max(axis=1) <= 0).all()


@pytest.mark.parametrize("how", fusion.RULES)
@pytest.mark.filterwarnings("error")
def test_logits_near_the_end_of_float64_fuse_without_overflow(how):
    largest = 1.7e308
    fused = fusion.fuse(np.array([[[largest, -largest]]] * 3), how)
    np.testing.assert_array_equal(fused, [[0.0, -np.inf]])


def test_a_confidence_that_rounds_to_one_keeps_its_distance_from_one():
    log_p = fusion.log_confidence(np.array([[0.0, -50.0], [-80.0, 0.0]]))
    np.testing.assert_allclose(log_p[[0, 1], [0, 1]], [-np.exp(-50.0), -np.exp(-80.0)], rtol=1e-12)
    fused = fusion.fuse(np.array([[[0.0, -50.0]], [[0.0, -60.0]]]))
    np.testing.assert_allclose(fused[0, 0], -(np.exp(-50.0) + np.exp(-60.0)) / 2, rtol=1e-12)


def test_a_probability_of_zero_stays_zero():
    with np.errstate(divide="ignore"):
        log_p = fusion.log_confidence(np.log(np.array([[0.25, 0.75, 0.0]])))
    np.testing.assert_allclose(np.exp(log_p), [[0.25, 0.75, 0.0]])


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_logits_without_a_finite_largest_entry_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        fusion.log_confidence(np.array([bad]))


def test_confidence_fusion_is_the_mean_of_the_softmaxes():
    logits = some_logits(5, 40, 10)
    np.testing.assert_allclose(np.exp(fusion.fuse(logits)), softmax(logits, axis=-1).mean(axis=0), rtol=1e-12)


def test_logit_fusion_is_the_softmax_of_the_mean_logit():
    logits = some_logits(5, 40, 10)
    np.testing.assert_allclose(np.exp(fusion.fuse(logits, "logit")), softmax(logits.mean(axis=0), axis=-1), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_confidences_are_numpy_s_plain_mean_to_the_last_bit(dtype):
    logits = some_logits(7, 400, 10, scale=6).astype(dtype)
    wide = logits.astype(np.float64)
    p = np.exp(wide - wide.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    np.testing.assert_array_equal(fusion.predict(logits), np.mean(p, axis=0))
    saved = p.astype(dtype)
    np.testing.assert_array_equal(
        fusion.predict(np.log(p), probabilities=saved), np.mean(saved, axis=0, dtype=np.float64)
    )
    np.testing.assert_array_equal(fusion.predict(logits, "logit"), fusion.softmax(np.mean(wide, axis=0)))


@pytest.mark.parametrize("models", range(2, 11))
def test_equal_sums_of_logits_stay_equal(models):
    logits = np.random.default_rng(models).integers(-8, 9, size=(models, 500, 3))
    total = logits.sum(axis=0)
    tied = total == total.max(axis=1, keepdims=True)
    for fused in (fusion.fuse(logits, "logit"), fusion.predict(logits, "logit")):
        np.testing.assert_array_equal(fused == fused.max(axis=1, keepdims=True), tied)


def test_saved_probabilities_are_averaged_as_they_are_whatever_they_sum_to():
    saved = np.array([[[0.999, 0.0, 0.0]], [[0.0, 1.0, 0.003]]])
    least = np.log(np.maximum(saved, np.finfo(float).smallest_subnormal))
    p = fusion.predict(least, probabilities=saved)
    np.testing.assert_array_equal(p, [[0.4995, 0.5, 0.0015]])
    np.testing.assert_allclose(fusion.fuse(least, probabilities=saved), np.log(p / p.sum()), rtol=1e-12)


def test_a_saved_confidence_of_one_keeps_the_others_distance_in_its_logarithm():
    saved = np.array([[[1.0, 1e-12, 0.0]], [[1.0, 3e-12, 0.0]]], dtype=np.float32)
    log_p = fusion.fuse(np.log(np.maximum(saved, 1e-45)), probabilities=saved)
    np.testing.assert_allclose(log_p[0], [-2e-12, np.log(2e-12), np.log(2.0**-149)], rtol=1e-6)


@pytest.mark.parametrize("how", (*AVERAGES, *AGREEING))
def test_identical_models_fuse_to_one_of_them(how):
    one = some_logits(40, 10)
    np.testing.assert_allclose(
        fusion.fuse(np.stack([one] * 7), how), fusion.log_confidence(one), rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("how", (*AVERAGES, "vote"))
def test_models_that_rule_out_different_classes_fuse_without_nan(how):
    fused = fusion.fuse(np.array([[[0.0, -np.inf]], [[-np.inf, 0.0]]]), how)
    np.testing.assert_allclose(np.exp(fused), [[0.5, 0.5]])


def test_one_model_s_zero_weighs_little_in_the_mean_confidence_and_much_in_the_mean_logit():
    logits = np.array([[[0.0, -np.inf]], [[0.0, 0.0]]])
    np.testing.assert_allclose(np.exp(fusion.fuse(logits))[0, 1], 0.25)
    assert np.exp(fusion.fuse(logits, "logit"))[0, 1] < 1e-100


def test_softmaxes_stand_side_by_side_model_by_model():
    logits = some_logits(3, 20, 4)
    row = fusion.side_by_side(logits)
    assert row.shape == (20, 12) and row.dtype == np.float32
    np.testing.assert_allclose(row[:, 4:8], softmax(logits[1], axis=-1), rtol=1e-5)
    saved = softmax(logits, axis=-1).astype(np.float16)
    np.testing.assert_array_equal(fusion.side_by_side(logits, probabilities=saved)[:, 8:], saved[2])


@pytest.mark.parametrize("how", fusion.RULES)
def test_fusing_never_holds_all_models_in_float64(how):
    logits = some_logits(40, 5000, 10).astype(np.float32)
    tracemalloc.start()
    fusion.fuse(logits, how)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * logits[0].size * 8


def test_an_unknown_rule_is_refused_and_the_rules_are_named():
    for function in (fusion.fuse, fusion.predict):
        with pytest.raises(ValueError, match="confidence, logit, vote"):
            function(some_logits(2, 3, 4), "geometric")


# a rule of one's own: one class, used wherever models are fused


class Majority(fusion.FusionRule):
    """The class that most models choose; of equals one at random, keyed to the input."""

    name = "majority"

    def __init__(self, seed=0):
        self.seed = seed

    def __call__(self, logits):
        with np.errstate(divide="ignore"):  # a class without a vote
            return np.log(self.votes(logits) / len(logits))

    def answers(self, logits):
        votes = self.votes(logits)
        first = votes == votes.max(axis=1, keepdims=True)
        which = (fusion.draws(logits, self.seed) * first.sum(axis=1)).astype(int)
        return (first.cumsum(axis=1) > which[:, None]).argmax(axis=1)

    def votes(self, logits):
        return np.eye(logits.shape[2])[logits.argmax(axis=2)].sum(axis=0)


def two_models(wrong, n=4000, seed=0):
    """Logits of two models on members, then others: one is right, the other so often wrong; and labels, membership."""
    rng = np.random.default_rng(seed)
    labels, member = rng.integers(0, 5, n), np.arange(n) < n // 2
    told = np.stack([labels, (labels + (rng.random(n) < np.where(member, *wrong)) * rng.integers(1, 5, n)) % 5])
    logits = rng.normal(size=(2, n, 5))
    np.put_along_axis(logits, told[..., None], 6.0 + rng.random((2, n, 1)), axis=2)
    return logits, labels, member


def test_a_planted_rule_is_audited_and_its_accuracy_is_that_of_the_label_which_it_answers():
    logits, labels, member = two_models((0.2, 0.6))
    report = audit.audit(
        audit.Outputs(logits, labels, member), attacks=["gap", "confidence"], fusion=Majority(), known=0
    )
    inside, outside = report.accuracies
    assert inside.low < 1 - 0.2 / 2 < inside.high and outside.low < 1 - 0.6 / 2 < outside.high
    assert inside.high - inside.low < 0.04
    answers = Majority().answers(logits)
    np.testing.assert_array_equal(report.attacks["gap"].scores, answers == labels)
    gap = report.attacks["gap"].everyone.auc
    assert gap.value == pytest.approx(0.5 + (inside.value - outside.value) / 2)
    assert report.attacks["confidence"].everyone.auc.value == pytest.approx(0.5 + (0.6 - 0.2) / 2, abs=0.03)
    assert report.settings.fusion == "majority" and "fused by majority" in str(report)


def test_a_random_rule_draws_evenly_by_its_input_and_seed_and_by_nothing_else():
    logits, labels, _ = two_models((1.0, 1.0))  # ties throughout
    rule, order = Majority(), np.random.default_rng(1).permutation(4000)
    answers = rule.answers(logits)
    assert (answers == labels).mean() == pytest.approx(0.5, abs=0.03)
    first_votes = logits.argmax(axis=2).min(axis=0)  # the smaller class number: no favourite either
    assert (answers == first_votes).mean() == pytest.approx(0.5, abs=0.03)
    np.testing.assert_array_equal(rule.answers(logits[:, order]), answers[order])
    np.testing.assert_array_equal(rule.answers(logits[:, :7]), answers[:7])
    np.testing.assert_array_equal(rule.answers(logits.astype(np.float32)), answers)
    np.testing.assert_array_equal(rule.answers(logits + np.arange(2)[:, None, None]), answers)
    assert (Majority(1).answers(logits) == answers).mean() == pytest.approx(0.5, abs=0.03)


def test_draws_are_uniform_over_inputs_and_over_seeds():
    logits = some_logits(3, 4000, 6)
    for found in (fusion.draws(logits, 0), [fusion.draws(logits[:, :1], seed)[0] for seed in range(1000)]):
        assert kstest(found, "uniform").pvalue > 0.01 and min(found) >= 0 and max(found) < 1


def test_references_are_fused_by_a_planted_rule():
    logits = some_logits(4, 2, 10, 3)
    held = References.of_ensembles(logits, np.arange(40).reshape(4, 10) % 2, np.zeros(10), how=ByFirst())
    np.testing.assert_allclose(held.logits, fusion.log_confidence(logits[:, 0]).astype(np.float32), rtol=1e-5)
    voted = References.of_ensembles(logits, np.arange(40).reshape(4, 10) % 2, np.zeros(10), how=Majority())
    expected = [Majority().votes(shadow) / 2 for shadow in logits]
    np.testing.assert_allclose(np.exp(voted.logits), expected, atol=1e-9)  # a class without a vote stays finite


class ByFirst(fusion.FusionRule):
    """The first model alone."""

    name = "first"

    def __call__(self, logits):
        return fusion.log_confidence(logits[0])


def test_what_a_rule_does_not_say_follows_from_its_log_probabilities():
    rule, logits = ByFirst(), some_logits(3, 20, 4)
    assert rule.fit(logits, np.zeros(20), 0) is rule and rule.version == 1
    np.testing.assert_allclose(fusion.predict(logits, rule), softmax(logits[0], axis=-1), rtol=1e-12)
    np.testing.assert_array_equal(fusion.answer(logits, rule), logits[0].argmax(axis=1))
    saved = softmax(logits, axis=-1)
    np.testing.assert_allclose(fusion.fuse(np.log(saved), rule, probabilities=saved), fusion.fuse(logits, rule))
    with pytest.raises(ValueError, match="fusion 'first' has no gradient"):
        rule.differentiable(None)
    with pytest.raises(TypeError, match="abstract"):
        fusion.FusionRule()


@pytest.mark.parametrize("how", fusion.RULES)
def test_the_answer_is_the_likeliest_class_also_of_saved_softmaxes(how):
    logits = some_logits(3, 200, 4)
    np.testing.assert_array_equal(fusion.answer(logits, how), fusion.predict(logits, how).argmax(axis=1))
    tied = np.array([[[1, 0, 0]], [[0, 1, 0]]], np.float16)
    least = np.log(np.maximum(tied, 1e-7))
    assert fusion.answer(least, how, probabilities=tied).tolist() == [0]
    assert fusion.get(how) is fusion.RULES[how] and fusion.get(fusion.RULES[how]) is fusion.RULES[how]


# the family


def test_a_vote_counts_labels_alone_and_of_equals_the_first_is_answered():
    logits = np.array([[[9.0, 0, 0], [0, 1, 0]], [[0, 0, 0.1], [0, 0, 3]], [[0, 0, 0.1], [4, 0, 0]]])
    np.testing.assert_allclose(fusion.predict(logits, "vote"), [[1 / 3, 0, 2 / 3], [1 / 3, 1 / 3, 1 / 3]])
    assert fusion.answer(logits, "vote").tolist() == [2, 0]
    np.testing.assert_array_equal(fusion.fuse(logits, "vote"), fusion.fuse(logits * [[[5.0]], [[1]], [[2]]], "vote"))
    assert fusion.fuse(logits, "vote")[0, 1] == -np.inf
    saved = softmax(logits, axis=-1)
    np.testing.assert_array_equal(
        fusion.predict(np.log(saved), "vote", probabilities=saved), fusion.predict(logits, "vote")
    )


def test_of_one_model_a_vote_is_its_label_and_tells_an_attacker_no_more_than_the_gap():
    logits, labels, member = two_models((0.2, 0.6))
    outputs = audit.Outputs(logits[1:], labels, member)
    found = audit.audit(outputs, attacks=["gap", "confidence"], fusion="vote", known=0)
    assert found.attacks["gap"].everyone.auc == found.attacks["confidence"].everyone.auc


@pytest.mark.parametrize("models", (1, 2, 3, 6, 7))
def test_the_median_is_numpy_s_made_to_sum_to_one(models):
    logits = some_logits(models, 40, 5)
    p = np.median(softmax(logits, axis=-1), axis=0)
    np.testing.assert_allclose(np.exp(fusion.fuse(logits, "median")), p / p.sum(axis=1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("models,cut", ((1, 0), (4, 0), (5, 1), (10, 2), (14, 2)))
def test_a_trimmed_mean_leaves_a_fifth_out_at_either_end_class_by_class(models, cut):
    logits = some_logits(models, 40, 5)
    p = np.sort(softmax(logits, axis=-1), axis=0)[cut : models - cut].mean(axis=0)
    fused = np.exp(fusion.fuse(logits, "trimmed-mean"))
    np.testing.assert_allclose(fused, p / p.sum(axis=1, keepdims=True), rtol=1e-12)


def test_one_model_that_is_certain_and_wrong_moves_mean_and_logit_but_neither_median_nor_trimmed_mean():
    logits = np.log(np.repeat([[[0.8, 0.2]]], 5, axis=0))
    logits[0] = [[-500.0, 0.0]]
    moved = {how: fusion.predict(logits, how)[0, 0] for how in AVERAGES}
    assert moved["median"] == pytest.approx(0.8) == moved["trimmed-mean"]
    assert moved["confidence"] == pytest.approx(0.64) and moved["logit"] < 1e-10


@pytest.mark.parametrize("how", ("median", "trimmed-mean"))
def test_where_the_middle_rules_out_every_class_the_mean_answers(how):
    with np.errstate(divide="ignore"):
        logits = np.log(np.eye(5)[:, None])  # five models, each certain of another class
    np.testing.assert_allclose(fusion.predict(logits, how), np.full((1, 5), 0.2))


def test_a_trimmed_mean_of_half_or_more_is_refused():
    for share in (0.5, -0.1):
        with pytest.raises(ValueError, match="less than 1/2"):
            fusion.TrimmedMean(share)


def test_of_the_models_that_agree_the_surest_or_the_least_sure_is_shown_to_the_last_bit():
    logits = np.log([[[0.6, 0.3, 0.1]], [[0.9, 0.05, 0.05]], [[0.02, 0.97, 0.01]]])  # the mean answers 0
    np.testing.assert_array_equal(fusion.fuse(logits, "most-confident"), fusion.log_confidence(logits[1]))
    np.testing.assert_array_equal(fusion.fuse(logits, "least-confident"), fusion.log_confidence(logits[0]))
    random = np.array([fusion.predict(logits, fusion.RandomAgreeing(seed))[0, 0] for seed in range(1000)])
    assert set(np.round(random, 12)) == {0.6, 0.9} and (random < 0.7).mean() == pytest.approx(0.5, abs=0.05)


def test_sureness_beyond_rounding_still_tells_which_model_is_surest():
    logits = np.array([[[0.0, -60.0]], [[0.0, -80.0]], [[0.0, -70.0]]])
    np.testing.assert_allclose(fusion.fuse(logits, "most-confident")[0, 0], -np.exp(-80.0), rtol=1e-12)
    np.testing.assert_allclose(fusion.fuse(logits, "least-confident")[0, 0], -np.exp(-60.0), rtol=1e-12)


@pytest.mark.parametrize("how", AGREEING)
def test_the_label_and_so_the_accuracy_is_always_that_of_the_mean(how):
    logits = some_logits(4, 3000, 6)  # models that mostly disagree
    np.testing.assert_array_equal(fusion.answer(logits, how), fusion.answer(logits))
    np.testing.assert_array_equal(fusion.predict(logits, how).argmax(axis=1), fusion.answer(logits))


@pytest.mark.parametrize("how", AGREEING)
def test_where_no_model_answers_the_mean_s_label_the_mean_itself_is_shown(how):
    logits = np.log([[[0.55, 0.45, 1e-9]], [[1e-9, 0.45, 0.55]]])
    assert fusion.answer(logits, how).tolist() == [1]
    np.testing.assert_array_equal(fusion.fuse(logits, how), fusion.fuse(logits))


def test_a_random_agreeing_model_is_the_same_whenever_its_input_comes_again():
    logits, order = some_logits(5, 300, 10), np.random.default_rng(1).permutation(300)
    shown = fusion.fuse(logits, "random-agreeing")
    np.testing.assert_array_equal(fusion.fuse(logits[:, order], "random-agreeing"), shown[order])
    np.testing.assert_array_equal(fusion.fuse(logits[:, :3], "random-agreeing"), shown[:3])
    assert (fusion.fuse(logits, fusion.RandomAgreeing(1)) != shown).any()


@pytest.mark.parametrize("how", fusion.RULES)
def test_every_rule_fuses_one_model_and_no_samples(how):
    one = some_logits(1, 30, 4)
    expected = np.eye(4)[one[0].argmax(axis=1)] if how == "vote" else softmax(one[0], axis=-1)
    np.testing.assert_allclose(fusion.predict(one, how), expected, rtol=1e-12)
    assert fusion.fuse(one[:, :0], how).shape == (0, 4) and fusion.answer(one[:, :0], how).shape == (0,)


@pytest.mark.parametrize("how", fusion.RULES)
def test_every_rule_is_audited_and_leaves_no_leak_where_there_is_none(how):
    logits, labels, member = two_models((0.3, 0.3), n=3000)
    report = audit.audit(audit.Outputs(logits, labels, member), attacks=["gap", "confidence"], fusion=how, known=0)
    assert fusion.get(how).version >= 1 and report.settings.fusion == how
    auc = report.attacks["confidence"].everyone.auc
    assert auc.low < 0.5 < auc.high


def test_learnt_weights_favour_the_model_that_is_right_and_are_those_of_the_loss_s_minimum_direction():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 2000)
    logits = rng.normal(size=(3, 2000, 4))
    logits[1, np.arange(2000), labels] += 4
    rule = fusion.Weighted().fit(logits, labels, 0)
    assert sum(rule.weights) == pytest.approx(1) and rule.weights[1] > 0.6
    losses = [-np.log(fusion.predict(logits, one)[np.arange(2000), labels]).mean() for one in ("confidence", rule)]
    assert losses[1] < losses[0]
    assert fusion.Weighted().fit(logits, labels, 0) == rule


def test_a_weighted_mean_is_numpy_s_and_equal_weights_give_the_mean():
    logits = some_logits(3, 40, 5)
    rule = fusion.Weighted((0.5, 0.2, 0.3))
    expected = np.average(softmax(logits, axis=-1), axis=0, weights=rule.weights)
    np.testing.assert_allclose(fusion.predict(logits, rule), expected, rtol=1e-12)
    np.testing.assert_allclose(np.exp(fusion.fuse(logits, rule)), expected, rtol=1e-12)
    np.testing.assert_allclose(fusion.fuse(logits, fusion.Weighted((1 / 3,) * 3)), fusion.fuse(logits), rtol=1e-12)
    np.testing.assert_allclose(fusion.fuse(logits, fusion.Weighted((0.0, 1.0, 0.0))), fusion.log_confidence(logits[1]))
    tensor = torch.from_numpy(logits)
    np.testing.assert_allclose(rule.differentiable(tensor), fusion.fuse(logits, rule), rtol=1e-6)


def test_weights_that_do_not_fit_are_refused():
    for wrong in ((0.5, 0.6), (1.5, -0.5), (float("nan"), 0.5)):
        with pytest.raises(ValueError, match="none below 0 and a sum of 1"):
            fusion.Weighted(wrong)
    with pytest.raises(ValueError, match="found 2 weights for 3 models; expected one each: fit"):
        fusion.fuse(some_logits(3, 4, 5), fusion.Weighted((0.5, 0.5)))
    with pytest.raises(ValueError, match="found no weights"):
        fusion.fuse(some_logits(3, 4, 5), fusion.Weighted())


@pytest.mark.parametrize("ask", [fusion.fuse, fusion.predict, fusion.answer])
def test_models_that_do_not_belong_together_are_refused(ask):
    for models, message in (
        ([], "found no models; expected an array"),
        ([np.zeros((3, 2)), np.zeros((4, 2))], r"model 0 answers in shape \[3, 2\], model 1 in \[4, 2\]; expected"),
        ([np.zeros((3, 2)), np.zeros((3, 5))], r"model 1 in \[3, 5\]"),
        (np.zeros((3, 2)), r"model 0 answers in shape \[2\]"),
    ):
        with pytest.raises(ValueError, match=message):
            ask(models)
    logits = some_logits(3, 4, 5)
    np.testing.assert_array_equal(ask(list(logits)), ask(logits))
