"""Fusing outputs: against plain arithmetic where that is safe, and at its limits where it is not."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from mialab import fusion


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


@pytest.mark.parametrize("how", fusion.RULES)
def test_identical_models_fuse_to_one_of_them(how):
    one = some_logits(40, 10)
    np.testing.assert_allclose(
        fusion.fuse(np.stack([one] * 7), how), fusion.log_confidence(one), rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("how", fusion.RULES)
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


@pytest.mark.parametrize("how", fusion.RULES)
def test_fusing_never_holds_all_models_in_float64(how):
    logits = some_logits(40, 5000, 10).astype(np.float32)
    tracemalloc.start()
    fusion.fuse(logits, how)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * logits[0].size * 8


def test_an_unknown_rule_is_refused_and_the_rules_are_named():
    with pytest.raises(ValueError, match="confidence, logit"):
        fusion.fuse(some_logits(2, 3, 4), "median")
