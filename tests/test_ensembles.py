"""How members of an ensemble come to be: each way against a case whose answer is known."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from experiment_cases import TINY, altered, made
from torch import nn

from mialab import fusion, models, seeds, training
from mialab.cells import diversified
from mialab.cells.attacked import Attacked
from mialab.cells.diversified import Diversified
from mialab.cells.models import Models, predictions
from mialab.cells.own_rows import OwnRows
from mialab.cells.pipeline import Division, Pipeline, evaluated, rows_of
from mialab.cells.rescaled import Rescaled
from mialab.cells.snapshots import Snapshots
from mialab.engine.store import Cell, Store
from mialab.ensembles import Alone, Diversity, Network, ends, spread
from mialab.training import Cyclic, Phase, Recipe, Steps

CYCLES = Recipe(epochs=6, batch=20, optimizer="adam", lr=0.01, schedule=Cyclic(3))
SNAPSHOTS = Snapshots(replace(TINY.pipeline, phases=(Phase(CYCLES),)))
SGD = Recipe(epochs=2, batch=20, lr=0.05)
JOINT = Diversified(replace(TINY.pipeline, phases=(Phase(SGD),)), epochs=(1, 2), count=3, weight=0.5)
PARTS = altered(TINY, division=Division("stacking", 3), samples=(200, 100))


# divisions


def test_parts_and_the_meta_learner_s_own_share_nothing_and_leave_nothing_out():
    labels, members = torch.arange(103) % 5, torch.arange(3, 100)
    division = Division("stacking", 3)
    parts = [division.rows(labels, members, k, seed=4) for k in range(3)]
    parts.append(division.apart(labels, members, seed=4))
    assert division.shares == 4 and {len(part) for part in parts} <= {24, 25}
    assert sorted(torch.cat(parts).tolist()) == members.tolist()
    assert Division("partition", 3).apart(labels, members, seed=4) is None


def test_an_empty_part_is_refused_and_says_why():
    with pytest.raises(ValueError, match="part 0 of 4 of 3 rows: .*at most one for each row"):
        Division("stacking", 3).rows(torch.zeros(9, dtype=torch.int64), torch.arange(3), 0, seed=0)


@pytest.mark.parametrize("kind", ["partition", "stacking"])
def test_a_division_among_one_model_is_refused(kind):
    with pytest.raises(ValueError, match="with the number of models, at least 2"):
        Division(kind, 1)


def test_models_of_a_stacking_pipeline_are_trained_on_their_parts_and_the_rest_is_marked():
    seen = evaluated(PARTS.pipeline)
    own = torch.cat([rows_of(PARTS.pipeline, seen.roles, seen.dataset.y, k) for k in range(3)])
    apart = seen.row_ids[torch.from_numpy(PARTS.apart())]
    assert len(apart) == 50 == PARTS.pipeline.row_counts[0]
    assert not set(apart.tolist()) & set(own.tolist())
    assert len(apart) + len(own) == seen.member.sum() and seen.member[torch.from_numpy(PARTS.apart())].all()
    assert TINY.apart() is None and PARTS.columns()["division"] == "stacking"


# snapshots


def test_snapshots_are_taken_where_the_rate_restarts():
    paper = Recipe(epochs=500, schedule=Cyclic(10))
    assert ends(paper) == tuple(range(50, 501, 50))
    rates = [paper.rate(epoch * 8 + step, 8) for epoch in (49, 50) for step in (7, 0)]
    assert rates[0] < 1e-4 * paper.lr and rates[3] == paper.lr


@pytest.mark.parametrize("schedule", [Steps((3,)), Cyclic(1)])
def test_a_training_without_restarts_has_no_snapshots(schedule):
    with pytest.raises(ValueError, match="snapshots are taken where the learning rate restarts.*two or more"):
        Snapshots(replace(TINY.pipeline, phases=(Phase(replace(CYCLES, schedule=schedule)),)))


def test_snapshots_are_what_one_run_answered_at_the_end_of_each_cycle_the_last_one_first(tmp_path):
    store = Store(tmp_path)
    cell = store.get(SNAPSHOTS)
    assert cell.arrays["logits_6"].shape == (3, 140, 10) and SNAPSHOTS.count == 3
    for k, epoch in enumerate((6, 4, 2)):
        alone = made(Models(SNAPSHOTS.pipeline, (epoch,)))
        np.testing.assert_array_equal(cell.arrays["logits_6"][k], alone.arrays[f"logits_{epoch}"][0])
        (row,) = cell.info["history"][k]
        assert (row["epoch"], row["snapshot"]) == (6, epoch)
        assert row["test_accuracy"] == alone.info["history"][0][0]["test_accuracy"]


def test_an_ensemble_of_snapshots_is_made_of_the_last_ones(tmp_path):
    store = Store(tmp_path)
    config = Attacked(SNAPSHOTS, 6, models=3, size=2, choice="first", attacks=("gap",))
    cell = store.get(config)
    assert cell.info["subsets"] == [[0, 1]]
    (row,) = cell.info["rows"]
    assert (row["method"], row["models"], row["data"]) == ("snapshot", 2, "textures")
    run = store.get(SNAPSHOTS.needs()[0])
    arrays = run.arrays
    mean = fusion.predict(predictions([run], 6, 4)).argmax(axis=1)
    assert row["test_accuracy"] == pytest.approx((mean == arrays["labels"])[~arrays["member"]].mean())


# diversified


def test_the_spread_is_the_mean_squared_distance_over_all_pairs():
    hidden = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(0))
    pairs = [((hidden[i] - hidden[j]) ** 2).sum(1).mean() / 5 for i in range(4) for j in range(i + 1, 4)]
    torch.testing.assert_close(spread(hidden), torch.stack(pairs).mean())
    with pytest.raises(ValueError, match="one backbone; the distance needs two"):
        spread(hidden[:1])


def network(count, seed=0):
    torch.manual_seed(seed)
    return Network(partial(models.build, "small_cnn", (3, 32, 32), 10), count, 10)


def test_the_loss_is_the_sum_of_the_members_and_of_their_mean_less_the_weighted_spread():
    x, y = torch.rand(6, 3, 32, 32), torch.arange(6)
    together, logits, hidden = network(3)(x)
    mean = logits.softmax(-1).mean(0)
    torch.testing.assert_close(together.exp(), mean)
    plain = sum(F.cross_entropy(own, y) for own in logits) - mean[torch.arange(6), y].log().mean()
    for weight in (0.0, 0.3):
        expected = plain - weight * spread(hidden)
        torch.testing.assert_close(Diversity(weight).loss(None, (together, logits, hidden), y), expected)
    one = network(1)(x)
    torch.testing.assert_close(Diversity(0.3).loss(None, one, y), 2 * F.cross_entropy(one[1][0], y))


def test_weight_zero_is_plain_joint_training(tmp_path):
    class Plain(training.Hooks):
        identity = "plain"

        def loss(self, run, outputs, y):
            _, logits, _ = outputs
            mean = logits.softmax(-1).mean(0)
            return sum(F.cross_entropy(own, y) for own in logits) - mean[torch.arange(len(y)), y].log().mean()

    config = replace(JOINT, weight=0.0)
    seen = evaluated(config.pipeline)
    scale = (seen.dataset.mean, seen.dataset.std)
    build = partial(models.build, "small_cnn", seen.dataset.shape, 10, scale=scale)
    by_hand = training.fit(
        partial(Network, build, 3, 10),
        seen.dataset.rows(seen.roles.target_train),
        SGD,
        seed=seeds.derive(0, "diversified", 3),
        hooks=[Plain()],
    )
    cell = made(config)
    for k in range(3):
        answered = training.logits(Alone(by_hand.model, k), seen.x()).numpy()
        np.testing.assert_allclose(cell.arrays["logits_2"][k], answered, atol=2e-4)
    assert np.abs(cell.arrays["logits_2"] - made(JOINT).arrays["logits_2"]).max() > 0.01


def test_a_backbone_alone_answers_as_it_does_in_the_network_and_backbones_differ():
    net, x = network(3).eval(), torch.rand(5, 3, 32, 32)
    logits = net(x)[1]
    for k in range(3):
        torch.testing.assert_close(Alone(net, k)(x), logits[k])
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_weight_pushes_the_backbones_apart():
    def distance(weight):
        seen = evaluated(JOINT.pipeline)
        build = partial(models.build, "small_cnn", seen.dataset.shape, 10)
        rows = seen.dataset.rows(seen.roles.target_train)
        rows = rows[0].float() / 255, rows[1]
        fitted = training.fit(partial(Network, build, 2, 10), rows, replace(SGD, epochs=10), hooks=[Diversity(weight)])
        with torch.no_grad():
            return float(spread(fitted.model(rows[0])[2]))

    assert distance(5.0) > 2 * distance(0.0)


def test_backbones_are_any_architecture_of_the_family_and_one_layer_is_shared():
    for name in ("alexnet", "resnet8", "tabular"):
        net = Network(partial(models.build, name, (3, 32, 32), 10), 2, 10)
        linear = [part for part in net.modules() if isinstance(part, nn.Linear) and part.out_features == 10]
        assert linear == [net.head] and net.shared[0].out_features == 128
    with pytest.raises(ValueError, match="without its last linear layer"):
        Network(lambda: nn.Flatten(), 2, 10)
    with pytest.raises(ValueError, match="one backbone or more, not 0"):
        Network(partial(models.build, "tabular", (4,), 2), 0, 2)


def test_a_diversified_cell_keeps_every_backbone_s_answers_and_says_that_it_is_our_stand_in(tmp_path):
    cell = Store(tmp_path).get(Attacked(JOINT, 2, models=3, size=3, attacks=("gap",)))
    (row,) = cell.info["rows"]
    assert (row["method"], row["diversity"], row["formula"]) == ("diversified", 0.5, "our stand-in")
    held = Store(tmp_path).get(JOINT)
    assert held.arrays["logits_1"].shape == held.arrays["logits_2"].shape == (3, 140, 10)
    for k in range(3):
        right = held.arrays["logits_2"][k].argmax(1) == held.arrays["labels"]
        assert held.info["history"][k][1]["train_accuracy"] == pytest.approx(right[held.arrays["member"]].mean())


def test_an_interrupted_diversified_training_goes_on_bit_for_bit(tmp_path, monkeypatch):
    whole = Store(tmp_path / "whole").get(JOINT)
    own, ended = diversified._OfBackbone.after_epoch, []

    def interrupted(recorder, run):
        own(recorder, run)
        ended.append(run.epoch)
        if len(ended) == 4:  # the second epoch's first backbone
            raise KeyboardInterrupt

    monkeypatch.setattr(training.checkpoint, "SECONDS", 0)
    monkeypatch.setattr(diversified._OfBackbone, "after_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "cut").get(JOINT)
    resumed = Store(tmp_path / "cut").get(JOINT)
    assert ended == [1, 1, 1, 2, 2, 2, 2], "the epoch that was cut off is the only one done twice"
    np.testing.assert_array_equal(resumed.arrays["logits_2"], whole.arrays["logits_2"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"epochs": (3,)}, "rising whole numbers from 1 to 2"),
        ({"epochs": ()}, "rising whole numbers"),
        ({"weight": -1.0}, "the weight must be 0 or more"),
        ({"pipeline": replace(JOINT.pipeline, phases=2 * JOINT.pipeline.phases)}, "one phase without defenses"),
        ({"pipeline": replace(JOINT.pipeline, division=Division("bagging"))}, "start and division"),
    ],
)
def test_diversified_ensembles_that_cannot_be_are_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(JOINT, **changes)


# rules that are fitted


def halves(n=3000, classes=4):
    """Two models, either right on half of the classes and without an idea on the others."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, n)
    logits = draw.normal(scale=0.5, size=(2, n, classes))
    for model in (0, 1):
        mine = labels // (classes // 2) == model
        logits[model, mine, labels[mine]] += 4
        logits[model, ~mine] = draw.normal(scale=3, size=((~mine).sum(), classes))  # sure, and wrong
    return logits, labels


def test_stacking_learns_which_model_knows_which_classes():
    logits, labels = halves()
    half = len(labels) // 2
    rule = fusion.Stacking().fit(logits[:, :half], labels[:half], 0)
    asked, truth = logits[:, half:], labels[half:]
    accuracies = {how: (fusion.answer(asked, how) == truth).mean() for how in ("confidence", "logit", rule)}
    assert accuracies[rule] > max(accuracies["confidence"], accuracies["logit"]) + 0.05
    np.testing.assert_allclose(np.exp(fusion.fuse(asked, rule)).sum(axis=1), 1)
    np.testing.assert_allclose(rule.differentiable(torch.from_numpy(asked)), fusion.fuse(asked, rule), rtol=1e-6)


def test_stacking_is_scikit_learn_s_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    logits, labels = halves(600)
    side_by_side = fusion.side_by_side(logits).astype(float)
    theirs = LogisticRegression(C=1.0, max_iter=2000, tol=1e-8).fit(side_by_side, labels).predict_proba(side_by_side)
    ours = fusion.predict(logits, fusion.Stacking().fit(logits, labels, 0))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_stacking_refuses_one_model_no_samples_strange_labels_and_other_models():
    logits, labels = halves(50)
    with pytest.raises(ValueError, match="found one model, and it joins two or more"):
        fusion.Stacking().fit(logits[:1], labels, 0)
    with pytest.raises(ValueError, match="expected some, from 0 to 3"):
        fusion.Stacking().fit(logits[:, :0], labels[:0], 0)
    with pytest.raises(ValueError, match="expected some, from 0 to 3"):
        fusion.Stacking().fit(logits, labels + 1, 0)
    with pytest.raises(ValueError, match="not fitted; fit it on 2 models of 4 classes"):
        fusion.fuse(logits, "stacking")
    rule = fusion.Stacking().fit(logits, labels, 0)
    with pytest.raises(ValueError, match=r"fitted on inputs \[4, 8\]; fit it on 3 models"):
        fusion.fuse(np.concatenate([logits, logits[:1]]), rule)


def test_a_class_that_the_meta_learner_never_saw_has_a_small_chance():
    logits, labels = halves(200)
    some = labels < 3
    p = fusion.predict(logits, fusion.Stacking().fit(logits[:, some], labels[some], 0))
    assert 0 < p[:, 3].max() < 0.1


def test_weights_are_not_learnt_from_nothing():
    with pytest.raises(ValueError, match="no sample to learn the weights from"):
        fusion.Weighted().fit(np.zeros((2, 0, 3)), np.zeros(0, dtype=int), 0)


def test_raw_logits_give_the_logit_rule_s_answers_and_show_what_its_softmax_forgets():
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(3, 50, 4))
    shifted = logits + draw.normal(size=(3, 50, 1))
    for one, other in ((logits, "logit"), (shifted, "logit")):
        np.testing.assert_array_equal(fusion.fuse(one, "raw-logit"), fusion.fuse(one, other))
    raw = fusion.get("raw-logit")
    np.testing.assert_allclose(raw.shown(logits), logits.mean(axis=0))
    np.testing.assert_allclose(fusion.fuse(logits, raw), fusion.fuse(shifted, raw), rtol=1e-9)
    assert np.abs(raw.shown(logits) - raw.shown(shifted)).max() > 0.1
    assert all(rule.shown(logits) is None for rule in fusion.RULES.values())


def outputs_of(logits, labels, member, epoch=2):
    history = [[{"epoch": epoch, "learning_rate": 0.1}]] * len(logits)
    info = {"history": history, "training": [[]] * len(logits), "made_with": {"device": "none"}}
    return Cell(info, {f"logits_{epoch}": logits.astype(np.float32), "labels": labels, "member": member})


def leaking(shown, n=1500):
    """A model whose logits are shifted for members by a constant, which no softmax shows, or not."""
    draw = np.random.default_rng(2)
    labels, member = np.arange(n) % 4, draw.random(n) < 0.5
    logits = draw.normal(size=(2, n, 4))
    logits += shown * 3.0 * member[:, None]
    return outputs_of(logits, labels, member)


@pytest.mark.parametrize(("shown", "expected"), [(0, (0.4, 0.6)), (1, (0.95, 1.01))])
def test_an_attack_on_raw_logits_sees_a_leak_that_confidences_hide(shown, expected):
    target = Models(Pipeline("textures", "small_cnn", TINY.pipeline.phases), epochs=(2,), count=2)
    cell = leaking(shown)
    for rule, (low, high) in (("logit", (0.4, 0.6)), ("raw-logit", expected)):
        audit = Attacked(target, 2, models=2, size=2, fusion=rule, attacks=("neural-published",))
        (row,) = audit.compute([cell], scratch=None).info["rows"]
        assert low < row["auc"] < high, rule


def known_case():
    """Three models: the second is right, the others guess; members are the first half."""
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 4, 800)
    logits = draw.normal(size=(3, 800, 4))
    logits[1, np.arange(800), labels] += 5
    return outputs_of(logits, labels, np.arange(800) < 400)


def of_three(**changes):
    target = Models(Pipeline("textures", "small_cnn", TINY.pipeline.phases), epochs=(2,), count=3)
    return Attacked(target, 2, models=3, **{"size": 3, "attacks": ("gap",), **changes})


def test_an_audit_fits_weights_on_the_members_and_finds_the_good_model():
    cell, plain = known_case(), of_three()
    config = of_three(fusion="weighted", calibration=True)
    (row,), (before,) = (each.compute([cell], scratch=None).info["rows"] for each in (config, plain))
    assert row["fitted_on"] == "members" == config.columns()["fitted_on"] and row["largest_weight"] > 0.38
    assert row["test_accuracy"] > before["test_accuracy"]
    member = cell.arrays["member"]
    rule = fusion.Weighted().fit(
        cell.arrays["logits_2"][:, member], cell.arrays["labels"][member], seeds.derive(0, "fusion", 0)
    )
    assert max(rule.weights) == row["largest_weight"]
    spoilt = cell.arrays["labels"].copy()
    spoilt[~member] = (spoilt[~member] + 1) % 4
    turned = replace(cell, arrays=cell.arrays | {"labels": spoilt})
    (again,) = config.compute([turned], scratch=None).info["rows"]
    assert again["largest_weight"] == row["largest_weight"], "non-members' labels have no say"


def test_stacking_is_fitted_on_the_part_that_no_model_saw(tmp_path):
    store = Store(tmp_path)
    target = replace(PARTS, count=3)
    config = Attacked(target, 3, models=3, size=3, fusion="stacking", attacks=("gap",))
    (row,) = store.get(config).info["rows"]
    assert (row["division"], row["fusion"], row["fitted_on"]) == ("stacking", "stacking", "a part of its own")
    arrays, apart = store.get(target).arrays, target.apart()
    rule = fusion.Stacking().fit(arrays["logits_3"][:, apart], arrays["labels"][apart], 0)
    right = fusion.answer(arrays["logits_3"], rule) == arrays["labels"]
    assert row["test_accuracy"] == pytest.approx(right[~arrays["member"]].mean())
    assert row["train_accuracy"] == pytest.approx(right[arrays["member"]].mean()), (
        "of all parts, the meta-learner's too"
    )
    with pytest.raises(ValueError, match="fusion 'stacking' joins 2 models or more, not 1"):
        replace(config, size=1)


def test_equal_members_give_the_single_model_s_audit():
    cell = known_case()
    alike = replace(cell, arrays=cell.arrays | {"logits_2": np.repeat(cell.arrays["logits_2"][1:2], 3, axis=0)})
    (single,) = of_three(size=1).compute([alike], scratch=None).info["rows"]
    rules = ("confidence", "logit", "median", "trimmed-mean", "most-confident", "least-confident", "weighted")
    for rule in (*rules, "random-agreeing", "raw-logit"):
        (joint,) = of_three(fusion=rule).compute([alike], scratch=None).info["rows"]
        assert joint["auc"] == pytest.approx(single["auc"]) and joint["test_accuracy"] == single["test_accuracy"], rule


def test_models_that_answer_other_samples_or_classes_make_no_ensemble():
    cells = [outputs_of(np.zeros((1, 5, k)), np.zeros(5, int), np.ones(5, bool)) for k in (3, 4)]
    with pytest.raises(ValueError, match="found 5 samples of 3 classes and 5 samples of 4 classes"):
        predictions(cells, 2)


# calibration


def test_the_calibration_error_is_the_share_by_which_confidences_are_wrong():
    p = np.tile([0.8, 0.2], (100, 1))
    labels = (np.arange(100) >= 60).astype(int)  # right on 60 of 100
    assert fusion.calibration_error(p, labels) == pytest.approx(0.2)
    labels = (np.arange(100) >= 80).astype(int)
    assert fusion.calibration_error(p, labels) == pytest.approx(0, abs=1e-12)
    two = np.array([[0.95, 0.05]] * 50 + [[0.55, 0.45]] * 50)
    assert fusion.calibration_error(two, np.zeros(100, int)) == pytest.approx((0.05 + 0.45) / 2)
    with pytest.raises(ValueError, match="no sample"):
        fusion.calibration_error(p[:0], labels[:0])


def test_rows_have_the_calibration_error_of_either_side():
    cell, config = known_case(), of_three(calibration=True)
    (row,) = config.compute([cell], scratch=None).info["rows"]
    arrays = cell.arrays
    p = fusion.predict(arrays["logits_2"])
    for name, side in (("train_ece", arrays["member"]), ("test_ece", ~arrays["member"])):
        assert row[name] == pytest.approx(fusion.calibration_error(p[side], arrays["labels"][side]))
    assert "train_ece" not in of_three().compute([cell], scratch=None).info["rows"][0]


# one model's own rows


@pytest.mark.parametrize("division", [Division("partition", 3), Division("bagging"), Division("stacking", 3)])
def test_a_model_by_itself_is_audited_on_its_own_rows(division, tmp_path):
    store, target = Store(tmp_path), altered(TINY, division=division, samples=(200, 100), count=3)
    own = OwnRows(target, 1)
    cell, whole, seen = store.get(own), store.get(target), evaluated(target.pipeline)
    rows = rows_of(target.pipeline, seen.roles, seen.dataset.y, 1).unique()
    assert cell.arrays["member"].sum() == len(rows) < seen.member.sum()
    assert (~cell.arrays["member"]).sum() == 100
    looked = own.seen()
    assert sorted(looked.row_ids[looked.member].tolist()) == sorted(rows.tolist())
    places = np.searchsorted(seen.row_ids[seen.member], looked.row_ids[looked.member])
    np.testing.assert_array_equal(
        cell.arrays["logits_3"][0, cell.arrays["member"]], whole.arrays["logits_3"][1][places]
    )
    (row,) = store.get(Attacked(own, 3, attacks=("gap",))).info["rows"]
    assert row["membership"] == "its own rows" and row["division"] == division.kind
    union = whole.info["history"][1][-1]["train_accuracy"]
    assert cell.info["history"][0][-1]["train_accuracy"] == pytest.approx(row["train_accuracy"]) != union


def test_own_rows_of_models_that_saw_all_members_are_refused():
    with pytest.raises(ValueError, match="saw all members: audit the model itself"):
        OwnRows(TINY)
    with pytest.raises(ValueError, match="from 0 on, not -1"):
        OwnRows(PARTS, -1)


# one member's logits rescaled


def test_a_rescaled_member_sways_the_mean_logit_and_the_mean_confidence_less():
    cell, changed = known_case(), {}
    for rule in ("logit", "confidence", "vote"):
        found = Rescaled(of_three(fusion=rule), 100.0)
        (row,) = found.compute([cell], scratch=None).info["rows"]
        scaled = cell.arrays["logits_2"].copy()
        scaled[0] *= 100
        before, after = fusion.answer(cell.arrays["logits_2"], rule), fusion.answer(scaled, rule)
        changed[rule] = row["changed"]
        assert row["changed"] == pytest.approx((before != after).mean())
        assert row["rescaled"] is True and row["factor"] == 100 and found.columns()["rescaled"] is True
    assert changed["logit"] > changed["confidence"] > changed["vote"] == 0
    assert cell.arrays["logits_2"].max() < 50, "the inputs stay as they were"


def test_a_factor_of_one_changes_nothing():
    cell, audit = known_case(), of_three(fusion="logit")
    (row,), (plain,) = (each.compute([cell], scratch=None).info["rows"] for each in (Rescaled(audit, 1.0), audit))
    assert row["changed"] == 0 and {**row, **plain} == row


@pytest.mark.parametrize(
    ("changes", "factor", "message"),
    [
        ({"size": 1}, 2.0, "not of 1"),
        ({"size": 2}, 2.0, "not of 2"),
        ({"fusion": "weighted"}, 2.0, "would learn the factor"),
        ({}, 0.0, "must be positive"),
    ],
)
def test_rescaling_what_nothing_sways_is_refused(changes, factor, message):
    with pytest.raises(ValueError, match=message):
        Rescaled(of_three(**changes), factor)
