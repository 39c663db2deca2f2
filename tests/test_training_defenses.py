"""Defenses and phases: settings that start hooks, what they are handed, and what they hand on."""

import pickle
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_cases import SMALL, batches_of, cnn, distance, double, images, mlp, points, same

from mialab import metrics
from mialab.engine.store import settings
from mialab.training import Defense, Hooks, Phase, Recipe, Steps, fit, fit_many, logits
from mialab.training.forward import float32_logits, heads


@dataclass(frozen=True)
class Decay(Defense):
    """Adds weight/2 times the squared weights to the loss, and counts its steps from phase to phase."""

    NAME: ClassVar[str] = "decay"
    VERSION: ClassVar[int] = 1

    weight: float = 0.1

    def start(self, parts):
        return Decaying(self.weight, parts)

    def columns(self):
        return {"strength": self.weight}


class Decaying(Hooks):
    def __init__(self, weight, parts):
        self.weight, self.parts = weight, parts
        self.steps = parts.carried.get("decay", {"steps": torch.zeros(1)})["steps"].clone()

    def penalty(self, run, x, y, outputs):
        return self.weight / 2 * sum((p**2).sum() for p in run.model.parameters())

    def after_step(self, run):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


@dataclass(frozen=True)
class Stop(Defense):
    NAME: ClassVar[str] = "stop"
    VERSION: ClassVar[int] = 1

    def start(self, parts):
        return Stopping()


class Stopping(Hooks):
    def after_epoch(self, run):
        run.stop = True


# The contract


def test_a_defense_starts_hooks_that_take_part_in_the_training():
    recipe = replace(SMALL, optimizer="sgd", epochs=5)
    data = points(dtype=torch.float64)
    defended = fit(double(mlp), data, recipe, defenses=[Decay(0.1)])
    assert distance(defended, fit(double(mlp), data, replace(recipe, weight_decay=0.1))) < 1e-14


def test_each_member_starts_hooks_of_its_own():
    members = fit_many(mlp, points(), SMALL, seeds=[1, 2], defenses=[Decay(0.1)])
    for seed, member in zip((1, 2), members, strict=True):
        assert same(member, fit(mlp, points(), SMALL, seed=seed, defenses=[Decay(0.1)]))
        assert member.carried["decay"]["steps"] == 12


def test_a_phase_names_its_method_and_is_plain_settings():
    phase = Phase(SMALL, [Decay(0.2), Stop()])
    assert (Phase(SMALL).method, phase.method) == ("none", "decay+stop")
    assert phase == pickle.loads(pickle.dumps(phase)) == Phase(SMALL, (Decay(0.2), Stop()))
    assert hash(phase) == hash(Phase(SMALL, (Decay(0.2), Stop())))
    assert settings(phase)["defenses"] == [{"is": "Decay", "weight": 0.2}, {"is": "Stop"}]
    assert settings(Phase(replace(SMALL, schedule=Steps((1,)))))["recipe"]["schedule"] == {
        "is": "Steps",
        "milestones": [1],
    }
    assert phase.defenses[0].columns() == {"strength": 0.2} and phase.defenses[1].columns() == {}
    with pytest.raises(FrozenInstanceError):
        phase.defenses[0].weight = 1


@pytest.mark.parametrize("defenses", [(Decay(0.1), Decay(0.2)), (Stop(), Stop())])
def test_two_defenses_of_one_name_are_refused(defenses):
    with pytest.raises(ValueError, match="both called"):
        Phase(SMALL, defenses)
    with pytest.raises(ValueError, match="both called"):
        fit(mlp, points(), SMALL, defenses=defenses)


def test_a_defense_without_name_or_version_is_refused():
    @dataclass(frozen=True)
    class Nameless(Defense):
        VERSION: ClassVar[int] = 1

        def start(self, parts):
            return Hooks()

    @dataclass(frozen=True)
    class Timeless(Defense):
        NAME: ClassVar[str] = "timeless"

        def start(self, parts):
            return Hooks()

    with pytest.raises(TypeError, match="Nameless: a defense states NAME"):
        Nameless()
    with pytest.raises(TypeError, match="Timeless: a defense states VERSION"):
        Timeless()


def test_hooks_that_observe_may_only_look():
    class Looks(Hooks):
        observes = True

        def after_step(self, run):
            pass

    class Half(Hooks):
        def state_dict(self):
            return {}

    with pytest.raises(TypeError, match="observe have after_epoch, end.*not after_step"):
        Looks()
    with pytest.raises(TypeError, match="needs the other one"):
        Half()


def test_what_a_defense_is_handed_lies_where_the_training_does_with_the_width_of_the_logits():
    reference, validation = points(9, seed=1), batches_of(points(8, seed=2))
    parts = []

    @dataclass(frozen=True)
    class Keeping(Decay):
        def start(self, given):
            parts.append(given)
            return super().start(given)

    x, y = points()
    fit(mlp, (x, y % 2), SMALL, seed=7, defenses=[Keeping()], reference=reference, validation=validation)
    (given,) = parts
    assert torch.equal(given.train[0], x) and torch.equal(given.reference[1], reference[1])
    assert given.validation is validation
    assert (given.seed, given.classes, given.carried) == (7, 3, {})


def test_a_defense_that_draws_as_it_starts_draws_the_same_again_and_changes_no_other_draw():
    drawn = []

    @dataclass(frozen=True)
    class Draws(Stop):
        def start(self, parts):
            drawn.append(torch.rand(2))
            return Hooks()

    before = torch.get_rng_state()
    plain = fit(mlp, points(), SMALL)
    assert same(plain, fit(mlp, points(), SMALL, defenses=[Draws()]))
    fit(mlp, points(), SMALL, defenses=[Draws()])
    fit(mlp, points(), SMALL, seed=1, defenses=[Draws()])
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.get_rng_state())


# From phase to phase


def test_a_phase_starts_from_given_weights_without_the_optimizer_s_state():
    x, y = points()
    first = fit(mlp, (x, y), SMALL, seed=1).model
    second = fit(mlp, (x, y), SMALL, seed=2, start=first.state_dict())
    by_hand = mlp()
    by_hand.load_state_dict(first.state_dict())
    assert same(second, fit(lambda: deepcopy(by_hand), (x, y), SMALL, seed=2))
    assert same(fit(mlp, (x, y), replace(SMALL, lr=1e-30), start=first.state_dict()), fit(mlp, (x, y), SMALL, seed=1))


def test_weights_of_another_model_are_refused():
    with pytest.raises(ValueError, match="start: these weights are not of the model"):
        fit(mlp, points(), SMALL, start=nn.Linear(6, 3).state_dict())
    with pytest.raises(ValueError, match="start: these weights.*size mismatch"):
        fit(mlp, points(), SMALL, start=mlp(classes=4).state_dict())


def test_a_defense_finds_in_the_next_phase_what_its_hooks_left(tmp_path):
    path = tmp_path / "run.pt"
    first = fit(mlp, points(), SMALL, defenses=[Decay(0.1), Stop()], checkpoint=path)
    assert first.carried.keys() == {"decay"}, "hooks without a state leave none"
    again = fit(mlp, points(), SMALL, defenses=[Decay(0.1), Stop()], checkpoint=path)
    assert torch.equal(first.carried["decay"]["steps"], again.carried["decay"]["steps"])
    options = {"start": first.model.state_dict(), "carried": first.carried}
    second = fit(mlp, points(), SMALL, defenses=[Decay(0.1)], **options)
    assert (first.carried["decay"]["steps"], second.carried["decay"]["steps"]) == (4, 16)
    many = fit_many(mlp, points(), SMALL, seeds=[0, 1], defenses=[Decay(0.1)], carried=[first.carried, {}])
    assert [member.carried["decay"]["steps"].item() for member in many] == [16, 12]


# Predictions and precision


def test_a_prediction_is_the_model_s_answer_in_eval_mode_or_in_its_own():
    class Asks(Hooks):
        def before_step(self, run, x, y):
            plain, own = run.predict(x), run.predict(x, training=True)
            assert torch.equal(plain, logits(run.model, x))
            assert not torch.equal(plain, own), "a batch's own statistics"
            assert not plain.requires_grad and run.predict(x, grad=True).requires_grad

    def build():
        return nn.Sequential(mlp(), nn.BatchNorm1d(3))

    fit(build, points(), SMALL, hooks=[Asks()])


def test_a_loss_made_of_predictions_reaches_the_weights():
    """Weight decay on what the model answers to other rows, by a penalty or by hand."""

    class Quiet(Hooks):
        def penalty(self, run, x, y, outputs):
            return run.predict(other, grad=True).square().mean()

    class ByHand(Hooks):
        def penalty(self, run, x, y, outputs):
            return run.model(other).square().mean()

    other = points(20, seed=3)[0]
    assert same(fit(mlp, points(), SMALL, hooks=[Quiet()]), fit(mlp, points(), SMALL, hooks=[ByHand()]))


def test_hooks_see_the_end_after_the_last_epoch_of_a_stopped_training_too():
    class Last(Hooks):
        def end(self, run):
            seen.append((run.epoch, len(run.history)))

    seen = []
    fit(mlp, points(), SMALL, hooks=[Last()])
    fit(mlp, points(), SMALL, defenses=[Stop()], hooks=[Last()])
    assert seen == [(3, 3), (1, 1)]


def test_a_method_that_needs_every_bit_switches_autocast_off(monkeypatch):
    asked = []
    monkeypatch.setattr("mialab.training.loop.autocast_for", lambda device: asked.append(1) or nullcontext())

    class Exact(Hooks):
        autocast = False

    fit(mlp, points(), SMALL, hooks=[Hooks()])
    assert len(asked) == 1
    fit(mlp, points(), SMALL, hooks=[Hooks(), Exact()])
    assert len(asked) == 1


class Heads(nn.Module):
    """A hidden layer, and two heads whose logits are averaged."""

    def __init__(self):
        super().__init__()
        self.hidden, self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        z = self.hidden(x)
        return (self.a(z) + self.b(z)) / 2, z


def test_the_layers_that_give_logits_leave_autocast_and_nothing_of_it_stays():
    model, autocast = Heads(), torch.autocast("cpu", dtype=torch.bfloat16)
    assert heads(model) == [model.a, model.b]
    x, y = points()
    with float32_logits(model, autocast):
        with autocast:
            out, hidden = model(x)
            copied, _ = deepcopy(model)(x)
            assert torch.is_autocast_enabled("cpu")
        assert not torch.is_autocast_enabled("cpu")
        assert (out.dtype, hidden.dtype) == (torch.float32, torch.bfloat16)
        assert torch.equal(out, copied)
        expected = (F.linear(hidden.float(), model.a.weight, model.a.bias) + model.b(hidden.float())) / 2
        torch.testing.assert_close(out, expected)
        with pytest.raises(RuntimeError), autocast:
            model.a(torch.zeros(2, 5))
        assert not torch.is_autocast_enabled("cpu")
        F.cross_entropy(out, y).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    with autocast:
        assert model(x)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("joint", [True, False])
def test_training_under_autocast_computes_its_loss_on_float32_logits(monkeypatch, joint):
    """As on a GPU, shown on the CPU: the logits that the loss sees are float32, those of a layer before are not."""
    seen = []

    class Hidden(nn.Linear):
        def forward(self, x):
            seen.append((out := super().forward(x)).dtype)
            return out

    def spy(outputs, *arguments, **options):
        seen.append(outputs.dtype)
        return cross_entropy(outputs, *arguments, **options)

    cross_entropy = F.cross_entropy
    for room in ("loop", "joint"):
        monkeypatch.setattr(
            f"mialab.training.{room}.autocast_for", lambda device: torch.autocast("cpu", dtype=torch.bfloat16)
        )
        monkeypatch.setattr(f"mialab.training.{room}.F.cross_entropy", spy)
    build = lambda: nn.Sequential(Hidden(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 3))  # noqa: E731
    members = fit_many(build, points(), replace(SMALL, epochs=1), seeds=[0, 1], joint=joint)
    assert seen[-2:] == [torch.bfloat16, torch.float32]
    assert not any(part._forward_pre_hooks for member in members for part in member.model.modules())


def test_without_autocast_no_layer_is_touched():
    model = Heads()
    with float32_logits(model, nullcontext()):
        assert not any(part._forward_pre_hooks for part in model.modules())


def leak(device, autocast):
    """Accuracy and AUC of the confidence attack, over members and as many fresh rows."""

    class Exact(Hooks):
        pass

    Exact.autocast = autocast
    (x, y), (fresh, truth) = images(400, dtype=torch.float32), images(800, dtype=torch.float32)
    fresh, truth = fresh[400:], truth[400:]
    x, fresh = x + 0.1 * y[:, None, None, None], fresh + 0.1 * truth[:, None, None, None]
    recipe, found = Recipe(epochs=60, batch=32, optimizer="adam", lr=5e-3), []
    for seed in range(4):
        model = fit(cnn, (x, y), recipe, seed=seed, hooks=[Exact()], device=device).model
        answers = [logits(model, part).cpu() for part in (x, fresh)]
        right = [p.log_softmax(1).gather(1, t[:, None])[:, 0].numpy() for p, t in zip(answers, (y, truth), strict=True)]
        member = np.arange(800) < 400
        accuracy = (answers[1].argmax(1) == truth).double().mean().item()
        found.append((accuracy, metrics.auc(np.concatenate(right), member)))
    return np.array(found).mean(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bfloat16_changes_neither_accuracy_nor_what_an_attack_finds():
    exact, fast = leak("cuda", False), leak("cuda", True)
    assert exact[1] > 0.6, "there is something to find"
    np.testing.assert_allclose(fast, exact, atol=0.03)
