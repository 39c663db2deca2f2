"""Traps that a review set: each is refused with a remedy, or harmless."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from training_cases import SMALL, images, mlp, points, same

from mialab.training import Defense, Hooks, fit, fit_many, logits

# Training


def test_a_class_with_a_misspelt_hook_is_refused_when_its_object_is_made():
    class Protects(Hooks):
        def penaltys(self, run, x, y, outputs):
            return outputs.square().mean()

    with pytest.raises(TypeError, match="Protects: unknown hook 'penaltys'; did you mean penalty"):
        Protects()


def test_an_object_that_only_looks_like_hooks_is_refused():
    class Penalty:
        def penalty(self, run, x, y, outputs):
            return outputs.square().mean()

    for wrong in (Penalty(), Penalty, Hooks):
        with pytest.raises(TypeError, match="derived from training.Hooks"):
            fit(mlp, points(), SMALL, hooks=[wrong])
        with pytest.raises(TypeError, match="no defense"):
            fit(mlp, points(), SMALL, defenses=[wrong])


@dataclass(frozen=True)
class Holds(Defense):
    """A defense with a setting of any kind."""

    NAME: ClassVar[str] = "holds"
    VERSION: ClassVar[int] = 1

    thing: Any

    def start(self, parts):
        return Hooks()


def closure(weight):
    return lambda outputs: weight * outputs.square().mean()


@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 2), lambda: closure(0.1), lambda: torch.zeros(2), lambda: {1}])
def test_settings_of_which_equal_ones_look_different_or_different_ones_equal_are_refused(make):
    """A module: two equal defenses had two identities, so that none could resume. A closure: two different had one."""
    with pytest.raises(TypeError, match="Holds.thing.* cannot stand in a configuration"):
        Holds(make())


def test_settings_that_hide_from_the_dataclass_are_refused():
    class Hidden(Holds):
        def __init__(self, weight):
            self.weight = weight

    with pytest.raises(TypeError, match="Hidden: a defense must be a frozen dataclass"):
        Hidden(0.1)

    @dataclass(frozen=True)
    class Unasked(Holds):
        def __post_init__(self):
            pass

    with pytest.raises(TypeError, match="cannot stand in a configuration"):
        fit(mlp, points(), SMALL, defenses=[Unasked(closure(0.1))])


def test_hooks_that_hold_a_closure_have_no_checkpoint_without_an_identity(tmp_path):
    class Penalty(Hooks):
        def __init__(self, weight):
            self.term = closure(weight)

        def penalty(self, run, x, y, outputs):
            return self.term(outputs)

    fit(mlp, points(), SMALL, hooks=[Penalty(0.1)])
    with pytest.raises(TypeError, match="cannot tell Penalty from others.*let a Defense start it, or give it"):
        fit(mlp, points(), SMALL, hooks=[Penalty(0.1)], checkpoint=tmp_path / "run.pt")


def normalised():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


@pytest.mark.parametrize("moment", ["batch", "before_step", "loss", "penalty", "after_step"])
def test_a_pass_of_a_hook_in_training_mode_that_would_move_batch_norm_is_refused(moment):
    def looks(self, run, *arguments):
        run.model(run.x)

    looking = type("Looking", (Hooks,), {moment: looks})
    with pytest.raises(RuntimeError, match=r"BatchNorm2d.*run.predict\(x\)"):
        fit(normalised, images(dtype=torch.float32), SMALL, hooks=[looking()])


@pytest.mark.parametrize("moment", ["batch", "before_step", "penalty", "after_step", "after_epoch"])
@pytest.mark.parametrize("training", [True, False])
def test_a_prediction_of_a_hook_moves_nothing(moment, training):
    def looks(self, run, *arguments):
        run.predict(run.x + 5, training=training)
        return {"batch": arguments[:2], "penalty": 0.0}.get(moment)

    def build():
        return nn.Sequential(nn.Dropout(0.3), normalised())

    data, looking = images(dtype=torch.float32), type("Looking", (Hooks,), {moment: looks})
    looked = fit(build, data, SMALL, hooks=[looking()])
    assert same(fit(build, data, SMALL), looked), "weights, and BatchNorm's statistics"


def test_a_copy_of_the_model_may_be_run_in_training_mode():
    class Teacher(Hooks):
        def before_step(self, run, x, y):
            deepcopy(run.model).train()(x)

    data = images(dtype=torch.float32)
    assert same(fit(normalised, data, SMALL), fit(normalised, data, SMALL, hooks=[Teacher()]))


@dataclass(frozen=True)
class Spies(Defense):
    """Keeps all tensors that it can reach."""

    NAME: ClassVar[str] = "spies"
    VERSION: ClassVar[int] = 1

    seen: ClassVar[dict] = {}

    def start(self, parts):
        return Spying(parts)


class Spying(Hooks):
    def __init__(self, parts):
        self.found = {"train": [parts.train], "reference": [parts.reference], "validation": [parts.validation]}
        Spies.seen[parts.seed] = self.found

    def before_step(self, run, x, y):
        self.found["train"] += [(x, y), (run.x, run.y)]


@pytest.mark.parametrize("defended", [fit, fit_many])
def test_hooks_are_handed_this_model_s_rows_and_no_others(defended, monkeypatch):
    """Rows are told by their first feature, which is their number; those of the audit are none of these."""
    monkeypatch.setattr(Spies, "seen", {})
    x, y = torch.arange(100.0)[:, None].expand(100, 6), torch.arange(100) % 3
    rows = {1: torch.tensor([5, 5, 7, 11, 13]), 2: torch.arange(20, 40)}
    others = {"reference": (x[50:60], y[50:60]), "validation": (x[60:70], y[60:70]), "defenses": [Spies()]}
    if defended is fit:
        for seed, mine in rows.items():
            fit(mlp, (x[mine], y[mine]), SMALL, seed=seed, **others)
    else:
        fit_many(mlp, (x, y), SMALL, seeds=list(rows), indices=list(rows.values()), **others)
    for seed, mine in rows.items():
        found = {
            role: {int(row) for some, _ in pairs for row in some[:, 0]} for role, pairs in Spies.seen[seed].items()
        }
        assert found == {"train": set(mine.tolist()), "reference": {*range(50, 60)}, "validation": {*range(60, 70)}}
        assert Spies.seen[seed]["train"][0][0][:, 0].tolist() == mine.tolist(), "repeats and all"


def test_logits_are_in_full_precision_whatever_the_settings_and_leave_them():
    seen = []

    class Asks(nn.Linear):
        def forward(self, x):
            seen.append((torch.is_autocast_enabled("cpu"), precision()))
            return super().forward(x)

    def precision():
        matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn
        if hasattr(matmul, "fp32_precision"):
            return matmul.fp32_precision, conv.conv.fp32_precision
        return matmul.allow_tf32, conv.allow_tf32

    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        allowed = precision()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert logits(Asks(6, 3), points()[0]).dtype == torch.float32
        assert seen[0][0] is False and not {"tf32", True} & set(seen[0][1])
        assert precision() == allowed and torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
