from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from mialab import data, models, training
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
