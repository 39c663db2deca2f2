"""Data that are read from files go through the same cells as data in memory, and pretrained weights are kept honest."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from experiment_cases import made

from mialab import data, training
from mialab.cells.attacked import Attacked
from mialab.cells.models import Models, rebuild
from mialab.cells.pipeline import Pipeline, evaluated
from mialab.cells.recorder import answers
from mialab.cells.shadows import Shadows
from mialab.engine.store import Store
from mialab.experiments import pruning
from mialab.models import pretrained
from mialab.splits import Arrangement
from mialab.training import Phase, Recipe

ONCE = Phase(Recipe(epochs=1, batch=100, optimizer="adam", lr=2e-3))
HALVES = Arrangement("carlini", reference=0.4, validation=0.2)
PHOTOS = Pipeline("tiny-imagenet-10", "small_cnn", (ONCE,), arrangement=HALVES)
REAL = Path(os.environ.get("MIALAB_DATA", "nowhere")) / "tiny-imagenet-10"


@pytest.mark.skipif(not REAL.is_dir(), reason="tiny-imagenet-10 is not under MIALAB_DATA")
def test_photographs_in_folders_are_trained_on_attacked_and_shadowed_without_being_held_in_memory(tmp_path):
    store, target = Store(tmp_path), Models(PHOTOS, (1,), weights=(1,))
    shadow = Shadows(PHOTOS, (1,), count=2)
    chosen = ("gap", "confidence", "rmia-online")
    cell = store.get(Attacked(target, 1, attacks=chosen, shadow=shadow, shadows=2, known=0.5))
    assert [row["attack"] for row in cell.info["rows"]] == list(chosen)
    seen, models = evaluated(PHOTOS), store.get(target)
    assert isinstance(seen.dataset, data.Folder) and not isinstance(seen.samples(), tuple)
    trained, members, nonmembers = PHOTOS.row_counts
    assert (trained, members, nonmembers) == (1000, 1000, 1000), "of 5,000, 40 % are reference and 20 % validation rows"
    np.testing.assert_array_equal(models.arrays["labels"], seen.dataset.y[seen.row_ids])
    (model,) = rebuild(target, models)
    np.testing.assert_array_equal(answers(model, seen.samples()).numpy(), models.arrays["logits_1"][0])
    inside = store.get(shadow).arrays["member"]
    assert (inside.sum(axis=0) == 1).all() and inside.shape == (2, 2000)


@pytest.mark.skipif(not REAL.is_dir(), reason="tiny-imagenet-10 is not under MIALAB_DATA")
def test_an_attack_that_looks_at_x_is_refused_with_the_reason_where_x_is_not_held():
    with pytest.raises(ValueError, match="tiny-imagenet-10 is not held in memory: choose attacks that do not look"):
        evaluated(PHOTOS).x()


# pretrained weights

IMAGENET = Pipeline("imagenet", "resnet18", (ONCE,), start="torchvision:IMAGENET1K_V1")


def test_the_checksum_of_pretrained_weights_is_part_of_a_cell_s_name(tmp_path, monkeypatch):
    assert IMAGENET.start == "torchvision:IMAGENET1K_V1@f37072fd"
    assert replace(IMAGENET, seed=1).start == IMAGENET.start
    name = Store(tmp_path).name(Models(IMAGENET, (1,)))
    assert name != Store(tmp_path).name(Models(replace(IMAGENET, start=None), (1,)))
    monkeypatch.setattr(pretrained, "checksum", lambda model, start: "00000000")
    other = Pipeline("imagenet", "resnet18", (ONCE,), start="torchvision:IMAGENET1K_V1")
    assert Store(tmp_path).name(Models(other, (1,))) != name


def test_weights_that_have_seen_it_all_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="Pipeline: .* has seen all of tiny-imagenet-10"):
        replace(PHOTOS, model="resnet18", start="torchvision:IMAGENET1K_V1")
    with pytest.raises(ValueError, match="Shadows: .* has seen all samples that shadows must not know"):
        Shadows(IMAGENET, (1,))
    with pytest.raises(ValueError, match="Pipeline: .*these are the members"):
        replace(IMAGENET, arrangement=HALVES)


def test_training_starts_from_the_pretrained_weights(monkeypatch):
    """On a data set and a net that are small: what is tested is the way of the weights, not their source."""
    config = Models(Pipeline("digits", "tabular", (ONCE,)), epochs=(1,))
    planted = {name: torch.zeros_like(value) for name, value in rebuilt_state(config).items()}
    object.__setattr__(config.pipeline, "start", "torchvision:PLANTED@1234abcd")
    monkeypatch.setattr(
        pretrained, "state_dict", lambda model, start: planted if start == "torchvision:PLANTED" else 1 / 0
    )
    seen = {}
    fit = training.fit

    def spy(*arguments, start, **options):
        seen["start"] = start
        return fit(*arguments, start=start, **options)

    monkeypatch.setattr(training, "fit", spy)
    made(config)
    assert seen["start"] is planted


def test_a_phase_without_epochs_answers_with_the_weights_it_starts_from_and_later_phases_go_on_from_there(tmp_path):
    nothing = Phase(Recipe(epochs=0))
    untrained = Models(Pipeline("digits", "tabular", (nothing,)), epochs=(0,), weights=(0,))
    store = Store(tmp_path)
    cell = store.get(untrained)
    (model,) = rebuild(untrained, cell)
    np.testing.assert_array_equal(answers(model, evaluated(untrained.pipeline).samples()), cell.arrays["logits_0"][0])
    ((row,),), ((),) = cell.info["history"], cell.info["training"]
    assert (row["epoch"], row["learning_rate"]) == (0, None)
    (audited,) = store.get(Attacked(untrained, 0, attacks=("gap",))).info["rows"]
    assert audited["balanced_accuracy"] == pytest.approx(0.5, abs=0.05), "nothing is learnt, so nothing leaks"
    later = Models(replace(untrained.pipeline, phases=(nothing, ONCE)), epochs=(1,))
    seed = later.pipeline.seed_of("target", 0)
    alone = training.fit(lambda: model, *training_data(later.pipeline), ONCE.recipe, seed=seed)
    np.testing.assert_allclose(
        answers(alone.model, evaluated(later.pipeline).samples()), store.get(later).arrays["logits_1"][0], atol=1e-4
    )
    with pytest.raises(ValueError, match="rising whole numbers from 1 on"):
        Models(Pipeline("digits", "tabular", (ONCE,)), epochs=(0, 1))


def training_data(pipeline):
    seen = evaluated(pipeline)
    return (seen.dataset.rows(seen.roles.target_train),)


def test_models_without_epochs_may_be_several():
    both = made(Models(Pipeline("digits", "tabular", (Phase(Recipe(epochs=0)),)), epochs=(0,), count=2))
    assert both.arrays["logits_0"].shape[0] == 2 and not np.array_equal(*both.arrays["logits_0"])


@pytest.mark.skipif(not REAL.is_dir(), reason="tiny-imagenet-10 is not under MIALAB_DATA")
def test_the_way_of_table_3_runs_on_photographs_from_pruning_to_rows(tmp_path):
    """With a small network and one epoch a phase; `pruning/photographs` has Table 3's networks and whole recipes."""
    short = replace(ONCE.recipe, epochs=2)
    small = replace(
        pruning.PHOTOGRAPHS[0], model="small_cnn", dense=ONCE.recipe, admm=short, retrained=short, rho=(1e-3, 1e-2)
    )
    cells = pruning._plain_and_pruned((replace(small, arrangement=HALVES),), 0)
    rows = [row for cell in cells for row in Store(tmp_path).get(cell).info["rows"]]
    assert {(row["data"], row["method"]) for row in rows} == {
        ("tiny-imagenet-10", "none"),
        ("tiny-imagenet-10", "pruning"),
    }
    ratios = [row["reduction_ratio"] for row in rows if "reduction_ratio" in row]
    assert ratios == [1.0, pytest.approx(3.27, rel=0.02)]


def test_imagenets_baseline_is_as_published_and_what_is_lacking_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MIALAB_DATA", str(tmp_path))
    for setting in pruning.IMAGENET:
        plain, pruned = setting.plain(0), setting.pruned(0)
        assert plain.start.startswith("torchvision:IMAGENET1K_V1@") and plain.last.recipe.epochs == 0
        assert pruned.parent.parent == plain
    with pytest.raises(data.DataError, match="imagenet"):
        Store(tmp_path).get(Models(plain, (0,)))


def rebuilt_state(config):
    kept = replace(config, weights=(1,))
    return rebuild(kept, made(kept))[0].state_dict()
