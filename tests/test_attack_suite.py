"""The suite: all attacks on one target, the target's shadows, and what a chapter gets of both."""

import numpy as np
import pytest
from experiment_cases import TINY, altered

from mialab import attacks, experiments, results, training
from mialab.attacks import asking
from mialab.cells.models import Models
from mialab.cells.shadows import Shadows
from mialab.chapters import suite as suite_module
from mialab.chapters.suite import load_suite
from mialab.engine.store import Store, closure
from mialab.experiments import PRESETS, attack_suite
from mialab.experiments.attack_suite import SHADOWS, TARGET
from mialab.metrics import too_few
from mialab.results import summary
from mialab.splits import Arrangement

WITHOUT = ("gap", "loss", "loss-per-class")
WITH_SHADOWS = ("lira-online-fixed", "shadow-thresholds")


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """a tiny suite with six shadows, and its store."""
    store = Store(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch)
        return store, load_suite(store=store)


@pytest.fixture
def small(monkeypatch):
    tiny(monkeypatch)


def tiny(patch):
    halves = Arrangement("carlini")
    target = altered(TINY, samples=(240, 0), epochs=(3,), arrangement=halves, weights=(3,))
    patch.setitem(attack_suite.TARGET, "smoke", target)
    patch.setitem(attack_suite.SHADOWS, "smoke", (4, 6))
    patch.setitem(attack_suite.PER_CELL, "smoke", 2)
    patch.setattr(attack_suite, "MOST_SEARCHED", 40)
    patch.setattr(attack_suite, "WITHOUT", WITHOUT)
    patch.setattr(attack_suite, "WITH_SHADOWS", WITH_SHADOWS)
    patch.setattr(attack_suite, "LIKELIHOODS", WITH_SHADOWS[:1])
    patch.setattr(attack_suite, "CHEAP_QUERIES", ("label-augmentation", "gradient-input"))
    patch.setattr(asking, "SEARCH", {"donors": 3, "rounds": 1, "probes": 4, "halvings": 4})


def test_the_suite_names_every_attack_that_one_model_can_meet():
    named = {*attack_suite.WITHOUT, *attack_suite.WITH_SHADOWS}
    of_ensembles = {"agreement", "white-box-ensemble"}
    of_pruned_ones = {"samia"}  # which needs shadows that keep their sensitivity: `pruning/shadows` runs it
    assert named == attacks.ALL.keys() - of_ensembles - of_pruned_ones
    assert all("references" in attacks.get(name).needs for name in attack_suite.WITH_SHADOWS)
    of_bits = {"label-flips"}
    assert {*attack_suite.CHEAP_QUERIES, "label-boundary"} == attacks.QUERIES.keys() - of_bits


@pytest.mark.parametrize("preset", PRESETS)
def test_a_tpr_at_one_per_cent_has_its_ten_false_positives(preset):
    _, members, nonmembers = TARGET[preset].pipeline.row_counts
    judged = round((1 - attack_suite.KNOWN) * nonmembers)
    assert members == nonmembers
    assert too_few(np.arange(members + judged) < members, 0.01) is None


@pytest.mark.parametrize("preset", PRESETS)
def test_fewer_shadows_cost_no_training_of_their_own(preset):
    few, all_of_them = (
        {config for config in closure(experiments.get(name).grid(preset)) if isinstance(config, Models | Shadows)}
        for name in ("basics/shadows", "basics/attacks")
    )
    assert few == all_of_them
    assert (
        sum(config.count for config in few if isinstance(config, Shadows) and config.seed == 0) == SHADOWS[preset][-1]
    )


def test_a_suite_s_rows_are_the_experiment_s(small, computed, monkeypatch):
    store, found = computed
    monkeypatch.setattr(training, "fit", None)
    again = results.result("basics/attacks", seeds=(0,), store=store)
    assert found.rows == again.rows and again.missing == 0
    names = [*WITHOUT, *WITH_SHADOWS, "label-augmentation", "gradient-input", "label-boundary"]
    assert [row["attack"] for row in found.rows] == names == list(found.scores)
    experiment = experiments.get("basics/attacks")
    assert len(summary(found.rows, experiment.by, experiment.values)) == len(names)
    by_shadows = experiments.get("basics/shadows")
    found = results.result(by_shadows.name, seeds=(0,), store=store)
    lines = summary(found.rows, by_shadows.by, by_shadows.values)
    assert [(line["shadows"], line["attack"]) for line in lines] == [(k, name) for k in (4, 6) for name in WITH_SHADOWS]


def test_a_suite_holds_what_the_attacks_saw(computed):
    _, found = computed
    outputs, held = found.outputs, found.references()
    assert outputs.logits.shape == (1, 240, 10) and outputs.member.sum() == 120
    assert found.known.sum() == 48
    assert found.x.shape == (240, 3, 12, 12)
    held.check(outputs)
    assert held.logits.shape == (6, 240, 10)
    assert (held.member.sum(axis=0) == 3).all()
    assert np.abs(held.member.mean(axis=1) - 0.5).max() == 0
    evidence = attacks.Evidence(outputs.logits[0], outputs.logits[0], outputs.logits[0], outputs.labels)
    gap = attacks.get("gap").score(evidence, attacks.Known.of(found.known, outputs.member), 0)
    np.testing.assert_array_equal(found.scores["gap"], gap)


def test_samples_that_an_attack_was_not_asked_about_have_no_score(computed):
    scores = computed[1].scores
    assert np.isnan(scores["label-boundary"]).sum() == 200
    assert all(np.isfinite(scores[name]).all() for name in scores if name != "label-boundary")


def test_fewer_shadows_are_the_first_ones_and_come_in_pairs(computed):
    _, found = computed
    two, every = found.references(2), found.references()
    np.testing.assert_array_equal(two.logits, every.logits[:2])
    assert (two.member.sum(axis=0) == 1).all()
    for wrong in (0, 3, 8):
        with pytest.raises(ValueError, match=f"found {wrong} shadows; choose an even number from 2 to 6"):
            found.references(wrong)


def test_cells_are_computed_in_as_many_processes_as_one_asks_for(small, computed, monkeypatch):
    store, _ = computed
    asked = []

    for module in (suite_module, results):
        monkeypatch.setattr(module, "compute", lambda cells, store, *, jobs: asked.append(jobs))
    load_suite(store=store, jobs=2)
    results.result("basics/attacks", seeds=(0,), store=store, jobs=3)
    assert asked == [2, 3]
