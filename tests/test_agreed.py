"""Cells about agreement and about confidence by correctness: ensembles whose answer is known, and the rows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from agreement_cases import HIGH, LOW, contributions, outputs
from experiment_cases import outputs_cell, random_models

from mialab import agreement, divergence, metrics
from mialab.cells.agreed import Agreed
from mialab.cells.parted import Parted
from mialab.engine.store import Cell
from mialab.outputs import Outputs

FOUR = Agreed(random_models(), 2, models=4)
PAIRS = Parted(random_models(), 2, models=4, size=2, subsets=2)


def cells_of(given: Outputs, config) -> list[Cell]:
    """The needed cells with these outputs for answers, models dealt out in order."""
    made = []
    for need in config.needs():
        cell = outputs_cell(need)
        arrays = {"labels": given.labels, "member": given.member}
        arrays["logits_2"] = given.logits[need.first : need.first + need.count]
        made.append(Cell(cell.info, arrays))
    return made


def rows_of(config, given: Outputs) -> list[dict]:
    return config.compute(cells_of(given, config), scratch=None).info["rows"]


def one(rows, **where) -> dict:
    (found,) = [row for row in rows if where.items() <= row.items()]
    return found


KNOWN = outputs(HIGH, LOW)  # four models: three factors are known


def test_factors_of_a_simulated_three_factor_model_are_the_known_ones():
    rows = rows_of(FOUR, KNOWN)
    found = [one(rows, factor=factor)["contribution"] for factor in agreement.FACTORS]
    assert found == pytest.approx(contributions(HIGH, LOW), rel=1e-9)
    lead = one(rows, level="all", side="both")["lead"]
    assert sum(found) == pytest.approx(lead) == pytest.approx(HIGH.mean - LOW.mean)
    assert sum(one(rows, factor=factor)["contribution_share"] for factor in agreement.FACTORS) == pytest.approx(1)


def test_levels_of_a_simulated_model_are_the_known_ones():
    config = FOUR
    info = config.compute(cells_of(KNOWN, config), scratch=None).info
    (curve,) = info["curves"]
    points = curve["points"]
    assert points["level"] == [0, 1, 2, 3, 4]
    for name, truth in (("members", HIGH), ("nonmembers", LOW)):
        assert points[name] == pytest.approx(truth.share)
        assert points[f"{name}_confidence"] == pytest.approx(truth.confidence)
        side = one(info["rows"], level="all", side=name)
        assert side["agreement"] == pytest.approx(truth.share @ np.arange(5))
        assert side["confidence"] == pytest.approx(truth.mean)
        lowest = one(info["rows"], level="lowest", side=name)
        assert lowest["share"] == pytest.approx(truth.share[:2].sum())
        assert lowest["confidence"] == pytest.approx(truth.share[:2] @ truth.confidence[:2] / truth.share[:2].sum())


def test_identity_the_gap_in_agreement_is_the_number_of_models_times_the_generalisation_gap():
    row = one(rows_of(FOUR, KNOWN), level="all", side="both")
    right = KNOWN.logits.argmax(axis=2) == KNOWN.labels
    gap = right[:, KNOWN.member].mean() - right[:, ~KNOWN.member].mean()
    assert row["generalisation_gap"] == pytest.approx(gap)
    assert row["agreement_gap"] == pytest.approx(4 * gap)
    assert row["gap_auc"] == pytest.approx((1 + gap) / 2)


def test_confidence_that_is_the_level_in_disguise_tells_nothing_at_equal_agreement():
    rows = rows_of(FOUR, outputs(LOW._replace(share=HIGH.share), LOW))
    matched = one(rows, level="matched", side="both")
    assert matched["confidence_auc"] == pytest.approx(0.5, abs=1e-3)  # logarithms round equal confidences apart
    assert matched["lead"] == pytest.approx(0, abs=1e-12)
    everyone = one(rows, level="all", side="both")
    assert everyone["confidence_auc"] > 0.6
    assert one(rows, factor="agreement")["contribution"] == pytest.approx(everyone["lead"])


def test_all_rows_are_plain_and_told_apart_by_their_columns():
    for config in (FOUR, PAIRS):
        info = config.compute([outputs_cell(need) for need in config.needs()], scratch=None).info
        assert json.loads(json.dumps(info)) == info
        assert all(config.columns().items() <= row.items() for row in info["rows"])
        names = ("part", "side", "level", "factor", "subset", "label")
        places = [tuple(row.get(name) for name in names) for row in info["rows"]]
        assert len(set(places)) == len(places)


def test_parts_of_single_models_are_the_means_over_models():
    given = Outputs(np.concatenate([outputs_cell(n).arrays["logits_2"] for n in FOUR.needs()]), *_sides())
    config = replace(PAIRS, size=1, subsets=4)
    rows = rows_of(config, given)
    for subset, part in (("all", "everyone"), ("correct", "correct"), ("misclassified", "misclassified")):
        parts = [
            getattr(agreement.split(agreement.answers(Outputs(z, given.labels, given.member)), resamples=10), part)
            for z in given.logits
        ]
        row = one(rows, subset=subset, label="all")
        assert row["auc"] == pytest.approx(np.mean([each.auc.value for each in parts]))
        assert row["members_confidence"] == pytest.approx(np.mean([each.means[0] for each in parts]))
        assert row["members"] == pytest.approx(np.mean([len(each.members) for each in parts]))
        assert row["js_bits"] == pytest.approx(divergence.in_bits(row["js"]))


def _sides():
    arrays = outputs_cell(random_models()).arrays
    return arrays["labels"], arrays["member"]


def test_histograms_hold_every_sample_of_either_side_once():
    info = PAIRS.compute([outputs_cell(need) for need in PAIRS.needs()], scratch=None).info
    assert {(curve["curve"], curve["label"]) for curve in info["curves"]} == {
        (f"confidence, {part}", label) for part in ("all", "correct", "misclassified") for label in ("all", 2)
    }
    for curve in info["curves"]:
        for side in ("members", "nonmembers"):
            assert sum(curve["points"][side]) == pytest.approx(1)


def test_a_part_without_members_has_no_divergence_and_says_so():
    given = outputs(HIGH._replace(share=np.array([0, 0, 0, 0, 1.0])), LOW)
    rows = rows_of(replace(PAIRS, size=4, subsets=1), given)
    row = one(rows, subset="misclassified", label="all")
    assert row["members"] == 0 < row["nonmembers"]
    assert row["js"] is row["auc"] is row["confidence"] is row["js_interval"] is None
    assert one(rows, subset="all", label="all")["auc"] > 0.5


def test_the_auc_of_confidence_is_that_of_the_audit():
    config = replace(PAIRS, size=4, subsets=1)
    given = Outputs(np.concatenate([outputs_cell(n).arrays["logits_2"] for n in config.needs()]), *_sides())
    found = one(rows_of(config, given), subset="all", label="all")["auc"]
    confidence = agreement.answers(given).confidence
    assert found == pytest.approx(metrics.auc(confidence, given.member))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(FOUR, epoch=5), "epoch 5 is not kept"),
        (lambda: replace(FOUR, models=3), "3 models do not fill cells of 2"),
        (lambda: replace(FOUR, target=replace(random_models(), count=1), models=1), "two models at least"),
        (lambda: replace(FOUR, reading="trve"), "did you mean true"),
        (lambda: replace(PAIRS, epoch=5), "epoch 5 is not kept"),
        (lambda: replace(PAIRS, size=5), "no 2 subsets of 5 of 4"),
        (lambda: replace(PAIRS, target=replace(random_models(), first=2)), "from model 0"),
        (lambda: replace(PAIRS, reading="largest"), "reading"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()
