"""The accuracy-privacy plane: what a defense is compared with, and which points there are."""

from dataclasses import replace

import pytest
from experiment_cases import TINY, altered, made

from mialab import experiments
from mialab.cells.attacked import Attacked
from mialab.cells.defended import Defended, at_accuracy
from mialab.cells.masked import Masked
from mialab.engine.store import Cell
from mialab.experiments import PRESETS, ensemble_defenses

PLAIN = tuple(Attacked(altered(TINY, epochs=(1, 2, 3)), epoch, attacks=("gap", "confidence")) for epoch in (1, 2, 3))
CURVE = [(0.5, 0.50), (0.7, 0.54), (0.7, 0.60), (0.6, 0.70)]


@pytest.mark.parametrize(
    ("accuracy", "auc"), [(0.5, 0.5), (0.6, 0.52), (0.7, 0.54), (0.49, None), (0.71, None), (0.65, 0.53)]
)
def test_the_plain_ensemble_is_read_where_it_first_has_this_accuracy(accuracy, auc):
    assert at_accuracy(accuracy, CURVE) == (auc if auc is None else pytest.approx(auc))


def test_an_accuracy_that_stands_still_is_read_at_its_beginning():
    assert at_accuracy(0.7, [(0.7, 0.6), (0.7, 0.9)]) == 0.6
    assert at_accuracy(0.6, CURVE[2:]) == pytest.approx(0.7)


def audited(config, accuracy, auc):
    rows = [
        {**config.columns(), "attack": name, "seed": 0, "auc": auc - 0.01 * number, "test_accuracy": accuracy}
        for number, name in enumerate(config.attacks)
    ]
    return Cell({"rows": rows, "trained_on": ["cpu"]}, {})


def test_a_point_is_the_audit_with_its_name_and_what_it_leaks_above_the_plain_ensemble():
    config = Defended(PLAIN[0], "bagging", 1, 30.0, PLAIN)
    cells = [audited(PLAIN[0], 0.6, 0.58)]
    cells += [audited(one, *point) for one, point in zip(PLAIN, CURVE, strict=False)]
    rows = made(config, cells).info["rows"]
    assert [row["attack"] for row in rows] == ["gap", "confidence"]
    for row in rows:
        assert (row["method"], row["strength"], row["dial"]) == ("bagging", 1, 30.0)
        assert row["auc_above_plain"] == pytest.approx(0.06)
        assert config.columns().items() <= row.items()
    far = made(config, [audited(PLAIN[0], 0.9, 0.58), *cells[1:]]).info["rows"]
    assert far[0]["auc_above_plain"] is None, "no plain ensemble is as accurate"


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (PLAIN[:1], "two epochs or more"),
        (PLAIN[::-1], "rising"),
        ((PLAIN[0], replace(PLAIN[1], attacks=("gap",))), "same data, seed"),
    ],
)
def test_what_cannot_be_compared_is_refused(plain, message):
    with pytest.raises(ValueError, match=message):
        Defended(PLAIN[2], "none", 0, 3.0, plain)


@pytest.mark.parametrize("preset", PRESETS)
def test_figure_5_has_each_defense_of_the_paper_and_the_strengths_that_it_states(preset):
    cells = experiments.get("ensemble/figure5").grid(preset, seeds=(0,))
    methods = {cell.method for cell in cells}
    assert {"none", "l1", "l2", "dp", "mmd_mixup", "early_stop", "bagging", "partitioning", "stacking"} < methods
    assert methods >= {"dropout", "min_max", "pruning"}
    assert max(cell.dial for cell in cells if cell.method == "l2") == 1
    assert ("bagging", 30) in {(cell.method, cell.audit.epoch) for cell in cells}
    assert {cell.audit.size for cell in cells} == {1, 5 if preset == "smoke" else 10}
    for cell in cells:
        assert all((one.size, one.target.pipeline.method) == (cell.audit.size, "none") for one in cell.plain)
    strengths = [(cell.method, cell.strength, cell.audit.epoch, cell.audit.size) for cell in cells]
    assert len(set(strengths)) == len(strengths)


def test_stacking_joins_all_models_by_what_it_learnt_on_a_part_that_none_of_them_saw():
    for preset in PRESETS:
        for cell in experiments.get("ensemble/figure5").grid(preset, seeds=(0,)):
            division, size = cell.audit.target.pipeline.division, cell.audit.size
            assert (division.kind == "stacking") == (cell.method == "stacking")
            joined = cell.method == "stacking" and size > 1
            assert cell.audit.fusion == ("stacking" if joined else "confidence")
            assert cell.method != "stacking" or division.of == cell.audit.models


def test_all_defenses_have_the_same_samples():
    for preset in PRESETS:
        pipelines = [
            cell.audit.target.pipeline for cell in experiments.get("ensemble/figure5").grid(preset, seeds=(0,))
        ]
        assert len({(one.data, one.samples, one.arrangement, one.model) for one in pipelines}) == 1


def test_masks_are_tried_on_the_plain_ensemble_that_figure_5_has():
    of_figure = {cell.audit.target for cell in experiments.get("ensemble/figure5").grid("smoke", seeds=(0,))}
    masks = [cell for cell in experiments.get("ensemble/masking").grid("smoke", seeds=(0,)) if isinstance(cell, Masked)]
    assert {cell.audit.target for cell in masks} < of_figure
    assert {cell.columns()["mask"] for cell in masks} == {"none", *(mask.NAME for mask in ensemble_defenses.MASKS)}
