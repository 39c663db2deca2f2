"""The paper's tables with our results in them: every printed number stands there as printed, ours below it."""

import pytest

from mialab import experiments
from mialab.results import reported
from mialab.results.beside import ATTACKS, PRINTED, beside, rows
from mialab.results.lines import Result

VALUES = ("test_accuracy", "balanced_accuracy")
MNIST = {"data": "mnist", "model": "lenet5"}


def result(*found, preset="paper", origin="recorded", experiment="pruning/table1"):
    return Result(experiment, preset, origin, "CPU", tuple(found), 0)


def row(method, seed=0, test=0.99, attack=0.51, by="nasr-paper", **others):
    measured = {"test_accuracy": test, "balanced_accuracy": attack}
    return {**MNIST, "method": method, "attack": by, "seed": seed, **measured, **others}


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_every_printed_accuracy_stands_in_its_table_as_it_is_printed(number):
    lines = beside(experiments.get(f"pruning/table{number}"), [], VALUES)
    shown = [text for line in rows(lines, VALUES) for text in (line["test acc. %"], line["balanced acc. %"])]
    printed = reported.rows("pruning", f"table{number}")
    assert sorted(shown) == sorted(f"{line['value']:g}" for line in printed)
    assert {line.source for line in lines} == {PRINTED}


def test_the_weights_of_table_4_stand_beside_what_they_count():
    ours = {**MNIST, "method": "pruning", "seed": 0, "all_weights": 61_470, "weights": 3_895, "reduction_ratio": 15.78}
    names = ("all_weights", "weights", "reduction_ratio")
    table = rows(beside(experiments.get("pruning/table4"), [result(ours)], names), names)
    assert [list(line.values())[3:] for line in table[:2]] == [
        ["60,000", "3,800", "15.78"],
        ["61,470", "3,895", "15.78"],
    ]
    assert [line["whose"] for line in table[:2]] == ["paper", "ours (preset paper, 1 seed)"]


def test_ours_follow_the_printed_line_of_their_setting_and_stand_ins_come_last():
    found = [row("pruning"), row("none"), {**row("none"), "data": "fashion"}]
    lines = beside(experiments.get("pruning/table1"), [result(*found)], VALUES)
    mnist = [(line.method, line.source) for line in lines if line.place == ("mnist", "lenet5")]
    assert mnist[:4] == [("none", PRINTED), ("none", "recorded"), ("pruning", PRINTED), ("pruning", "recorded")]
    assert (lines[-1].data, lines[-1].source) == ("fashion", "recorded")


def test_the_larger_preset_comes_first_whatever_the_order_of_the_results():
    smoke, paper = result(row("none"), preset="smoke", origin="local"), result(row("none"))
    lines = beside(experiments.get("pruning/table1"), [smoke, paper], VALUES)
    assert [line.preset for line in lines if line.place == ("mnist", "lenet5")][:3] == ["", "paper", "smoke"]


def test_seeds_are_averaged_and_other_attacks_and_single_classes_left_out():
    same = [row("none", seed, attack=0.5 + seed / 10, label="all") for seed in (0, 1)]
    others = [row("none", 0, by="gap", label="all"), row("none", 0, attack=0.9, label=3)]
    lines = beside(experiments.get("pruning/table6"), [result(*same, *others)], VALUES)
    (ours,) = [line for line in lines if line.source == "recorded"]
    assert ours.seeds == 2 and ours.values["balanced_accuracy"].value == pytest.approx(0.55)


def test_the_four_layer_network_is_read_by_the_attack_of_its_printed_row():
    both = [
        {**row("none", by=by, attack=0.6 if by == "gap" else 0.7), "model": "cnn4"} for by in ("gap", *ATTACKS.values())
    ]
    lines = beside(experiments.get("pruning/table2"), [result(*both)], VALUES)
    (ours,) = [line for line in lines if line.source == "recorded"]
    assert ours.values["balanced_accuracy"].value == 0.7


def test_an_audit_and_a_look_inside_of_one_model_make_one_line():
    inside = {**MNIST, "method": "none", "seed": 0, "test_accuracy": 0.99, "reduction_ratio": 1.0}
    names = ("balanced_accuracy", "reduction_ratio")
    lines = beside(experiments.get("pruning/table3"), [result(row("none"), inside)], names)
    (ours,) = [line for line in lines if line.source == "recorded"]
    assert {name: value.value for name, value in ours.values.items()} == {
        "balanced_accuracy": 0.51,
        "reduction_ratio": 1,
    }


def test_a_line_says_what_tells_it_from_others():
    lines = beside(experiments.get("pruning/table2"), [result(row("dp", epsilon=6.28))], VALUES)
    assert [line.training for line in lines if line.source == "recorded"] == ["DP-SGD (epsilon 6.28)"]


def test_a_column_that_the_experiment_lacks_is_refused_with_a_close_name():
    with pytest.raises(ValueError, match="did you mean test_accuracy"):
        beside(experiments.get("pruning/table1"), [], ["tset_accuracy"])
