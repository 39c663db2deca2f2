"""The min-max game: whose gradient goes where, what is carried over, and that a collapse is told."""

import warnings
from dataclasses import replace

import pytest
import torch
from training_cases import batches_of, mlp, points, same

from mialab import audit, training
from mialab.defenses.min_max import MinMax
from mialab.defenses.pruning import Admm, Budget, Prune
from mialab.training import Hooks, Recipe, fit
from mialab.training.hooks import Parts, TrainingRun
from mialab.two_branch.settings import CODE, PAPER, PAPER_X

RECIPE = Recipe(epochs=3, batch=16, lr=0.05)
QUICK = replace(PAPER, prediction=(16, 8), label=(16, 8), joint=(8,), batch=32)
GAME = MinMax(2.0, network=QUICK)
REFERENCE = points(seed=1)


def game(settings=GAME, data=None, reference=REFERENCE):
    return settings.start(Parts(data or points(), reference, None, 0, 3, {}))


def run_of(model):
    run = TrainingRun(model, RECIPE, torch.device("cpu"), 0)
    run.generator, run.epoch = torch.Generator().manual_seed(0), 1
    return run


def played(settings=GAME, **options):
    return fit(mlp, points(), RECIPE, defenses=[settings], reference=REFERENCE, **options)


def test_the_penaltys_gradient_reaches_the_classifier_and_not_the_inference_network():
    hooks, model = game(), mlp()
    x, y = points()
    hooks.penalty(run_of(model), x, y, model(x)).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in hooks.net.parameters())
    assert all(parameter.requires_grad for parameter in hooks.net.parameters())


def test_all_layers_of_the_inference_network_learn_and_the_classifier_does_not_move_meanwhile():
    hooks, model = game(), mlp()
    before = [parameter.clone() for parameter in hooks.net.parameters()]
    weights = [parameter.clone() for parameter in model.parameters()]
    for _ in range(5):
        hooks.before_step(run_of(model), *points())
    assert all(not torch.equal(a, b) for a, b in zip(before, hooks.net.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_penalty_is_gamma_times_the_members_part_of_the_gain():
    hooks, model = game(MinMax(3.0, network=QUICK)), mlp()
    x, y = points()
    with torch.no_grad():
        h = hooks.net(model(x).softmax(1), torch.nn.functional.one_hot(y, 3).float()).sigmoid()
        assert hooks.penalty(run_of(model), x, y, model(x)).item() == pytest.approx(3 * h.log().mean().item(), rel=1e-5)


def test_without_weight_the_classifier_is_trained_as_without_the_game():
    assert same(fit(mlp, points(), RECIPE), played(MinMax(0.0, network=QUICK)))
    assert not same(fit(mlp, points(), RECIPE), played())


def test_plain_epochs_come_before_the_game():
    still = replace(GAME, plain=3)
    assert same(fit(mlp, points(), RECIPE), played(still))


@pytest.mark.parametrize("variant", [QUICK, replace(CODE, prediction=(16, 8), label=(16, 8), joint=(8,), batch=32)])
def test_a_game_resumes_bit_for_bit(variant, tmp_path):
    class Fails(Hooks):
        observes = True

        def after_epoch(self, run):
            if run.epoch == 2:
                raise KeyboardInterrupt

    settings = MinMax(2.0, network=variant)
    with pytest.raises(KeyboardInterrupt):
        played(settings, hooks=[Fails()], checkpoint=tmp_path / "c.pt", save_every=0)
    assert same(played(settings), played(settings, checkpoint=tmp_path / "c.pt"))


def test_the_inference_network_is_carried_through_pruning_and_the_mask_holds_beside_the_game():
    """Eq. 3: the gain enters ADMM and masked retraining with the same weight, and the network goes on."""
    budget = Budget(0.5, whole=())
    dense = fit(mlp, points(), RECIPE)
    started = fit(
        mlp, points(), RECIPE, seed=1, reference=REFERENCE, defenses=[Admm(budget, (0.1,)), GAME],
        start=dense.model.state_dict(),
    )  # fmt: skip
    left = started.carried["min_max"]["network"]
    hooks = GAME.start(Parts(points(), REFERENCE, None, 5, 3, started.carried))
    assert all(torch.equal(value, left[name]) for name, value in hooks.net.state_dict().items())
    both = fit(
        mlp, points(), RECIPE, seed=2, reference=REFERENCE, defenses=[Prune(budget, by="admm"), GAME],
        start=started.model.state_dict(), carried=started.carried,
    )  # fmt: skip
    alone = fit(
        mlp, points(), RECIPE, seed=2, defenses=[Prune(budget, by="admm")],
        start=started.model.state_dict(), carried=started.carried,
    )  # fmt: skip
    assert not same(both, alone)
    for one in (both, alone):
        masks = one.carried["pruning"]["masks"]
        assert all(not (one.model.state_dict()[name][~mask]).any() for name, mask in masks.items())
    assert {"game_accuracy", "game_loss"} <= both.history[-1].keys()


def test_a_collapse_is_told():
    still = replace(QUICK, initial_std=1e-9, rate=1e-12)
    with pytest.warns(UserWarning, match="has collapsed in epoch 2.*raise its rate"):
        fitted = played(MinMax(1.0, network=still))
    assert [row["collapsed"] for row in fitted.history] == [True] * 3
    assert fitted.history[-1]["game_loss"] == pytest.approx(0.6931, abs=1e-3)
    assert fitted.history[-1]["game_gradient"] < 1e-6


def test_the_gradient_in_the_history_is_that_of_the_penalty_on_the_members_that_judge():
    hooks, model = game(MinMax(3.0, network=QUICK, plain=1)), mlp()
    run = run_of(model)
    for epoch in (1, 2):
        run.epoch = epoch
        run.history.append({})
        hooks.after_epoch(run)
    members = int(hooks.truth.sum())
    x, y = (part[:members] for part in hooks.judges)
    logits = model(x).detach().requires_grad_()
    hooks.penalty(run, x, y, logits).backward()
    wanted = members * logits.grad.norm(dim=1).mean().item()  # the penalty is a mean, a member's part 1/n of it
    assert run.history[0]["game_gradient"] == 0, "plain epochs feel nothing"
    assert run.history[1]["game_gradient"] == pytest.approx(wanted, rel=1e-4) and wanted > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in hooks.net.parameters())


def test_the_rows_that_judge_are_never_taught():
    hooks = game()
    taught = torch.cat([x for x, _ in hooks.sides])
    judges = hooks.judges[0]
    assert not (judges[:, None] == taught[None]).all(-1).any()
    assert len(taught) + len(judges) == len(points()[1]) + len(REFERENCE[1])


def test_what_cannot_be_played_is_refused():
    for make, message in (
        (lambda: game(reference=None), "reference share"),
        (lambda: game(data=batches_of(points())), "not read from files"),
        (lambda: game(reference=batches_of(REFERENCE)), "not read from files"),
        (lambda: game(reference=(REFERENCE[0][:1], REFERENCE[1][:1])), "too few"),
        (lambda: MinMax(-1.0), "at least 0"),
        (lambda: MinMax(1.0, network=PAPER_X), "looks at x"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_the_game_lowers_an_attack_that_overfitting_has_made_easy():
    """Labels of noise: whatever is learnt is learnt by heart, so that the game has something to fight."""
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(600, 20, generator=draw)
    y = torch.randint(2, (600,), generator=draw)
    inside, outside, reference = ((x[a:b], y[a:b]) for a, b in ((0, 200), (200, 400), (400, 600)))
    recipe = Recipe(epochs=60, batch=50, optimizer="adam", lr=0.01)

    def leak(gamma):
        fitted = fit(
            lambda: torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)),
            inside, recipe, defenses=[MinMax(gamma, network=QUICK)], reference=reference,
        )  # fmt: skip
        logits = training.logits(fitted.model, torch.cat([inside[0], outside[0]]))
        member = torch.arange(400) < 200
        outputs = audit.Outputs(logits.numpy()[None], torch.cat([inside[1], outside[1]]).numpy(), member.numpy())
        return audit.audit(outputs, attacks=["confidence"], known=0.0).attacks["confidence"].everyone.auc.value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert leak(20.0) < leak(0.0) - 0.05
