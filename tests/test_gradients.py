"""Gradient attacks on classifiers whose gradients are known, against a plain loop, and on an overfit net."""

import math

import numpy as np
import pytest
import torch
from attack_cases import beats_the_gap, overfit_net

from mialab import audit, fusion, metrics
from mialab.attacks import gradients
from mialab.attacks.gradients import combined, input_scores, weight_norms, weight_scores
from mialab.attacks.target import Target

SMOOTH = ("confidence", "logit")  # the rules that have gradients

ORDERS = (1, 2, math.inf)


def regression(*, n=40, features=6, classes=4):
    """Logistic regression in float64: its module, x, labels and each sample's softmax less its one-hot label."""
    draw = torch.Generator().manual_seed(0)
    net = torch.nn.Linear(features, classes, dtype=torch.float64)
    for part in net.parameters():
        part.data = torch.randn(part.shape, generator=draw, dtype=torch.float64)
    x = torch.randn(n, features, generator=draw, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=draw)
    with torch.no_grad():
        error = net(x).softmax(1) - torch.eye(classes, dtype=torch.float64)[labels]
    return net, x, labels, error


def convolutional(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3),
            torch.nn.BatchNorm2d(3),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.5),
            torch.nn.Flatten(),
            torch.nn.Linear(3 * 14 * 14, 3),
        )


@pytest.mark.parametrize("order", ORDERS)
def test_of_logistic_regression_the_norms_are_the_closed_form_s(order):
    net, x, labels, error = regression()
    target = Target(net)
    norms = weight_norms(target.log_p, target.params, x, labels, order=order)
    slopes = error[:, :, None] * x[:, None, :]  # of the weights; those of the bias are the errors themselves
    np.testing.assert_allclose(norms["0.weight"], slopes.flatten(1).norm(order, dim=1), rtol=1e-10)
    np.testing.assert_allclose(norms["0.bias"], error.norm(order, dim=1), rtol=1e-10)
    everything = torch.cat([slopes.flatten(1), error], dim=1).norm(order, dim=1)
    np.testing.assert_allclose(combined(norms, order=order), everything, rtol=1e-10)
    np.testing.assert_allclose(weight_scores(target.log_p, target.params, x, labels, order=order), -everything)
    of_input = (error @ net.weight.detach()).norm(order, dim=1)
    np.testing.assert_allclose(input_scores(target.loss_of, x, labels, order=order), -of_input, rtol=1e-10)


@pytest.mark.parametrize("how", SMOOTH)
def test_of_an_ensemble_the_norms_are_those_of_a_plain_loop_over_samples(how):
    models = [convolutional(seed) for seed in (0, 1)]
    x, labels = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    target = Target(models, how=how)
    norms = weight_norms(target.log_p, target.params, x, labels)
    scores = input_scores(target.loss_of, x, labels)
    for model in models:
        model.eval()
    weights = [part for model in models for part in model.parameters()]
    for k in range(len(x)):
        one = x[k : k + 1].clone().requires_grad_()
        logits = torch.stack([model(one) for model in models])
        fused = logits.mean(0).softmax(-1) if how == "logit" else logits.softmax(-1).mean(0)
        *slopes, of_input = torch.autograd.grad(-fused[0, labels[k]].log(), [*weights, one])
        for found, slope in zip(norms.values(), slopes, strict=True):
            assert found[k] == pytest.approx(slope.norm().item(), rel=1e-4, abs=1e-7)
        assert -scores[k] == pytest.approx(of_input.norm().item(), rel=1e-4)


def test_logits_and_their_log_probabilities_have_the_same_gradients():
    net, x, labels, _ = regression()
    target = Target(net)
    on_logits = weight_norms(
        lambda params, one: torch.func.functional_call(net, params, one), dict(net.named_parameters()), x, labels
    )
    np.testing.assert_allclose(on_logits["weight"], weight_norms(target.log_p, target.params, x, labels)["0.weight"])


def test_some_weights_alone_give_their_own_norms():
    net, x, labels, _ = overfit_net()
    target = Target(net)
    everything = weight_norms(target.log_p, target.params, x, labels)
    last = list(target.params)[-2:]
    some = weight_norms(target.log_p, target.params, x, labels, names=last)
    assert list(some) == ["0.4.weight", "0.4.bias"] == last and len(everything) == 6
    for name in last:
        np.testing.assert_allclose(some[name], everything[name], rtol=1e-5)


def test_the_size_of_the_steps_changes_nothing_and_memory_bounds_it(monkeypatch):
    net, x, labels, _ = overfit_net()
    target = Target(net)
    first = weight_scores(target.log_p, target.params, x, labels)
    np.testing.assert_allclose(first, weight_scores(target.log_p, target.params, x, labels, at_once=7), rtol=1e-4)
    np.testing.assert_allclose(
        input_scores(target.loss_of, x, labels), input_scores(target.loss_of, x, labels, at_once=7), rtol=1e-4
    )
    assert gradients._affordable(target.params.values()) == gradients.MOST_AT_ONCE
    huge = torch.empty(25_000_000, device="meta")
    assert gradients._affordable([huge]) == 2 and gradients._affordable([huge] * 10) == 1


@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("order", ORDERS)
def test_members_of_an_overfit_model_and_of_an_ensemble_have_smaller_gradients(models, order):
    _, x, labels, member = overfit_net()
    target = Target([overfit_net(seed)[0] for seed in range(models)])
    of_weights = weight_scores(target.log_p, target.params, x, labels, order=order)
    of_input = input_scores(target.loss_of, x, labels, order=order)
    for scores in (of_weights, of_input):
        assert beats_the_gap(scores, target.probabilities, x, labels, member)


def test_shuffled_membership_leaves_an_auc_of_a_half():
    net, x, labels, member = overfit_net()
    target = Target(net)
    for scores in (weight_scores(target.log_p, target.params, x, labels), input_scores(target.loss_of, x, labels)):
        areas = [metrics.auc_interval(scores, np.random.default_rng(k).permutation(member)) for k in range(10)]
        assert sum(area.low < 0.5 < area.high for area in areas) >= 8


def test_the_models_stay_as_they_are():
    model = convolutional(0).train()
    before = {name: part.clone() for name, part in model.state_dict().items()}
    target = Target(model)
    x, labels = torch.randn(4, 1, 16, 16), torch.zeros(4, dtype=torch.int64)
    target.probabilities(x)
    weight_scores(target.log_p, target.params, x, labels)
    input_scores(target.loss_of, x, labels)
    assert model.training and all(part.requires_grad and part.grad is None for part in model.parameters())
    assert not x.requires_grad
    assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())


def test_scoring_is_deterministic_and_each_sample_s_own_whatever_mode_the_model_is_in():
    target = Target(convolutional(0).train())  # with dropout and batch norm
    x, labels = torch.randn(6, 1, 16, 16), torch.zeros(6, dtype=torch.int64)
    for score in (
        lambda some: target.probabilities(some),
        lambda some: weight_scores(target.log_p, target.params, some, labels[: len(some)]),
        lambda some: input_scores(target.loss_of, some, labels[: len(some)]),
    ):
        first = score(x)
        np.testing.assert_array_equal(first, score(x))
        np.testing.assert_allclose(first[:2], score(x[:2]), rtol=1e-4)


@pytest.mark.parametrize("how", SMOOTH)
def test_a_target_fuses_as_the_audit_does(how):
    models = [overfit_net(seed)[0] for seed in (0, 1, 2)]
    x = torch.from_numpy(overfit_net()[1])
    with torch.no_grad():
        logits = np.stack([model(x).numpy() for model in models])
    target = Target(models, how=how)
    np.testing.assert_allclose(target.probabilities(x), fusion.predict(logits, how), atol=1e-6)
    np.testing.assert_allclose(target.log_p({}, x), fusion.fuse(logits, how), rtol=1e-4, atol=1e-5)


class LastModel(fusion.FusionRule):
    """The last model alone, but for class 0, which is never answered."""

    name = "last"

    def __call__(self, logits):
        return fusion.log_confidence(logits[-1])

    def answers(self, logits):
        return 1 + logits[-1][:, 1:].argmax(axis=1)


def test_a_label_only_target_answers_by_the_rule_whatever_the_rule_and_gradients_need_one_that_has_them():
    models = [overfit_net(seed)[0] for seed in (0, 1)]
    x, labels = overfit_net()[1:3]
    target = Target(models, how=LastModel())
    with torch.no_grad():
        logits = np.stack([model(torch.from_numpy(x)).numpy() for model in models])
    for given in (x, torch.from_numpy(x)):
        np.testing.assert_array_equal(target.answers(given), LastModel().answers(logits))
    outputs = audit.Outputs(logits, labels, np.arange(len(labels)) % 2)
    found = audit.audit(outputs, attacks=["gap", "label-augmentation"], fusion=LastModel(), x=x, target=target, known=0)
    gap, survived = (found.attacks[name].scores for name in ("gap", "label-augmentation"))
    assert (survived[gap == 0] < 6).all() and (survived[labels == 0] == 0).all() and survived.max() == 6
    with pytest.raises(ValueError, match="fusion 'last' has no gradient"):
        target.log_p({}, torch.from_numpy(x))


@pytest.mark.parametrize("how", fusion.RULES)
def test_answers_are_the_audit_s(how):
    models = [overfit_net(seed)[0] for seed in (0, 1, 2)]
    x = torch.from_numpy(overfit_net()[1])
    with torch.no_grad():
        logits = np.stack([model(x).numpy() for model in models])
    np.testing.assert_array_equal(Target(models, how=how).answers(x), fusion.answer(logits, how))


def test_a_model_with_several_outputs_counts_by_its_first():
    class Two(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    target = Target(Two(3, 2))
    assert target.probabilities(torch.zeros(4, 3)).shape == (4, 2)


def test_wrong_arguments_are_named():
    net, x, labels, _ = overfit_net()
    target = Target(net)
    for call, message in (
        (lambda: weight_norms(target.log_p, target.params, x, labels, order=3), "order: found 3; expected 1, 2 or"),
        (lambda: weight_norms(target.log_p, target.params, x, labels, names=["fc"]), "no weights named fc; .*0.4.bias"),
        (lambda: weight_norms(target.log_p, target.params, x, labels[:3]), "x has 260 samples, labels 3"),
        (lambda: input_scores(target.loss_of, (x > 0).astype(np.uint8), labels), "torch.uint8, which has no gradient"),
        (lambda: input_scores(lambda x, y: x.mean(), x, labels), "one loss per sample"),
        (lambda: Target([]), "no models"),
        (lambda: Target(net, how="mean"), "no fusion 'mean'; choose one of confidence, logit"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
