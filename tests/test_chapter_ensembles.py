"""Ten models for chapters: the same that Figures 1 and 12 audit, trained once."""

from dataclasses import replace

import numpy as np
import pytest
from experiment_cases import RECIPE, TINY

from mialab import training
from mialab.cells.attacked import Attacked
from mialab.cells.snapshots import Snapshots
from mialab.chapters import ensembles
from mialab.chapters.ensembles import load_ensemble, load_snapshots
from mialab.engine.store import Store
from mialab.ensembles import Division
from mialab.experiments.ensemble import FIGURE1, FIGURE2, FIGURE3
from mialab.experiments.other_ensembles import DIVIDED, FIGURE12, FUSIONS
from mialab.training import Cyclic, Phase


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(ensembles.FIGURE1_TARGET, "smoke", TINY)


def test_ten_models_answer_at_each_kept_epoch_and_are_trained_once(tiny, tmp_path, monkeypatch):
    store = Store(tmp_path)
    ten = load_ensemble(store=store)
    assert (ten.models, ten.epochs) == (10, (1, 3))
    outputs = ten.outputs()
    assert outputs.logits.shape == (10, 140, 10) and outputs.member.sum() == 60
    np.testing.assert_array_equal(ten.outputs(1, models=[3]).logits[0], ten.outputs(1).logits[3])
    assert ten.x.shape[0] == 140
    assert not np.array_equal(outputs.logits[0], outputs.logits[1]), "they differ in their random start"
    monkeypatch.setattr(training, "fit", None)
    np.testing.assert_array_equal(load_ensemble(store=store).outputs().logits, outputs.logits)


def test_figures_1_to_3_and_all_rules_audit_the_very_models():
    for figure in (FIGURE1, FIGURE2, FIGURE3, FUSIONS):
        targets = {cell.target for cell in figure.grid("smoke", seeds=(4,))}
        assert targets == {ensembles.FIGURE1_TARGET["smoke"].seeded(4)}


def test_ten_snapshots_are_those_of_figure_12_and_tell_when_they_were_taken(tmp_path, monkeypatch):
    recipe = replace(RECIPE, epochs=10, schedule=Cyclic(10))
    cell = Snapshots(replace(TINY.pipeline, phases=(Phase(recipe),)))
    small = replace(FIGURE12, cells=lambda preset, seed: (Attacked(cell.seeded(seed), 10, models=10, choice="first"),))
    monkeypatch.setattr(ensembles, "FIGURE12", small)
    taken = load_snapshots(seed=2, store=Store(tmp_path))
    assert (taken.models, taken.target) == (10, cell.seeded(2))
    assert [row["snapshot"] for (row,) in taken.histories] == [*range(10, 0, -1)], "the last one first"
    assert [row["epoch"] for row in taken.curve] == [*range(1, 11)]
    outputs = taken.outputs()
    right = (outputs.logits[0].argmax(axis=1) == outputs.labels)[~outputs.member].mean()
    assert right == pytest.approx(taken.histories[0][0]["test_accuracy"])
    np.testing.assert_array_equal(taken.outputs(models=[3]).logits[0], outputs.logits[3])


def test_parts_are_those_of_the_experiment_on_divisions():
    targets = [cell.target for cell in DIVIDED.grid("smoke", seeds=(4,))]
    parts, bags = Division("partition", 10), Division("bagging")
    for division in (parts, bags):
        assert ensembles.divided(ensembles.FIGURE1_TARGET["smoke"].seeded(4), division) in targets


def test_what_is_not_there_is_refused_with_what_is(tiny, tmp_path):
    with pytest.raises(ValueError, match="smoke, course, paper"):
        load_ensemble(preset="lite")
    with pytest.raises(ValueError, match="smoke, course, paper"):
        load_snapshots(preset="lite")
    with pytest.raises(KeyError, match="kept: 1, 3"):
        load_ensemble(store=Store(tmp_path)).outputs(2)
