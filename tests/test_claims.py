import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mialab import claims
from mialab.claims import Claim, Effect, First, Last, Trend, printed, show, verdict
from mialab.claims.claim import above, below, near
from mialab.metrics import Estimate
from mialab.results.lines import Result

TEXTURES = {"data": "textures", "model": "small_cnn"}
CIFAR = {"data": "cifar10", "model": "alexnet"}
ENSEMBLING = Effect("auc", of={"models": Last(), "attack": "gap"}, minus={"models": 1, "attack": "gap"})


def made(test: dict | None = None, **changes) -> Claim:
    """A claim about AlexNet on CIFAR-10: ensembling helps the gap attack."""
    test = above(ENSEMBLING) if test is None else test
    about = {"settings": (CIFAR,), "stand_ins": (TEXTURES,)} | changes
    return Claim("made", "ensemble", "1", "A sentence.", "ensemble/made", **(test | about))


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


def test_a_trend_is_the_slope_of_a_least_squares_line():
    x, y = np.random.default_rng(0).normal(size=(2, 4, 7))
    expected = {seed: np.polyfit(x[seed], y[seed], 1)[0] for seed in range(4)}
    assert RISING.per_seed(trend_rows(x, y)) == pytest.approx(expected)


def test_a_trend_needs_three_points_that_differ():
    assert RISING.per_seed(trend_rows([[1, 2]], [[1, 2]])) == {}
    assert RISING.per_seed(trend_rows([[2, 2, 2]], [[1, 2, 3]])) == {}
    assert RISING.per_seed(trend_rows([[1, 2, 3]], [[5, 5, 5]])) == {0: 0}
    assert RISING.per_seed(trend_rows([[1, 2, 3], [3, 2, 1]], [[1, 4, 7]] * 2)) == pytest.approx({0: 3, 1: -3})


def test_an_effect_reads_aloud_with_what_was_found_for_first_and_last():
    assert str(ENSEMBLING.resolved(rows([0.1]))) == "auc: models 10 minus models 1 (attack gap)"


def test_no_difference_can_only_be_claimed_with_a_margin():
    with pytest.raises(ValueError, match="made: .*margin"):
        made(near(ENSEMBLING, 0.0))
    with pytest.raises(ValueError, match="made: .*margin"):
        made(above(ENSEMBLING), margin=0.1)


# Verdicts


@pytest.mark.parametrize(
    ("test", "interval", "expected"),
    [
        (above(ENSEMBLING), (0.01, 0.02), "supported"),
        (above(ENSEMBLING), (-0.02, -0.01), "contradicted"),
        (above(ENSEMBLING), (-0.01, 0.01), "undecided"),
        (above(ENSEMBLING), (0.0, 0.01), "undecided"),
        (above(ENSEMBLING), (-0.009, 0.009), "no relevant effect"),
        (above(ENSEMBLING), (0.001, 0.009), "no relevant effect"),
        (below(ENSEMBLING), (0.001, 0.009), "no relevant effect"),
        (above(ENSEMBLING), (0.001, 0.011), "supported"),
        (above(ENSEMBLING, 0.5), (0.499, 0.501), "undecided"),
        (above(Effect("train_loss", {})), (0.001, 0.002), "supported"),
        (above(ENSEMBLING, 0.5), (0.4, 0.45), "contradicted"),
        (below(ENSEMBLING), (0.01, 0.02), "contradicted"),
        (below(ENSEMBLING), (-0.02, -0.01), "supported"),
        (below(ENSEMBLING), (-0.01, 0.01), "undecided"),
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
    assert verdict.decide(made(test), estimate, 3) == expected
    assert verdict.decide(made(test), estimate, 2) == "undecided", "two seeds decide nothing"


def test_a_claim_may_name_another_smallest_effect_of_interest():
    estimate = Estimate(0.015, 0.01, 0.02)
    assert verdict.decide(made(above(ENSEMBLING)), estimate, 3) == "supported"
    assert verdict.decide(made(above(ENSEMBLING), least=0.03), estimate, 3) == "no relevant effect"
    assert verdict.decide(made(above(ENSEMBLING), least=0.0), Estimate(0.002, 0.001, 0.003), 3) == "supported"


def simulated(test, *, effect, seeds, noise=0.01, times=2000) -> Counter:
    """The verdicts on so many experiments whose true effect is known, as shares."""
    draws = np.random.default_rng(1).normal(effect, noise, (times, seeds))
    return Counter({kind: n / times for kind, n in Counter(only([result(d)], test).verdict for d in draws).items()})


@pytest.mark.parametrize("seeds", [3, 5])
def test_without_an_effect_one_verdict_in_twenty_is_wrong_evenly_on_both_sides(seeds):
    shares = simulated(above(ENSEMBLING), effect=0, seeds=seeds, noise=0.1)
    assert shares["undecided"] == pytest.approx(0.95, abs=0.015)
    assert shares["supported"] == pytest.approx(0.025, abs=0.011)
    assert shares["contradicted"] == pytest.approx(0.025, abs=0.011)


def test_without_a_trend_one_verdict_in_twenty_is_wrong_even_over_three_epochs():
    draw, wrong = np.random.default_rng(2), 0
    for _ in range(2000):
        x, y = np.sort(draw.normal(size=(3, 3))), draw.normal(size=(3, 3))
        wrong += only([replace(result(), rows=tuple(trend_rows(x, y)))], above(RISING)).verdict != "undecided"
    assert wrong / 2000 < 0.06


def test_an_effect_at_the_smallest_of_interest_is_seldom_called_none_and_a_true_zero_mostly():
    assert simulated(above(ENSEMBLING), effect=0.01, seeds=5, noise=0.003)["no relevant effect"] < 0.036
    assert simulated(above(ENSEMBLING), effect=-0.01, seeds=5, noise=0.003)["no relevant effect"] < 0.036
    assert simulated(above(ENSEMBLING), effect=0.0, seeds=5, noise=0.003, times=200)["no relevant effect"] > 0.95
    assert simulated(above(ENSEMBLING), effect=0.004, seeds=5, noise=0.001, times=200)["no relevant effect"] > 0.99


def test_five_seeds_find_an_effect_of_two_deviations_and_three_often_do_not():
    few, more = (simulated(above(ENSEMBLING), effect=0.2, seeds=n, noise=0.1)["supported"] for n in (3, 5))
    assert few == pytest.approx(0.47, abs=0.04) and more == pytest.approx(0.91, abs=0.03)


def test_the_sentence_says_how_many_verdicts_are_wrong_at_most_and_leaves_counts_out():
    draws = np.random.default_rng(3).normal(0, 0.1, (400, 5))
    found = [only([result(draw)]) for draw in draws]
    weights = replace(found[0], claim=made(below(Effect("weights", {"a": 1}))))
    text = show.chance([*found, weights])
    assert text.startswith("400 of these verdicts") and "at most 10.0 of the 400" in text and "20.0 if" in text
    wrong = sum(one.verdict != "undecided" for one in found)
    assert 9 < wrong < 33, "every true effect is on its border: 20 in the mean"


def test_a_clear_effect_is_found_on_its_own_side():
    assert simulated(above(ENSEMBLING), effect=0.05, seeds=5, times=200)["supported"] > 0.99
    assert simulated(above(ENSEMBLING), effect=-0.05, seeds=5, times=200)["contradicted"] > 0.99
    assert simulated(below(ENSEMBLING), effect=0.05, seeds=5, times=200)["contradicted"] > 0.99


def test_no_difference_is_seldom_supported_at_the_margin_and_mostly_well_within_it():
    test = near(ENSEMBLING, 0.02)
    assert simulated(test, effect=0.02, seeds=5)["supported"] == pytest.approx(0.025, abs=0.011)
    assert simulated(test, effect=0.0, seeds=5, noise=0.005, times=200)["supported"] > 0.99
    assert simulated(test, effect=0.05, seeds=5, noise=0.005, times=200)["contradicted"] > 0.99


def test_a_claim_without_a_result_was_not_run_and_one_of_a_single_seed_is_undecided():
    assert only([]).verdict == "not run"
    assert only([result([])]).verdict == "not run"
    single = only([result([0.4])])
    assert (single.verdict, single.seeds) == ("undecided", 1)
    pair = only([result([0.4, 0.41])])
    assert (pair.verdict, pair.reason) == ("undecided", "2 of the 3 seeds that a verdict needs")
    assert single.effect == (pytest.approx(0.4), None, None)


def test_the_papers_data_are_never_judged_on_a_stand_in():
    own, stand_in = claims.verdicts([result([0.1, 0.11, 0.12], place=TEXTURES)], [made()])
    assert (own.verdict, own.setting, own.stand_in) == ("not run", CIFAR, False)
    assert (stand_in.verdict, stand_in.setting, stand_in.stand_in) == ("supported", TEXTURES, True)


def test_another_architecture_on_the_papers_data_says_nothing_of_the_paper():
    assert only([result([0.1, 0.11], place=CIFAR | {"model": "small_cnn"})]).verdict == "not run"


def test_smoke_and_course_never_speak_for_the_paper():
    assert only([result([0.1, 0.11, 0.12], preset="smoke")]).verdict == "not run"
    own, shorter = claims.verdicts([result([0.1, 0.11, 0.12], preset="course")], [made()])
    assert (own.verdict, own.stand_in) == ("not run", False)
    assert (shorter.verdict, shorter.setting, shorter.stand_in) == ("supported", CIFAR, True)
    _, stand_in = claims.verdicts([result([0.1, 0.11, 0.12], preset="smoke", place=TEXTURES)], [made()])
    assert (stand_in.verdict, stand_in.preset) == ("supported", "smoke")


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
        ({"preset": "course"}, {"preset": "smoke", "seeds": 9}),
        ({"seeds": 4, "origin": "local"}, {"seeds": 3, "origin": "recorded"}),
        ({"origin": "recorded"}, {"origin": "local"}),
        ({"preset": "smoke", "seeds": 3}, {"preset": "course", "seeds": 2}),
        ({"preset": "smoke", "origin": "local", "seeds": 1}, {"preset": "course", "origin": "superseded", "seeds": 9}),
        ({"device": "A"}, {"device": "B"}),
        ({"preset": "smoke", "seeds": 3}, {"preset": "course", "seeds": 4, "missing": 1, "origin": "local"}),
        ({"preset": "smoke", "seeds": 3}, {"preset": "course", "seeds": 5, "missing": 9, "origin": "local"}),
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
    assert only([result(UP)]).compared == "auc: models 10 minus models 1 (attack gap)"


def test_cells_that_have_no_part_in_an_effect_do_not_keep_it_from_being_judged():
    """In Table 1, pruning is compared with plain training whether or not the game has been played."""
    pruned = below(Effect("auc", {"method": "pruning"}, {"method": "none"}))
    there = tuple(
        {**CIFAR, "method": method, "auc": value + seed / 1000, "seed": seed}
        for seed in range(3)
        for method, value in (("pruning", 0.5), ("none", 0.6 + 0.01 * seed))
    )

    def judged(*lacks, test=pruned):
        whole = Result("ensemble/made", "paper", "recorded", "GPU", there, len(lacks), lacks)
        return only([whole], test)

    game, second = CIFAR | {"method": "min_max"}, CIFAR | {"method": "none"}
    assert (judged(game).verdict, judged(game).missing) == ("supported", 0)
    assert (judged(second).verdict, judged(game, second).missing) == ("undecided", 1)
    last = below(Effect("auc", {"method": "pruning", "epoch": Last()}, {"method": "none", "epoch": 9}))
    assert last["effect"].concerns(CIFAR | {"method": "pruning", "epoch": 1}), "it may tell what is last"
    assert not last["effect"].concerns(game) and not last["effect"].concerns(second | {"epoch": 1})
    trend = Trend(Effect("auc", {"method": ("none", "pruning")}), Effect("auc", {"method": "none"}), ("method",))
    assert trend.concerns(second) and not trend.concerns(game)


@pytest.mark.parametrize(("missing", "reason"), [(1, "1 cell missing"), (7, "7 cells missing")])
def test_a_result_that_lacks_cells_is_undecided_however_clear_its_effect(missing, reason):
    assert (only([result(UP)]).verdict, only([result(UP)]).reason) == ("supported", "")
    found = only([result(UP, missing=missing, origin="local")])
    assert (found.verdict, found.missing, found.reason) == ("undecided", missing, reason)
    assert found.effect.value == pytest.approx(0.11)


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


@pytest.mark.parametrize("test", [above(ENSEMBLING), below(ENSEMBLING), near(ENSEMBLING, 0.2)])
@pytest.mark.parametrize("effect", [0.0, 0.1, -0.1])
def test_a_measurement_that_is_the_same_in_all_seeds_is_undecided(test, effect):
    found = only([result([effect] * 3)], test)
    assert (found.verdict, found.seeds, found.reason) == ("undecided", 3, "the same in all seeds, no interval")


@pytest.mark.parametrize(("weights", "expected"), [(900, "supported"), (1000, "undecided"), (1100, "contradicted")])
def test_a_count_that_is_the_same_in_all_seeds_is_judged(weights, expected):
    there = tuple(
        {**CIFAR, "method": method, "weights": count, "seed": seed}
        for seed in range(3)
        for method, count in (("pruning", weights), ("none", 1000))
    )
    fewer = below(Effect("weights", {"method": "pruning"}, {"method": "none"}))
    assert only([replace(result(), rows=there)], fewer).verdict == expected


@pytest.mark.parametrize(("draws", "expected"), [(4, "undecided"), (20, "supported")])
def test_a_share_that_is_the_same_in_all_seeds_is_judged_by_its_trials(draws, expected):
    """Of 5 x 4 draws none failed: up to 17 % may. Of 5 x 20: up to 3.6 %."""
    there = tuple({**CIFAR, "rate": 0.0, "rate_of": draws, "attack": a, "seed": s} for s in range(5) for a in "ab")
    found = only([replace(result(), rows=there)], below(Effect("rate", {}), 0.05))
    assert found.verdict == expected
    assert found.effect == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / (5 * draws))))
    known = Effect("rate", {}).trials(there[:-1])
    assert known == 5 * draws and Effect("rate", {}, {"attack": "a"}).trials(there) is None
    assert Effect("rate", {}).trials([{"rate": 0.0, "seed": 0}]) is None


# A sentence over all of its settings


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("supported", "supported"), "supported"),
        (("supported", "not run"), "undecided"),
        (("supported", "undecided"), "undecided"),
        (("supported", "contradicted", "no relevant effect"), "contradicted"),
        (("supported", "no relevant effect", "not run"), "no relevant effect"),
        (("not run", "not run"), "not run"),
    ],
)
def test_a_sentence_is_supported_only_where_all_of_its_settings_are(kinds, expected):
    found = [claims.Verdict(made(), kind, CIFAR) for kind in kinds]
    assert verdict.over_all(found) == expected
    assert verdict.over_all([*found, claims.Verdict(made(), "contradicted", TEXTURES, stand_in=True)]) == expected


@pytest.mark.parametrize(
    ("test", "interval", "flips"),
    [
        (above(ENSEMBLING), (0.03, 0.05), 0.03),
        (above(ENSEMBLING), (-0.05, -0.03), -0.03),
        (below(ENSEMBLING), (-0.05, -0.03), -0.03),
        (below(ENSEMBLING), (0.03, 0.05), 0.03),
        (above(ENSEMBLING), (-0.002, 0.004), 0.004),
        (near(ENSEMBLING, 0.02), (-0.01, 0.005), 0.01),
        (near(ENSEMBLING, 0.02), (0.03, 0.05), 0.03),
        (above(ENSEMBLING), (-0.03, 0.05), None),
    ],
)
def test_a_verdict_says_at_which_border_or_margin_it_would_flip(test, interval, flips):
    claim, estimate = made(test), Estimate(sum(interval) / 2, *interval)
    found = claims.Verdict(claim, verdict.decide(claim, estimate, 3), CIFAR, effect=estimate, seeds=3)
    assert found.flips_at == flips
    if flips is not None and test["direction"] != "=" and found.verdict != "no relevant effect":
        for border, same in ((flips - 1e-6, flips > 0), (flips + 1e-6, flips < 0)):
            moved = replace(claim, null=border)
            assert (verdict.decide(moved, estimate, 3) == found.verdict) == same


# What is shown


def test_text_shows_each_claim_with_effect_interval_seeds_and_where_it_was_measured():
    about = {"settings": (CIFAR, CIFAR | {"model": "resnet20"})}
    there = [result([0.1, 0.11, 0.12]), result([0.0], place=TEXTURES, preset="smoke", origin="local", missing=2)]
    found = claims.verdicts(there, [made(**about)])
    text = claims.text(found)
    assert "made (1): A sentence. [effect to be > 0]" in text
    assert (
        "  supported           +0.1100 [+0.0852, +0.1348]  3 seeds  cifar10, alexnet: paper, recorded on GPU\n"
        "                      auc: models 10 minus models 1 (attack gap); flips at +0.0852\n"
    ) in text
    lacking = "  undecided           +0.0000                     1 seed   stand-in textures, small_cnn: smoke, local; 2"
    assert f"{lacking} cells missing\n" in text.replace("\n" + " " * 59, " ")
    assert "\n  over all: undecided\n" in text and "over all of their settings: 1 undecided\n" in text
    assert "not run, listed by --verdict 'not run':\n  ensemble/made: 1 claim, 1 verdict\n" in text
    waiting = claims.text(found, verdict="not run")
    assert "  not run             ensemble/made: cifar10, resnet20" in waiting and "over all: undecided" in waiting
    assert "1 of these verdicts rest on an interval" in text


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
    lines = [line for line in text.splitlines() if line.strip().split(":")[0] in waiting]
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
    assert (one["id"], one["test"], one["choice"]) == ("made", "> 0", "our reading")
    assert (one["matters"], one["over_all"]) == (0.01, "supported")
    assert one["verdicts"] == [
        {
            **{"verdict": "supported", "setting": CIFAR, "stand_in": False, "seeds": 3, "missing": 0, "reason": ""},
            **{"preset": "paper", "origin": "recorded", "device": "GPU", "paper_effect": None},
            "compared": "auc: models 10 minus models 1 (attack gap)",
            "effect": pytest.approx({"value": 0.11, "low": 0.0851586, "high": 0.1348414}),
            "flips_at": pytest.approx(0.0851586),
        }
    ]
    assert len(shown["printed"]) == len(printed.CHECKS)
