"""Experiments: what their cells train and audit, how rows become tables, and what presets and repetitions share."""

import itertools
import json
import pickle
from collections import defaultdict
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from experiment_cases import TINY, altered, made, outputs_cell, random_models

from mialab import audit, data, experiments, models, results, seeds, splits, training
from mialab.cells import pipeline as pipeline_module
from mialab.cells.answered import Answered
from mialab.cells.attacked import Attacked, known_mask
from mialab.cells.defended import Defended
from mialab.cells.diversified import Diversified
from mialab.cells.models import Models, predictions
from mialab.cells.pipeline import Division, Pipeline, evaluated
from mialab.cells.recorder import Recorder
from mialab.cells.sequential import Sequential
from mialab.cells.shadows import Shadows
from mialab.chapters.targets import target, targets
from mialab.defenses.pruning.budget import prunable
from mialab.engine.run import run as run_cells
from mialab.engine.store import Cell, Store, closure, settings
from mialab.experiments import PRESETS, basics
from mialab.results import local, series, summary
from mialab.training import Phase

GRIDS = [pytest.param(one, preset, id=f"{one.name}-{preset}") for one in experiments.ALL.values() for preset in PRESETS]
DENSE = training.Recipe(epochs=3, batch=64, optimizer="adam", lr=1e-3)
JOINT = Models(Pipeline("digits", "tabular", (Phase(DENSE),)), epochs=(1, 3))


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
    assert run.history[-1]["learning_rate"] == TINY.pipeline.last.recipe.lr
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
        assert audited == {config.seeded(4) for config in targets(preset).values()}


def test_unknown_names_list_what_exists():
    with pytest.raises(ValueError, match="smoke, course, paper"):
        targets("lite")
    with pytest.raises(ValueError, match="fashion, textures, digits"):
        target("cifar10", preset="smoke")
    with pytest.raises(ValueError, match="did you mean ensemble/figure"):
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
    dataset = data.load("textures", samples=TINY.pipeline.samples, seed=seeds.derive(TINY.seed, "data"))
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
        np.testing.assert_array_equal(joint.arrays["member"], alone.arrays["member"])
    assert not np.allclose(joint.arrays["logits_3"][0], joint.arrays["logits_3"][1])


def test_the_seed_of_a_model_depends_on_its_number_alone():
    whole = replace(TINY, count=6).seeds
    assert whole == tuple(seed for first in (0, 2, 4) for seed in replace(TINY, first=first, count=2).seeds)
    assert whole == tuple(seeds.derive(0, "target", k) for k in range(6))


@pytest.mark.parametrize("arrangement", [splits.Arrangement(), splits.NASR, splits.PRUNING, splits.RELEASED])
def test_membership_comes_from_the_arrangement(arrangement):
    arrays = made(altered(JOINT, arrangement=arrangement)).arrays
    dataset = data.load("digits")
    rows, member = splits.arrange(arrangement, dataset, seed=seeds.derive(0, "split")).evaluation()
    np.testing.assert_array_equal(arrays["labels"], dataset.y[rows])
    np.testing.assert_array_equal(arrays["member"], member)


def test_rows_say_that_a_defense_has_seen_what_it_is_audited_on():
    released = altered(JOINT, arrangement=splits.RELEASED).pipeline
    assert released.columns() == {"data": "digits", "model": "tabular", "method": "none", "arrangement": "released"}
    for arrangement in (splits.Arrangement(), splits.NASR, splits.PRUNING):
        assert "arrangement" not in altered(JOINT, arrangement=arrangement).pipeline.columns()


def test_repetitions_differ_in_data_and_weights():
    one, two = (made(TINY.seeded(seed)) for seed in (0, 1))
    assert not np.array_equal(one.arrays["labels"], two.arrays["labels"])
    assert not np.array_equal(one.arrays["logits_3"], two.arrays["logits_3"])


def test_recording_does_not_disturb_training():
    dataset = data.load("textures", samples=(60, 80), seed=0)
    build = partial(models.build, "small_cnn", dataset.shape, dataset.classes)
    roles = splits.arrange(splits.Arrangement(), dataset, seed=0)
    seen = pipeline_module.Evaluated(dataset, roles, *roles.evaluation())
    recorder = Recorder(seen, seen.member, (1, 2), weights=(2,))
    plain, recorded = (
        training.fit(build, (dataset.x[:60], dataset.y[:60]), TINY.pipeline.last.recipe, seed=0, hooks=hooks).model
        for hooks in ([], [recorder])
    )
    for a, b in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": ()}, "rising whole numbers"),
        ({"epochs": (3, 1)}, "rising whole numbers"),
        ({"epochs": (0, 1)}, "rising whole numbers from 1 on"),
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
        splits.Arrangement("nash")


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
    config = altered(TINY, count=count, defenses=(Shrink(0.05),))
    dataset = data.load("textures", samples=TINY.pipeline.samples, seed=seeds.derive(0, "data"))
    build = partial(
        models.build, TINY.pipeline.model, dataset.shape, dataset.classes, scale=(dataset.mean, dataset.std)
    )
    cell, plain = made(config), made(replace(TINY, count=count))
    for k, seed in enumerate(config.seeds):
        by_hand = training.fit(
            build, (dataset.x[:60], dataset.y[:60]), TINY.pipeline.last.recipe, seed=seed, hooks=[Shrinking(0.05, 60)]
        )
        expected = training.logits(by_hand.model, dataset.x).numpy()
        np.testing.assert_array_equal(cell.arrays["logits_3"][k], expected)
        assert np.abs(cell.arrays["logits_3"][k] - plain.arrays["logits_3"][k]).max() > 0.01


def test_defenses_name_the_method_and_make_another_cell(tmp_path):
    both = altered(TINY, defenses=(Shrink(0.05), Stop()))
    methods = [config.pipeline.method for config in (TINY, altered(TINY, defenses=(Shrink(0.1),)), both)]
    assert methods == ["none", "shrink", "shrink+stop"]
    configs = [TINY, *(altered(TINY, defenses=(Shrink(weight),)) for weight in (0.05, 0.1)), both]
    assert len({Store(tmp_path).name(config) for config in configs}) == 4


def test_a_training_that_stops_before_a_kept_epoch_says_so():
    with pytest.raises(ValueError, match="stopped the training before epoch 3"):
        made(altered(TINY, defenses=(Stop(),)))


# phases


@dataclass(frozen=True)
class Keep(training.Defense):
    """Stands for pruning: weights below a quantile are zero and stay so; what is zero is carried to the next phase."""

    NAME: ClassVar[str] = "keep"
    VERSION: ClassVar[int] = 1

    share: float

    def start(self, parts):
        return Keeping(self.share, parts.carried.get("keep"))

    def columns(self):
        return {"keep": self.share}


class Keeping(training.Hooks):
    def __init__(self, share, carried):
        self.share, self.masks = share, carried and carried["masks"]

    def prepare(self, run):
        if self.masks is None:
            sizes = {name: p.abs() for name, p in run.model.named_parameters() if p.ndim > 1}
            self.masks = {name: size >= size.quantile(1 - self.share) for name, size in sizes.items()}
        self.after_step(run)

    def after_step(self, run):
        with torch.no_grad():
            for name, p in run.model.named_parameters():
                if name in self.masks:
                    p.mul_(self.masks[name].to(p.device))

    def after_epoch(self, run):
        run.history[-1]["kept"] = self.share

    def state_dict(self):
        return {"masks": self.masks}

    def load_state_dict(self, state):
        self.masks = state["masks"]


def with_phases(*phases, config=TINY):
    return replace(config, pipeline=replace(config.pipeline, phases=phases))


DENSE_PHASE = TINY.pipeline.last
MORE = Phase(training.Recipe(epochs=2, batch=20, optimizer="sgd", lr=0.01), (Keep(0.5),))


def counted(monkeypatch):
    """The seeds of all trainings from now on."""
    begun, fit = [], training.fit

    def counting(*arguments, seed, **options):
        begun.append(seed)
        return fit(*arguments, seed=seed, **options)

    monkeypatch.setattr(training, "fit", counting)
    return begun


def test_nine_keep_rates_share_one_dense_training_with_the_baseline(tmp_path, monkeypatch):
    begun, rates = counted(monkeypatch), [k / 10 for k in range(1, 10)]
    pruned = [
        with_phases(DENSE_PHASE, replace(MORE, defenses=(Keep(rate),)), config=replace(TINY, epochs=(2,)))
        for rate in rates
    ]
    run_cells([Attacked(TINY, 1, attacks=("gap",)), *pruned], Store(tmp_path))
    assert begun.count(seeds.derive(0, "target", 0)) == 1, "baseline and dense parent are one cell"
    assert begun.count(seeds.derive(0, "target", 0, 1)) == 9 and len(begun) == 10
    parents = {Store(tmp_path).name(need) for config in pruned for need in config.needs()}
    assert parents == {Store(tmp_path).name(TINY)}


def test_what_is_observed_makes_no_other_training_and_is_computed_anew_only_where_it_lacks(tmp_path, monkeypatch):
    store, begun = Store(tmp_path), counted(monkeypatch)
    looked = replace(TINY, epochs=(2,), weights=(3,))
    assert store.name(looked) == store.name(TINY)
    first = store.get(TINY)
    assert not store.has(looked) and store.find(looked) is None
    both = store.get(looked)
    assert both.info["observed"] == {"epochs": [1, 2, 3], "weights": [3], "sensitivity": []} and len(begun) == 2
    np.testing.assert_array_equal(first.arrays["logits_3"], both.arrays["logits_3"])
    store.get(TINY), store.get(replace(TINY, epochs=(1, 2)))
    assert len(begun) == 2


def test_a_phase_starts_where_the_one_before_ended_without_its_optimizer(tmp_path):
    store = Store(tmp_path)
    cell = store.get(with_phases(DENSE_PHASE, MORE, config=replace(TINY, epochs=(2,))))
    seen = evaluated(TINY.pipeline)
    build = partial(models.build, "small_cnn", seen.dataset.shape, 10, scale=(seen.dataset.mean, seen.dataset.std))
    members = seen.dataset.rows(seen.roles.target_train)
    dense = training.fit(build, members, DENSE_PHASE.recipe, seed=seeds.derive(0, "target", 0))
    start, seed = dense.model.state_dict(), seeds.derive(0, "target", 0, 1)
    pruned = training.fit(build, members, MORE.recipe, seed=seed, defenses=MORE.defenses, start=start)
    np.testing.assert_array_equal(cell.arrays["logits_2"][0], training.logits(pruned.model, seen.x()).numpy())
    curve = cell.info["training"][0]
    assert [(row["phase"], row["epoch"]) for row in curve] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
    assert [row["loss"] for row in curve] == [row["loss"] for row in dense.history + pruned.history]


def test_what_a_defense_ends_with_is_carried_to_the_next_phase_and_its_columns_to_the_rows(tmp_path):
    store, wide = Store(tmp_path), replace(TINY, epochs=(2,), weights=(2,))
    twice = with_phases(DENSE_PHASE, MORE, replace(MORE, defenses=(Keep(0.9),)), config=wide)
    once = with_phases(DENSE_PHASE, MORE, config=wide)
    kept = {
        config: {name: array == 0 for name, array in store.get(config).arrays.items() if array.ndim > 1}
        for config in (once, twice)
    }
    for name, zero in kept[once].items():
        if name.startswith("weights") and name.endswith("weight"):
            assert 0.4 < zero.mean() < 0.6, "half of the weights"
            np.testing.assert_array_equal(zero, kept[twice][name])
    assert twice.columns() == {"data": "textures", "model": "small_cnn", "method": "keep", "keep": 0.9}
    (row,) = store.get(Attacked(once, 2, attacks=("gap",))).info["rows"]
    assert (row["method"], row["keep"], row["epoch"]) == ("keep", 0.5, 2)


@pytest.mark.parametrize("stop", [1, 4])
def test_a_pipeline_that_is_cut_off_in_any_phase_goes_on_bit_for_bit(stop, tmp_path, monkeypatch):
    config = with_phases(DENSE_PHASE, MORE, config=replace(TINY, epochs=(1, 2)))
    whole = Store(tmp_path / "whole").get(config)
    keep, ended = Recorder.after_epoch, []

    def interrupted(recorder, run):
        keep(recorder, run)
        ended.append(run.epoch)
        if len(ended) == stop + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.checkpoint, "SECONDS", 0)
    monkeypatch.setattr(Recorder, "after_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "cut").get(config)
    resumed = Store(tmp_path / "cut").get(config)
    assert len(ended) == 5 + 1, "the epoch that was cut off is the only one done twice"
    assert resumed.info["training"] == whole.info["training"]
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[name], array)


def test_shadows_run_every_phase_on_their_own_half(tmp_path):
    store, halves = Store(tmp_path), splits.Arrangement("carlini", reference=0.1)
    pipeline = replace(TINY.pipeline, phases=(DENSE_PHASE, MORE), arrangement=halves, samples=(80, 0))
    cell = store.get(Shadows(pipeline, (2,), count=2, weights=(2,)))
    for k in range(2):
        zero = cell.arrays[f"weights_2_{k}.net.0.weight"] == 0
        assert 0.4 < zero.mean() < 0.6
    (parent,) = Shadows(pipeline, (2,), count=2).needs()
    inside = cell.arrays["member"]
    np.testing.assert_array_equal(inside, store.get(parent).arrays["member"])
    assert (inside.sum(axis=0) == 1).all() and inside.shape[1] == 72, "reference rows lie outside the audited pool"
    assert len({*cell.info["training"][0][0].keys()} & {"phase", "epoch", "loss"}) == 3


def test_an_attacked_cell_draws_the_training_s_and_an_attack_s_curves(tmp_path):
    store = Store(tmp_path)
    target = with_phases(DENSE_PHASE, MORE, config=altered(TINY, samples=(100, 100), epochs=(2,)))
    info = store.get(Attacked(target, 2, attacks=("gap", "nasr-paper"), known=0.5, curves=True)).info
    loss, attack = info["curves"]
    assert (loss["curve"], loss["method"], loss["seed"]) == ("training", "keep", 0)
    assert loss["points"]["phase"] == [0, 0, 0, 1, 1] and len(loss["points"]["loss"]) == 5
    assert attack["curve"] == "attack nasr-paper" and len(attack["points"]["accuracy"]) == 30
    assert json.loads(json.dumps(info["curves"])) == info["curves"]


def test_what_a_defense_writes_into_the_history_becomes_a_column_of_the_curve():
    cell = made(altered(TINY, defenses=(Keep(0.5),)))
    assert [row["kept"] for row in cell.info["training"][0]] == [0.5] * 3


def test_settings_without_what_is_observed_name_a_cell_and_a_raised_defense_renames_only_its_own(monkeypatch):
    store, plain = Store(Path()), TINY
    kept = altered(TINY, defenses=(Keep(0.5),))
    before = [store.name(config) for config in (plain, kept, Attacked(kept, 1), Attacked(plain, 1))]
    monkeypatch.setattr(Keep, "VERSION", 2)
    after = [store.name(config) for config in (plain, kept, Attacked(kept, 1), Attacked(plain, 1))]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False, True]
    assert "epochs" not in settings(plain) and settings(plain, whole=True)["epochs"] == [1, 3]


# who is trained on what


def test_the_members_of_a_partition_are_trained_on_disjoint_rows_and_all_are_members():
    parts = altered(JOINT, division=Division("partition", 3), count=3)
    cell = made(parts)
    alone = [made(replace(parts, first=k, count=1)) for k in range(3)]
    for k in range(3):
        np.testing.assert_allclose(cell.arrays["logits_3"][k], alone[k].arrays["logits_3"][0], atol=1e-4)
    assert parts.pipeline.row_counts[0] == made(JOINT).arrays["member"].sum() // 3
    assert cell.arrays["member"].sum() == made(JOINT).arrays["member"].sum()
    with pytest.raises(ValueError, match="choose 'all', 'bagging', or 'partition'"):
        Division("partition")


def test_a_bag_is_another_training():
    bags = altered(JOINT, division=Division("bagging"))
    one, other = (made(replace(bags, first=k)) for k in (0, 1))
    assert not np.array_equal(one.arrays["logits_3"], made(JOINT).arrays["logits_3"])
    assert not np.array_equal(one.arrays["logits_3"], other.arrays["logits_3"])


def test_snapshots_members_of_one_cell_and_cells_of_one_member_are_read_alike():
    single = [Cell({}, {"logits_1": np.full((1, 2, 3), k), "logits_2": np.full((1, 2, 3), 10 + k)}) for k in range(3)]
    joint = Cell({}, {"logits_1": np.stack([np.full((2, 3), k) for k in range(3)])})
    np.testing.assert_array_equal(predictions(single, 1), predictions([joint], 1))
    assert predictions(single[:1], 1, 2)[:, 0, 0].tolist() == [0, 10], "the snapshots of one run"


# what a cell of audits does with them


def test_an_audit_of_all_models_is_the_audit_of_their_outputs():
    config = Attacked(random_models(), 2, models=4, size=4, attacks=("confidence", "neural-published"))
    cells = [outputs_cell(need) for need in config.needs()]
    rows = config.compute(cells, scratch=None).info["rows"]
    arrays = cells[0].arrays
    outputs = audit.Outputs(
        np.concatenate([cell.arrays["logits_2"] for cell in cells]), arrays["labels"], arrays["member"]
    )
    known = known_mask(arrays, config.known, config.seed)
    report = audit.audit(
        outputs, attacks=config.attacks, known=known, seed=seeds.derive(config.seed, "attack", 0)
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
            audit.Outputs(logits, arrays["labels"], arrays["member"]),
            attacks=config.attacks,
            known=known_mask(arrays, config.known, config.seed),
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


def test_an_attacker_learns_and_is_judged_on_different_samples():
    config = Attacked(random_models(), 2, models=2, size=1, attacks=("loss-per-class",))
    (cell,) = (outputs_cell(need) for need in config.needs())
    arrays, logits = cell.arrays, cell.arrays["logits_2"].copy()
    rows = np.flatnonzero(~known_mask(arrays, config.known, config.seed) & arrays["member"])
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
    assert drawn(size=3, subsets=3) != drawn(size=3, subsets=3, target=random_models().seeded(1))


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
    config = Attacked(random_models(), 2, attacks=("gap", "neural-per-class"), models=2, known=0.0)
    info = config.compute([outputs_cell(config.target)], scratch=None).info
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
    return [config for config in closure(cells) if isinstance(config, Models | Shadows | Diversified | Sequential)]


class Enough(Exception):
    """Raised instead of training."""


@pytest.mark.parametrize(("experiment", "preset"), GRIDS)
def test_repetitions_share_no_member_and_no_draw(experiment, preset, monkeypatch):
    """By what reaches loader, split and trainer, whatever a cell says of itself."""
    grid, digits, seen, owners = experiment.grid(preset), data.load("digits"), [], defaultdict(set)
    halves = []
    repetitions = experiments.SEEDS[preset] if trainings(grid) else 1  # nobody can repeat what others trained
    assert {cell.seed for cell in closure(grid)} == set(range(repetitions)), "from one place"
    roles = splits.arrange(splits.NASR, digits, seed=0)

    def train(build, members, recipe, *, seed=None, seeds=(), **options):
        seen.extend(seeds or [seed])
        raise Enough

    monkeypatch.setattr(pipeline_module, "_load", lambda name, samples, seed: (seen.append(seed), digits)[1])
    monkeypatch.setattr(splits, "arrange", lambda arrangement, pool, *, seed: (seen.append(seed), roles)[1])
    monkeypatch.setattr(splits, "half", lambda labels, number, *, seed: (halves.append(seed), labels > 4)[1])
    monkeypatch.setattr(training, "fit", train)
    monkeypatch.setattr(training, "fit_many", train)
    monkeypatch.setattr(pipeline_module, "_start", lambda pipeline: None)  # no pretrained weights are fetched
    for kind in (Models, Shadows):  # a later phase is looked into without the one before
        monkeypatch.setattr(kind, "start_of", lambda self, inputs, k: {})
    for config in trainings(grid):
        if config.first >= 10:  # to look into hundreds of alike cells would take long
            for used in config.seeds:
                owners[used].add(config.seed)
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


FEWER_MODELS = (  # five at smoke, as each defense, or each shadow, trains its own
    *("ensemble/figure5", "ensemble/masking"),
    *("ensemble/pruned", "ensemble/lira", "ensemble/sequential", "ensemble/fusion_defense"),
)


@pytest.mark.parametrize("experiment", experiments.ALL.values(), ids=lambda one: one.name)
def test_a_preset_changes_size_and_never_method(experiment):
    def method(cell):
        sizes = {
            "epoch",
            "epochs",
            "data",
            "model",
            "pipeline",
            "weights",
            "sensitivity",
            "first",
            "count",
            "per_weight",
            "shadows",
            "target",
            "shadow",
            "audit",
            "audits",
            "pattern",
        }
        if isinstance(cell, Defended):
            return Defended, cell.method
        if experiment.name in FEWER_MODELS:
            sizes |= {"models", "size", "subsets", "samples"}
        if isinstance(cell, Answered):  # trained here or by others
            return (Answered,)
        return type(cell), *((each.name, getattr(cell, each.name)) for each in fields(cell) if each.name not in sizes)

    methods = {preset: set(map(method, closure(experiment.grid(preset, seeds=(0,))))) for preset in PRESETS}
    assert methods["course"] == methods["paper"]
    if experiment.name == "pruning/table2":  # at smoke nothing stands for the four-layer network and its own attack
        assert methods["smoke"] < methods["paper"]
    else:
        assert methods["smoke"] == methods["paper"]
    recipes = defaultdict(set)
    for preset in PRESETS:
        for config in trainings(experiment.grid(preset, seeds=(0,))):
            pipeline = config.pipeline
            where = str(pipeline.columns()), len(pipeline.phases)
            # UNTRAINED, one epoch at next to no rate, is a method of its own: no retraining.
            recipes[where, pipeline.last.recipe.lr < 1e-9].add(of_any_length(pipeline.last.recipe))
    assert all(len(found) == 1 for found in recipes.values())


def of_any_length(recipe):
    """The recipe without its epochs, and without the milestones that move with them."""
    steps = {"schedule": replace(recipe.schedule, milestones=())} if hasattr(recipe.schedule, "milestones") else {}
    return replace(recipe, epochs=getattr(recipe.schedule, "cycles", 1), **steps)


@pytest.mark.parametrize(("experiment", "preset"), GRIDS)
def test_cells_can_be_sent_to_a_worker_and_are_named_apart(experiment, preset, tmp_path):
    grid, store = experiment.grid(preset), Store(tmp_path)
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert len(set(map(store.name, grid))) == len(grid) == len(set(grid))
    assert experiment.data(preset) == tuple(
        dict.fromkeys(config.data for config in closure(grid) if not config.needs())
    )


def test_every_budget_can_be_met_by_the_network_that_it_is_for():
    asked = {
        (work.model, work.shape, work.classes, defense.budget)
        for preset in PRESETS
        for experiment in experiments.ALL.values()
        for config in closure(experiment.grid(preset, seeds=(0,)))
        if hasattr(config, "work")
        for work in [config.work()]
        for phase in work.phases
        for defense in phase.defenses
        if hasattr(defense, "budget") and defense.budget.scope == "layers"  # of all layers together it is the weights'
    }
    networks = {network: models.build(*network) for network in {each[:3] for each in asked}}
    assert {"mobilenet_v2", "resnet18", "vgg16"} <= {name for name, _, _ in networks}
    for *network, budget in asked:
        weights = prunable(networks[tuple(network)])
        kept, all_of = sum(budget.counts(weights).values()), sum(w.numel() for w in weights.values())
        if budget.unit == "weights":
            assert kept == round(budget.keep * all_of), (network, budget)


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
            {Store(Path()).name(config) for config in trainings(experiments.get(name).grid(preset))}
            for name in ("ensemble/figure1", "basics/overfitting")
        )
        assert len(ten) == 10 * experiments.SEEDS[preset]
        assert len(ten & single) == (experiments.SEEDS[preset])


def test_figure_1_audits_every_model_once_at_each_size():
    for cell in experiments.get("ensemble/figure1").grid("paper", seeds=(0,)):
        assert sorted(k for subset in cell._subsets() for k in subset) == list(range(10))
        assert cell.epoch in (5, 45, 90)
