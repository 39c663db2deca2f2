"""Masks: the label stays, what is shown is what is said, and MemGuard keeps its budget and fools its own network."""

from dataclasses import replace

import numpy as np
import pytest
from experiment_cases import TINY, altered, made

from mialab import audit
from mialab.attacks.network import Network
from mialab.cells.attacked import Attacked
from mialab.cells.masked import Masked
from mialab.engine.store import Cell
from mialab.fusion import calibration_error
from mialab.masking import LabelOnly, MemGuard, Rounded, TopK, distortion
from mialab.splits import Arrangement


def softmaxes(n=400, classes=5, lead=3.0, seed=0):
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(n, classes))
    logits[np.arange(n), draw.integers(classes, size=n)] += lead
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


P = softmaxes()
GUARD = MemGuard(0.5).fit(softmaxes(lead=4.0, seed=1), softmaxes(lead=1.5, seed=2), 0)
MASKS = [LabelOnly(), TopK(1), TopK(3), TopK(9), Rounded(1), Rounded(3), GUARD, replace(GUARD, budget=2.0)]


def named(mask):
    return f"{mask.NAME} {mask.dial}"


@pytest.mark.parametrize("mask", MASKS, ids=named)
def test_no_mask_changes_the_answer_and_rows_sum_to_one(mask):
    for p in (P, np.full((2, 5), 0.2), np.array([[0.45, 0.449, 0.101, 0, 0], [0, 0, 0, 0, 1.0]])):
        shown = mask(p, 0)
        np.testing.assert_array_equal(shown.argmax(1), p.argmax(1))
        np.testing.assert_allclose(shown.sum(1), 1)
        assert shown.min() >= 0
        np.testing.assert_array_equal(shown, mask(p, 0))


def test_the_label_alone_leaves_the_gap_attack_and_nothing_else():
    labels, member = np.arange(400) % 5, np.arange(400) < 200
    shown = LabelOnly()(P, 0)
    outputs = audit.Outputs.from_probabilities(shown[None], labels, member)
    of = audit.audit(outputs, attacks=("gap", "confidence"), known=0)
    assert of.attacks["confidence"].everyone.auc == of.attacks["gap"].everyone.auc
    assert set(np.unique(shown)) == {0.0, 1.0}


def test_top_k_keeps_the_largest_and_levels_the_rest():
    p = np.array([[0.1, 0.5, 0.3, 0.06, 0.04]])
    np.testing.assert_allclose(TopK(2)(p, 0), [[0.2 / 3, 0.5, 0.3, 0.2 / 3, 0.2 / 3]])
    np.testing.assert_array_equal(TopK(5)(p, 0), p)


def test_rounding_has_so_many_values_and_keeps_the_label_where_all_rounds_to_zero():
    shown = Rounded(1)(np.array([[0.84, 0.11, 0.05, 0.0, 0.0]]), 0)
    np.testing.assert_allclose(shown, [[0.8 / 0.9, 0.1 / 0.9, 0, 0, 0]], atol=1e-12)
    many = np.full((1, 50), 0.02)
    assert Rounded(1)(many, 0)[0, 0] == 1
    np.testing.assert_allclose(Rounded(12)(P, 0), P, atol=1e-9)


def test_the_expected_change_of_memguard_stays_within_the_budget():
    changes = [distortion(replace(GUARD, budget=budget)(P, 3), P) for budget in (0.0, 0.1, 0.5, 2.0)]
    assert changes[0] == 0
    assert changes[1] < 0.12 and changes[2] < 0.55
    assert changes == sorted(changes)


def test_the_noise_of_memguard_takes_its_own_network_across_one_half():
    before = GUARD.network(P.astype(np.float32))
    noisy = GUARD.noisy(P)
    after = GUARD.network(noisy.astype(np.float32))
    moved = np.abs(noisy - P).sum(1) > 0
    assert moved.mean() > 0.5
    assert (np.sign(after) != np.sign(before))[moved].all()
    assert np.abs(np.tanh(after / 2))[moved].mean() < 0.3 * np.abs(np.tanh(before / 2))[moved].mean()
    assert ((before > 0).mean() > 0.5) == (softmaxes(lead=3).max(1).mean() > 0.7), "surer answers look like members'"


def test_a_smaller_change_is_searched_for_as_long_as_it_succeeds():
    first = replace(GUARD, most_weight=0.1).noisy(P)
    assert distortion(GUARD.noisy(P), P) <= distortion(first, P)


def test_the_slope_of_the_attack_network_is_its_gradient():
    network, x = Network((3, 8, 4), np.random.default_rng(0)), np.random.default_rng(1).normal(size=(5, 3))
    odds, slope = network.with_slope(x.astype(np.float32))
    np.testing.assert_array_equal(odds, network(x.astype(np.float32)))
    for column in range(3):
        moved = x.copy()
        moved[:, column] += 1e-3
        np.testing.assert_allclose((network(moved.astype(np.float32)) - odds) / 1e-3, slope[:, column], atol=1e-2)


def test_of_a_label_shown_alone_the_lack_of_confidence_is_what_it_costs():
    p = np.tile([0.75, 0.25], (400, 1))
    labels = np.where(np.arange(400) % 4 > 0, 0, 1)
    shown = LabelOnly()(p, 0)
    assert calibration_error(p, labels) == pytest.approx(0)
    assert calibration_error(shown, labels) == pytest.approx(0.25)
    assert distortion(shown, p) == pytest.approx(0.5)


def test_what_makes_no_sense_is_refused():
    for make, message in (
        (lambda: TopK(0), "at least 1"),
        (lambda: Rounded(0), "at least 1"),
        (lambda: MemGuard(-1.0), "at least 0"),
        (lambda: MemGuard()(P, 0), "fit it"),
        (lambda: Masked(replace(AUDIT, white_box=True)), "sees behind any mask"),
        (lambda: Masked(replace(AUDIT, size=1, subsets=2)), "all models at once"),
        (lambda: Masked(AUDIT, MemGuard()), "weights=\\(3,\\)"),
        (lambda: Masked(replace(AUDIT, target=replace(WHOLE, weights=())), MemGuard()), "weights=\\(3,\\)"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


# the cell

AUDIT = Attacked(TINY, 3, models=2, size=2, attacks=("gap", "confidence"))
WHOLE = altered(TINY, weights=(3,), arrangement=Arrangement(reference=0.2))


def trained(target):
    cells = [made(one) for one in target.cells(2)]
    return [Cell(cell.info | {"made_with": {"device": "cpu"}}, cell.arrays) for cell in cells]


def test_without_a_mask_the_figures_are_those_of_the_audit():
    cells = trained(TINY)
    plain, masked = made(AUDIT, cells).info["rows"], made(Masked(AUDIT), cells).info["rows"]
    for one, other in zip(plain, masked, strict=True):
        assert other["auc"] == pytest.approx(one["auc"], abs=1e-9)
        assert other["test_accuracy"] == one["test_accuracy"]
        assert (other["mask"], other["distortion"]) == ("none", 0)


def test_a_mask_that_learns_is_taught_by_members_and_reference_rows():
    cells = trained(WHOLE)
    audited = replace(AUDIT, target=WHOLE)
    plain, guarded = (made(Masked(audited, mask), cells).info["rows"] for mask in (None, MemGuard(1.0, epochs=2)))
    assert [row["test_accuracy"] for row in plain] == [row["test_accuracy"] for row in guarded]
    assert guarded[0]["auc"] == plain[0]["auc"], "the gap attack sees labels"
    assert (guarded[0]["mask"], guarded[0]["dial"]) == ("MemGuard", 1.0)
    assert 0 <= guarded[0]["distortion"] <= 1.2
