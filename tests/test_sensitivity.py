"""How far answers move under noise: right where it is known in closed form, and kept of trained models as such."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from experiment_cases import TINY, altered, made

from mialab import models, training
from mialab.attacks.sensitivity import sensitivity
from mialab.attacks.target import Target
from mialab.cells import recorder
from mialab.cells.models import rebuild
from mialab.cells.pipeline import evaluated
from mialab.cells.shadows import Shadows
from mialab.engine.store import Store, covers

EVEN = altered(TINY, samples=(60, 60))


def logistic(features=20, n=50, seed=0):
    """Two classes of a linear model: (query, x float32 [n, features], probabilities [n, 2], norm of its weights)."""
    draw = torch.Generator().manual_seed(seed)
    weights, x = torch.randn(features, generator=draw).double(), torch.randn(n, features, generator=draw)

    def query(inputs):
        odds = inputs.double() @ weights
        return torch.stack([odds.sigmoid(), (-odds).sigmoid()], dim=1)

    return query, x, query(x).numpy(), weights.norm().item()


def softmax_of(model):
    return lambda x: training.logits(model, x).double().softmax(dim=1)


def test_of_a_logistic_model_it_is_p_times_1_minus_p_times_the_gradient_s_mean_length():
    query, x, p, norm = logistic()
    expected = p * (1 - p) * norm * np.sqrt(2 / np.pi)  # the odds move by N(0, norm^2) per unit of noise
    found = sensitivity(query, x, copies=4000)
    assert found.shape == (50, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0.06)  # 5 standard errors of 4,000 copies: 0.76 / sqrt(4000) each
    np.testing.assert_allclose(sensitivity(query, x, noise_std=1e-4, copies=4000), expected, rtol=0.06)


def test_a_model_that_looks_at_nothing_has_none():
    assert not sensitivity(lambda x: torch.full((len(x), 4), 0.25, dtype=torch.float64), torch.rand(7, 3)).any()


def test_each_copy_has_noise_of_its_own_in_every_feature():
    asked = []

    def query(x):
        asked.append(x)
        return torch.zeros(len(x), 2)

    sensitivity(query, torch.zeros(400, 50), copies=3, noise_std=0.01, at_once=200)
    undisturbed, disturbed = asked[::4], [asked[k] for k in range(8) if k % 4]
    assert not torch.cat(undisturbed).any() and len(disturbed) == 6
    noise = torch.cat(disturbed) / 0.01
    assert noise.std(dim=0).sub(1).abs().max() < 0.15
    assert len({round(each.sum().item(), 6) for each in disturbed}) == 6


@pytest.mark.parametrize("surer", [1, 8])
def test_float32_networks_are_precise_enough_for_so_little_noise(surer):
    """What rounding adds is little, also where answers are so sure that they hardly move."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build("lenet5", (1, 28, 28), 10).eval()
        x = torch.randn(100, 1, 28, 28)
    with torch.no_grad():
        list(model.parameters())[-2].mul_(20 * surer)  # the last layer's weights: as sure as a trained one, and more
    single, double = (sensitivity(softmax_of(model), x, seed=3), sensitivity(exact(model), x, seed=3))
    np.testing.assert_allclose(single, double, rtol=0.02, atol=1e-6)


def exact(model):
    model = models_in_float64(model)
    return lambda x: model(x.double()).softmax(dim=1).detach()


def models_in_float64(model):
    copy = models.build("lenet5", (1, 28, 28), 10).double().eval()
    copy.load_state_dict(model.state_dict())
    return copy


def test_the_seed_decides_and_the_global_state_stays():
    query, x, _, _ = logistic()
    before = torch.get_rng_state()
    first, same, other = (sensitivity(query, x, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).all() and torch.equal(torch.get_rng_state(), before)


def test_an_ensemble_s_answer_is_asked_as_one():
    (one,) = rebuild(replace(EVEN, weights=(3,)), made(replace(EVEN, weights=(3,))))
    x = evaluated(EVEN.pipeline).x()
    single, twice = (sensitivity(Target(some).probabilities, x) for some in (one, [one, one]))
    np.testing.assert_allclose(single, twice, rtol=1e-4, atol=1e-7)


def test_whole_numbers_and_nothing_to_ask_are_refused():
    query, x, _, _ = logistic()
    with pytest.raises(ValueError, match=r"uint8, in which noise of 0.001 is lost; .* Target\(model\).scaled\(x\)"):
        sensitivity(query, torch.zeros(3, 20, dtype=torch.uint8))
    for wrong in ({"x": x[:0]}, {"copies": 0}, {"noise_std": 0.0}):
        with pytest.raises(ValueError, match="at least one sample and one copy, and noise above 0"):
            sensitivity(query, **({"x": x} | wrong))


# of trained models


def test_a_cell_keeps_what_the_model_itself_shows_and_nothing_else_changes():
    config = replace(EVEN, weights=(3,), sensitivity=(1, 3))
    cell, plain = made(config), made(replace(config, sensitivity=()))
    (model,) = rebuild(config, cell)
    others = sensitivity(softmax_of(model), evaluated(config.pipeline).x(), copies=200, seed=9)
    found = cell.arrays["sensitivity_3"][0]
    assert found.shape == (120, 10) and np.corrcoef(found.ravel(), others.ravel())[0, 1] > 0.85
    assert abs(found.mean() / others.mean() - 1) < 0.1
    assert set(cell.arrays) == {*plain.arrays, "sensitivity_1", "sensitivity_3"}
    for name, array in plain.arrays.items():
        np.testing.assert_array_equal(cell.arrays[name], array)


def test_noise_is_added_to_standardised_images():
    x = torch.randint(0, 256, (30, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = models.build("lenet5", (1, 28, 28), 10, scale=((0.3,), (0.2,))).eval()
    found = recorder.moved(model, (x, torch.zeros(30)), seed=0)
    assert torch.equal(found, recorder.moved(model, (model.scale(x), torch.zeros(30)), seed=0))
    streamed = recorder.moved(model, [(x[:20], None), (x[20:], None)], seed=0)
    assert streamed.shape == found.shape and abs(streamed.mean() / found.mean() - 1) < 0.1


def test_shadows_keep_theirs_model_by_model():
    cell = made(Shadows(EVEN.pipeline, (2, 3), models=2, count=2, sensitivity=(3,)))
    found = cell.arrays["sensitivity_3"]
    assert found.shape == cell.arrays["logits_3"].shape == (2, 2, 120, 10)
    assert len(np.unique(found.sum(axis=(2, 3)))) == 4


def test_a_training_goes_on_with_the_sensitivity_that_it_had_seen(tmp_path):
    config = Shadows(EVEN.pipeline, (3,), sensitivity=(1, 3))
    whole, look = made(config), recorder.Recorder.after_epoch

    def interrupted(mine, run):
        look(mine, run)
        if run.epoch == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.checkpoint, "SECONDS", 0)
        patch.setattr(recorder.Recorder, "after_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            config.compute((), scratch=tmp_path / "scratch")
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "sensitivity", lambda *given, **how: asked.append(how) or sensitivity(*given, **how))
        again = config.compute((), scratch=tmp_path / "scratch")
    assert len(asked) == 1, "after the last epoch alone"
    for name in ("sensitivity_1", "sensitivity_3"):
        np.testing.assert_array_equal(again.arrays[name], whole.arrays[name])


def test_it_is_merely_observed():
    name = Store("nowhere").name
    for config in (EVEN, Shadows(EVEN.pipeline, (3,))):
        asking = replace(config, sensitivity=(3,))
        assert name(asking) == name(config)
        assert not covers({"observed": {"epochs": [1, 3], "weights": []}}, asking)


def test_an_epoch_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="training ends after epoch 3; keep no epoch 4"):
        replace(EVEN, sensitivity=(4,))
    with pytest.raises(ValueError, match="Shadows: sensitivity must be rising whole numbers"):
        Shadows(EVEN.pipeline, (3,), sensitivity=(3, 1))
