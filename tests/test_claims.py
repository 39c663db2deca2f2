import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mialab import claims
from mialab.claims import Claim, Criterion, Effect, First, Last, Lowest, Middle, Trend, printed, show, verdict
from mialab.claims.claim import above, at_least, at_most, below, near
from mialab.metrics import Estimate
from mialab.results.lines import Result

TEXTURES = {"data": "textures", "model": "small_cnn"}
CIFAR = {"data": "cifar10", "model": "alexnet"}
ENSEMBLING = Effect("auc", of={"models": Last(), "attack": "gap"}, minus={"models": 1, "attack": "gap"})


def made(test: Criterion | None = None, **changes) -> Claim:
    """A claim about AlexNet on CIFAR-10: ensembling helps the gap attack."""
    about = {"settings": (CIFAR,), "stand_ins": (TEXTURES,)} | changes
    return Claim("made", "ensemble", "1", "A sentence.", "ensemble/made", test or above(ENSEMBLING), **about)


def rows(effects, *, base=0.6, place=CIFAR, **columns) -> tuple[dict, ...]:
    """A row of one model and one of ten for each repetition, which differ in AUC by its effect."""
    return tuple(
        {**place, "models": size, "attack": "gap", "auc": base + share * effect, "seed": seed, **columns}
        for seed, effect in enumerate(effects)
        for size, share in ((1, 0), (10, 1))
    )


def result(effects=(), *, preset="paper", origin="recorded", device="GPU", missing=0, **how) -> Result:
    return Result("ensemble/made", preset, origin, device, rows(effects, **how), missing)


def only(results, test=None, **changes):
    (found,) = claims.verdicts(results, [made(test, **changes)])
    return found


# Effects


def test_an_effect_is_the_difference_of_means_within_each_seed():
    measured = ENSEMBLING.per_seed([*rows([0.1, -0.2]), *rows([9.0], attack="other")])
    assert measured == pytest.approx({0: 0.1, 1: -0.2})


def test_a_pair_of_columns_counts_by_its_difference():
    there = [{"seed": 4, "train_accuracy": 0.9, "test_accuracy": accuracy} for accuracy in (0.5, 0.7)]
    assert Effect(("train_accuracy", "test_accuracy"), {}).per_seed(there) == pytest.approx({4: 0.3})


def test_two_filters_on_either_side_give_a_difference_of_differences():
    auc = {(1, 5): 0.50, (10, 5): 0.51, (1, 90): 0.60, (10, 90): 0.68}
    there = [{"seed": 0, "models": m, "epoch": e, "auc": value} for (m, e), value in auc.items()]
    late, early, many, one = {"epoch": Last()}, {"epoch": First()}, {"models": Last()}, {"models": 1}
    effect = Effect("auc", of=(late | many, early | one), minus=(late | one, early | many))
    assert effect.per_seed(there) == pytest.approx({0: (0.68 - 0.60) - (0.51 - 0.50)})


def test_what_is_taken_off_may_be_another_column():
    there = [{"seed": 0, "level": "all", "lead": 0.3}, {"seed": 0, "level": "matched", "lead": 9, "absolute": 0.1}]
    effect = Effect("lead", {"level": "all"}, {"level": "matched"}, less="absolute")
    assert effect.per_seed(there) == pytest.approx({0: 0.3 - 0.1})
    assert str(effect) == "lead [level all] minus absolute [level matched]"
    within = Effect("lead", {"level": "matched"}, {"level": "matched"}, less="absolute")
    assert within.per_seed(there) == pytest.approx({0: 9 - 0.1})  # one row, two columns


@pytest.mark.parametrize(("epochs", "middle"), [((5, 45, 90), 45), ((5, 45), 5), ((5, 90, 90, 90), 5), ((7,), 7)])
def test_the_middle_is_that_of_the_numbers_that_there_are_however_often(epochs, middle):
    there = [{"seed": 0, "epoch": epoch, "auc": epoch} for epoch in epochs]
    assert Effect("auc", {"epoch": Middle()}).per_seed(there) == {0: middle}


def test_any_value_of_a_tuple_matches_and_a_row_without_the_column_does_not():
    there = [{"seed": 0, "level": level, "share": level} for level in (0, 1, 2)] + [{"seed": 0, "share": 99}]
    assert Effect("share", {"level": (0, 1)}).per_seed(there) == {0: 0.5}
    assert Effect("share", {"level": "all"}).per_seed(there) == {}
    assert Effect("share", {"level": First()}).per_seed([{"seed": 0, "level": "all", "share": 1}]) == {}


def test_a_seed_that_lacks_the_last_epoch_is_left_out_and_not_read_at_another_one():
    there = [
        {"seed": 0, "epoch": 5, "auc": 0.5},
        {"seed": 0, "epoch": 90, "auc": 0.9},
        {"seed": 1, "epoch": 5, "auc": 0.6},
    ]
    assert Effect("auc", {"epoch": Last()}).per_seed(there) == {0: 0.9}
    assert Effect("auc", {"epoch": First()}).per_seed(there) == {0: 0.5, 1: 0.6}


def test_the_last_epoch_is_the_same_for_one_model_and_for_ten_even_if_ten_were_not_trained_so_far():
    there = [{"seed": 0, "models": m, "epoch": e, "auc": e / 100} for m, e in ((1, 5), (1, 90), (10, 5))]
    late = {"epoch": Last()}
    assert Effect("auc", late | {"models": 10}, late | {"models": 1}).per_seed(there) == {}


def test_a_method_that_trains_for_longer_has_a_last_epoch_of_its_own():
    there = [
        {"seed": 0, "method": m, "epoch": e, "auc": e} for m, e in (("none", 90), ("pruning", 90), ("pruning", 120))
    ]
    late = {"epoch": Last()}
    assert Effect("auc", late | {"method": "pruning"}, late | {"method": "none"}).per_seed(there) == {0: 30}


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_seed_with_a_value_that_could_not_be_measured_is_left_out(value):
    there = [*rows([0.1]), *({**row, "seed": 1, "auc": value} for row in rows([0.1]))]
    assert list(ENSEMBLING.per_seed(there)) == [0]


def trend_rows(x, y) -> list[dict]:
    """A row of each repetition and epoch, x and y [seeds, epochs]."""
    return [
        {**CIFAR, "seed": seed, "epoch": epoch, "x": float(x[seed][epoch]), "y": float(y[seed][epoch])}
        for seed, epochs in enumerate(x)
        for epoch in range(len(epochs))
    ]


RISING = Trend(Effect("y", {}), Effect("x", {}), ("epoch",))


def test_a_trend_is_the_rise_of_a_least_squares_line_over_all_places():
    x, y = np.random.default_rng(0).normal(size=(2, 4, 7))
    expected = {seed: np.polyfit(x[seed], y[seed], 1)[0] * np.ptp(x[seed]) for seed in range(4)}
    assert RISING.per_seed(trend_rows(x, y)) == pytest.approx(expected)


def test_a_trend_needs_three_points_that_differ():
    assert RISING.per_seed(trend_rows([[1, 2]], [[1, 2]])) == {}
    assert RISING.per_seed(trend_rows([[2, 2, 2]], [[1, 2, 3]])) == {}
    assert RISING.per_seed(trend_rows([[1, 2, 3]], [[5, 5, 5]])) == {0: 0}
    assert RISING.per_seed(trend_rows([[1, 2, 3], [3, 2, 1]], [[1, 4, 7]] * 2)) == pytest.approx({0: 6, 1: -6})


LOWEST = Lowest(Effect("y", {}), ("epoch",))


def test_the_lowest_place_is_chosen_on_half_of_the_seeds_and_measured_on_the_others():
    y = [[0.0, -0.3, 0.2], [-0.1, 0.5, 0.3], [-0.4, 0.5, 0.1], [0.2, 0.0, -0.9], [0.3, 0.1, 0.2]]
    assert LOWEST.per_seed(trend_rows(y, y)) == {2: -0.4, 3: 0.2, 4: 0.3}  # of the first two, the first place is lowest
    assert LOWEST.per_seed(trend_rows(y[:3], y[:3])) == {1: 0.5, 2: 0.5}  # of the first alone, the second
    assert "where it is lowest in the first half of the seeds" in str(LOWEST)


def test_the_lowest_of_many_places_without_effect_is_seldom_said_to_be_low():
    noise = np.random.default_rng(0).normal(size=(400, 5, 30))
    tests = [verdict.judge(below(LOWEST), trend_rows(each, each)).verdict for each in noise]
    assert 0 < tests.count("supported") < 400 * 0.05  # 2.5 % are promised
    assert noise.min(2).mean() < -1.8  # each seed's own lowest would be surely below 0


def test_the_lowest_place_is_one_that_every_seed_has():
    whole = trend_rows([[1, 2], [1, 2]], [[1, 2], [1, 2]])
    lacking = [row for row in whole if (row["seed"], row["epoch"]) != (0, 0)]
    assert LOWEST.per_seed(whole) == {1: 1}
    assert LOWEST.per_seed(lacking) == {1: 2}
    assert LOWEST.per_seed([row for row in whole if row["seed"] == 0]) == {}  # nothing to measure on


def test_first_and_last_mean_the_same_at_every_place():
    last = Lowest(Effect("y", {"x": Last()}), ("epoch",))
    there = trend_rows([[1, 2], [1, 2]], [[-0.3, 0.02], [-0.3, 0.02]])
    assert last.per_seed(there) == {1: 0.02}  # at the first place x never is 2


def test_an_effect_reads_aloud_with_what_was_found_for_first_and_last():
    assert str(ENSEMBLING.resolved(rows([0.1]))) == "auc: models 10 minus models 1 (attack gap)"


def test_no_difference_can_only_be_claimed_with_a_margin():
    with pytest.raises(ValueError, match="made: .*margin"):
        made(near(ENSEMBLING, 0.0))
    with pytest.raises(ValueError, match="made: .*margin"):
        made(replace(above(ENSEMBLING), margin=0.1))
    with pytest.raises(ValueError, match="made: .*margin"):
        made(also=(near(ENSEMBLING, 0.0),))


# Verdicts


@pytest.mark.parametrize(
    ("test", "interval", "expected"),
    [
        (above(ENSEMBLING), (0.001, 0.02), "supported"),
        (above(ENSEMBLING), (-0.02, -0.001), "contradicted"),
        (above(ENSEMBLING), (-0.01, 0.02), "undecided"),
        (above(ENSEMBLING), (0.0, 0.02), "undecided"),
        (above(ENSEMBLING), (-0.01, 0.01), "no relevant effect"),
        (above(ENSEMBLING), (0.002, 0.008), "no relevant effect"),
        (above(ENSEMBLING), (-0.008, -0.002), "no relevant effect"),
        (above(ENSEMBLING, 0.5), (0.4, 0.45), "contradicted"),
        (above(ENSEMBLING, 0.5), (0.495, 0.505), "no relevant effect"),
        (below(ENSEMBLING), (0.001, 0.02), "contradicted"),
        (below(ENSEMBLING), (-0.02, -0.001), "supported"),
        (below(ENSEMBLING), (-0.02, 0.01), "undecided"),
        (at_least(ENSEMBLING, -0.02), (-0.019, -0.011), "supported"),
        (at_least(ENSEMBLING, -0.02), (-0.021, -0.019), "undecided"),
        (at_least(ENSEMBLING, -0.02), (-0.03, -0.021), "contradicted"),
        (at_most(ENSEMBLING, 0.05), (0.01, 0.04), "supported"),
        (at_most(ENSEMBLING, 0.05), (0.06, 0.07), "contradicted"),
        (near(ENSEMBLING, 0.02), (-0.01, 0.01), "supported"),
        (near(ENSEMBLING, 0.02), (-0.03, 0.01), "undecided"),
        (near(ENSEMBLING, 0.02), (0.01, 0.03), "undecided"),
        (near(ENSEMBLING, 0.02), (-0.03, 0.03), "undecided"),
        (near(ENSEMBLING, 0.02), (0.021, 0.03), "contradicted"),
        (near(ENSEMBLING, 0.02), (-0.03, -0.021), "contradicted"),
        (near(ENSEMBLING, 0.02, 0.5), (0.49, 0.51), "supported"),
    ],
)
def test_a_verdict_follows_from_where_the_whole_interval_lies(test, interval, expected):
    low, high = interval
    estimate = Estimate((low + high) / 2, low, high)
    assert verdict.decide(test, estimate) == expected


def simulated(test, *, effect, seeds, noise=0.01, times=2000) -> Counter:
    """The verdicts on so many experiments whose true effect is known, as shares."""
    draws = np.random.default_rng(1).normal(effect, noise, (times, seeds))
    found = Counter(verdict.judge(test, rows(each)).verdict for each in draws)
    return Counter({kind: number / times for kind, number in found.items()})


@pytest.mark.parametrize("seeds", [3, 5])
def test_without_an_effect_one_verdict_in_twenty_is_wrong_evenly_on_both_sides(seeds):
    shares = simulated(replace(above(ENSEMBLING), sesoi=1e-6), effect=0, seeds=seeds)
    assert shares["undecided"] == pytest.approx(0.95, abs=0.015)
    assert shares["supported"] == pytest.approx(0.025, abs=0.011)
    assert shares["contradicted"] == pytest.approx(0.025, abs=0.011)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("noise", [0.002, 0.01, 0.03])
def test_whatever_the_noise_without_an_effect_fewer_than_one_verdict_in_twenty_is_wrong(seeds, noise):
    shares = simulated(above(ENSEMBLING), effect=0, seeds=seeds, noise=noise)
    assert shares["supported"] + shares["contradicted"] < verdict.ERRORS["direction"] + 0.012


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("noise", [0.002, 0.01, 0.03])
def test_an_effect_of_the_smallest_size_of_interest_is_seldom_called_irrelevant(sign, noise):
    shares = simulated(above(ENSEMBLING), effect=0.01 * sign, seeds=5, noise=noise)
    assert shares["no relevant effect"] < 0.025 + 0.011


def test_a_true_zero_is_decided_once_seeds_are_precise_enough():
    assert simulated(above(ENSEMBLING), effect=0, seeds=5, noise=0.002, times=200)["no relevant effect"] > 0.99
    assert simulated(above(ENSEMBLING), effect=0.003, seeds=5, noise=0.001, times=200)["no relevant effect"] > 0.99


def test_a_bound_that_is_just_missed_is_supported_in_one_case_of_forty():
    shares = simulated(at_least(ENSEMBLING, 0.02), effect=0.02, seeds=5)
    assert shares["supported"] == pytest.approx(verdict.ERRORS["bound"], abs=0.011)


def test_likeness_is_contradicted_no_more_often_than_stated_however_narrow_the_margin():
    shares = simulated(near(ENSEMBLING, 1e-5), effect=0, seeds=5)
    assert shares["contradicted"] == pytest.approx(verdict.ERRORS["equivalence"], abs=0.012)


def test_without_a_trend_one_verdict_in_twenty_is_wrong_even_over_three_epochs():
    draw, wrong = np.random.default_rng(2), 0
    for _ in range(2000):
        x, y = np.sort(draw.normal(size=(3, 3))), draw.normal(size=(3, 3))
        wrong += verdict.judge(above(RISING), trend_rows(x, y)).verdict != "undecided"
    assert wrong / 2000 < 0.06


@pytest.mark.parametrize(
    ("effect", "seeds", "power"), [(0.02, 3, 0.47), (0.03, 3, 0.75), (0.02, 5, 0.91), (0.03, 5, 1)]
)
def test_five_seeds_find_what_three_seeds_find_half_of_the_time(effect, seeds, power):
    assert simulated(above(ENSEMBLING), effect=effect, seeds=seeds)["supported"] == pytest.approx(power, abs=0.035)


def test_a_clear_effect_is_found_on_its_own_side():
    assert simulated(above(ENSEMBLING), effect=0.05, seeds=5, times=200)["supported"] > 0.99
    assert simulated(above(ENSEMBLING), effect=-0.05, seeds=5, times=200)["contradicted"] > 0.99
    assert simulated(below(ENSEMBLING), effect=0.05, seeds=5, times=200)["contradicted"] > 0.99


def test_no_difference_is_seldom_supported_at_the_margin_and_mostly_well_within_it():
    test = near(ENSEMBLING, 0.02)
    assert simulated(test, effect=0.02, seeds=5)["supported"] == pytest.approx(0.025, abs=0.011)
    assert simulated(test, effect=0.0, seeds=5, noise=0.005, times=200)["supported"] > 0.99
    assert simulated(test, effect=0.05, seeds=5, noise=0.005, times=200)["contradicted"] > 0.99


@pytest.mark.parametrize("effects", [[0.4], [0.4, 0.4], [0.4, 0.41]])
def test_one_seed_or_two_decide_nothing_however_clear(effects):
    found = only([result(effects)])
    assert (found.verdict, found.reason, found.seeds) == ("undecided", "fewer than 3 seeds", len(effects))
    assert found.main.flips_at is None


def test_a_claim_without_a_result_was_not_run_and_one_of_a_single_seed_is_undecided():
    assert only([]).verdict == "not run"
    assert only([result([])]).verdict == "not run"
    single = only([result([0.4])])
    assert (single.verdict, single.seeds) == ("undecided", 1)
    assert single.effect == (pytest.approx(0.4), None, None)


def test_the_papers_data_are_never_judged_on_a_stand_in():
    own, stand_in = claims.verdicts([result([0.1, 0.11, 0.12], place=TEXTURES)], [made()])
    assert (own.verdict, own.setting, own.stand_in) == ("not run", CIFAR, False)
    assert (stand_in.verdict, stand_in.setting, stand_in.stand_in) == ("supported", TEXTURES, True)


def test_another_architecture_on_the_papers_data_says_nothing_of_the_paper():
    assert only([result([0.1, 0.11], place=CIFAR | {"model": "small_cnn"})]).verdict == "not run"


def test_smoke_never_speaks_for_the_paper_but_for_its_stand_in():
    assert only([result([0.1, 0.11, 0.12], preset="smoke")]).verdict == "not run"
    _, stand_in = claims.verdicts([result([0.1, 0.11, 0.12], preset="smoke", place=TEXTURES)], [made()])
    assert (stand_in.verdict, stand_in.preset) == ("supported", "smoke")


def test_a_shortened_training_on_the_papers_data_does_not_speak_in_its_name():
    found = claims.verdicts([result([0.1, 0.11, 0.12], preset="course")], [made()])
    assert [(v.verdict, v.stand_in) for v in found] == [("not run", False), ("supported", True)]
    assert claims.overall(found)[0].verdict == "not run"
    assert "shortened cifar10, alexnet: course, recorded on GPU" in claims.text(found)


def test_architectures_under_one_setting_are_judged_apart():
    nets = CIFAR | {"model": ("alexnet", "resnet20")}
    up, down = (
        rows(effects, place=CIFAR | {"model": net})
        for net, effects in (("alexnet", [0.1, 0.11, 0.12]), ("resnet20", [-0.1, -0.11, -0.12]))
    )
    together = replace(result(), rows=up + down)
    found = claims.verdicts([together], [made(settings=(nets,))])
    assert [(v.setting["model"], v.verdict) for v in found] == [("alexnet", "supported"), ("resnet20", "contradicted")]


UP, MORE_UP = [0.10, 0.11, 0.12], [0.10, 0.11, 0.12, 0.13]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"preset": "paper"}, {"preset": "course", "seeds": 9}),
        ({"seeds": 4, "origin": "local"}, {"seeds": 3, "origin": "recorded"}),
        ({"origin": "recorded"}, {"origin": "local"}),
        ({"preset": "course", "seeds": 3}, {"preset": "paper", "seeds": 2}),
        ({"preset": "course", "origin": "local", "seeds": 1}, {"preset": "paper", "origin": "superseded", "seeds": 9}),
        ({"device": "A"}, {"device": "B"}),
        ({"preset": "course", "seeds": 3}, {"preset": "paper", "seeds": 4, "missing": 1, "origin": "local"}),
        ({"preset": "course", "seeds": 3}, {"preset": "paper", "seeds": 5, "missing": 9, "origin": "local"}),
        ({"preset": "paper", "seeds": 1}, {"preset": "paper", "seeds": 5, "missing": 9, "origin": "local"}),
    ],
)
@pytest.mark.parametrize("agrees", [True, False])
def test_which_of_several_results_speaks_does_not_depend_on_what_it_says(better, worse, agrees):
    def of(how, up):
        how = dict(how)
        effects = np.linspace(0.10, 0.12, how.pop("seeds", 3))
        return result(effects if up else -effects, place=TEXTURES, **how)

    pair = [of(better, agrees), of(worse, not agrees)]
    for order in (pair, pair[::-1]):
        _, found = claims.verdicts(order, [made()])
        assert (found.effect.value > 0) == agrees
        assert all(getattr(found, name) == value for name, value in better.items())


def test_a_superseded_result_speaks_where_there_is_no_other_and_says_so():
    assert only([result(UP, origin="superseded")]).origin == "superseded"


def test_results_of_different_devices_are_not_pooled():
    found = only([result([0.1], device="A"), result([0.1], device="B")])
    assert (found.verdict, found.seeds, found.device) == ("undecided", 1, "A")


def test_a_verdict_says_what_was_compared():
    assert only([result(UP)]).main.compared == "auc: models 10 minus models 1 (attack gap)"


@pytest.mark.parametrize(("missing", "reason"), [(1, "1 cell missing"), (7, "7 cells missing")])
def test_a_result_that_lacks_cells_is_undecided_however_clear_its_effect(missing, reason):
    assert (only([result(UP)]).verdict, only([result(UP)]).reason) == ("supported", "")
    found = only([result(UP, missing=missing, origin="local")])
    assert (found.verdict, found.missing, found.reason) == ("undecided", missing, reason)
    assert found.effect.value == pytest.approx(0.11)


def test_cells_that_a_claim_cannot_read_may_be_missing():
    pruned = below(Effect("auc", {"method": "pruning", "epoch": Last()}, {"method": "none"}))
    there = tuple(
        {**CIFAR, "method": method, "epoch": 9, "auc": 0.6 - step, "seed": seed}
        for seed, effect in enumerate(UP)
        for method, step in (("none", 0), ("pruning", effect))
    )

    def lacking(**columns):
        return only([replace(result(missing=1), rows=there, lacks=(CIFAR | columns,))], pruned)

    assert lacking(method="min_max", epoch=90).verdict == "supported"
    assert lacking(method="none", epoch=3).reason == "1 cell missing"
    assert lacking(method="pruning", epoch=90).reason == "1 cell missing"
    assert lacking().reason == "1 cell missing"
    later = Effect("auc", {"epoch": Last(), "models": 1})
    assert later.reads({"epoch": 90, "models": 10}), "its epoch may be the last one of all"
    assert not Effect("auc", {"epoch": 90, "models": 1}).reads({"epoch": 90, "models": 10})


@pytest.mark.parametrize(
    ("test", "there"),
    [
        (near(ENSEMBLING, 0.02), {"models": 1, "attack": "gap"}),
        (above(Effect("auc", {"epoch": Last()}, {"epoch": First()})), {"epoch": 5}),
        (
            near(Effect("auc", ({"epoch": Last()}, {"models": 1}), ({"epoch": First()}, {"models": 2})), 0.02),
            {"epoch": 5, "models": 1},
        ),
    ],
)
def test_a_row_less_itself_is_no_effect(test, there):
    alone = tuple({**CIFAR, **there, "auc": 0.6 + seed / 100, "seed": seed} for seed in range(3))
    assert only([replace(result(), rows=alone)], test).verdict == "not run"


@pytest.mark.parametrize(
    ("test", "effect", "expected"),
    [
        (above(ENSEMBLING), 0.0, "no relevant effect"),
        (above(ENSEMBLING), 0.004, "no relevant effect"),
        (above(ENSEMBLING), 0.1, "supported"),
        (below(ENSEMBLING), 0.1, "contradicted"),
        (near(ENSEMBLING, 0.02), 0.0, "supported"),
        (near(ENSEMBLING, 0.02), 0.018, "undecided"),
        (near(ENSEMBLING, 0.02), 0.1, "contradicted"),
        (at_most(ENSEMBLING, 0.1), 0.09, "supported"),
    ],
)
def test_a_number_that_is_the_same_in_every_seed_is_taken_to_be_known_to_half_the_smallest_effect(
    test, effect, expected
):
    found = only([result([effect] * 3)], test)
    assert (found.verdict, found.main.constant, found.errors) == (expected, True, 0)
    assert found.effect == pytest.approx((effect, effect - 0.005, effect + 0.005))


def failing(*rates, count=20):
    """A result with a share of failures among so many draws in each repetition."""
    there = tuple({**CIFAR, "failure_rate": rate, "count": count, "seed": seed} for seed, rate in enumerate(rates))
    return [replace(result(), rows=there)]


SELDOM = at_most(Effect("failure_rate", {}, draws="count"), 0.05)


def test_no_failure_in_a_hundred_draws_is_seldom_and_none_in_sixty_may_still_be_one_in_twenty():
    assert only(failing(0, 0, 0, 0, 0), SELDOM).verdict == "supported"
    assert only(failing(0, 0, 0, 0, 0), SELDOM).effect.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert only(failing(0, 0, 0), SELDOM).verdict == "undecided"
    assert only(failing(1, 1, 1), SELDOM).verdict == "contradicted"


def test_a_rate_at_the_bound_is_seldom_called_lower():
    draws, supported = np.random.default_rng(3).binomial(20, 0.05, (2000, 5)) / 20, 0
    for rates in draws:
        supported += verdict.judge(SELDOM, failing(*rates.tolist())[0].rows).verdict == "supported"
    assert supported / 2000 < verdict.ERRORS["bound"] + 0.011


@pytest.mark.parametrize(
    ("weights", "expected"), [(900, "supported"), (1000, "no relevant effect"), (1100, "contradicted")]
)
def test_a_count_is_judged_by_its_relative_change(weights, expected):
    there = tuple(
        {**CIFAR, "method": method, "weights": count, "seed": seed}
        for seed in range(3)
        for method, count in (("pruning", weights), ("none", 1000))
    )
    fewer = below(Effect("weights", {"method": "pruning"}, {"method": "none"}, relative=True))
    found = only([replace(result(), rows=there)], fewer)
    assert (found.verdict, found.effect.value) == (expected, pytest.approx(weights / 1000 - 1))


# Several tests in one claim, several settings of one claim

BASE = {"models": 1, "attack": "gap"}


def based(base):
    """Effects of 0.10 to 0.12 on a base that is itself asked about."""
    return [result(UP, base=base)]


@pytest.mark.parametrize(
    ("base", "expected"), [(0.6, "supported"), (0.4, "contradicted"), (None, "undecided")], ids=str
)
def test_a_sentence_of_two_parts_holds_only_if_both_do(base, expected):
    also = (at_least(Effect("auc", BASE), 0.5 if base else 0.6),)
    bases = [base or 0.6] * 3 if base else (0.5, 0.6, 0.7)
    there = tuple(row for seed, at in enumerate(bases) for row in rows([0.0] * seed + [UP[seed]], base=at)[-2:])
    found = only([replace(result(), rows=there)], also=also)
    assert (found.verdict, found.main.verdict, found.also[0].verdict) == (expected, "supported", expected)


def test_where_what_a_sentence_takes_for_granted_is_not_shown_nothing_follows():
    granted, unmet = at_least(Effect("auc", BASE), 0.5), at_least(Effect("auc", BASE), 0.7)
    assert only(based(0.6), given=(granted,)).verdict == "supported"
    found = only(based(0.6), given=(unmet,))
    assert (found.verdict, found.reason) == ("undecided", "what the sentence takes for granted is not shown")
    assert only(based(0.6), given=(at_least(Effect("absent", BASE), 0),)).given[0].reason == "not measured"
    assert "given: auc (models 1, attack gap) 0.6000 in every seed to be > 0.7: contradicted" in " ".join(
        claims.text([found]).split()
    )


NETS = ("alexnet", "resnet20", "densenet100")


def whole(*effects):
    """The verdict over three architectures, each with an effect of about that size; None was not run."""
    settings = tuple(CIFAR | {"model": net} for net in NETS)
    there = [
        result([effect - 0.001, effect, effect + 0.001], place=place)
        for place, effect in zip(settings, effects, strict=True)
        if effect is not None
    ]
    merged = replace(result(), rows=tuple(row for one in there for row in one.rows))
    (found,) = claims.overall(claims.verdicts([merged], [made(settings=settings)]))
    return found


def test_a_claim_is_supported_only_if_each_of_its_settings_is():
    assert whole(0.1, 0.2, 0.3).verdict == "supported"
    assert whole(0.1, 0.2, None).verdict == "undecided"
    assert whole(0.1, 0.2, 0.0).verdict == "no relevant effect"
    assert whole(0.1, 0.0, -0.2).verdict == "contradicted"
    assert whole(None, None, None).verdict == "not run"


def test_a_contradiction_in_some_settings_says_in_which():
    found = whole(0.1, -0.2, None)
    by = {kind: [one.setting["model"] for one in own] for kind, own in found.by.items()}
    assert by == {"supported": ["alexnet"], "contradicted": ["resnet20"], "not run": ["densenet100"]}
    assert list(found.by) == [kind for kind in claims.VERDICTS if kind in by]


def test_an_intersection_over_settings_needs_no_correction():
    draw, supported = np.random.default_rng(4), 0
    for settings in draw.normal([[0.0], [0.05], [0.05]], 0.01, (2000, 3, 3)):  # the first one has no effect
        there = tuple(verdict.judge(at_least(ENSEMBLING, 0.0), rows(effects)).verdict for effects in settings)
        supported += there == ("supported",) * 3
    assert supported / 2000 < verdict.ERRORS["bound"] + 0.011


# Where a verdict would flip, and how many are wrong


@pytest.mark.parametrize(
    ("test", "interval"),
    [
        (above(ENSEMBLING), (0.02, 0.06)),
        (above(ENSEMBLING), (-0.02, 0.06)),
        (above(ENSEMBLING), (-0.004, 0.006)),
        (below(ENSEMBLING), (0.02, 0.06)),
        (at_least(ENSEMBLING, 0.1), (0.12, 0.2)),
        (at_least(ENSEMBLING, 0.1), (0.02, 0.06)),
        (at_least(ENSEMBLING, 0.1), (0.02, 0.16)),
        (at_most(ENSEMBLING, 0.1), (0.02, 0.06)),
        (at_most(ENSEMBLING, 0.1), (0.12, 0.2)),
        (near(ENSEMBLING, 0.1), (0.02, 0.06)),
        (near(ENSEMBLING, 0.1), (0.02, 0.16)),
        (near(ENSEMBLING, 0.1), (-0.2, -0.16)),
    ],
)
def test_at_the_number_shown_the_verdict_flips_and_just_short_of_it_it_stays(test, interval):
    estimate = Estimate(sum(interval) / 2, *interval)
    kind = verdict.decide(test, estimate)
    at = verdict.Judged(test, kind, estimate, 3).flips_at
    name = {"direction": "sesoi", "bound": "null", "equivalence": "margin"}[test.kind]
    own = getattr(test, name)

    def decided(number):
        return verdict.decide(replace(test, **{name: number}), estimate)

    short, past = (at + step * (1 if at > own else -1) for step in (-1e-6, 1e-6))
    assert decided(short) == kind
    assert decided(past) != kind


def test_expected_errors_are_counted_by_what_is_asked_and_only_where_chance_has_a_part():
    def one(effects, test, **how):
        return only([result(effects)], test, **how)

    level = at_least(ENSEMBLING, 0.05)
    found = [one(UP, above(ENSEMBLING)), one(UP, level), one(UP, near(ENSEMBLING, 0.2)), one(UP, level, also=(level,))]
    silent = [one([0.1] * 3, above(ENSEMBLING)), one([0.1, 0.2], above(ENSEMBLING)), only([])]
    assert [v.errors for v in found] == pytest.approx([0.05, 0.025, 0.05, 0.05])
    assert [v.errors for v in silent] == [0, 0, 0]
    said = show.chance([*found, *silent])
    assert "5 tests in which chance has a part: 1 for a direction (5 %), 3 for a bound (2.5 %), 1 for likeness" in said
    assert "at most 0.2 of these verdicts" in said
    assert "None of these verdicts" in show.chance(silent)


# What is shown


def test_text_shows_each_claim_with_effect_interval_seeds_and_where_it_was_measured():
    about = {"settings": (CIFAR, CIFAR | {"model": "resnet20"})}
    there = [result([0.1, 0.11, 0.12]), result([0.0], place=TEXTURES, preset="smoke", origin="local", missing=2)]
    found = claims.verdicts(there, [made(**about)])
    text = claims.text(found)
    assert "made (1): A sentence. [effect to be > 0, relevant beyond ± 0.01]" in text
    assert (
        "  supported           +0.1100 [+0.0852, +0.1348]  3 seeds  cifar10, alexnet: paper, recorded on GPU\n"
        "                      auc: models 10 minus models 1 (attack gap); flips at smallest effect of interest 0.135\n"
    ) in text
    lacking = (
        "  undecided           +0.0000                     1 seed   stand-in textures, small_cnn: smoke, local; 2 cells"
    )
    assert f"{lacking} missing\n" in text.replace("\n" + " " * 59, " ")
    assert "  in the paper's name: undecided (supported: cifar10, alexnet; not run: cifar10, resnet20)\n" in text
    assert "not run, listed by --verdict 'not run':\n  ensemble/made: 1 claim, 1 verdict\n" in text
    assert "  not run             ensemble/made: cifar10, resnet20" in claims.text(found, verdict="not run")
    assert "These verdicts rest on 1 test in which chance has a part" in text


def test_text_of_all_claims_fits_a_terminal_and_depends_on_nothing_but_the_results():
    there = [result(UP), result(UP, place=TEXTURES, preset="smoke", origin="local")]
    for kind in (None, "not run"):
        text = claims.text(claims.verdicts(there), verdict=kind)
        assert max(map(len, text.splitlines())) <= 120
        assert text == claims.text(claims.verdicts(there[::-1]), verdict=kind)
        assert text.endswith("\n")
    assert all(f"\n{one.id} (" in text for one in claims.ALL)


def test_text_counts_what_was_not_run_by_experiment_and_does_not_list_it():
    text = claims.text(claims.verdicts([]))
    waiting = {one.experiment for one in claims.ALL}
    lines = [line for line in text.splitlines() if line.strip().split(":")[0].split(",")[0] in waiting]
    assert len(lines) == len(waiting)
    assert sum(int(line.split(": ")[1].split()[0]) for line in lines) == len(claims.ALL)
    assert not any(f"\n{one.id} (" in text for one in claims.ALL)


def test_text_names_the_devices_of_a_local_result_only_if_there_were_several():
    one, several = (claims.text([only([result(UP, origin="local", device=d)])]) for d in ("GPU", "CPU, GPU"))
    assert "paper, local\n" in one
    assert "paper, local on CPU, GPU" in several


def test_a_choice_of_paper_or_verdict_shows_these_only():
    found = claims.verdicts([replace(result(), experiment="ensemble/figure1")])
    pruning = claims.text(found, paper="pruning")
    assert "pruning paper: " in pruning and "ensemble paper" not in pruning and "divergence-rises" not in pruning
    assert "ratios-fit" in pruning
    assert "pruning/table1: " in pruning
    assert "ensemble/" not in pruning
    both = claims.verdicts([result(UP)], [made(settings=(CIFAR, CIFAR | {"model": "resnet20"}))])
    for kind in ("supported", "not run"):
        (one,) = claims.to_dict(both, verdict=kind)["claims"]
        assert [shown["verdict"] for shown in one["verdicts"]] == [kind]
    assert claims.to_dict(both, verdict="contradicted") == {"version": 1, "claims": [], "printed": []}
    assert "audit of the printed numbers" not in claims.text(both, verdict="supported")


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"paper": "prunning"}, "did you mean pruning"), ({"verdict": "support"}, "did you mean supp")],
)
def test_an_unknown_paper_or_verdict_is_refused_with_close_names(asked, message):
    for shown in (claims.text, claims.to_dict):
        with pytest.raises(ValueError, match=message):
            shown([], **asked)


def test_the_json_holds_what_the_verdict_holds():
    found = claims.verdicts([result(UP)], [made(choice="our reading")])
    shown = json.loads(json.dumps(claims.to_dict(found)))
    (one,) = shown["claims"]
    test = "> 0, relevant beyond ± 0.01"
    assert (one["id"], one["test"], one["choice"], one["verdict"]) == ("made", test, "our reading", "supported")
    main = {
        **{"verdict": "supported", "seeds": 3, "constant": False, "reason": ""},
        "compared": "auc: models 10 minus models 1 (attack gap)",
        "effect": pytest.approx({"value": 0.11, "low": 0.0851586, "high": 0.1348414}),
        "flips_at": pytest.approx(0.1348414),
    }
    assert one["verdicts"] == [
        {
            **{"verdict": "supported", "setting": CIFAR, "stand_in": False, "missing": 0, "reason": ""},
            **{"preset": "paper", "origin": "recorded", "device": "GPU", "paper_effect": None},
            **{"main": main, "also": [], "given": []},
        }
    ]
    assert len(shown["printed"]) == len(printed.CHECKS) + len(printed.OBSERVATIONS)
