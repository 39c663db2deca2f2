"""Pruning: budgets are met exactly, ADMM finds a known answer, zeros stay zero, and what is stored comes back."""

import itertools

import pytest
import torch
from torch import nn
from training_cases import cnn, distance, images, mlp, points, same

from mialab import models
from mialab.defenses.pruning import Admm, Budget, Prune, Rewind, compact, report
from mialab.defenses.pruning.budget import chosen, largest, prunable
from mialab.training import Hooks, Recipe, fit

FREE = Budget(0.25, whole=())
RECIPE = Recipe(epochs=4, batch=16, lr=0.05)


def sizes(model):
    return {name: w.numel() for name, w in prunable(model).items()}


def kept(model):
    return {name: int(w.count_nonzero()) for name, w in prunable(model).items()}


def carried_of(fitted):
    return {"start": fitted.model.state_dict(), "carried": fitted.carried}


def admm_then_prune(budget, *, recipe=RECIPE, data=None, build=mlp, rho=(0.1, 1.0)):
    data = data or points()
    dense = fit(build, data, recipe)
    drawn = fit(build, data, recipe, seed=1, defenses=[Admm(budget, rho)], **carried_of(dense))
    return dense, drawn, fit(build, data, recipe, seed=2, defenses=[Prune(budget, by="admm")], **carried_of(drawn))


# Budgets


@pytest.mark.parametrize(
    ("keep", "scope"), [(0.01, "layers"), (0.063, "layers"), (0.3, "layers"), (1.0, "layers"), (0.3, "global")]
)
def test_a_budget_keeps_exactly_its_share_of_all_weights(keep, scope):
    weights = prunable(models.build("lenet5", (1, 28, 28), 10))
    whole = () if keep == 0.01 else ("first", "last")
    counts = Budget(keep, scope=scope, whole=whole).counts(weights)
    assert sum(counts.values()) == round(keep * sum(w.numel() for w in weights.values()))
    masks = chosen(weights, Budget(keep, scope=scope, whole=whole))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == counts


def test_the_reduction_ratios_of_table_4_can_be_met():
    for name, ratio in (("lenet5", 15.78), ("vgg16", 13.84), ("resnet18", 10.54), ("mobilenet_v2", 10.06)):
        shape = (1, 28, 28) if name == "lenet5" else (3, 32, 32)
        weights = prunable(models.build(name, shape, 10))
        counts = Budget(1 / ratio).counts(weights)
        assert sum(w.numel() for w in weights.values()) / sum(counts.values()) == pytest.approx(ratio, abs=0.005)


def test_the_first_and_the_last_layer_stay_whole_unless_they_are_named_otherwise():
    weights = prunable(mlp())
    first, last = weights
    assert Budget(0.7, whole=("first",)).counts(weights)[first] == weights[first].numel()
    assert Budget(0.5, whole=("last",)).counts(weights)[last] == weights[last].numel()
    assert Budget(0.5, whole=()).counts(weights)[first] < weights[first].numel()


def test_of_equal_weights_exactly_so_many_are_kept():
    for count in range(7):
        assert int(largest(torch.ones(2, 3), count).sum()) == count


def test_the_global_budget_keeps_the_largest_weights_wherever_they_stand():
    weights = {"a": torch.tensor([[5.0, 4.0], [3.0, 0.1]]), "b": torch.tensor([[0.2, 0.3], [2.0, 0.1]])}
    assert Budget(0.5, scope="global", whole=()).counts(weights) == {"a": 3, "b": 1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(0.0), "keep is a share above 0"),
        (lambda: Budget(1.5), "at most 1"),
        (lambda: Budget(0.5, scope="layer"), "did you mean layers"),
        (lambda: Budget(0.5, unit="filters"), "channels"),
        (lambda: Budget(0.5, whole="last"), "whole is a tuple"),
        (lambda: Budget(0.5, unit="channels", whole=("first",)), "leave 'last' in whole"),
        (lambda: Budget(0.5, unit="channels", scope="global"), "leave scope"),
        (lambda: Budget((0.5, 0.5), scope="global"), "give one share"),
        (lambda: Budget(0.01).counts(prunable(mlp())), "all layers stay whole"),
        (lambda: Budget(0.3, whole=("first",)).counts(prunable(mlp())), "have 48 weights already; keep more than"),
        (lambda: Budget((0.5,)).counts(prunable(mlp())), "1 shares for 2 layers"),
        (lambda: Budget((0.001, 1.0)).counts(prunable(mlp())), "leaves no weight in 0.weight"),
        (lambda: Budget(0.5).counts(prunable(nn.ReLU())), "nothing to prune"),
        (lambda: Admm(FREE, rho=()), "positive numbers"),
        (lambda: Prune(FREE, by="size"), "there are admm, magnitude, random"),
        (lambda: Prune(FREE, by="admm", rounds=2), "1 after ADMM"),
        (lambda: Rewind(-1), "at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ADMM


class Pull(Hooks):
    """A quadratic loss in the weights: half the sum of h times their squared distance to a goal."""

    def __init__(self, goal, h):
        self.goal, self.h = goal, h

    def loss(self, run, outputs, y):
        return (self.h * (run.model.weight[0] - self.goal).square()).sum() / 2


def by_admm(goal, h, count, *, rho, start=None):
    """Z of ADMM on the quadratic, from the unpruned optimum or from elsewhere, float64 [n]; and the last residual."""
    features = len(goal)
    data = torch.zeros(4, features, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    fitted = fit(
        lambda: nn.Linear(features, 1, bias=False, dtype=torch.float64),
        data,
        Recipe(epochs=600, batch=4, lr=0.1, momentum=0.0),
        defenses=[Admm(Budget(count / features, whole=()), rho=(rho,), every=10)],
        hooks=[Pull(goal, h)],
        start={"weight": (goal if start is None else start)[None]},
        progress=False,
    )
    return fitted.carried["pruning"]["z"]["weight"][0], fitted.history[-1]["residual"]


def best_subset(goal, h, count):
    """The best point with so many entries that are not zero, of all choices of entries."""
    choices = list(itertools.combinations(range(len(goal)), count))
    best = max(choices, key=lambda kept: sum(h[i] * goal[i] ** 2 for i in kept))
    return torch.stack([goal[i] if i in best else torch.zeros_like(goal[i]) for i in range(len(goal))])


@pytest.mark.parametrize("seed", range(4))
def test_admm_known_solution_on_a_quadratic(seed):
    goal = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    h = torch.ones(6, dtype=torch.float64)
    z, residual = by_admm(goal, h, 2, rho=1.5)
    assert torch.allclose(z, best_subset(goal, h, 2), atol=1e-4)
    assert residual < 1e-4


def test_admm_known_solution_where_the_largest_weight_is_not_the_one_to_keep():
    """Cutting by size keeps 1.0, which costs 4 * 0.9^2 / 2 = 1.62; ADMM finds the other choice, which costs 0.5."""
    goal, h = torch.tensor([1.0, 0.9], dtype=torch.float64), torch.tensor([1.0, 4.0], dtype=torch.float64)
    z, residual = by_admm(goal, h, 1, rho=2.0)
    assert torch.allclose(z, torch.tensor([0.0, 0.9], dtype=torch.float64), atol=1e-4)
    assert residual < 1e-4
    stiff, _ = by_admm(goal, h, 1, rho=8.0)  # too large a penalty: the first choice stays
    assert torch.allclose(stiff, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-4)


def test_with_a_growing_penalty_the_weights_come_to_lie_on_the_budget():
    _, drawn, pruned = admm_then_prune(
        FREE, recipe=Recipe(epochs=60, batch=8, lr=0.05, momentum=0.0), rho=(0.1, 1.0, 10.0)
    )
    residuals = [row["residual"] for row in drawn.history]
    assert residuals[-1] < 0.1 < residuals[0]
    assert [row["rho"] for row in drawn.history] == [0.1] * 20 + [1.0] * 20 + [10.0] * 20
    masks = pruned.carried["pruning"]["masks"]
    assert {name: int(mask.sum()) for name, mask in masks.items()} == FREE.counts(prunable(pruned.model))


def test_where_the_penalty_grows_the_multiplier_stays():
    _, drawn, _ = admm_then_prune(FREE, rho=(0.1, 1.0))
    one_stage = fit(mlp, points(), RECIPE, defenses=[Admm(FREE, (0.1,))])
    assert set(drawn.carried["pruning"]) == set(one_stage.carried["pruning"]) == {"budget", "z", "u"}


# The cut


@pytest.mark.parametrize("recipe", [RECIPE, Recipe(epochs=4, batch=16, lr=0.05, weight_decay=0.1, nesterov=True)])
def test_pruned_weights_stay_zero_through_retraining_with_momentum_and_weight_decay(recipe):
    dense, _, pruned = admm_then_prune(FREE, recipe=recipe)
    assert kept(pruned.model) == FREE.counts(prunable(dense.model))
    adam = fit(mlp, points(), Recipe(epochs=3, batch=16, optimizer="adam", lr=0.01), defenses=[Prune(FREE)])
    assert kept(adam.model) == FREE.counts(prunable(adam.model))


def test_zeros_hold_after_each_single_step():
    class Watch(Hooks):
        def after_step(self, run):
            seen.append(kept(run.model))

    seen = []
    fit(mlp, points(), RECIPE, defenses=[Prune(FREE)], hooks=[Watch()])
    assert all(one == FREE.counts(prunable(mlp())) for one in seen)


def test_admm_keeps_what_it_was_drawn_to():
    _, drawn, pruned = admm_then_prune(FREE)
    for name, z in drawn.carried["pruning"]["z"].items():
        assert torch.equal(pruned.model.state_dict()[name] != 0, z != 0)


def test_a_random_mask_is_the_seeds_and_keeps_as_many():
    one, again, other = (
        fit(mlp, points(), RECIPE, seed=seed, defenses=[Prune(FREE, by="random")]) for seed in (0, 0, 1)
    )
    assert same(one, again)
    assert kept(one.model) == kept(other.model) == FREE.counts(prunable(one.model))
    assert one.carried["pruning"]["masks"]["0.weight"].ne(other.carried["pruning"]["masks"]["0.weight"]).any()


def test_what_an_earlier_cut_took_stays_cut():
    for by in ("magnitude", "random"):
        half = fit(mlp, points(), RECIPE, defenses=[Prune(Budget(0.5, whole=()), by=by)])
        less = fit(mlp, points(), RECIPE, seed=1, defenses=[Prune(FREE, by=by, rounds=2)], **carried_of(half))
        first, second = (one.carried["pruning"]["masks"] for one in (half, less))
        assert all(not (second[name] & ~first[name]).any() for name in first)
        with pytest.raises(ValueError, match="left fewer weights"):
            wider = Budget(0.9, whole=())
            fit(mlp, points(), RECIPE, defenses=[Prune(wider, by=by, rounds=2)], **carried_of(half))


def test_a_phase_that_does_not_fit_the_one_before_is_refused():
    dense, drawn, _ = admm_then_prune(FREE)
    for defense, before, message in (
        (Prune(FREE, by="admm"), dense, "put Admm"),
        (Prune(Budget(0.5, whole=()), by="admm"), drawn, "give both the same"),
        (Prune(FREE, rounds=3), dense, "set rounds to one more"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(mlp, points(), RECIPE, defenses=[defense], **carried_of(before))


@pytest.mark.parametrize("defense", [Admm(FREE, (0.1, 1.0)), Prune(FREE), Prune(FREE, by="random"), Rewind(2)])
def test_a_pruning_resumes_bit_for_bit(defense, tmp_path):
    class Fails(Hooks):
        observes = True

        def after_epoch(self, run):
            if run.epoch == 3:
                raise KeyboardInterrupt

    whole = fit(mlp, points(), RECIPE, defenses=[defense])
    with pytest.raises(KeyboardInterrupt):
        fit(mlp, points(), RECIPE, defenses=[defense], hooks=[Fails()], checkpoint=tmp_path / "c.pt", save_every=0)
    resumed = fit(
        mlp, points(), RECIPE, defenses=[defense], hooks=[Fails()] if False else (), checkpoint=tmp_path / "d.pt"
    )
    assert same(whole, resumed)


def test_rewinding_lays_the_trained_mask_on_early_weights():
    dense = fit(mlp, points(), RECIPE, defenses=[Rewind(0)])
    drawn = {name: value.clone() for name, value in dense.carried["rewinding"]["early"].items()}
    still = Recipe(epochs=1, batch=16, lr=1e-30, momentum=0.0)
    ticket = fit(mlp, points(), still, defenses=[Prune(FREE), Rewind(0)], **carried_of(dense))
    masks = chosen(prunable(dense.model), FREE)
    for name, mask in masks.items():
        assert torch.equal(ticket.model.state_dict()[name], drawn[name] * mask)
    assert ticket.carried["rewinding"]["early"].keys() == drawn.keys()


# Channels


def test_pruned_channels_are_zero_and_a_narrowed_network_answers_the_same():
    for name, shape in (("lenet5", (1, 28, 28)), ("vgg11", (3, 32, 32)), ("cnn4", (3, 16, 16))):
        build = lambda name=name, shape=shape: models.build(name, shape, 4)  # noqa: E731
        data = torch.randn(12, *shape), torch.arange(12) % 4
        budget = Budget(0.5, whole=("last",), unit="channels")
        fitted = fit(build, data, Recipe(epochs=1, batch=6, lr=0.01), defenses=[Prune(budget)])
        small = compact.narrowed(fitted.model)
        assert models.weights(small) < 0.6 * models.weights(fitted.model)
        assert torch.allclose(small(data[0]), fitted.model(data[0]), atol=1e-5)
        assert sizes(fitted.model) == sizes(build())


def test_a_network_with_branches_cannot_be_narrowed():
    with pytest.raises(TypeError, match="Residual"):
        compact.narrowed(models.build("resnet20", (3, 32, 32), 10))


# What is left


def test_a_stored_network_comes_back_equal_and_small(tmp_path):
    fitted = fit(mlp, points(), RECIPE, defenses=[Prune(FREE)])
    compact.save(fitted.model, tmp_path / "net.safetensors")
    other = mlp()
    compact.load(other, tmp_path / "net.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), fitted.model.parameters(), strict=True))
    assert compact.storage_bytes(fitted.model.state_dict()) < 0.6 * compact.storage_bytes(mlp().state_dict())
    with pytest.raises(ValueError, match="another architecture"):
        compact.load(cnn(), tmp_path / "net.safetensors")
    (tmp_path / "text").write_text("no network")
    with pytest.raises(ValueError, match="give one that `save` wrote"):
        compact.load(mlp(), tmp_path / "text")


def test_layers_count_weights_and_operations():
    fitted = fit(cnn, (images()[0].float(), images()[1]), Recipe(epochs=1, batch=16), defenses=[Prune(FREE)])
    first, last = report.layers(fitted.model, images()[0][:1].float())
    assert (first.weights, first.multiply_adds) == (3 * 4 * 9, 3 * 4 * 9 * 64)
    assert (last.weights, last.multiply_adds_kept) == (64 * 3, last.kept)
    assert first.kept + last.kept == round(0.25 * (first.weights + last.weights))
    assert report.reduction_ratio(fitted.model) == pytest.approx(4, rel=0.01)
    assert report.inference_seconds(fitted.model, images()[0].float(), repeats=2) > 0


def test_without_a_budget_below_one_nothing_changes():
    plain = fit(mlp, points(), RECIPE)
    assert distance(plain, fit(mlp, points(), RECIPE, defenses=[Prune(Budget(1.0))])) == 0
