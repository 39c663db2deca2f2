"""Algorithm 1 of the pruning paper: what its inner loop changes, what line 14 reads, and what it refuses."""

import math
from dataclasses import replace

import pytest
import torch
from training_cases import mlp, points, same

from mialab.defenses import algorithm1 as module
from mialab.defenses.algorithm1 import algorithm1
from mialab.defenses.min_max import MinMax
from mialab.defenses.pruning import Admm, Budget, Prune
from mialab.seeds import derive
from mialab.training import Fitted, Phase, Recipe, fit
from mialab.training.hooks import Parts
from mialab.two_branch.settings import PAPER

RECIPE = Recipe(epochs=3, batch=16, lr=0.05)
QUICK = MinMax(0.0, network=replace(PAPER, prediction=(16, 8), label=(16, 8), joint=(8,), batch=32, rate=0.01))
REFERENCE = points(seed=1)


def phases(keep):
    return (Phase(RECIPE, (Prune(Budget(keep, whole=())),)),)


CANDIDATES = {keep: phases(keep) for keep in (0.2, 0.5, 1.0)}


def searched(candidates=CANDIDATES, game=QUICK, **options):
    return algorithm1(mlp, points(), REFERENCE, candidates, game=game, progress=False, **options)


def test_with_pruning_alone_the_inner_loop_leaves_the_weights_at_each_n_bit_identical():
    """Each stream is its own: however often f_A steps, and whether it exists, the classifier is the same."""
    few, many = searched(), searched(game=replace(QUICK, steps=7))
    for keep, (phase,) in CANDIDATES.items():
        without = fit(mlp, points(), RECIPE, defenses=phase.defenses, progress=False)
        assert same(few.outcomes[keep].fitted, without) and same(many.outcomes[keep].fitted, without)
        assert few.outcomes[keep].gain != many.outcomes[keep].gain, "the inner loop enters through G"


def test_with_a_weight_above_zero_the_inner_loop_reaches_the_classifier():
    alone, both = searched(), searched(game=replace(QUICK, gamma=3.0))
    assert not any(same(alone.outcomes[keep].fitted, both.outcomes[keep].fitted) for keep in CANDIDATES)


def test_a_pruned_model_keeps_as_many_weights_as_its_candidate_says():
    for keep, outcome in searched().outcomes.items():
        weights = [p for name, p in outcome.fitted.model.named_parameters() if name.endswith("weight")]
        assert sum(int((w != 0).sum()) for w in weights) == round(keep * sum(w.numel() for w in weights))


def test_the_constraint_that_eq_2_lacks_passes_over_networks_that_are_too_wrong():
    validation = points(seed=2)
    found = searched(CANDIDATES | {"nearly empty": phases(0.05)}, validation=validation)
    for one in found.outcomes.values():
        right = one.fitted.model(validation[0]).argmax(1) == validation[1]
        assert one.accuracy == pytest.approx(right.double().mean().item())
    best = max(found.outcomes, key=lambda name: found.outcomes[name].accuracy)
    assert found.useful(0.0) == found.chosen
    assert found.useful(found.outcomes[best].accuracy) == best
    with pytest.raises(ValueError, match="no candidate is right on 1.5"):
        found.useful(1.5)
    with pytest.raises(ValueError, match="without validation rows"):
        searched().useful(0.5)


def test_line_14_takes_the_least_gain():
    found = searched()
    assert found.best.gain == min(one.gain for one in found.outcomes.values())
    assert found.best is found.outcomes[found.chosen] and list(found.outcomes) == list(CANDIDATES)


def test_the_gain_is_that_of_equation_1_on_rows_that_the_inference_network_has_not_learnt_from():
    outcome = searched().outcomes[0.5]
    parts = Parts(points(), REFERENCE, None, 0, 3, outcome.fitted.carried)
    hooks = QUICK.start(parts)
    x, y = hooks.judges
    with torch.no_grad():
        seen = outcome.fitted.model(x).softmax(1), torch.nn.functional.one_hot(y, 3).float()
        h = hooks.net(*seen).sigmoid()
    member = hooks.truth.bool()
    assert outcome.gain == pytest.approx((h[member].log().mean() + (1 - h[~member]).log().mean()).item(), rel=1e-4)


def test_an_inference_network_that_knows_nothing_has_gain_minus_log_4():
    still = replace(QUICK, network=replace(QUICK.network, initial_std=1e-9, rate=1e-12))
    with pytest.warns(UserWarning, match="collapsed"):
        found = searched(game=still)
    assert all(one.gain == pytest.approx(-math.log(4), abs=1e-4) for one in found.outcomes.values())


def test_a_candidate_of_two_phases_goes_on_from_its_weights_and_its_inference_network():
    budget = Budget(0.5, whole=())
    two = {0.5: (Phase(RECIPE, (Admm(budget, (0.1,)),)), Phase(RECIPE, (Prune(budget, by="admm"),)))}
    start = fit(mlp, points(), RECIPE, seed=9, progress=False).model.state_dict()
    found = searched(two, replace(QUICK, gamma=2.0), start=start).best.fitted
    game = replace(QUICK, gamma=2.0)
    common = {"reference": REFERENCE, "progress": False}
    first = fit(mlp, points(), RECIPE, defenses=[Admm(budget, (0.1,)), game], start=start, **common)
    second = fit(
        mlp, points(), RECIPE, defenses=[Prune(budget, by="admm"), game], seed=derive(0, 1),
        start=first.model.state_dict(), carried=first.carried, **common,
    )  # fmt: skip
    assert same(found, second)


def test_what_cannot_be_searched_is_refused(monkeypatch):
    for candidates in ({}, {0.5: ()}):
        with pytest.raises(ValueError, match="at least one"):
            searched(candidates)
    with pytest.raises(ValueError, match="reference share"):
        algorithm1(mlp, points(), None, CANDIDATES, game=QUICK, progress=False)
    with pytest.raises(ValueError, match="both called 'min_max'"):
        searched({0.5: (Phase(RECIPE, (QUICK,)),)})
    diverged = Fitted(mlp(), [{"game_loss": math.nan}])
    monkeypatch.setattr(module, "fit", lambda *_, **__: diverged)
    with pytest.raises(ValueError, match="gain of 0.2 is not finite"):
        searched()
