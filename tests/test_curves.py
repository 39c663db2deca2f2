"""Curves and histograms of several seeds as one, with an interval at each point."""

import pytest

from mialab.results import mean_curves

T = 4.302653  # Student's 97.5 % quantile with two degrees of freedom


def curve(seed, points, name="training", **columns):
    return {"data": "mnist", **columns, "seed": seed, "curve": name, "points": points}


def test_a_curve_is_the_mean_over_seeds_with_an_interval_at_each_point():
    [mean] = mean_curves([curve(seed, {"epoch": [1, 2], "loss": [2.0 + seed, 1.0]}) for seed in range(3)])
    assert (mean["data"], mean["curve"], mean["seeds"]) == ("mnist", "training", 3)
    assert mean["points"]["epoch"] == [1, 2]
    first, second = mean["points"]["loss"]
    assert first.value == 3 and first.high - 3 == pytest.approx(T / 3**0.5, rel=1e-6)
    assert second == (1, 1, 1)


def test_curves_are_told_apart_by_name_and_by_every_column():
    curves = [
        curve(seed, {"epoch": [1], "auc": [0.5]}, name, method=method)
        for method in ("none", "prune")
        for name in ("training", "attack nasr-paper")
        for seed in range(2)
    ]
    assert [(c["method"], c["curve"]) for c in mean_curves(curves)] == [
        (method, name) for method in ("none", "prune") for name in ("training", "attack nasr-paper")
    ]
    assert [c["method"] for c in mean_curves(curves, "attack nasr-paper")] == ["none", "prune"]
    assert mean_curves(curves, "absent") == []


def test_phases_count_epochs_anew_and_stay_apart():
    points = {"phase": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "loss": [4.0, 3.0, 2.0, 1.0]}
    [mean] = mean_curves([curve(seed, points) for seed in range(2)])
    assert mean["points"]["phase"] == [0, 0, 1, 1] and [at.value for at in mean["points"]["loss"]] == [4, 3, 2, 1]


def test_where_a_seed_stopped_early_only_points_of_all_seeds_are_averaged():
    short = {"epoch": [1, 2], "loss": [3.0, 2.0]}
    long = {"epoch": [1, 2, 3], "loss": [5.0, 4.0, 0.0], "extra": [1, 1, 1]}
    [mean] = mean_curves([curve(0, short), curve(1, long)])
    assert mean["points"]["epoch"] == [1, 2] and [at.value for at in mean["points"]["loss"]] == [4, 3]
    assert "extra" not in mean["points"], "a column that a seed lacks"


def test_a_histogram_keeps_its_bins_and_those_of_different_bins_are_refused():
    def bins(left):
        return {"left": [left, 0.5], "right": [0.5, 1.0], "members": [3, 7], "nonmembers": [6, 4]}

    [mean] = mean_curves([curve(seed, bins(0.0), "confidence") for seed in range(2)])
    assert (mean["points"]["left"], mean["points"]["right"]) == ([0.0, 0.5], [0.5, 1.0])
    assert [at.value for at in mean["points"]["members"]] == [3, 7]
    other = {**bins(0.1), "right": [0.6, 1.1]}
    with pytest.raises(ValueError, match="'confidence' of several seeds have no point in common: .*left.*right"):
        mean_curves([curve(0, bins(0.0), "confidence"), curve(1, other, "confidence")])


def test_points_without_a_place_belong_together_by_number_or_not_at_all():
    [mean] = mean_curves([curve(seed, {"auc": [0.5, 0.6]}) for seed in range(2)])
    assert [at.value for at in mean["points"]["auc"]] == pytest.approx([0.5, 0.6])
    with pytest.raises(ValueError, match="'training' of several seeds differ in length and have none of phase, epoch"):
        mean_curves([curve(0, {"auc": [0.5]}), curve(1, {"auc": [0.5, 0.6]})])
    with pytest.raises(ValueError, match="two points at one place: tell them apart by phase"):
        mean_curves([curve(0, {"epoch": [1, 1], "auc": [0.5, 0.6]})])


def test_a_point_that_a_seed_could_not_measure_is_none():
    [mean] = mean_curves([curve(0, {"epoch": [1], "auc": [None]}), curve(1, {"epoch": [1], "auc": [0.5]})])
    assert mean["points"]["auc"] == [None]


def test_a_single_seed_has_no_interval():
    [mean] = mean_curves([curve(0, {"epoch": [1], "auc": [0.5]})])
    assert mean["points"]["auc"] == [(0.5, None, None)]
