"""Models trained in turn, and attackers who believe in a fusion rule: each against a case whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from experiment_cases import TINY, altered, outputs_cell, random_models, shadows_cell

from mialab import audit, ensembles, experiments, fusion, splits, training
from mialab.cells import sequential
from mialab.cells.attacked import Attacked, known_mask
from mialab.cells.believed import Believed
from mialab.cells.models import Models
from mialab.cells.recorder import Recorder
from mialab.cells.sequential import Sequential
from mialab.cells.shadows import Shadows
from mialab.engine.store import Store, closure
from mialab.ensembles import Division
from mialab.experiments import between
from mialab.splits import RELEASED, Arrangement

APART = altered(TINY, arrangement=Arrangement(reference=0.5), samples=(60, 120)).pipeline
TURN = Sequential(APART, (1, 3))


# the criterion


def test_equal_distributions_of_levels_are_at_distance_0_and_disjoint_ones_at_1():
    levels = np.array([0, 1, 1, 3])
    assert ensembles.distance(levels, np.tile(levels, 5)) == 0
    assert ensembles.distance(np.zeros(4, int), np.full(7, 2)) == 1
    assert ensembles.distance(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="at least one on either side"):
        ensembles.distance(levels, levels[:0])


def test_equal_models_leave_out_as_many_rows_as_the_held_out_rows_are_wrong_and_the_least_sure():
    right, held = np.ones((3, 20), bool), np.tile(np.arange(10) < 7, (3, 1))  # levels are 0 or 3
    confidence = np.tile(np.linspace(0.5, 1, 20)[::-1], (3, 1))
    for share, number in ((0, 0), (0.5, 3), (1, 6)):
        stays = ensembles.kept(right, confidence, held, share)
        assert np.flatnonzero(~stays).tolist() == list(range(20 - number, 20))


def test_without_a_model_so_far_and_with_equal_distributions_nothing_is_left_out():
    nobody = np.empty((0, 20), bool)
    assert ensembles.kept(nobody, nobody, np.empty((0, 5), bool), 1.0).all()
    draw = np.random.default_rng(0)
    right = draw.random((4, 20)) < 0.5
    assert ensembles.kept(right, draw.random((4, 20)), right[:, draw.permutation(20)], 1.0).all()


def test_the_excess_is_over_the_held_out_row_of_the_same_rank():
    level, held = np.array([2, 0, 2, 1]), np.array([0, 0, 1, 2, 0, 0, 1, 2])
    found = ensembles.excess(level, np.array([0.9, 0.5, 0.8, 0.5]), held)
    assert found.tolist() == [0, 0, 1, 1]  # by rank: rows 1, 3, 2, 0 against 0, 0, 1, 2


def test_the_levels_of_models_that_fit_all_they_see_come_closer_to_those_of_others():
    draw = np.random.default_rng(1)

    def last_distance(share):
        right, held = np.empty((0, 500), bool), np.empty((0, 500), bool)
        easy = draw.random((2, 500))
        for _ in range(6):
            stays = ensembles.kept(right, np.tile(easy[0], (len(right), 1)), held, share)
            right = np.vstack([right, stays | (draw.random(500) < easy[0])])
            held = np.vstack([held, draw.random(500) < easy[1]])
        return ensembles.distance(right.sum(axis=0), held.sum(axis=0))

    apart = [last_distance(share) for share in (0, 0.5, 1)]
    assert apart[0] > 0.6 > apart[1] + 0.1 > apart[2] + 0.2


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="from 0 to 1"):
        ensembles.kept(np.ones((1, 2), bool), np.ones((1, 2)), np.ones((1, 2), bool), share)
    with pytest.raises(ValueError, match="from 0 to 1"):
        replace(TURN, leaves_out=share)


def test_nothing_to_compare_with_is_an_error():
    with pytest.raises(ValueError, match="no held-out row.*reference share"):
        ensembles.kept(np.ones((1, 2), bool), np.ones((1, 2)), np.ones((1, 0), bool), 1.0)


# models in turn


def test_with_nothing_left_out_the_models_are_those_of_independent_training_bit_for_bit(tmp_path):
    store, plain = Store(tmp_path), Models(APART, (1, 3))
    for k in range(3):
        turn = store.get(replace(TURN, leaves_out=0.0, first=k))
        alone = store.get(replace(plain, first=k))
        for epoch in (1, 3):
            np.testing.assert_array_equal(turn.arrays[f"logits_{epoch}"], alone.arrays[f"logits_{epoch}"])
        assert turn.info["history"][0][-1]["left_out"] == 0
        assert turn.info["history"][0][-1]["test_accuracy"] == alone.info["history"][0][-1]["test_accuracy"]


def test_a_model_is_trained_without_the_rows_that_those_before_it_are_right_about_too_often(tmp_path, monkeypatch):
    store, trained = Store(tmp_path), []
    train = sequential.train

    def spy(pipeline, seen, members, checkpoint):
        trained.append(members[0].row_ids)
        return train(pipeline, seen, members, checkpoint)

    monkeypatch.setattr(sequential, "train", spy)
    third = store.get(replace(TURN, first=2))
    told = [store.get(replace(TURN, first=k)).arrays for k in range(2)]
    right, confidence, held = (np.concatenate([one[name] for one in told]) for name in ("right", "confidence", "held"))
    stays = ensembles.kept(right, confidence, held, 1.0)
    rows = TURN.seen().roles.target_train
    assert [need.first for need in replace(TURN, first=2).needs()] == [0, 1] and len(trained) == 3
    assert torch.equal(trained[0], rows) and torch.equal(trained[2], rows[torch.from_numpy(stays)])
    np.testing.assert_array_equal(third.arrays["kept"][0], stays)
    assert 0 < third.info["history"][0][0]["left_out"] == pytest.approx(1 - stays.mean())
    levels = [np.vstack([past, third.arrays[name]]).sum(axis=0) for past, name in ((right, "right"), (held, "held"))]
    assert third.info["history"][0][0]["distance"] == ensembles.distance(*levels)


def test_what_the_criterion_sees_of_a_model_is_what_it_answers(tmp_path):
    cell, seen = Store(tmp_path).get(TURN), TURN.seen()
    member, logits = cell.arrays["member"], cell.arrays["logits_3"][0]
    right = logits.argmax(axis=1) == cell.arrays["labels"]
    assert torch.equal(seen.row_ids[seen.member], seen.roles.target_train)
    np.testing.assert_array_equal(cell.arrays["right"][0], right[member])
    p = fusion.softmax(logits)[np.arange(len(right)), cell.arrays["labels"]]
    np.testing.assert_allclose(cell.arrays["confidence"][0], p[member], atol=1e-5)
    assert cell.arrays["held"].shape == (1, len(seen.roles.reference)) == (1, 60)
    assert not np.isin(seen.roles.reference, seen.row_ids).any(), "no attack is judged on the held-out rows"


def test_an_interrupted_model_goes_on_bit_for_bit_and_finished_ones_are_kept(tmp_path, monkeypatch):
    second = replace(TURN, first=1)
    whole = Store(tmp_path / "whole").get(second)
    keep, ended = Recorder.after_epoch, []

    def interrupted(recorder, run):
        keep(recorder, run)
        ended.append(run.epoch)
        if len(ended) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.checkpoint, "SECONDS", 0)
    monkeypatch.setattr(Recorder, "after_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "cut").get(second)
    resumed = Store(tmp_path / "cut").get(second)
    assert ended == [1, 2, 3, 1, 2, 2, 3], "the first model once, and of the second the epoch that was cut off twice"
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[name], array)


def test_an_ensemble_trained_in_turn_is_audited_as_any_other_and_says_whose_design_it_is(tmp_path):
    audited = Attacked(TURN, 3, models=2, size=2, attacks=("gap",))
    (row,) = Store(tmp_path).get(audited).info["rows"]
    assert (row["method"], row["leaves_out"], row["criterion"]) == ("sequential", 1.0, "our design")
    assert audited.columns().items() <= row.items()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipeline": TINY.pipeline}, "a reference share"),
        ({"pipeline": replace(APART, arrangement=RELEASED)}, "a reference share"),
        ({"pipeline": replace(APART, division=Division("bagging"))}, "without a division"),
        ({"pipeline": replace(APART, phases=2 * APART.phases)}, "of one phase"),
        ({"epochs": (4,)}, "rising whole numbers from 1 to 3"),
        ({"first": -1}, "first must be at least 0"),
    ],
)
def test_what_cannot_be_trained_in_turn_is_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TURN, **changes)


# what an attacker believes

SHADOWED = altered(random_models(), samples=(1000, 1000))
KNOWING = Attacked(
    SHADOWED,
    2,
    models=2,
    size=2,
    fusion="most-confident",
    attacks=("gap", "confidence", "neural-published", "lira-offline-fixed"),
    shadow=Shadows(SHADOWED.pipeline, (2,), models=2, count=4),
    shadows=8,
)


def drawn(config):
    stand_ins = {Models: outputs_cell, Shadows: shadows_cell}
    return [stand_ins[type(need)](need, samples=2000) for need in config.needs()]


def areas(config):
    return {row["attack"]: row["auc"] for row in config.compute(drawn(config), scratch=None).info["rows"]}


def test_the_attacker_who_knows_the_rule_is_the_audit_itself():
    known, itself = areas(Believed(KNOWING, "most-confident")), areas(KNOWING)
    assert known.keys() == itself.keys() and known == pytest.approx(itself, abs=1e-3)


def test_a_wrong_belief_changes_what_attacks_learn_from_and_not_what_they_are_judged_on():
    config = Believed(KNOWING, "confidence")
    found, itself = areas(config), areas(KNOWING)
    for attack in ("gap", "confidence"):  # they learn nothing but a threshold
        assert found[attack] == itself[attack]
    for attack in ("neural-published", "lira-offline-fixed"):
        assert found[attack] != pytest.approx(itself[attack], abs=1e-4)
    (cell, *_) = drawn(config)
    arrays, logits = cell.arrays, cell.arrays["logits_2"]
    known = known_mask(arrays, KNOWING.known, 0)
    mixed = np.where(known[:, None], *(fusion.fuse(logits, rule) for rule in ("confidence", "most-confident")))
    report = audit.audit(
        audit.Outputs(mixed[None], arrays["labels"], arrays["member"]), attacks="confidence", known=known
    )
    assert found["confidence"] == report.attacks["confidence"].everyone.auc.value
    row = config.compute(drawn(config), scratch=None).info["rows"][0]
    right = fusion.answer(logits, "most-confident") == arrays["labels"]
    assert row["test_accuracy"] == pytest.approx(right[~arrays["member"]].mean())
    assert (row["fusion"], row["believed"]) == ("most-confident", "confidence")


@pytest.mark.parametrize(
    ("audited", "believed", "message"),
    [
        (replace(KNOWING, white_box=True), "confidence", "a white box sees behind any rule"),
        (replace(KNOWING, size=1), "confidence", "of all models at once"),
        (KNOWING, "weighted", "must be fitted first"),
        (KNOWING, "maximum", "no fusion 'maximum'"),
    ],
)
def test_beliefs_that_make_no_sense_are_refused_at_once(audited, believed, message):
    with pytest.raises(ValueError, match=message):
        Believed(audited, believed)


def test_rules_that_hand_on_an_agreeing_model_s_answer_are_asked_by_label_as_the_mean_is():
    logits = outputs_cell(replace(random_models(), count=5)).arrays["logits_2"]
    asked = {cell.fusion for cell in between.FUSION_DEFENSE.grid("smoke", seeds=(0,)) if cell.KIND == "queried"}
    for rule in fusion.RULES.keys() - asked:
        np.testing.assert_array_equal(fusion.answer(logits, rule), fusion.answer(logits, "confidence"))


# the experiments


@pytest.mark.parametrize("preset", experiments.PRESETS)
def test_pruned_members_start_from_the_very_models_that_they_are_compared_with(preset):
    grid = between.PRUNED.grid(preset, seeds=(0,))
    plain = {cell.audit.target for cell in grid if cell.method == "none"}
    pruned = {cell.audit.target for cell in grid if cell.method == "pruned"}
    store = Store("unused")
    names = {store.name(target) for target in plain}
    first_phases = {store.name(target.needs()[0].needs()[0]) for target in pruned}
    assert len(names) == 1 and first_phases == names and len(pruned) == len(between.KEEPS[preset])
    longer = next(cell.audit for cell in grid if cell.method == "longer")
    epochs = [sum(phase.recipe.epochs for phase in target.pipeline.phases) for target in pruned]
    assert set(epochs) == {longer.epoch}


def test_a_shadow_is_an_entire_ensemble_and_attackers_of_the_fusion_use_the_same_ones():
    for preset in experiments.PRESETS:
        lira, defense = (one.grid(preset, seeds=(0,)) for one in (between.LIRA, between.FUSION_DEFENSE))
        cells = [{cell for cell in closure(grid) if isinstance(cell, Shadows)} for grid in (lira, defense)]
        assert cells[0] == cells[1] and {cell.models for cell in cells[0]} == {lira[0].models}
        assert max(cell.size for cell in lira) == lira[0].models


def test_at_smoke_a_tpr_at_one_per_cent_stands_on_ten_non_members():
    target, _ = between.HALVES["smoke"]
    assert round((1 - between.KNOWN) * target.pipeline.row_counts[2]) >= 1000
    assert splits.Arrangement(reference=0.2) == between.SETTINGS["smoke"].pipeline(0).arrangement
