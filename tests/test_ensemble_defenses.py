"""L1, L2, dropout, MMD + Mixup: each against a case whose answer is known."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from training_cases import batches_of, distance, double, mlp, points, same

from mialab.defenses.dp import DpSgd
from mialab.defenses.dropout import Dropout
from mialab.defenses.mmd import MmdMixup, mixed, mmd2
from mialab.defenses.penalties import L1, L2
from mialab.training import Hooks, Recipe, fit
from mialab.training.hooks import Parts, TrainingRun

RECIPE = Recipe(epochs=3, batch=16, lr=0.05)
REFERENCE = points(seed=1)
DEFENSES = [L1(1e-3), L2(1e-2), Dropout(0.5), MmdMixup(2.0, margin=-1.0)]


def trained(*defenses, build=mlp, recipe=RECIPE, data=None, **options):
    return fit(build, data or points(), recipe, defenses=defenses, reference=REFERENCE, **options)


def run_of(model, epoch=1):
    run = TrainingRun(model, RECIPE, torch.device("cpu"), 0)
    run.generator, run.epoch = torch.Generator().manual_seed(0), epoch
    return run


def norm(fitted):
    return torch.cat([parameter.flatten() for parameter in fitted.model.parameters()]).abs().sum().item()


@pytest.mark.parametrize("defense", DEFENSES, ids=lambda one: one.NAME)
def test_a_training_resumes_bit_for_bit(defense, tmp_path):
    class Fails(Hooks):
        observes = True

        def after_epoch(self, run):
            if run.epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(defense, hooks=[Fails()], checkpoint=tmp_path / "c.pt", save_every=0)
    assert same(trained(defense), trained(defense, checkpoint=tmp_path / "c.pt"))
    assert not same(trained(defense), trained())


# L1 and L2


def test_the_l1_penalty_is_the_sum_of_absolute_values_and_its_gradient_the_sign():
    model, hooks = nn.Linear(2, 2), L1(0.25).start(Parts(points(), None, None, 0, 2, {}))
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 3.0]]))
        model.bias.copy_(torch.tensor([-4.0, 0.0]))
    run = run_of(model)
    hooks.prepare(run)
    penalty = hooks.penalty(run, *points(), None)
    penalty.backward()
    assert penalty.item() == 0.25 * 10
    assert torch.equal(model.weight.grad, torch.tensor([[0.25, -0.25], [0.0, 0.25]]))
    assert torch.equal(model.bias.grad, torch.tensor([-0.25, 0.0]))


def test_l2_is_weight_decay_of_the_recipe_whatever_that_was():
    decayed = replace(RECIPE, weight_decay=0.1)
    assert same(trained(L2(0.1)), trained(recipe=decayed))
    assert same(trained(L2(0.1), recipe=replace(RECIPE, weight_decay=3.0)), trained(recipe=decayed))
    assert same(trained(L2(0.0), recipe=decayed), trained())


def test_the_gradient_of_l2_is_that_of_half_the_squared_weights():
    class Half(Hooks):
        identity = 1

        def penalty(self, run, x, y, outputs):
            return 0.1 / 2 * sum(parameter.square().sum() for parameter in run.model.parameters())

    data = points(dtype=torch.float64)
    one = fit(double(mlp), data, RECIPE, defenses=[L2(0.1)])
    other = fit(double(mlp), data, RECIPE, hooks=[Half()])
    assert distance(one, other) < 1e-12


@pytest.mark.parametrize("kind", [L1, L2])
def test_a_larger_weight_leaves_smaller_parameters(kind):
    norms = [norm(trained(kind(weight))) for weight in (0.0, 0.01, 0.1)]
    assert norms[0] > norms[1] > norms[2]
    assert same(trained(kind(0.0)), trained())


def test_l2_stands_beside_differential_privacy_and_l1_does_not():
    private = DpSgd(None, noise=1.0, delta=1e-3)
    assert norm(trained(private, L2(1.0))) < norm(trained(private))
    with pytest.raises(ValueError, match="drop the penalty"):
        trained(private, L1(1.0))


# dropout


def test_dropout_of_a_defense_is_dropout_of_a_layer():
    """With every unit's input 1 the mean stays 1, a share is 0, and in eval mode nothing happens."""
    model = nn.Sequential(nn.Linear(3, 1000), nn.Linear(1000, 1000, bias=False))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(1.0)
        model[1].weight.copy_(torch.eye(1000))
    run, hooks = run_of(model), Dropout(0.25).start(Parts(points(), None, None, 0, 3, {}))
    hooks.prepare(run)
    seen = model.train()(torch.zeros(1, 3))
    assert seen.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (seen == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert torch.equal(model.eval()(torch.zeros(1, 3)), torch.ones(1, 1000))
    hooks.end(run)
    assert torch.equal(model.train()(torch.zeros(1, 3)), torch.ones(1, 1000))


def test_dropout_at_rate_0_changes_nothing_and_a_trained_model_has_its_own_layers(tmp_path):
    assert same(trained(Dropout(0.0)), trained())
    for fitted in (trained(Dropout(), checkpoint=tmp_path / "c.pt") for _ in range(2)):  # the second one finds it ended
        model = fitted.model.train()
        assert torch.equal(model(points()[0]), model(points()[0]))
        assert [type(part) for part in model] == [type(part) for part in mlp()]


# MMD + Mixup


def test_the_mmd_of_equal_samples_is_0_and_that_of_far_ones_is_2_less_what_is_within():
    p = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)).double()
    assert mmd2(p, p[torch.randperm(20)]).item() == pytest.approx(0, abs=1e-12)
    one, other = torch.zeros(3, 2).double(), torch.full((5, 2), 100.0).double()
    assert mmd2(one, other).item() == pytest.approx(2)
    points_apart = torch.tensor([[0.0]]).double(), torch.tensor([[2.0]]).double()
    assert mmd2(*points_apart, sigma=1.0).item() == pytest.approx(2 - 2 * torch.e**-2)


def test_a_step_down_the_gradient_of_the_mmd_brings_samples_nearer():
    draw = torch.Generator().manual_seed(0)
    p = (torch.randn(30, 3, generator=draw) + 1).requires_grad_()
    q = torch.randn(30, 3, generator=draw)
    before = mmd2(p, q)
    before.backward()
    assert mmd2((p - 0.5 * p.grad).detach(), q) < before


def test_mixing_keeps_means_and_labels_become_probabilities():
    x, y = points()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    new_x, new_y = mixed(x, y, order, 0.3, 3)
    assert torch.allclose(new_x, 0.3 * x + 0.7 * x[order])
    assert torch.allclose(new_y.sum(1), torch.ones(len(y)))
    assert torch.allclose(new_y.mean(0), torch.bincount(y, minlength=3) / len(y))
    whole_x, whole_y = mixed(x, y, order, 1.0, 3)
    assert torch.equal(whole_x, x) and torch.equal(whole_y, nn.functional.one_hot(y, 3).float())


def test_without_weight_and_mixing_the_training_is_plain():
    assert same(trained(MmdMixup(0.0, alpha=0.0, margin=-1.0)), trained())
    assert not same(trained(MmdMixup(0.0, alpha=1.0)), trained())
    assert not same(trained(MmdMixup(3.0, alpha=0.0, margin=-1.0)), trained())


def test_the_mmd_waits_for_a_gap_beyond_the_margin():
    waiting = trained(MmdMixup(3.0, alpha=0.0, margin=1.0))
    assert same(waiting, trained())
    assert [row["mmd_on"] for row in waiting.history] == [False] * 3
    pulled = trained(MmdMixup(3.0, alpha=0.0, margin=-1.0))
    assert [row["mmd_on"] for row in pulled.history] == [False, True, True]
    assert all(-1 <= row["gap"] <= 1 for row in pulled.history)


def test_members_are_compared_with_reference_rows_of_their_classes_and_only_members_feel_it():
    hooks, model = MmdMixup(2.0, alpha=0.0).start(Parts(points(), REFERENCE, None, 0, 3, {})), mlp()
    run, (x, y) = run_of(model), points()
    drawn = hooks._like(run, y)
    assert torch.equal(REFERENCE[1][drawn], y)
    hooks.on = True
    run.generator = torch.Generator().manual_seed(5)
    hooks.batch(run, x, y)
    found = hooks.penalty(run, x, y, model(x))
    run.generator = torch.Generator().manual_seed(5)
    theirs = model(REFERENCE[0][hooks._like(run, y)]).softmax(1).detach()
    wanted = 2 * mmd2(model(x).softmax(1), theirs)
    gradients = [torch.autograd.grad(one, model.parameters()) for one in (found, wanted)]
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))


def test_images_are_standardised_before_they_are_mixed():
    class Scaled(nn.Sequential):
        def __init__(self):
            super().__init__()
            self.scale = nn.Identity()
            self.scale.forward = lambda x: x.float() / 255 if x.dtype == torch.uint8 else x
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))

    x = torch.randint(256, (50, 1, 2, 2), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    hooks = MmdMixup(0.0).start(Parts((x, points()[1]), (x, REFERENCE[1]), None, 0, 3, {}))
    new_x, _ = hooks.batch(run_of(Scaled()), x, points()[1])
    assert new_x.dtype == torch.float32 and 0 <= new_x.min() <= new_x.max() <= 1


def test_what_makes_no_sense_is_refused():
    parts = [None, batches_of(REFERENCE), (REFERENCE[0][REFERENCE[1] > 0], REFERENCE[1][REFERENCE[1] > 0])]
    for make, message in (
        (lambda: L1(-1.0), "at least 0"),
        (lambda: L2(-1.0), "at least 0"),
        (lambda: Dropout(1.0), "below 1"),
        (lambda: trained(Dropout(), build=lambda: nn.Linear(6, 3)), "no linear layer behind another"),
        (lambda: MmdMixup(-1.0), "at least 0"),
        (lambda: MmdMixup(alpha=-1.0), "at least 0"),
        (lambda: MmdMixup().start(Parts(points(), parts[0], None, 0, 3, {})), "reference share"),
        (lambda: MmdMixup().start(Parts(points(), parts[1], None, 0, 3, {})), "not read from files"),
        (lambda: MmdMixup().start(Parts(points(), parts[2], None, 0, 3, {})), "no reference rows of class 0"),
        (lambda: trained(DpSgd(None, noise=1.0, delta=1e-3), MmdMixup()), "drop the penalty|drop one of them"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
