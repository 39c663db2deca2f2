"""Each hook of a defense does what the loop promises, shown on defenses small enough to check by hand."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_cases import SMALL, distance, double, dropout_mlp, mlp, points, same

from mialab import models
from mialab.seeds import derive, forked, generator
from mialab.training import Hooks, Recipe, Steps, fit, logits


class Trace(Hooks):
    """Notes each call of each hook."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def _note(self, hook, result=None):
        self.calls.append(f"{self.name}.{hook}")
        return result

    def prepare(self, run):
        assert run.optimizer is None
        self._note("prepare")

    def wrap(self, run, optimizer):
        return self._note("wrap", optimizer)

    def batch(self, run, x, y):
        return self._note("batch", (x, y))

    def before_step(self, run, x, y):
        self._note("before_step")

    def penalty(self, run, x, y, outputs):
        return self._note("penalty", 0.0 * outputs.sum())

    def after_step(self, run):
        self._note("after_step")

    def after_epoch(self, run):
        self._note("after_epoch")

    def end(self, run):
        self._note("end")


def test_hooks_run_in_the_order_of_their_list_at_their_moment():
    calls = []
    fit(mlp, points(16), replace(SMALL, epochs=1), hooks=[Trace("a", calls), Trace("b", calls)])
    moments = ["prepare", "wrap", "batch", "before_step", "penalty", "after_step", "after_epoch", "end"]
    assert calls == [f"{name}.{moment}" for moment in moments for name in "ab"]


def test_defenses_that_do_nothing_change_nothing():
    assert same(fit(dropout_mlp, points(), SMALL), fit(dropout_mlp, points(), SMALL, hooks=[Trace("a", [])]))


def test_a_hook_that_draws_from_its_generator_leaves_the_order_of_samples_alone():
    class Draw(Hooks):
        def before_step(self, run, x, y):
            torch.rand(5, generator=run.generator)

    assert same(fit(mlp, points(), SMALL), fit(mlp, points(), SMALL, hooks=[Draw()]))


def test_a_quadratic_penalty_equals_weight_decay():
    class Quadratic(Hooks):
        def penalty(self, run, x, y, outputs):
            return 0.05 * sum((p**2).sum() for p in run.model.parameters())

    recipe = replace(SMALL, optimizer="sgd", epochs=5)
    data = points(dtype=torch.float64)
    by_penalty = fit(double(mlp), data, recipe, hooks=[Quadratic()])
    by_decay = fit(double(mlp), data, replace(recipe, weight_decay=0.1))
    assert distance(by_penalty, by_decay) < 1e-14
    assert by_penalty.history[-1]["loss"] > by_decay.history[-1]["loss"]


def test_a_mask_held_after_each_step_keeps_weights_at_zero():
    class Mask(Hooks):
        def after_step(self, run):
            with torch.no_grad():
                run.model[0].weight[:, ::2] = 0

    model = fit(mlp, points(), replace(SMALL, weight_decay=0.1), hooks=[Mask()]).model
    assert (model[0].weight[:, ::2] == 0).all()
    assert (model[0].weight[:, 1::2] != 0).all()


def test_gradients_that_a_hook_leaves_in_the_model_are_cleared():
    class Game(Hooks):
        def before_step(self, run, x, y):
            run.model(x).sum().backward()

    assert same(fit(mlp, points(), SMALL), fit(mlp, points(), SMALL, hooks=[Game()]))


def test_mixed_labels_train_on_the_cross_entropy_of_the_mixture():
    class Mixup(Hooks):
        def batch(self, run, x, y):
            share = torch.rand((), generator=run.generator)
            other = torch.randperm(len(y), generator=run.generator)
            y = F.one_hot(y, 3).float()
            return share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]

    history = fit(mlp, points(300), replace(SMALL, epochs=15), hooks=[Mixup()]).history
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["accuracy"] > 0.6


def test_images_that_a_hook_has_normalised_itself_train_like_raw_ones():
    class Normalised(Hooks):
        def batch(self, run, x, y):
            kinds.add(x.dtype)
            return run.model.scale(x), y

    kinds = set()
    x = torch.randint(256, (40, 3, 8, 8), generator=generator(0, "x"), dtype=torch.uint8)
    scale = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    data, make = (x, torch.arange(40) % 3), partial(models.build, "small_cnn", (3, 8, 8), 3, scale=scale)
    assert same(fit(make, data, SMALL), fit(make, data, SMALL, hooks=[Normalised()]))
    assert kinds == {torch.uint8}


class Sampled(Hooks):
    """Poisson sampling: each sample joins a batch by its own coin, so that batches may be empty."""

    def __init__(self, rate):
        self.rate, self.sizes = rate, []

    def batches(self, run):
        for _ in range(40):
            chosen = torch.rand(len(run.y), generator=run.generator) < self.rate
            self.sizes.append(int(chosen.sum()))
            yield run.x[chosen], run.y[chosen]


def test_a_defense_may_supply_batches_of_any_size_even_none():
    sampled = Sampled(rate=0.03)
    fitted = fit(mlp, points(), SMALL, hooks=[sampled])
    assert {0, 1, 2} < set(sampled.sizes)
    assert all(row["loss"] < 10 for row in fitted.history)
    assert all(torch.isfinite(p).all() for p in fitted.model.parameters())


def test_a_model_with_several_outputs_trains_on_the_loss_of_its_defense():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x):
            a, b = self.a(x), self.b(x)
            return (a + b) / 2, a, b

    class EachHead(Hooks):
        def loss(self, run, outputs, y):
            return sum(F.cross_entropy(head, y) for head in outputs[1:])

    model = fit(Heads, points(), replace(SMALL, epochs=1), hooks=[EachHead()]).model
    alone = fit(Heads, points(), replace(SMALL, epochs=1), hooks=[EachHead()]).model
    assert torch.equal(logits(model, points()[0]), alone(points()[0])[0])


def test_a_wrapped_model_trains_and_the_built_one_comes_back():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)

    class Wrap(Hooks):
        def prepare(self, run):
            run.model = Wrapper(run.model)

    fitted = fit(mlp, points(), SMALL, hooks=[Wrap()])
    assert same(fitted, fit(mlp, points(), SMALL))


def test_a_wrapped_optimizer_takes_the_steps():
    class Signs(Hooks):
        def wrap(self, run, optimizer):
            optimizer.register_step_pre_hook(self._signs)
            return optimizer

        def _signs(self, optimizer, *_):
            for p in optimizer.param_groups[0]["params"]:
                p.grad.sign_()

    recipe = Recipe(epochs=1, batch=50, lr=0.5, momentum=0)
    with forked(derive(0, "init")):
        start = mlp()
    moved = fit(mlp, points(), recipe, hooks=[Signs()]).model
    steps = [(a - b).abs() for a, b in zip(moved.parameters(), start.parameters(), strict=True)]
    assert all(torch.allclose(step, torch.tensor(0.5)) for step in steps)


class PerSample(Hooks):
    """Opacus's optimizer without noise, and with a clip that no gradient reaches."""

    def prepare(self, run):
        run.model = pytest.importorskip("opacus").GradSampleModule(run.model)

    def wrap(self, run, optimizer):
        kind = pytest.importorskip("opacus.optimizers").DPOptimizer
        return kind(optimizer, noise_multiplier=0.0, max_grad_norm=1e6, expected_batch_size=run.recipe.batch)


@pytest.mark.filterwarnings("ignore:Full backward hook")  # the first layer's input needs no gradient
def test_per_sample_gradients_without_noise_train_like_the_plain_optimizer():
    data, recipe = points(48, dtype=torch.float64), replace(SMALL, optimizer="sgd")
    assert distance(fit(double(mlp), data, recipe), fit(double(mlp), data, recipe, hooks=[PerSample()])) < 1e-6


def test_a_penalty_beside_an_optimizer_that_would_overwrite_its_gradient_is_refused():
    class Quadratic(Hooks):
        def penalty(self, run, x, y, outputs):
            return sum((p**2).sum() for p in run.model.parameters())

    for hooks in ([Quadratic(), PerSample()], [PerSample(), Quadratic()]):
        with pytest.raises(ValueError, match="penalty.*DPOptimizer"):
            fit(mlp, points(), SMALL, hooks=hooks)


def test_a_defense_sets_learning_rates_that_milestones_still_lower():
    class Restart(Hooks):
        def after_epoch(self, run):
            if run.epoch == 2:
                run.optimizer.param_groups[0]["lr"] = 0.5

    recipe = replace(SMALL, epochs=5, schedule=Steps((1, 4)))
    history = fit(mlp, points(), recipe, hooks=[Restart()]).history
    assert [row["lr"] for row in history] == pytest.approx([0.01, 0.001, 0.5, 0.5, 0.05])


def test_a_defense_ends_training_early():
    class Stop(Hooks):
        def after_epoch(self, run):
            run.stop = run.history[-1]["epoch"] == 2

    assert [row["epoch"] for row in fit(mlp, points(), SMALL, hooks=[Stop()]).history] == [1, 2]


def test_a_recorder_scores_the_model_without_changing_it():
    class Recorder(Hooks):
        def __init__(self):
            self.rows = []

        def after_epoch(self, run):
            self.rows.append(logits(run.model, run.x))

    recorder = Recorder()
    fitted = fit(dropout_mlp, points(), SMALL, hooks=[recorder])
    assert same(fitted, fit(dropout_mlp, points(), SMALL))
    assert torch.equal(recorder.rows[-1], logits(fitted.model, points()[0]))


@pytest.mark.parametrize("wrong", [object(), Trace])
def test_what_answers_no_hook_is_refused(wrong):
    with pytest.raises(TypeError, match="no hooks"):
        fit(mlp, points(), SMALL, hooks=[wrong])


def test_two_suppliers_of_batches_are_refused():
    with pytest.raises(ValueError, match="only one can"):
        fit(mlp, points(), SMALL, hooks=[Sampled(0.5), Sampled(0.5)])
