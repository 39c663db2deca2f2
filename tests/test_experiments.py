"""Experiments: what their cells train and audit, how rows become tables, and what presets and repetitions share."""

import itertools
import json
import pickle
from collections import defaultdict
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from experiment_cases import TINY, made, outputs_cell, random_models

from mialab import audit, data, experiments, models, results, seeds, splits, training
from mialab.cells import models as trained
from mialab.cells.attacked import Attacked
from mialab.cells.cost import closure
from mialab.cells.models import Models, Recorder
from mialab.cells.shadows import Shadows
from mialab.chapters.targets import target, targets
from mialab.engine.store import Store
from mialab.experiments import PRESETS, basics
from mialab.results.lines import local, series, summary

GRIDS = [pytest.param(one, preset, id=f"{one.name}-{preset}") for one in experiments.ALL.values() for preset in PRESETS]
JOINT = Models("digits", "tabular", training.Recipe(epochs=3, batch=64, optimizer="adam", lr=1e-3), epochs=(1, 3))


# the targets that chapters look at


@pytest.fixture
def tiny_target(monkeypatch):
    monkeypatch.setitem(basics.TARGETS, "smoke", (TINY,))


def test_a_target_keeps_the_logits_of_members_and_nonmembers_at_the_named_epochs(tiny_target, tmp_path):
    run = target("textures", store=Store(tmp_path))
    outputs = run.outputs(3)
    assert outputs.logits.shape == (1, 140, 10)
    assert outputs.member.sum() == 60
    assert [row["epoch"] for row in run.history] == [1, 3] == list(run.epochs)
    right = outputs.logits[0].argmax(1) == outputs.labels
    assert run.history[-1]["train_accuracy"] == pytest.approx(right[outputs.member].mean())
    assert run.history[-1]["test_accuracy"] == pytest.approx(right[~outputs.member].mean())
    assert run.history[-1]["learning_rate"] == TINY.recipe.lr
    with pytest.raises(KeyError, match="kept: 1, 3"):
        run.outputs(2)


def test_a_target_is_trained_once(tiny_target, tmp_path, monkeypatch):
    first = target("textures", store=Store(tmp_path))
    monkeypatch.setattr(training, "fit", None)
    again = target("textures", store=Store(tmp_path))
    np.testing.assert_array_equal(first.outputs(3).logits, again.outputs(3).logits)


def test_an_interrupted_target_goes_on_where_it_stopped(tiny_target, tmp_path, monkeypatch):
    whole = target("textures", store=Store(tmp_path / "whole"))
    keep, trained_epochs = Recorder.after_epoch, []

    def interrupted(recorder, run):
        keep(recorder, run)
        if run.epoch == 2:
            raise KeyboardInterrupt

    def counting(recorder, run):
        trained_epochs.append(run.epoch)
        keep(recorder, run)

    monkeypatch.setattr(training.checkpoint, "SECONDS", 0)
    monkeypatch.setattr(Recorder, "after_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        target("textures", store=Store(tmp_path / "cut"))
    monkeypatch.setattr(Recorder, "after_epoch", counting)
    resumed = target("textures", store=Store(tmp_path / "cut"))
    assert trained_epochs == [2, 3], "epoch 1 is not trained again"
    assert resumed.history == whole.history
    for epoch in TINY.epochs:
        np.testing.assert_array_equal(resumed.outputs(epoch).logits, whole.outputs(epoch).logits)
    assert not list((tmp_path / "cut").rglob("training.pt"))


def test_a_target_is_the_model_that_overfitting_audits():
    for preset in PRESETS:
        audited = {cell.target for cell in experiments.get("basics/overfitting").grid(preset, seeds=(4,))}
        assert audited == {replace(config, seed=4) for config in targets(preset).values()}


def test_unknown_names_list_what_exists():
    with pytest.raises(ValueError, match="smoke, course, paper"):
        targets("lite")
    with pytest.raises(ValueError, match="textures, digits"):
        target("cifar10", preset="smoke")
    with pytest.raises(ValueError, match="did you mean ensemble/figure1"):
        experiments.get("ensemble/figure")
    with pytest.raises(ValueError, match="smoke, course, paper"):
        experiments.get("ensemble/figure1").grid("lite")


# what a cell of models trains


def test_only_members_are_trained_on_and_images_are_scaled(monkeypatch):
    seen = {}

    def spy(build, members, recipe, **options):
        seen.update(x=members[0], y=members[1], scale=build.keywords["scale"], seed=options["seed"])
        return fit(build, members, recipe, **options)

    fit = training.fit
    monkeypatch.setattr(training, "fit", spy)
    cell = made(replace(TINY, first=3))
    dataset = data.load("textures", samples=TINY.samples, seed=seeds.derive(TINY.seed, "data"))
    assert torch.equal(seen["x"], dataset.x[:60])
    assert torch.equal(seen["y"], dataset.y[:60])
    assert seen["scale"] == (dataset.mean, dataset.std)
    assert seen["seed"] == seeds.derive(TINY.seed, "target", 3)
    assert cell.arrays["member"].sum() == 60


def test_the_models_of_one_cell_are_those_of_cells_of_one():
    joint = made(replace(JOINT, first=1, count=3))
    assert joint.arrays["logits_3"].shape == (3, 1797, 10)
    for k in range(3):
        alone = made(replace(JOINT, first=1 + k))
        for epoch in JOINT.epochs:
            np.testing.assert_allclose(
                joint.arrays[f"logits_{epoch}"][k], alone.arrays[f"logits_{epoch}"][0], atol=1e-4
            )
        assert joint.info["history"][k] == [pytest.approx(row, abs=2e-3) for row in alone.info["history"][0]]
        np.testing.assert_array_equal(joint.arrays["known"], alone.arrays["known"])
    assert not np.allclose(joint.arrays["logits_3"][0], joint.arrays["logits_3"][1])


def test_the_seed_of_a_model_depends_on_its_number_alone():
    whole = replace(TINY, count=6).seeds
    assert whole == tuple(seed for first in (0, 2, 4) for seed in replace(TINY, first=first, count=2).seeds)
    assert whole == tuple(seeds.derive(0, "target", k) for k in range(6))


@pytest.mark.parametrize(("arrangement", "known"), [("ensemble_paper", 0.8), ("nasr", 0.5)])
def test_membership_and_what_is_known_of_it_come_from_the_arrangement(arrangement, known):
    arrays = made(replace(JOINT, arrangement=arrangement, known=known)).arrays
    dataset = data.load("digits")
    arrangement = splits.NASR if arrangement == "nasr" else splits.Arrangement(arrangement)
    rows, member = splits.arrange(arrangement, dataset, seed=seeds.derive(0, "split")).evaluation()
    mask = splits.known(dataset.y[rows].numpy(), member.numpy(), share=known, seed=seeds.derive(0, "known"))
    np.testing.assert_array_equal(arrays["labels"], dataset.y[rows])
    np.testing.assert_array_equal(arrays["member"], member)
    np.testing.assert_array_equal(arrays["known"], mask)


def test_repetitions_differ_in_data_and_weights():
    one, two = (made(replace(TINY, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(one.arrays["labels"], two.arrays["labels"])
    assert not np.array_equal(one.arrays["logits_3"], two.arrays["logits_3"])


def test_recording_does_not_disturb_training():
    dataset = data.load("textures", samples=(60, 80), seed=0)
    build = partial(models.build, "small_cnn", dataset.shape, dataset.classes)
    recorder = Recorder(dataset.x, dataset.y, torch.arange(140) < 60, (1, 2))
    plain, recorded = (
        training.fit(build, (dataset.x[:60], dataset.y[:60]), TINY.recipe, seed=0, hooks=hooks).model
        for hooks in ([], [recorder])
    )
    for a, b in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": ()}, "rising whole numbers"),
        ({"epochs": (3, 1)}, "rising whole numbers"),
        ({"epochs": (0, 1)}, "rising whole numbers"),
        ({"epochs": (1, 4)}, "training ends after epoch 3; keep no epoch 4"),
        ({"count": 0}, "count must be at least 1"),
        ({"first": -1}, "first at least 0"),
    ],
)
def test_models_that_cannot_be_made_are_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)


def test_an_unknown_arrangement_lists_those_that_exist():
    with pytest.raises(ValueError, match="unknown arrangement 'nash'; did you mean nasr.*ensemble_paper, nasr"):
        made(replace(TINY, arrangement="nash"))


# defenses


@dataclass(frozen=True)
class Shrink(training.Defense):
    """A tiny defense: an L2 penalty that may begin later, with a record of what it was made from."""

    NAME: ClassVar[str] = "shrink"
    VERSION: ClassVar[int] = 1

    weight: float

    def start(self, parts):
        return Shrinking(self.weight, len(parts.train[1]))


@dataclass
class Shrinking(training.Hooks):
    weight: float
    members: int
    steps: int = field(default=0, compare=False)

    def penalty(self, run, x, y, outputs):
        return self.weight * sum((p**2).sum() for p in run.model.parameters())

    def after_step(self, run):
        self.steps += 1
        assert self.steps == run.step, "a model's hooks serve no other model"
        assert self.members == 60


@dataclass(frozen=True)
class Stop(training.Defense):
    """A defense that ends the training early."""

    NAME: ClassVar[str] = "stop"
    VERSION: ClassVar[int] = 1

    def start(self, parts):
        return Stopping()


class Stopping(training.Hooks):
    def after_epoch(self, run):
        run.stop = run.epoch == 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_defense_in_the_configuration_defends_every_model(count):
    config = replace(TINY, count=count, defenses=(Shrink(0.05),))
    dataset = data.load("textures", samples=TINY.samples, seed=seeds.derive(0, "data"))
    build = partial(models.build, TINY.model, dataset.shape, dataset.classes, scale=(dataset.mean, dataset.std))
    cell, plain = made(config), made(replace(TINY, count=count))
    for k, seed in enumerate(config.seeds):
        by_hand = training.fit(
            build, (dataset.x[:60], dataset.y[:60]), TINY.recipe, seed=seed, hooks=[Shrinking(0.05, 60)]
        )
        expected = training.logits(by_hand.model, dataset.x).numpy()
        np.testing.assert_array_equal(cell.arrays["logits_3"][k], expected)
        assert np.abs(cell.arrays["logits_3"][k] - plain.arrays["logits_3"][k]).max() > 0.01


def test_defenses_name_the_method_and_make_another_cell(tmp_path):
    both = replace(TINY, defenses=(Shrink(0.05), Stop()))
    assert (TINY.method, replace(TINY, defenses=(Shrink(0.1),)).method, both.method) == (
        "none",
        "shrink",
        "shrink+stop",
    )
    configs = [TINY, *(replace(TINY, defenses=(Shrink(weight),)) for weight in (0.05, 0.1)), both]
    assert len({Store(tmp_path).name(config) for config in configs}) == 4


def test_a_training_that_stops_before_a_kept_epoch_says_so():
    with pytest.raises(ValueError, match="stopped the training before epoch 3"):
        made(replace(TINY, defenses=(Stop(),)))


# what a cell of audits does with them


def test_an_audit_of_all_models_is_the_audit_of_their_outputs():
    config = Attacked(random_models(), 2, models=4, size=4, attacks=("confidence", "neural-published"))
    cells = [outputs_cell(need) for need in config.needs()]
    rows = config.compute(cells, scratch=None).info["rows"]
    arrays = cells[0].arrays
    outputs = audit.Outputs(
        np.concatenate([cell.arrays["logits_2"] for cell in cells]), arrays["labels"], arrays["member"]
    )
    report = audit.audit(
        outputs, attacks=config.attacks, known=arrays["known"], seed=seeds.derive(config.seed, "attack", 0)
    ).to_dict()
    assert [row["attack"] for row in rows] == list(config.attacks)
    for row in rows:
        found = report["attacks"][row["attack"]]
        assert (row["auc"], row["auc_interval"]) == (found["auc"], found["auc_interval"])
        assert row["balanced_accuracy"] == found["balanced_accuracy"]
        for fpr in ("0.1", "0.01", "0.001"):
            assert row[f"tpr_{fpr}"] == found["tpr"][fpr]
            assert row[f"tpr_{fpr}_interval"] == found["tpr_interval"][fpr]
        assert row["train_accuracy"] == pytest.approx(report["accuracy"]["members"])
        assert row["test_accuracy"] == pytest.approx(report["accuracy"]["nonmembers"])
        evaluated = found["evaluated"]
        assert row["member_share"] == pytest.approx(evaluated["members"] / sum(evaluated.values()))


def test_figures_of_several_ensembles_are_the_means_of_their_audits():
    config = Attacked(random_models(), 2, models=4, size=1, subsets=4, attacks=("gap", "confidence"))
    cells = [outputs_cell(need) for need in config.needs()]
    rows = config.compute(cells, scratch=None).info["rows"]
    arrays = cells[0].arrays
    singles = [
        audit.audit(
            audit.Outputs(logits, arrays["labels"], arrays["member"]), attacks=config.attacks, known=arrays["known"]
        ).to_dict()
        for cell in cells
        for logits in cell.arrays["logits_2"]
    ]
    for row in rows:
        own = [one["attacks"][row["attack"]] for one in singles]
        assert row["auc"] == pytest.approx(np.mean([one["auc"] for one in own]))
        assert row["auc_interval"] == pytest.approx(np.mean([one["auc_interval"] for one in own], axis=0))
        assert row["test_accuracy"] == pytest.approx(np.mean([one["accuracy"]["nonmembers"] for one in singles]))
    assert len({one["attacks"]["confidence"]["auc"] for one in singles}) == 4, "the mean is one of different figures"


def test_an_attacker_learns_and_is_judged_as_the_arrangement_says():
    config = Attacked(random_models(), 2, models=2, size=1, attacks=("loss-per-class",))
    (cell,) = (outputs_cell(need) for need in config.needs())
    arrays, logits = cell.arrays, cell.arrays["logits_2"].copy()
    rows = np.flatnonzero(~arrays["known"] & arrays["member"])
    logits[:, rows, arrays["labels"][rows]] = -9  # the evaluated members, and they alone, are now the least sure
    turned = replace_arrays(cell, logits_2=logits)
    before, after = (config.compute([each], scratch=None).info["rows"][0]["auc"] for each in (cell, turned))
    assert after == 0 and before > 0.6


def test_an_attacker_who_knows_more_attacks_the_same_models():
    config = Attacked(random_models(), 2, models=2, size=2, attacks=("confidence",))
    cells = [outputs_cell(need) for need in config.needs()]
    arrays = cells[0].arrays
    for share in (0.3, 0.6):
        more = replace(config, known=share)
        assert more.needs() == config.needs()
        mask = splits.known(arrays["labels"], arrays["member"], share=share, seed=seeds.derive(0, "known"))
        outputs = audit.Outputs(arrays["logits_2"], arrays["labels"], arrays["member"])
        expected = audit.audit(outputs, attacks="confidence", known=mask).to_dict()["attacks"]["confidence"]["auc"]
        assert more.compute(cells, scratch=None).info["rows"][0]["auc"] == expected


def replace_arrays(cell, **arrays):
    return replace(cell, arrays=cell.arrays | arrays)


def test_ensembles_are_distinct_and_use_each_model_once_while_they_can():
    def drawn(**changes):
        config = replace(Attacked(random_models(), 2, models=10), **changes)
        return [tuple(subset) for subset in config._subsets()]

    for size in (1, 2, 5, 10):
        members = [k for subset in drawn(size=size, subsets=10 // size) for k in subset]
        assert sorted(members) == list(range(10))
    many = drawn(size=5, subsets=20)
    assert len(set(many)) == 20 and all(len(set(subset)) == 5 for subset in many)
    assert len(set(drawn(size=9, subsets=10))) == 10, "all that there are"
    assert drawn(size=3, subsets=3) != drawn(size=3, subsets=3, target=replace(random_models(), seed=1))


def test_prefixes_need_the_first_models_only():
    single = replace(random_models(), count=1)
    ten = Attacked(single, 2, models=10, size=2)
    assert [need.first for need in ten.needs()] == list(range(10))
    assert [need.first for need in Attacked(single, 2, models=2, size=2).needs()] == [0, 1]
    assert [(need.first, need.count) for need in Attacked(random_models(), 2, models=4).needs()] == [(0, 2), (2, 2)]


def test_rows_are_plain_and_every_figure_has_its_interval():
    config = Attacked(random_models(), 2, models=2, size=2, fusion="logit", white_box=True)
    info = config.compute([outputs_cell(need, samples=1000) for need in config.needs()], scratch=None).info
    assert json.loads(json.dumps(info)) == info
    for row in info["rows"]:
        setting = {"data": "textures", "model": "small_cnn", "method": "none", "epoch": 2, "models": 2, "seed": 0}
        assert setting.items() <= row.items()
        assert (row["fusion"], row["access"], row["learning_rate"]) == ("logit", "white box", 0.01)
        for name in ("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "attack_accuracy", "tpr_0.1"):
            low, high = row[f"{name}_interval"]
            assert low <= row[name] <= high and low < high
        assert row["tpr_0.001"] is row["tpr_0.001_interval"] is None, "far too few samples"


def test_an_attack_that_cannot_learn_from_so_few_is_named_with_the_reason():
    config = Attacked(random_models(), 2, attacks=("gap", "neural-per-class"), models=2)
    cell = outputs_cell(config.target)
    nobody = replace_arrays(cell, known=np.zeros_like(cell.arrays["known"]))
    info = config.compute([nobody], scratch=None).info
    assert [row["attack"] for row in info["rows"]] == ["gap"]
    assert "known" in info["skipped"]["neural-per-class"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 5}, "epoch 5 is not kept"),
        ({"models": 3}, "3 models do not fill cells of 2"),
        ({"target": replace(random_models(), first=2)}, "from model 0"),
        ({"size": 3}, "no 1 subsets of 3 of 2 models"),
        ({"subsets": 3}, "no 3 subsets of 1 of 2"),
        ({"subsets": 0}, "no 0 subsets"),
    ],
)
def test_audits_of_what_there_is_not_are_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(Attacked(random_models(), 2, models=2), **changes)


# results


def row(seed, auc, **others):
    return {"data": "x", "models": 1, "seed": seed, "auc": auc, "auc_interval": [auc - 0.1, auc + 0.1], **others}


def test_a_summary_gives_mean_and_interval_over_seeds():
    rows = [row(0, 0.5), row(1, 0.6), row(2, 0.7), row(0, 0.9, models=2)]
    first, second = summary(rows, ("data", "models"), ("auc", "tpr_0.01"))
    assert (first["data"], first["models"], first["seeds"]) == ("x", 1, 3)
    assert first["auc"] == pytest.approx((0.6, 0.6 - 4.3027 * 0.1 / 3**0.5, 0.6 + 4.3027 * 0.1 / 3**0.5), abs=1e-4)
    assert first["tpr_0.01"] is None
    assert (second["models"], second["seeds"]) == (2, 1)
    assert second["auc"] == pytest.approx((0.9, 0.8, 1.0)), "one seed: the audit's own interval"


def test_an_interval_of_shares_ends_at_what_a_share_can_be_and_others_go_on():
    rows = [{"seed": seed, "tpr_0.01": value, "nats": value} for seed, value in enumerate((0.0, 0.0, 0.1))]
    (line,) = summary(rows, (), ("tpr_0.01", "nats"))
    assert line["tpr_0.01"].low == 0 > line["nats"].low
    assert line["tpr_0.01"].high == line["nats"].high


def test_a_single_seed_without_an_interval_of_its_own_has_none():
    (line,) = summary([{"seed": 0, "loss": 2.0}], (), ("loss",))
    assert line["loss"] == (2.0, None, None)


def test_rows_of_one_seed_are_never_taken_for_repetitions():
    with pytest.raises(ValueError, match="several rows of one seed .*`by`"):
        summary([row(0, 0.5), row(0, 0.6, models=2)], ("data",), ("auc",))


def test_a_summary_becomes_curves_with_bands():
    rows = [row(seed, 0.5 + epoch / 10 + seed / 100, epoch=epoch, attack="gap") for epoch in (1, 2) for seed in (0, 1)]
    lines = summary([*rows, {"epoch": 2, "attack": "loss", "seed": 0, "auc": 0.9}], ("epoch", "attack"), ("auc",))
    first, second = series(lines, "epoch", "attack", "auc")
    assert first == {
        "epoch": 1,
        "gap": pytest.approx(0.605),
        "gap_low": lines[0]["auc"].low,
        "gap_high": lines[0]["auc"].high,
    }
    assert second.keys() == {"epoch", "gap", "gap_low", "gap_high", "loss"}


@pytest.fixture
def tiny_experiment(monkeypatch):
    monkeypatch.setitem(basics.TARGETS, "smoke", (TINY,))
    monkeypatch.setattr(basics, "ATTACKS", ("gap", "confidence"))
    return experiments.get("basics/overfitting")


def test_a_result_is_computed_once_and_then_read(tiny_experiment, tmp_path, monkeypatch):
    store = Store(tmp_path)
    assert local(tiny_experiment, "smoke", store, seeds=(0, 1)).missing == 4
    result = results.result("basics/overfitting", seeds=(0, 1), store=store)
    assert (result.experiment, result.preset, result.origin, result.missing) == (
        tiny_experiment.name,
        "smoke",
        "local",
        0,
    )
    assert len(result.rows) == 2 * 2 * 2
    assert {(row["seed"], row["epoch"]) for row in result.rows} == set(itertools.product((0, 1), (1, 3)))
    assert result.device.startswith("CPU") or torch.cuda.is_available()
    monkeypatch.setattr(training, "fit", None)
    assert results.result("basics/overfitting", seeds=(0, 1), store=store) == result
    partial_one = local(tiny_experiment, "smoke", store, seeds=(0, 2))
    assert partial_one.missing == 2
    assert {row["seed"] for row in partial_one.rows} == {0}


def test_lines_of_a_result_are_told_apart_by_the_declared_columns(tiny_experiment, tmp_path):
    result = results.result("basics/overfitting", seeds=(0, 1), store=Store(tmp_path))
    lines = summary(result.rows, tiny_experiment.by, tiny_experiment.values)
    assert [(line["epoch"], line["attack"]) for line in lines] == list(itertools.product((1, 3), ("gap", "confidence")))
    assert all(line["seeds"] == 2 and line["auc"].low < line["auc"].high for line in lines)


# presets and repetitions, over all experiments


def trainings(cells):
    return [config for config in closure(cells) if isinstance(config, Models | Shadows)]


class Enough(Exception):
    """Raised instead of training."""


@pytest.mark.parametrize(("experiment", "preset"), GRIDS)
def test_repetitions_share_no_member_and_no_draw(experiment, preset, monkeypatch):
    """By what reaches loader, split and trainer, whatever a cell says of itself."""
    grid, digits, seen, owners = experiment.grid(preset), data.load("digits"), [], defaultdict(set)
    halves = []
    assert {cell.seed for cell in closure(grid)} == set(range(experiments.SEEDS[preset])), "from one place"
    roles = splits.arrange(splits.NASR, digits, seed=0)

    def train(build, members, recipe, *, seed=None, seeds=(), **options):
        seen.extend(seeds or [seed])
        raise Enough

    monkeypatch.setattr(trained, "_load", lambda name, samples, seed: (seen.append(seed), digits)[1])
    monkeypatch.setattr(splits, "arrange", lambda arrangement, pool, *, seed: (seen.append(seed), roles)[1])
    monkeypatch.setattr(splits, "half", lambda labels, number, *, seed: (halves.append(seed), labels > 4)[1])
    monkeypatch.setattr(training, "fit", train)
    monkeypatch.setattr(training, "fit_many", train)
    for config in trainings(grid):
        if config.first >= 10:  # to look into hundreds of alike cells would take long
            assert not owners.keys() & set(config.seeds)
            owners.update((used, {config.seed}) for used in config.seeds)
            continue
        with pytest.raises(Enough):
            made(config)
        assert len(seen) == 2 + len(config.seeds)
        assert set(halves).isdisjoint(seen), "who is in a shadow is no echo of any other draw"
        for used in (*seen, *halves):
            owners[used].add(config.seed)
        seen.clear()
        halves.clear()
    assert all(len(repetitions) == 1 for repetitions in owners.values())


@pytest.mark.parametrize("experiment", experiments.ALL.values(), ids=lambda one: one.name)
def test_a_preset_changes_size_and_never_method(experiment):
    def method(cell):
        sizes = {
            "epoch",
            "epochs",
            "data",
            "model",
            "recipe",
            "samples",
            "first",
            "count",
            "shadows",
            "target",
            "shadow",
        }
        return type(cell), *((each.name, getattr(cell, each.name)) for each in fields(cell) if each.name not in sizes)

    methods = {preset: set(map(method, closure(experiment.grid(preset, seeds=(0,))))) for preset in PRESETS}
    assert methods["smoke"] == methods["course"] == methods["paper"]
    recipes = defaultdict(set)
    for preset in PRESETS:
        for config in trainings(experiment.grid(preset, seeds=(0,))):
            model = config.target if isinstance(config, Shadows) else config
            recipes[model.data, model.model].add(replace(model.recipe, epochs=1))
    assert all(len(found) == 1 for found in recipes.values())


@pytest.mark.parametrize(("experiment", "preset"), GRIDS)
def test_cells_can_be_sent_to_a_worker_and_are_named_apart(experiment, preset, tmp_path):
    grid, store = experiment.grid(preset), Store(tmp_path)
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert len(set(map(store.name, grid))) == len(grid) == len(set(grid))
    assert experiment.data(preset) == tuple(dict.fromkeys(config.data for config in trainings(grid)))


def test_only_the_paper_s_own_data_and_model_carry_their_name():
    figure1 = experiments.get("ensemble/figure1")
    assert {preset: figure1.data(preset) for preset in PRESETS} == {
        "smoke": ("textures",),
        "course": ("cifar10",),
        "paper": ("cifar10",),
    }


def test_the_single_models_are_among_the_ten_and_are_not_trained_again():
    for preset in PRESETS:
        ten, single = (
            set(trainings(experiments.get(name).grid(preset))) for name in ("ensemble/figure1", "basics/overfitting")
        )
        assert len(ten) == 10 * experiments.SEEDS[preset]
        assert len(ten & single) == (experiments.SEEDS[preset])


def test_figure_1_audits_every_model_once_at_each_size():
    for cell in experiments.get("ensemble/figure1").grid("paper", seeds=(0,)):
        assert sorted(k for subset in cell._subsets() for k in subset) == list(range(10))
        assert cell.epoch in (5, 45, 90)
