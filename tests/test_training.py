"""The training loop against hand-written loops: order, randomness, sources, logits, progress."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_cases import SMALL, batches_of, dropout_mlp, mlp, points, same

from mialab.progress import bar
from mialab.seeds import derive, forked, generator
from mialab.training import Constant, Cosine, Cyclic, Hooks, Recipe, Steps, fit, fit_many, logits
from mialab.training.augment import augment
from mialab.training.recipe import optimizer_for

# Recipe


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"epochs": -1}, "epochs"),
        ({"epochs": 2.5}, "epochs"),
        ({"batch": 0}, "batch"),
        ({"optimizer": "adamw"}, "sgd, adam"),
        ({"lr": 0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": 0, "nesterov": True}, "nesterov"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"schedule": "cosine"}, "schedule"),
        ({"epochs": 10, "schedule": Cyclic(3)}, "cycles that divide the 10 epochs"),
        ({"warmup": -1}, "warmup"),
        ({"warmup": 0.5}, "warmup"),
        ({"augment": ("rotate",)}, "crop, flip"),
        ({"augment": "crop"}, "tuple"),
    ],
)
def test_an_impossible_recipe_is_refused_by_name(settings, named):
    with pytest.raises(ValueError, match=named):
        Recipe(**{"epochs": 1} | settings)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Steps((5, 3)), "milestones"),
        (lambda: Steps((0, 3)), "milestones"),
        (lambda: Steps((1,), factor=0), "factor"),
        (lambda: Cyclic(0), "cycles"),
    ],
)
def test_an_impossible_schedule_is_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_a_recipe_read_from_json_equals_the_one_written():
    assert Recipe(2, schedule=Steps([1]), augment=["flip"]) == Recipe(2, schedule=Steps((1,)), augment=("flip",))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (torch.optim.SGD, {"lr": 0.3, "momentum": 0.7, "nesterov": True, "weight_decay": 0.2}),
        (torch.optim.SGD, {"momentum": 0.7, "nesterov": False}),
        (torch.optim.Adam, {"lr": 0.3, "betas": (0.5, 0.6), "weight_decay": 0.2}),
    ],
)
def test_every_setting_of_a_recipe_reaches_its_optimizer(kind, settings):
    optimizer = optimizer_for(mlp().parameters(), Recipe(1, optimizer=kind.__name__.lower(), **settings))
    assert type(optimizer) is kind
    assert settings.items() <= optimizer.param_groups[0].items()


# The learning rate


def rates(schedule, epochs=6, steps=5, lr=0.3, warmup=0):
    recipe = Recipe(epochs, lr=lr, schedule=schedule, warmup=warmup)
    return torch.tensor([recipe.rate(step, steps) for step in range(epochs * steps)], dtype=torch.float64)


def test_rates_in_steps_are_those_of_repeated_multiplication():
    lr, by_hand = 0.3, []
    for epoch in range(1, 7):
        by_hand += [lr] * 5
        if epoch in (2, 3):
            lr *= 0.1
    assert rates(Steps((2, 3, 99))).tolist() == by_hand, "bit for bit"
    assert rates(Constant()).tolist() == [0.3] * 30


def test_a_cosine_starts_at_the_rate_passes_its_half_and_would_end_at_zero():
    found = rates(Cosine())
    assert found[0] == 0.3
    assert found[15] == pytest.approx(0.15)
    assert (found.diff() < 0).all()
    assert found[29] == pytest.approx(0.3 * (1 + torch.cos(torch.tensor(29 * torch.pi / 30)).item()) / 2, rel=1e-4)


def test_cycles_restart_and_one_of_them_is_a_cosine():
    found = rates(Cyclic(3)).view(3, 10)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert torch.equal(found[0], rates(Cosine(), epochs=2))
    assert torch.equal(rates(Cyclic(1)), rates(Cosine()))


def test_warm_up_rises_linearly_to_the_schedule():
    found = rates(Constant(), warmup=2)
    torch.testing.assert_close(found[:10], 0.03 * torch.arange(1, 11, dtype=torch.float64))
    assert (found[10:] == 0.3).all()
    assert torch.equal(rates(Steps((3,)), warmup=2)[10:], rates(Steps((3,)))[10:])


@pytest.mark.parametrize("schedule", [Constant(), Steps((1, 3)), Cosine(), Cyclic(2)])
@pytest.mark.parametrize("warmup", [0, 1])
def test_training_takes_the_rates_of_the_recipe(schedule, warmup):
    class Watch(Hooks):
        def after_step(self, run):
            seen.append(run.optimizer.param_groups[0]["lr"])

    seen, recipe = [], replace(SMALL, epochs=4, schedule=schedule, warmup=warmup)
    history = fit(mlp, points(), recipe, hooks=[Watch()]).history
    expected = [recipe.rate(step, 4) for step in range(16)]
    assert seen == expected
    assert [row["lr"] for row in history] == expected[3::4]


def test_a_rate_that_changes_within_an_epoch_needs_a_source_that_knows_its_length():
    class Endless:
        def __iter__(self):
            return iter(batches_of(points()))

    fit(mlp, Endless(), replace(SMALL, schedule=Steps((1,))))
    with pytest.raises(ValueError, match="__len__"):
        fit(mlp, Endless(), replace(SMALL, schedule=Cosine()))


# The loop


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_fit_equals_the_hand_written_loop_bit_for_bit(optimizer):
    x, y = points()
    recipe = replace(SMALL, optimizer=optimizer, weight_decay=0.01, schedule=Steps((2,)))
    with forked(derive(4, "init")):
        model = mlp()
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    extra = {"momentum": 0.9} if optimizer == "sgd" else {}
    by_hand = kind(model.parameters(), lr=0.01, weight_decay=0.01, fused=True, **extra)
    for epoch in (1, 2, 3):
        by_hand.param_groups[0]["lr"] = 0.001 if epoch == 3 else 0.01
        hits, losses = 0, 0.0
        for rows in torch.randperm(50, generator=generator(4, "order", epoch)).split(16):
            outputs = model(x[rows])
            loss = F.cross_entropy(outputs, y[rows])
            by_hand.zero_grad()
            loss.backward()
            by_hand.step()
            hits += (outputs.argmax(1) == y[rows]).sum().item()
            losses += loss.item() * len(rows)
    fitted = fit(mlp, (x, y), recipe, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(fitted.model.parameters(), model.parameters(), strict=True))
    last = fitted.history[-1]
    assert (last["epoch"], last["accuracy"]) == (3, hits / 50)
    assert last["loss"] == pytest.approx(losses / 50)
    assert [row["lr"] for row in fitted.history] == pytest.approx([0.01, 0.01, 0.001])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    data = points()
    assert same(fit(dropout_mlp, data, SMALL, seed=1), fit(dropout_mlp, data, SMALL, seed=1))
    assert not same(fit(dropout_mlp, data, SMALL, seed=1), fit(dropout_mlp, data, SMALL, seed=2))


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fit(dropout_mlp, points(), SMALL)
    fit_many(mlp, points(), SMALL, seeds=[0, 1])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_random_state_does_not_change_the_weights():
    torch.manual_seed(0)
    a = fit(dropout_mlp, points(), SMALL)
    torch.manual_seed(1)
    assert same(a, fit(dropout_mlp, points(), SMALL))


def test_every_sample_is_seen_once_per_epoch_in_a_new_order_with_the_last_batch_kept():
    seen = []

    class Watch(Hooks):
        def batch(self, run, x, y):
            seen.append((run.epoch, x[:, 0].tolist()))
            return x, y

    x = torch.arange(50.0)[:, None].expand(50, 6)
    fit(mlp, (x, points()[1]), replace(SMALL, epochs=2), hooks=[Watch()])
    assert [len(part) for _, part in seen] == [16, 16, 16, 2] * 2
    first, second = ([value for epoch, part in seen for value in part if epoch == e] for e in (1, 2))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_integer_images_reach_the_model_as_they_are():
    kinds = set()

    class Raw(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(192, 3)

        def forward(self, x):
            kinds.add((x.dtype, tuple(x.shape[1:])))
            return self.linear(x.flatten(1) / 255)

    x = torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8)
    model = fit(Raw, (x, torch.arange(20) % 3), replace(SMALL, augment=("crop", "flip"))).model
    logits(model, x)
    assert kinds == {(torch.uint8, (3, 8, 8))}


def test_a_loss_that_is_not_finite_is_said():
    with pytest.warns(UserWarning, match="lower the learning rate"):
        fit(mlp, points(), replace(SMALL, optimizer="sgd", lr=1e38))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ((torch.zeros(3, 6), torch.zeros(2, dtype=torch.int64)), "3 rows and y 2"),
        ((torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64)), "at least 1"),
        ((torch.zeros(3, 6), torch.zeros(3)), "int64"),
        ((torch.zeros(3, 6), torch.tensor([0, -100, 1])), "at least 0, not -100"),
    ],
)
def test_data_that_do_not_fit_together_are_refused(data, cause):
    with pytest.raises(ValueError, match=cause):
        fit(mlp, data, SMALL)


def test_augmenting_a_table_is_refused():
    with pytest.raises(ValueError, match="augment needs images"):
        fit(mlp, points(), replace(SMALL, augment=("flip",)))


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="build must return"):
        fit(lambda: None, points(), SMALL)


# Augmentation


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_crop_is_a_window_of_its_own_padded_image_and_all_windows_occur(dtype):
    x = torch.randint(1, 255, (400, 2, 16, 8)).to(dtype)
    cropped = augment(x, ("crop",), torch.Generator().manual_seed(0))
    padded = F.pad(x, (1, 1, 2, 2))
    found = torch.zeros(5, 3)
    for image, wide in zip(cropped, padded, strict=True):
        places = [(a, b) for a in range(5) for b in range(3) if torch.equal(image, wide[:, a : a + 16, b : b + 8])]
        assert len(places) == 1
        found[places[0]] += 1
    assert cropped.dtype == dtype
    assert found.min() > 10  # 27 expected in each of the 15 places


def test_about_half_of_the_images_are_flipped_left_to_right():
    x = torch.rand(400, 1, 4, 4)
    flipped = augment(x, ("flip",), torch.Generator().manual_seed(0))
    changed = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(flipped, x, strict=True)])
    assert torch.equal(flipped[~changed], x[~changed])
    assert 150 < changed.sum() < 250


def test_images_of_32_pixels_are_padded_by_4():
    x = torch.ones(2000, 1, 32, 32)
    rows = augment(x, ("crop",), torch.Generator().manual_seed(0))[:, 0].amax(2).sum(1)
    assert set(rows.tolist()) == {28, 29, 30, 31, 32}


# Sources of batches


def test_a_source_of_batches_trains_like_the_same_batches_in_memory():
    class InOrder(Hooks):
        def batches(self, run):
            return batches_of((run.x, run.y))

    data = points()
    assert same(fit(mlp, batches_of(data), SMALL), fit(mlp, data, SMALL, hooks=[InOrder()]))


def test_a_source_is_told_the_epoch():
    class Source(list):
        def set_epoch(self, epoch):
            told.append(epoch)

    told = []
    fit(mlp, Source(batches_of(points())), SMALL)
    assert told == [1, 2, 3]


def test_a_source_that_can_be_read_only_once_is_refused():
    with pytest.raises(TypeError, match="iterated anew"):
        fit(mlp, iter(batches_of(points())), SMALL)


def test_an_empty_source_is_refused():
    with pytest.raises(ValueError, match="not empty"):
        fit(mlp, [], SMALL)


# Logits


def test_logits_come_in_eval_mode_and_restore_the_mode_of_each_part():
    model = dropout_mlp().train()
    model[3].eval()
    x = points()[0]
    scored = logits(model, x, batch=7)
    assert [part.training for part in model] == [True, True, True, False]
    assert not scored.requires_grad
    assert scored.dtype == torch.float32
    torch.testing.assert_close(scored, model.eval()(x).detach())


def test_logits_of_a_source_come_with_its_labels():
    model, (x, y) = mlp(), points()
    scored, labels = logits(model, batches_of((x, y)))
    assert torch.equal(labels, y)
    torch.testing.assert_close(scored, logits(model, x))


# Progress


def test_training_prints_nothing_where_nobody_watches(capfd):
    fit(mlp, points(), SMALL, progress=True)
    fit_many(mlp, points(), SMALL, seeds=[0, 1], progress=True)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_unless_it_is_not_wanted(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert list(bar(range(3), show=True, unit="epoch")) == [0, 1, 2]
    assert "0/3" in capsys.readouterr().err
    assert list(bar(range(3), show=False, unit="epoch")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
