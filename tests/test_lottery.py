"""Theorem 1: subset sums against all subsets, the masked random network against its target, errors by the width."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from experiment_cases import drawn_cell, made
from torch import nn

from mialab import lottery, models, training
from mialab.cells.inherited import Inherited, matrices_of
from mialab.cells.models import Models, rebuild
from mialab.cells.pipeline import Pipeline
from mialab.defenses.edge_popup import EdgePopup, largest
from mialab.experiments import theorem1
from mialab.training import Phase, Recipe


def uniform(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def network(*sides, seed=0, size=0.4):
    """Matrices of a random network with so many inputs, hidden units and outputs, weights within +-size."""
    shapes = zip(sides[1:], sides[:-1], strict=True)
    return [size * uniform(*shape, seed=[seed, number]) for number, shape in enumerate(shapes)]


TARGET = network(6, 5, 3)
X = 2 * uniform(200, 6, seed=7)


# subset sums


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9, 12])
def test_meeting_in_the_middle_finds_what_looking_at_all_subsets_finds(n):
    targets, numbers = uniform(60, seed=n), uniform(60, n, seed=n + 1)
    met, looked = lottery.nearest(targets, numbers), lottery.exhaustive(targets, numbers)
    np.testing.assert_array_equal(met.chosen, looked.chosen)
    np.testing.assert_array_equal(met.sums, looked.sums)
    np.testing.assert_array_equal(met.sums, np.where(met.chosen, numbers, 0).sum(axis=1))


def test_with_ties_the_distance_is_still_the_least():
    numbers = np.random.default_rng(0).integers(-4, 5, (300, 8)) / 8  # exact in binary, with many equal sums
    targets = np.random.default_rng(1).integers(-20, 21, 300) / 16
    met, looked = lottery.nearest(targets, numbers), lottery.exhaustive(targets, numbers)
    np.testing.assert_array_equal(np.abs(met.sums - targets), np.abs(looked.sums - targets))


def test_a_planted_subset_is_found_among_thirty_numbers():
    numbers = uniform(3, 30)
    planted = np.random.default_rng(1).random((3, 30)) < 0.5
    targets = np.where(planted, numbers, 0).sum(axis=1)
    np.testing.assert_allclose(lottery.nearest(targets, numbers).sums, targets, atol=1e-8, rtol=0)


def test_blocks_of_targets_change_nothing(monkeypatch):
    targets, numbers = uniform(50), uniform(50, 8, seed=1)
    whole = lottery.nearest(targets, numbers)
    monkeypatch.setattr(lottery.subset_sum, "_BLOCK", 100)
    np.testing.assert_array_equal(lottery.nearest(targets, numbers).chosen, whole.chosen)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_powers_of_two_reach_every_number_within_half_their_smallest(n):
    # The sums are all multiples of 2^-n in [-1, 1 - 2^-n].
    numbers = np.append(0.5 ** np.arange(1, n + 1), -1)
    assert lottery.reach(numbers) == pytest.approx([0.5 ** (n + 1)], abs=1e-15)


def test_the_reach_is_no_less_than_at_any_point_of_a_grid_and_met_by_a_fine_one():
    numbers = uniform(4, 6)
    grid = np.linspace(-0.5, 0.5, 20_001)
    for own, reach in zip(numbers, lottery.reach(numbers), strict=True):
        sums = lottery.exhaustive(grid, np.tile(own, (len(grid), 1))).sums
        assert reach - 1e-4 <= np.abs(sums - grid).max() <= reach + 1e-12


def test_without_numbers_only_zero_is_reached():
    assert lottery.reach(np.zeros((1, 0)), radius=0.25) == pytest.approx([0.25])


def test_theorem1_lemma_the_worst_error_falls_exponentially_with_the_numbers():
    counts = np.arange(6, 15)
    errors = [np.median(lottery.reach(uniform(60, n, seed=n))) for n in counts]
    assert 0.6 < lottery.decay(counts, errors) < 1.1  # powers of two per number: at most one, as sums double


def test_the_slope_of_an_exact_exponential_is_its_rate():
    assert lottery.decay(np.arange(5), 3 * 0.5 ** (0.7 * np.arange(5))) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lottery.nearest(np.zeros(2), np.zeros(3)), "a row of numbers for each"),
        (lambda: lottery.nearest(np.zeros(1), np.zeros((1, 41))), "at most 40"),
        (lambda: lottery.exhaustive(np.zeros(1), np.zeros((1, 21))), "at most 20"),
        (lambda: lottery.nearest(np.array([np.nan]), np.zeros((1, 2))), "finite"),
        (lambda: lottery.reach(np.zeros((1, 2)), radius=0), "radius must be positive"),
        (lambda: lottery.decay([1], [0.1]), "at least two errors"),
        (lambda: lottery.find(TARGET, 0, seed=0), "from 1 to 24"),
        (lambda: lottery.find([], 4, seed=0), "at least one"),
        (lambda: lottery.find([np.zeros((2, 3)), np.zeros((2, 3))], 4, seed=0), "cannot follow"),
    ],
)
def test_wrong_input_is_refused_with_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# the construction


def test_theorem1_the_random_network_with_masks_is_the_ticket():
    """Eq. 6 in full matrices of i.i.d. weights, with ReLU between the 2n layers."""
    ticket = lottery.find(TARGET, 6, seed=3)
    pairs = ticket.matrices()
    assert len(pairs) == 2 * len(TARGET)
    masked = [np.where(mask, weights, 0) for weights, mask in pairs]
    np.testing.assert_allclose(ticket.factor * lottery.answers(masked, X), ticket(X), atol=1e-12)
    assert ticket.weights == (sum(mask.sum() for _, mask in pairs), sum(mask.size for _, mask in pairs))


def test_the_random_weights_are_drawn_before_anything_is_chosen_and_are_uniform():
    one, other = (lottery.find(network(12, 10, 3, seed=seed), 8, seed=3).matrices() for seed in (0, 1))
    for (weights, mask), (again, another) in zip(one, other, strict=True):
        np.testing.assert_array_equal(weights, again)
        assert not np.array_equal(mask, another) or mask.all()
    drawn = np.concatenate([weights.ravel() for weights, _ in one])
    assert np.abs(drawn).max() <= 1
    assert drawn.mean() == pytest.approx(0, abs=4 / np.sqrt(3 * len(drawn)))
    assert drawn.var() == pytest.approx(1 / 3, abs=4 * np.sqrt(4 / 45 / len(drawn)))


def test_each_neuron_keeps_one_incoming_weight_and_serves_one_coordinate():
    entering = lottery.find(network(12, 10, 3), 8, seed=3).matrices()[0][1]
    assert set(entering.sum(axis=1)) <= {0, 1}


def test_with_many_coordinates_hardly_a_place_stays_empty():
    for layer in lottery.find(network(40, 20, 3), 8, seed=3).layers:
        assert (layer.neuron < 0).sum() <= 3
        placed = layer.neuron[layer.neuron >= 0]
        assert len(np.unique(placed)) == len(placed)


def test_bunches_of_the_first_layer_have_both_signs_and_later_ones_are_positive():
    first, second = lottery.find(network(40, 20, 3), 8, seed=3).layers
    assert (first.entering[:, :8] >= 0).all()
    assert (first.entering[:, 8:] <= 0).all()
    assert (second.entering >= 0).all()


def test_the_gadgets_amount_to_two_weights_one_for_each_sign_of_the_input():
    ticket = lottery.find([TARGET[0]], 6, seed=0)
    ((plus, minus),) = ticket.signed
    np.testing.assert_allclose(
        ticket(X), ticket.factor * (np.maximum(X, 0) @ plus.T - np.maximum(-X, 0) @ minus.T), atol=1e-12
    )


def test_a_network_that_the_products_hold_is_found_exactly():
    """Targets planted as subset sums of the very products that the draw gives."""
    layer = lottery.find([np.zeros((3, 6))], 10, seed=5).layers[0]
    products = np.abs(layer.entering) * layer.leaving
    planted = products[:, :, :2].sum(axis=2) * (np.abs(products[:, :, :2].sum(axis=2)) <= 0.5)
    found = lottery.find([planted], 10, seed=5)
    np.testing.assert_allclose(found.signed[0][0], planted, atol=1e-9)


def test_products_of_two_uniform_numbers_have_the_density_that_is_said():
    products = np.prod(uniform(400_000, 2), axis=1)
    inside = np.abs(products) <= 0.5
    assert inside.mean() == pytest.approx(0.5 + np.log(2) / 2, abs=0.003)  # the integral of -log|z| / 2
    outer = ((np.abs(products) > 0.45) & inside).mean() / 0.1
    assert outer > np.log(2) / 2


def test_larger_weights_are_scaled_and_the_answers_stay():
    large = [3 * matrix for matrix in TARGET]
    small = lottery.bounded(large)
    assert max(np.abs(matrix).max() for matrix in small.matrices) <= 0.5
    np.testing.assert_allclose(small.factor * lottery.answers(small.matrices, X), lottery.answers(large, X))
    assert lottery.bounded(TARGET).factor == 1
    ticket = lottery.find(large, 16, seed=0)
    np.testing.assert_allclose(ticket(X), lottery.answers(large, X), atol=0.5)


def test_theorem1_the_sampled_error_is_below_the_worst_found_which_is_below_the_bound():
    for per_weight in (2, 6, 12):
        ticket = lottery.find(TARGET, per_weight, seed=1)
        sampled = np.abs(ticket(X) - lottery.answers(TARGET, X)).max()
        apart = lottery.distance(TARGET, ticket.signed, np.full(6, -2.0), np.full(6, 2.0))
        assert 0 < sampled <= apart.found <= apart.bound


def test_of_one_layer_the_worst_input_is_found_exactly():
    ticket = lottery.find([TARGET[0]], 4, seed=1)
    ((plus, minus),) = ticket.signed
    expected = np.maximum(np.abs(plus - TARGET[0]), np.abs(minus - TARGET[0])).sum(axis=1).max()
    apart = lottery.distance([TARGET[0]], ticket.signed, -np.ones(6), np.ones(6))
    assert apart.bound == pytest.approx(expected)
    assert apart.found >= 0.7 * expected  # one sign per coordinate: steps to corners may end in a local one


def test_theorem1_the_error_falls_exponentially_and_wide_networks_nearly_always_hold_the_target():
    counts, low, high = (4, 8, 12, 16), np.full(6, -1.0), np.full(6, 1.0)
    bounds = [
        [lottery.distance(TARGET, lottery.find(TARGET, n, seed=seed).signed, low, high).bound for seed in range(12)]
        for n in counts
    ]
    medians = np.median(bounds, axis=1)
    assert (np.diff(medians) < 0).all()
    assert lottery.decay(counts, medians) > 0.4
    failed = [np.mean(np.array(own) > 0.1) for own in bounds]
    assert failed[0] == 1
    assert failed[-1] <= 0.25


# scores of frozen random weights

RECIPE = Recipe(epochs=3, batch=16, optimizer="sgd", lr=0.1, momentum=0.9)
DATA = (torch.randn(96, 8, generator=torch.Generator().manual_seed(0)), torch.arange(96) % 3)


def build():
    return models.build("mlp12", (8,), 3)


class Watch(training.Hooks):
    """Keeps the weights after each epoch."""

    observes = True

    def __init__(self):
        self.seen = []

    def after_epoch(self, run):
        self.seen.append([parameter.detach().clone() for parameter in run.model.parameters()])


def test_scores_are_trained_and_the_weights_are_those_that_were_drawn():
    watch = Watch()
    fitted = training.fit(build, DATA, RECIPE, defenses=[EdgePopup(0.3)], hooks=[watch], seed=1)
    frozen, scores = fitted.carried["edge_popup"]["frozen"], fitted.carried["edge_popup"]["scores"]
    for after in watch.seen:
        for weights, drawn in zip(after, frozen, strict=True):
            kept = weights != 0
            assert torch.equal(weights[kept], drawn[kept])
            assert kept.sum() == round(0.3 * weights.numel())
    changed = [not torch.equal(a != 0, b != 0) for a, b in zip(watch.seen[0], watch.seen[-1], strict=True)]
    assert any(changed), "other weights are kept than at first"
    for weights, drawn, score in zip(watch.seen[-1], frozen, scores, strict=True):
        assert torch.equal(weights, drawn * largest(score, 0.3))


def test_a_step_follows_the_straight_through_gradient():
    recipe = Recipe(epochs=1, batch=96, lr=0.5, momentum=0)
    after = training.fit(build, DATA, recipe, defenses=[EdgePopup(0.5)], seed=2)
    frozen, scores = (after.carried["edge_popup"][name] for name in ("frozen", "scores"))
    # With steps of no length, those that were drawn.
    start = training.fit(build, DATA, replace(recipe, lr=1e-30), defenses=[EdgePopup(0.5)], seed=2)
    first = start.carried["edge_popup"]["scores"]
    weights = [(w * largest(s, 0.5)).requires_grad_() for w, s in zip(frozen, first, strict=True)]
    answers = torch.relu(DATA[0] @ weights[0].T) @ weights[1].T
    nn.functional.cross_entropy(answers, DATA[1]).backward()
    for score, was, weight, drawn in zip(scores, first, weights, frozen, strict=True):
        torch.testing.assert_close(score, was - 0.5 * weight.grad * drawn)


def test_an_interrupted_search_goes_on_bit_for_bit(tmp_path):
    class Stop(training.Hooks):
        observes = True

        def after_epoch(self, run):
            if run.epoch == 2 and not (tmp_path / "went").exists():
                (tmp_path / "went").touch()
                raise KeyboardInterrupt

    def search(path, **how):
        return training.fit(
            build, DATA, RECIPE, defenses=[EdgePopup(0.3)], seed=1, checkpoint=path, save_every=0, **how
        )

    whole = search(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "cut", hooks=[Stop()])
    resumed = search(tmp_path / "cut")
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_share_kept_is_exact_and_never_empty():
    scores = torch.arange(10.0).view(2, 5)
    assert largest(scores, 0.3).flatten().tolist() == [False] * 7 + [True] * 3
    assert largest(scores, 0.001).sum() == 1


@pytest.mark.parametrize("keep", [0, 1.1, -0.5])
def test_a_share_that_keeps_nothing_or_more_than_all_is_refused(keep):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        EdgePopup(keep)


def test_models_with_biases_are_refused_with_one_that_fits():
    with pytest.raises(ValueError, match="take one without, such as mlp64_32"):
        training.fit(lambda: models.build("tabular", (8,), 3), DATA, RECIPE, defenses=[EdgePopup()])
    with pytest.raises(ValueError, match="take mlp64_32"):
        matrices_of(models.build("tabular", (8,), 3))
    with pytest.raises(ValueError, match="take mlp64_32"):
        matrices_of(models.build("lenet5", (1, 28, 28), 10))


# cells

PIPELINE = Pipeline("digits", "mlp6_5", (Phase(Recipe(epochs=2, batch=32, optimizer="adam", lr=0.01)),))
CELL = Inherited(Models(PIPELINE, (2,), weights=(2,)), attacks=("gap", "confidence"), count=3)


def test_the_network_as_matrices_answers_as_the_model_does():
    (model,) = rebuild(CELL.target, drawn_cell(CELL.target))
    x = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = training.logits(model, x).numpy()
    np.testing.assert_allclose(lottery.answers(matrices_of(model), x.flatten(1).numpy()), expected, atol=1e-4)


def test_theorem1_accuracy_and_attack_are_inherited_where_the_network_is_wide_and_not_where_it_is_narrow():
    trained = made(CELL.target)
    trained.info["made_with"] = {"device": "cpu"}
    plain, narrow, wide = (made(replace(CELL, per_weight=n), [trained]) for n in (0, 1, 16))
    for number in range(2):
        f, poor, g = (cell.info["rows"][number] for cell in (plain, narrow, wide))
        assert (f["method"], poor["method"], g["method"]) == ("none", "subset_sum", "subset_sum")
        for name in ("train_accuracy", "test_accuracy", "auc"):
            assert g[name] == pytest.approx(f[name], abs=0.02)
        assert g["changed"] < 0.02 < poor["changed"]
        assert f["weights"] == 64 * 6 + 6 * 5 + 5 * 10 < g["weights"] < g["random_weights"]
    assert wide.info["rows"][0]["output_error"] < narrow.info["rows"][0]["output_error"]
    seen, worst, bound = np.array(wide.info["errors"]).T
    assert (seen <= worst).all()
    assert (worst <= bound).all()
    np.testing.assert_array_equal(plain.arrays["logits"], trained.arrays["logits_2"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": replace(CELL.target, weights=())}, "the model itself is needed"),
        ({"target": replace(CELL.target, count=2)}, "one model, not 2"),
        ({"per_weight": 25}, "0 to 24"),
        ({"count": 0}, "a count from 1"),
        ({"tolerance": 0.0}, "tolerance above 0"),
    ],
)
def test_cells_that_cannot_be_made_are_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CELL, **changes)


def test_theorem1_tells_trained_from_random_and_draws_new_networks_in_each_repetition():
    cells = theorem1.THEOREM1.grid("smoke", seeds=(0,))
    assert [cell.columns()["method"] for cell in cells] == ["none", *["subset_sum"] * (len(cells) - 2), "edge_popup"]
    assert "epoch" in cells[0].columns()
    assert len({cell.needs() for cell in cells}) == 2, "the target is trained once"
