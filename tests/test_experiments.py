from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from mialab import data, models, seeds, training
from mialab.experiments import configuration, names, target, targets
from mialab.store import Store


@pytest.fixture(scope="module")
def small():
    """The smoke textures target, cut down to what runs in a second."""
    base = configuration("textures", "smoke")
    return replace(base, samples=(60, 80), epochs=(1, 3), recipe=replace(base.recipe, epochs=3))


def test_a_target_keeps_the_logits_of_members_and_nonmembers_at_the_named_epochs(small, tmp_path):
    run = targets.Run(small, targets.train(small))
    outputs = run.outputs(3)
    assert outputs.logits.shape == (1, 140, 10)
    assert outputs.member.sum() == 60
    assert [row["epoch"] for row in run.history] == [1, 3] == list(run.epochs)
    right = outputs.logits[0].argmax(1) == outputs.labels
    assert run.history[-1]["train_accuracy"] == pytest.approx(right[outputs.member].mean())
    assert run.history[-1]["test_accuracy"] == pytest.approx(right[~outputs.member].mean())
    with pytest.raises(KeyError, match="kept: 1, 3"):
        run.outputs(2)


def test_a_target_is_trained_once(small, tmp_path, monkeypatch):
    monkeypatch.setitem(targets.BY_PRESET["smoke"], "textures", small)
    first = target("textures", store=Store(tmp_path))
    monkeypatch.setattr(training, "fit", None)
    again = target("textures", store=Store(tmp_path))
    np.testing.assert_array_equal(first.outputs(3).logits, again.outputs(3).logits)


def test_an_interrupted_target_goes_on_where_it_stopped(small, tmp_path, monkeypatch):
    monkeypatch.setitem(targets.BY_PRESET["smoke"], "textures", small)
    whole = target("textures", store=Store(tmp_path / "whole"))
    keep = targets.Recorder.after_epoch

    def interrupted(recorder, run):
        keep(recorder, run)
        if run.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(targets.Recorder, "after_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        target("textures", store=Store(tmp_path / "cut"))
    monkeypatch.setattr(targets.Recorder, "after_epoch", keep)
    resumed = target("textures", store=Store(tmp_path / "cut"))
    assert resumed.history == whole.history
    for epoch in small.epochs:
        np.testing.assert_array_equal(resumed.outputs(epoch).logits, whole.outputs(epoch).logits)
    assert not list((tmp_path / "cut" / "checkpoints").iterdir())


def test_only_members_are_trained_on_and_images_are_scaled(small, monkeypatch):
    seen = {}

    def spy(build, data, recipe, **options):
        seen.update(x=data[0], y=data[1], scale=build.keywords["scale"])
        return fit(build, data, recipe, **options)

    fit = training.fit
    monkeypatch.setattr(training, "fit", spy)
    cell = targets.train(small)
    dataset = data.load("textures", samples=small.samples, seed=seeds.derive(small.seed, "data"))
    assert torch.equal(seen["x"], dataset.x[:60])
    assert torch.equal(seen["y"], dataset.y[:60])
    assert seen["scale"] == (dataset.mean, dataset.std)
    assert cell.arrays["member"].sum() == 60


def test_repetitions_differ_in_data_and_weights(small):
    one, two = (targets.train(replace(small, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(one.arrays["labels"], two.arrays["labels"])
    assert not np.array_equal(one.arrays["logits_3"], two.arrays["logits_3"])


def test_recording_does_not_disturb_training(small):
    dataset = data.load("textures", samples=(60, 80), seed=0)
    build = partial(models.build, "small_cnn", dataset.shape, dataset.classes)
    recorder = targets.Recorder(dataset.x, dataset.y, torch.arange(140) < 60, (1, 2))
    plain, recorded = (
        training.fit(build, (dataset.x[:60], dataset.y[:60]), small.recipe, seed=0, defenses=hooks).model
        for hooks in ([], [recorder])
    )
    for a, b in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(a, b)


def test_unknown_targets_and_presets_list_what_exists():
    with pytest.raises(ValueError, match="smoke, course, paper"):
        names("lite")
    with pytest.raises(ValueError, match="textures, digits"):
        configuration("cifar10", "smoke")


def test_a_preset_changes_size_and_never_method():
    for preset in targets.PRESETS:
        for name in names(preset):
            here, most = configuration(name, preset), configuration(name, "paper")
            assert replace(here, samples=most.samples, epochs=most.epochs, recipe=most.recipe) == most
            assert replace(here.recipe, epochs=most.recipe.epochs) == most.recipe
