"""Shadow models: who is trained on what, that a shadow is the whole pipeline, and what attacks make of them."""

import pickle
from dataclasses import dataclass, field, replace
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch
from experiment_cases import TINY, altered, made, outputs_cell, random_models, shadows_cell

from mialab import attacks, audit, data, fusion, metrics, models, seeds, splits, training
from mialab.attacks import References
from mialab.cells.attacked import Attacked, known_mask
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline, evaluated
from mialab.cells.shadows import Shadows, references
from mialab.engine.store import Store
from mialab.splits import NASR, Arrangement
from mialab.training import Phase

EVEN = altered(TINY, samples=(60, 60)).pipeline
FOUR = Shadows(EVEN, (3,), count=4)
DENSE = training.Recipe(epochs=2, batch=64, optimizer="adam", lr=1e-3)
HALVES = Arrangement("carlini")
DIGITS = Pipeline("digits", "tabular", (Phase(DENSE),), arrangement=HALVES)


def test_shadows_are_refused_where_the_defense_has_seen_the_attacked_rows():
    for validation in (0.0, 0.1):
        released = replace(DIGITS, arrangement=Arrangement("released", 0.5, validation))
        with pytest.raises(ValueError, match="'released'.*choose 'pooled' with a reference share"):
            Shadows(released, (2,), count=2)


# the design


def test_the_cell_says_who_was_trained_on_what():
    inside = made(FOUR).arrays["member"]
    assert inside.shape == (4, 120)
    assert (inside.sum(axis=0) == 2).all(), "each sample in half of the shadows"
    assert (inside.sum(axis=1) == 60).all(), "each shadow on as many samples as the target"
    np.testing.assert_array_equal(inside[0::2], ~inside[1::2])


def test_shadows_are_trained_on_the_rows_that_the_cell_names(monkeypatch):
    seen = {}

    def spy(build, pair, recipe, *, seeds, indices, **options):
        seen.update(pair=pair, seeds=seeds, indices=indices)
        return fit_many(build, pair, recipe, seeds=seeds, indices=indices, **options)

    fit_many = training.fit_many
    monkeypatch.setattr(training, "fit_many", spy)
    cell = made(replace(FOUR, first=2))
    rows = evaluated(EVEN).row_ids
    for indices, inside in zip(seen["indices"], cell.arrays["member"], strict=True):
        assert set(indices.tolist()) == set(rows[inside].tolist())
    assert seen["seeds"] == [seeds.derive(0, "shadow", k, 0) for k in (2, 3, 4, 5)]
    assert torch.equal(seen["pair"][0], data.load("textures", samples=(60, 60), seed=seeds.derive(0, "data")).x)


def test_who_is_the_target_s_member_changes_nothing_about_shadows(monkeypatch):
    """Of the same rows, others become members: the shadows are the same, row by row."""
    target = replace(EVEN, arrangement=HALVES, samples=(120, 0))
    config, arrange = Shadows(target, (3,), count=2), splits.arrange
    cells, orders, members = [], [], []
    for other in (0, 1):
        monkeypatch.setattr(splits, "arrange", lambda *a, other=other, seed, **o: arrange(*a, seed=seed + other, **o))
        seen = evaluated(target)
        cells.append(made(config))
        orders.append(seen.row_ids.argsort().numpy())
        members.append(seen.member.numpy()[orders[-1]])
    assert not np.array_equal(*members)
    for name, axis in (("member", 1), ("logits_3", 2)):
        by_row = [np.take(cell.arrays[name], order, axis=axis) for cell, order in zip(cells, orders, strict=True)]
        np.testing.assert_array_equal(*by_row)


def test_shadows_do_not_follow_the_target_s_split():
    """Half of the target's members in each shadow, as far as chance has it: their draws share no stream."""
    seen = evaluated(DIGITS)
    order = seen.row_ids.argsort()
    inside = Shadows(DIGITS, (2,), count=40)._design(seen).numpy()
    shared = (inside & seen.member.numpy()).sum(axis=1)
    assert (np.abs(shared - 449) < 5 * 1797**0.5 / 4).all()
    assert torch.equal(seen.row_ids[order], torch.arange(1797))


def test_the_numbers_are_the_same_however_cells_divide_the_shadows():
    whole = made(FOUR)
    parts = [made(replace(FOUR, first=0, count=1)), made(replace(FOUR, first=1, count=3))]
    for name in ("member", "logits_3"):
        np.testing.assert_array_equal(whole.arrays[name], np.concatenate([part.arrays[name] for part in parts]))
    assert whole.info["history"] == [one for part in parts for one in part.info["history"]]
    assert [seed for first in (0, 1, 2, 3) for seed in replace(FOUR, first=first, count=1).seeds] == list(FOUR.seeds)


def test_shadows_trained_side_by_side_are_those_trained_alone():
    joint, alone = made(Shadows(DIGITS, (2,), count=2)), made(Shadows(DIGITS, (2,), first=1))
    np.testing.assert_allclose(joint.arrays["logits_2"][1], alone.arrays["logits_2"][0], atol=1e-4)
    np.testing.assert_array_equal(joint.arrays["member"][1], alone.arrays["member"][0])


def test_a_single_shadow_goes_on_where_it_was_interrupted(tmp_path):
    single, whole = Shadows(EVEN, (3,)), made(Shadows(EVEN, (3,)))

    def interrupted(run):
        if run.epoch == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.checkpoint, "SECONDS", 0)
        patch.setattr("mialab.cells.recorder.Recorder.after_epoch", lambda recorder, run: interrupted(run))
        with pytest.raises(KeyboardInterrupt):
            single.compute((), scratch=tmp_path / "scratch")
    assert (tmp_path / "scratch" / "training.pt").exists()
    again = single.compute((), scratch=tmp_path / "scratch")
    np.testing.assert_array_equal(again.arrays["logits_3"], whole.arrays["logits_3"])


# a shadow is the whole pipeline


def test_a_shadow_of_an_ensemble_is_an_ensemble_trained_on_one_half():
    cell = made(Shadows(EVEN, (3,), models=2, first=1, count=2))
    dataset, seen = data.load("textures", samples=(60, 60), seed=seeds.derive(0, "data")), evaluated(EVEN)
    for k, inside, logits in zip((1, 2), cell.arrays["member"], cell.arrays["logits_3"], strict=True):
        rows = seen.row_ids[inside].sort().values
        for m in range(2):
            alone = training.fit(
                lambda: models.build("small_cnn", dataset.shape, dataset.classes),
                (dataset.x[rows], dataset.y[rows]),
                EVEN.last.recipe,
                seed=seeds.derive(0, "shadow", k, m),
            )
            np.testing.assert_array_equal(logits[m], training.logits(alone.model, seen.x()).numpy())
    held = references([cell], 3, size=2)
    assert held.logits.shape == (2, 120, 10)
    for fused, logits in zip(held.logits, cell.arrays["logits_3"], strict=True):
        np.testing.assert_allclose(fused, np.log(fusion.softmax(logits).mean(axis=0)), atol=1e-5)
    np.testing.assert_array_equal(references([cell], 3, size=1).logits, cell.arrays["logits_3"][:, 0])


def test_references_are_fused_by_the_target_s_rule():
    cells = [shadows_cell(Shadows(EVEN, (3,), models=3, first=k, count=2)) for k in (0, 2)]
    for rule in fusion.RULES:
        held = references(cells, 3, size=3, fusion=rule)
        for k, one in enumerate(ensemble for cell in cells for ensemble in cell.arrays["logits_3"]):
            expected = np.maximum(fusion.fuse(one, rule), fusion.SMALLEST)
            np.testing.assert_allclose(held.logits[k], expected, rtol=1e-6)
    np.testing.assert_array_equal(held.member, np.concatenate([cell.arrays["member"] for cell in cells]))


@dataclass(frozen=True)
class Shrink(training.Defense):
    """A tiny defense that says what it was made with."""

    NAME: ClassVar[str] = "shrink"
    VERSION: ClassVar[int] = 1

    weight: float

    def start(self, parts):
        return Shrinking(self.weight, parts)


@dataclass
class Shrinking(training.Hooks):
    weight: float
    parts: training.Parts = field(compare=False)
    made = []

    def __post_init__(self):
        self.made.append(self)

    def penalty(self, run, x, y, outputs):
        return self.weight * sum((p**2).sum() for p in run.model.parameters())


def defended(pipeline, *defenses):
    return replace(pipeline, phases=(Phase(pipeline.last.recipe, defenses),))


def test_a_defended_target_has_defended_shadows(monkeypatch):
    monkeypatch.setattr(Shrinking, "made", [])
    config = Shadows(defended(EVEN, Shrink(0.05)), (3,), count=2)
    shrunk, plain = made(config), made(replace(FOUR, count=2))
    np.testing.assert_array_equal(shrunk.arrays["member"], plain.arrays["member"])
    assert np.abs(shrunk.arrays["logits_3"]).mean() < np.abs(plain.arrays["logits_3"]).mean() / 2
    seen = evaluated(EVEN)
    assert len(Shrinking.made) == 2, "one defense for each model"
    for one, inside in zip(Shrinking.made, shrunk.arrays["member"], strict=True):
        mine = seen.row_ids[inside].sort().values
        assert torch.equal(one.parts.train[0], seen.dataset.x[mine])


def test_a_defense_s_reference_and_validation_rows_are_the_target_s(monkeypatch):
    dataset = data.load("digits")
    dealt = splits.assign(dataset, members=600, nonmembers=600, reference=200, validation=100, seed=4)
    monkeypatch.setattr(splits, "arrange", lambda *arguments, **options: dealt)
    monkeypatch.setattr(Shrinking, "made", [])
    made(Shadows(defended(DIGITS, Shrink(0.0)), (2,), count=2))
    for one in Shrinking.made:
        for part, rows in ((one.parts.reference, dealt.reference), (one.parts.validation, dealt.validation)):
            assert torch.equal(part[0], dataset.x[rows]) and torch.equal(part[1], dataset.y[rows])
        assert len(one.parts.train[1]) == 600


def test_what_is_kept_of_a_target_does_not_make_other_shadows(tmp_path):
    name, one = Store(tmp_path).name, Shadows(EVEN, (3,))
    for same in ({"epochs": (1, 2, 3)}, {"weights": (3,)}):
        assert name(replace(one, **same)) == name(one)
    others = [replace(EVEN, seed=1), replace(EVEN, model="tabular"), defended(EVEN, Shrink(0.1))]
    for other in others:
        assert name(Shadows(other, (3,))) != name(one)
    assert len({name(replace(one, **part)) for part in ({}, {"first": 1}, {"count": 2}, {"models": 2})}) == 4
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Shadows(TINY.pipeline, (3,)),
            "on 60 samples, a shadow on half of 60 members and 80.*equally many",
        ),
        (
            lambda: Shadows(replace(DIGITS, arrangement=NASR), (2,)),
            "trained on 898 .* half of 449 .* arrangements 'carlini' and 'pooled'",
        ),
        (lambda: Shadows(EVEN, (3,), count=0), "count and models must be at least 1"),
        (lambda: Shadows(EVEN, (3,), models=0), "count and models must be at least 1"),
        (lambda: Shadows(EVEN, (3,), first=-1), "first at least 0"),
        (lambda: Shadows(EVEN, (4,)), "training ends after epoch 3"),
    ],
)
def test_shadows_that_would_be_another_pipeline_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_little_less_or_more_than_half_is_no_other_pipeline():
    assert Shadows(DIGITS, (2,)).pipeline.row_counts == (898, 898, 899)


# attacks with shadows


def attacked(**changes):
    """Two made-up models, and four made-up shadows, on textures."""
    target = altered(random_models(), samples=(200, 200))
    shadow = Shadows(target.pipeline, (2,), count=2)
    config = Attacked(target, 2, models=2, shadow=shadow, shadows=4, attacks=("gap", "lira-offline"))
    return replace(config, **changes)


def computed(config):
    cells = [shadows_cell(need) if isinstance(need, Shadows) else outputs_cell(need) for need in config.needs()]
    return config.compute(cells, scratch=None), cells


def test_audits_with_shadows_need_their_cells_after_the_models():
    needs = attacked(models=4, shadows=8).needs()
    assert [(type(need), need.first, need.count) for need in needs] == [
        *((Models, first, 2) for first in (0, 2)),
        *((Shadows, first, 2) for first in (0, 2, 4, 6)),
    ]


def test_fewer_shadows_are_the_first_of_more():
    assert set(attacked(shadows=4).needs()) < set(attacked(shadows=8).needs())


@pytest.mark.parametrize("size", [1, 2])
def test_an_audit_with_shadows_is_that_of_their_references(size):
    chosen = ("gap", "lira-online-fixed", "rmia-offline", "shadow-thresholds")
    shadow = Shadows(attacked().target.pipeline, (2,), models=2, count=2)
    config = attacked(size=size, attacks=chosen, fusion="logit", scores=True, shadow=shadow)
    cell, (target, *shadows) = computed(config)
    of = target.arrays
    (subset,) = cell.info["subsets"]
    logits = [one for each in shadows for one in each.arrays["logits_2"]]
    inside = np.concatenate([each.arrays["member"] for each in shadows])
    held = References.of_ensembles([one[:size] for one in logits], inside, of["labels"], how="logit")
    report = audit.audit(
        audit.Outputs(of["logits_2"][subset], of["labels"], of["member"]),
        attacks=chosen,
        fusion="logit",
        known=known_mask(of, config.known, 0),
        references=held,
        seed=seeds.derive(0, "attack", 0),
    )
    for row in cell.info["rows"]:
        found = report.attacks[row["attack"]]
        assert row["auc"] == pytest.approx(found.everyone.auc.value, abs=1e-6)
        assert (row["shadows"], row["models"]) == (4, size)
        np.testing.assert_allclose(cell.arrays[f"scores_{row['attack']}"][0], found.scores, rtol=1e-4, atol=1e-4)
    for name in ("labels", "member"):
        np.testing.assert_array_equal(cell.arrays[name], of[name])
    np.testing.assert_array_equal(cell.arrays["known"], known_mask(of, config.known, 0))


def test_scores_are_kept_per_ensemble_and_only_when_asked_for():
    cell, _ = computed(attacked(subsets=2, attacks=("confidence",), scores=True))
    assert cell.arrays["scores_confidence"].shape == (2, 400)
    plain, _ = computed(attacked(subsets=2, attacks=("confidence",)))
    assert plain.arrays == {} and plain.info["rows"] == cell.info["rows"]


def test_rows_without_shadows_have_no_such_column():
    cell, _ = computed(attacked(shadow=None, shadows=0))
    assert "shadows" not in cell.info["rows"][0]
    assert "lira-offline" in cell.info["skipped"]


def test_an_attack_that_looks_at_samples_gets_those_of_the_target(monkeypatch):
    seen = {}
    monkeypatch.setattr(audit, "audit", lambda outputs, *, x, **options: seen.update(x=x) or 1 / 0)
    config = attacked(attacks=("nasr-paper-x",))
    with pytest.raises(ZeroDivisionError):
        computed(config)
    np.testing.assert_array_equal(seen["x"], evaluated(config.target.pipeline).x().numpy())
    with pytest.raises(ZeroDivisionError):
        computed(attacked())
    assert seen["x"] is None, "no data is loaded for nothing"


ADAPTIVE = Shadows(defended(altered(random_models(), samples=(200, 200)).pipeline, Shrink(0.1)), (2,), count=2)
UNAWARE = Shadows(altered(random_models(), samples=(200, 200)).pipeline, (3,), count=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shadow": None}, "give both a shadow and the number of shadows"),
        ({"shadows": 0}, "give both a shadow and the number of shadows"),
        ({"shadows": 3}, "3 shadows do not fill cells of 2"),
        ({"shadow": replace(ADAPTIVE, first=2)}, "from shadow 0 on"),
        ({"shadow": replace(ADAPTIVE, count=1), "shadows": 3}, "choose an even number"),
        ({"size": 2}, "for ensembles of 2, a shadow must have as many models, not 1"),
        ({"shadow": UNAWARE}, r"attacked after epoch 2: take its shadows there, not at \(3,\)"),
        ({"shadow": replace(ADAPTIVE, pipeline=ADAPTIVE.pipeline.seeded(1))}, "differ in seed, hence in their samples"),
        ({"shadow": Shadows(DIGITS, (2,), count=2)}, "differ in data, samples, arrangement"),
    ],
)
def test_shadows_that_do_not_fit_the_target_are_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        attacked(**changes)


def test_an_attacker_may_have_shadows_of_another_pipeline_on_the_same_samples():
    assert attacked(shadow=ADAPTIVE).needs()[-1].pipeline.method == "shrink"


# ground truth: a net that has learnt its members by heart


FAST = training.Recipe(epochs=12, batch=25, optimizer="adam", lr=4e-3)
OVERFIT = Models(Pipeline("textures", "small_cnn", (Phase(FAST),), samples=(400, 0), arrangement=HALVES), epochs=(12,))


@cache
def toy():
    """The audit of an overfit target with sixteen shadows, and the cells that it needs."""
    config = Attacked(
        OVERFIT,
        12,
        known=0.01,
        attacks=("gap", "loss", "lira-online-fixed", "lira-offline-fixed", "rmia-online"),
        shadow=Shadows(OVERFIT.pipeline, (12,), count=16),
        shadows=16,
        scores=True,
    )
    cells = [made(need) for need in config.needs()]
    for cell in cells:
        cell.info["made_with"] = {"device": "none"}
    return config, cells, config.compute(cells, scratch=None)


def test_with_shadows_a_likelihood_ratio_beats_the_loss():
    _, _, cell = toy()
    auc = {row["attack"]: row["auc"] for row in cell.info["rows"]}
    for name in ("lira-online-fixed", "rmia-online"):
        assert auc[name] > auc["loss"] + 0.04 > auc["gap"] - 0.05 > 0.5
    member, judged = cell.arrays["member"], ~cell.arrays["known"]
    found = {}
    for name in ("loss", "lira-online-fixed"):
        scores = cell.arrays[f"scores_{name}"][0]
        found[name] = metrics.tpr_at_fpr(scores[judged], member[judged], 0.06).value
    assert found["lira-online-fixed"] > 1.5 * found["loss"]


def test_with_membership_shuffled_no_attack_finds_anything():
    config, (target, shadows), _ = toy()
    shuffled = np.random.default_rng(0).permutation(target.arrays["member"])
    rows = config.compute([replace_arrays(target, member=shuffled), shadows], scratch=None).info["rows"]
    assert len(rows) == len(config.attacks)
    for row in rows:
        assert row["auc_interval"][0] <= 0.5 <= row["auc_interval"][1]


def test_a_shadow_is_found_out_by_the_others_as_the_target_is():
    """Shadow and target are exchangeable: attacked by the other fifteen, a shadow's own members are found as well."""
    _, (_, shadows), cell = toy()
    held = references([shadows], 12)
    target_auc = next(row["auc"] for row in cell.info["rows"] if row["attack"] == "lira-offline-fixed")
    areas = []
    for k in range(0, 16, 2):
        others = np.arange(16) != k
        rest = References(held.logits[others], held.member[others], held.labels)
        outputs = audit.Outputs(held.logits[k], held.labels, held.member[k])
        report = audit.audit(outputs, attacks=attacks.get("lira-offline-fixed"), known=0, references=rest)
        areas.append(report.attacks["lira-offline-fixed"].everyone.auc.value)
    assert abs(np.mean(areas) - target_auc) < 4 * np.std(areas)


def replace_arrays(cell, **arrays):
    return replace(cell, arrays=cell.arrays | arrays)
