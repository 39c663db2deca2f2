"""What a training took, and the audit of a sweep that stands where another model does."""

from dataclasses import replace

import pytest
from experiment_cases import TINY, altered, drawn_cell, made

from mialab import models
from mialab.cells.attacked import Attacked
from mialab.cells.costed import Costed, multiply_adds
from mialab.cells.matched import Matched
from mialab.cells.pipeline import Pipeline
from mialab.defenses.min_max import MinMax
from mialab.engine.store import Cell
from mialab.experiments import pruning
from mialab.splits import PRUNING
from mialab.training import Phase, Recipe

SHAPE, RECIPE = (1, 28, 28), Recipe(2, batch=50, optimizer="adam", lr=1e-3)
PLAIN = Pipeline("fashion", "mlp32_16", (Phase(RECIPE),), arrangement=PRUNING)


# what a training took


def test_plain_training_takes_three_times_an_answer_less_the_gradient_of_its_input():
    rows, answer = PLAIN.row_counts[0], models.multiply_adds("mlp32_16", SHAPE, 10)
    steps = -(-rows // RECIPE.batch)
    assert multiply_adds(PLAIN) == 2 * steps * RECIPE.batch * (3 * answer - 784 * 32)


def test_two_phases_take_twice_as_much_and_the_game_takes_more():
    assert multiply_adds(replace(PLAIN, phases=2 * PLAIN.phases)) == 2 * multiply_adds(PLAIN)
    game = replace(PLAIN, phases=(Phase(RECIPE, (MinMax(),)),))
    twice = replace(PLAIN, phases=(Phase(RECIPE, (MinMax(steps=2),)),))
    plain, once, double = map(multiply_adds, (PLAIN, game, twice))
    assert plain < once < double


@pytest.mark.parametrize("name", ["plain", "pruned", "both", "noisy"])
def test_every_way_of_training_is_counted(name):
    assert multiply_adds(getattr(pruning.SMALL, name)(0)) > 0


def test_seconds_are_those_of_all_phases():
    later = altered(TINY, phases=2 * TINY.pipeline.phases, weights=(3,))
    config = Costed(later)
    last, first = config.needs()
    assert (last, first.pipeline) == (later, TINY.pipeline)
    cells = [Cell({**drawn_cell(later).info, "seconds": seconds}, {}) for seconds in (2.0, 5.0)]
    (row,) = made(config, cells).info["rows"]
    assert row["training_seconds"] == 7
    with pytest.raises(ValueError, match="one model, not 2"):
        Costed(replace(TINY, count=2))


# matching

SWEEP = tuple(Attacked(altered(TINY, epochs=(epoch,)), epoch, attacks=("gap", "confidence")) for epoch in (1, 2, 3))
PATTERN = Attacked(altered(TINY, seed=5), 3, attacks=("confidence",))


def audited(config, attack, accuracy):
    rows = [
        {**config.columns(), "attack": name, "seed": 0, "balanced_accuracy": value, "test_accuracy": accuracy}
        for name, value in zip(config.attacks, (0.9, attack) if len(config.attacks) > 1 else (attack,), strict=True)
    ]
    return Cell({"rows": rows, "trained_on": ["cpu"]}, {})


def matched(by):
    figures = [(0.52, 0.7), (0.6, 0.75), (0.7, 0.8)]
    sweep = [audited(one, *pair) for one, pair in zip(SWEEP, figures, strict=True)]
    config = Matched(SWEEP, PATTERN, "epoch", "confidence", by)
    return config, made(config, [*sweep, audited(PATTERN, 0.61, 0.71)])


@pytest.mark.parametrize(("by", "chosen", "apart"), [("attack", 2, -0.01), ("accuracy", 1, -0.01)])
def test_the_nearest_in_the_figure_asked_for_is_taken_with_all_its_attacks(by, chosen, apart):
    config, cell = matched(by)
    rows = cell.info["rows"]
    assert [row["attack"] for row in rows] == ["gap", "confidence"]
    for row in rows:
        assert (row["matched"], row["matched_epoch"]) == (by, chosen)
        assert row["apart"] == pytest.approx(apart)
        assert "epoch" not in row
    assert config.columns()["matched"] == by


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": "auc"}, "attack, accuracy"),
        ({"audits": SWEEP[:1]}, "two audits or more"),
        ({"strength": "model"}, "another 'model'"),
        ({"pattern": replace(PATTERN, attacks=("entropy",))}, "lacks the attack confidence"),
    ],
)
def test_what_cannot_be_matched_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Matched(**{"audits": SWEEP, "pattern": PATTERN, "strength": "epoch", "attack": "confidence"} | change)


def test_table_2_matches_differential_privacy_with_pruning():
    chosen = [cell for cell in pruning.TABLE2.grid("smoke", seeds=(0,)) if isinstance(cell, Matched)]
    assert [cell.by for cell in chosen] == ["attack", "accuracy"]
    for cell in chosen:
        assert cell.pattern.target.pipeline.method == "pruning"
        assert {audit.target.pipeline.method for audit in cell.audits} == {"dp"}
        assert "epsilon" not in cell.columns()
        assert cell.attack == "nasr-paper", "the attack of the paper's tables"
