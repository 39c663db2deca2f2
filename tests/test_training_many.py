"""Members trained together are the members that `fit` gives one by one."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_cases import SMALL, Momentum, batches_of, cnn, distance, double, dropout_mlp, images, mlp, points, same

from mialab.seeds import generator
from mialab.training import Cosine, Cyclic, Defense, Hooks, Steps, fit, fit_many, logits


@pytest.mark.parametrize("augmented", [(), ("crop", "flip")])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("build", [double(cnn), double(lambda: nn.Sequential(nn.Flatten(), mlp(192)))])
def test_members_trained_jointly_equal_members_trained_alone(build, optimizer, augmented):
    recipe = replace(SMALL, optimizer=optimizer, epochs=3, weight_decay=0.01, schedule=Steps((1,)), augment=augmented)
    indices = [torch.randperm(50, generator=generator(0, k))[:36] for k in range(3)]
    x, y = images()
    joint = fit_many(build, (x, y), recipe, seeds=[5, 6, 7], indices=indices, joint=True)
    for k, member in enumerate(joint):
        alone = fit(build, (x[indices[k]], y[indices[k]]), recipe, seed=5 + k)
        assert distance(member, alone) < 1e-12
        assert [row["accuracy"] for row in member.history] == [row["accuracy"] for row in alone.history]
        assert [row["loss"] for row in member.history] == pytest.approx([row["loss"] for row in alone.history])
        assert [row["lr"] for row in member.history] == [row["lr"] for row in alone.history]
        assert not member.model.training


@pytest.mark.parametrize("joint", [True, False])
def test_an_observer_sees_after_each_epoch_the_member_that_it_would_be_alone(joint):
    class Look(Hooks):
        observes = True

        def __init__(self, k, into):
            self.k, self.into = k, into

        def after_epoch(self, run):
            outputs = logits(run.model, points(dtype=torch.float64)[0])
            self.into[self.k, run.epoch] = outputs, run.history[-1]["accuracy"], run.seed, len(run.history), run.step

        def end(self, run):
            self.into[self.k, "end"] = self.into[self.k, run.epoch]

    seen, alone = {}, {}
    data, build = points(dtype=torch.float64), double(mlp)
    watched = fit_many(build, data, SMALL, seeds=[5, 6, 7], hooks=lambda k: [Look(k, seen)], joint=joint)
    for k in range(3):
        fit(build, data, SMALL, seed=5 + k, hooks=[Look(k, alone)])
    assert seen.keys() == alone.keys() == {(k, epoch) for k in range(3) for epoch in (1, 2, 3, "end")}
    for place, (outputs, *rest) in seen.items():
        torch.testing.assert_close(outputs, alone[place][0], atol=1e-6, rtol=0)
        assert rest == list(alone[place][1:])
    unwatched = fit_many(build, data, SMALL, seeds=[5, 6, 7], joint=joint)
    assert all(map(same, watched, unwatched)), "looking changes nothing"
    assert not any(member.model.training for member in watched)


@pytest.mark.parametrize("joint", [True, False])
def test_what_an_observer_writes_into_the_history_of_a_member_comes_back_with_it(joint):
    class Note(Hooks):
        observes = True

        def __init__(self, k):
            self.k = k

        def after_epoch(self, run):
            run.history[-1]["note"] = 10 * self.k + run.epoch

    members = fit_many(mlp, points(), SMALL, seeds=[5, 6], hooks=lambda k: [Note(k)], joint=joint)
    assert [[row["note"] for row in member.history] for member in members] == [[1, 2, 3], [11, 12, 13]]


@dataclass(frozen=True)
class Prune(Defense):
    NAME: ClassVar[str] = "prune"
    VERSION: ClassVar[int] = 1

    def start(self, parts):
        return Pruning()


class Pruning(Hooks):
    order = []

    def after_epoch(self, run):
        self.order.append("defense")


class Watching(Hooks):
    def after_epoch(self, run):
        Pruning.order.append("watcher")


def test_further_hooks_come_after_the_member_s_defenses(monkeypatch):
    monkeypatch.setattr(Pruning, "order", [])
    recipe = replace(SMALL, epochs=1)
    fit_many(mlp, points(), recipe, seeds=[0, 1], defenses=[Prune()], hooks=lambda k: [Watching()])
    assert Pruning.order == ["defense", "watcher"] * 2


def test_rows_may_repeat_and_count_as_often():
    x, y = points(dtype=torch.float64)
    bags = [torch.tensor([0, 0, 0, 7, 7, 20]), torch.tensor([1, 2, 3, 3, 3, 3])]
    for joint in (True, False):
        members = fit_many(double(mlp), (x, y), SMALL, seeds=[1, 2], indices=bags, joint=joint)
        for k, member in enumerate(members):
            alone = fit(double(mlp), (x[bags[k]], y[bags[k]]), SMALL, seed=k + 1)
            assert distance(member, alone) < 1e-12


def test_each_member_may_have_a_source_of_its_own():
    sources = [batches_of(points(seed=k)) for k in (0, 1)]
    for k, member in enumerate(fit_many(mlp, sources, SMALL, seeds=[5, 6])):
        assert same(member, fit(mlp, sources[k], SMALL, seed=5 + k))
    shared = fit_many(mlp, sources[0], SMALL, seeds=[5, 6])
    assert same(shared[1], fit(mlp, sources[0], SMALL, seed=6)), "the batches of one source serve all members"
    with pytest.raises(ValueError, match="3 seeds, but 2 sources"):
        fit_many(mlp, sources, SMALL, seeds=[5, 6, 7])


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("schedule", [Cosine(), Cyclic(2), Steps((1,))])
def test_members_start_from_given_weights_and_follow_the_schedule(joint, schedule):
    data, build = points(dtype=torch.float64), double(mlp)
    recipe = replace(SMALL, optimizer="sgd", epochs=4, schedule=schedule, warmup=1)
    starts = [member.model.state_dict() for member in fit_many(build, data, SMALL, seeds=[1, 2])]
    members = fit_many(build, data, recipe, seeds=[3, 4], start=starts, joint=joint)
    for k, member in enumerate(members):
        alone = fit(build, data, recipe, seed=3 + k, start=starts[k])
        assert distance(member, alone) < 1e-12
        assert [row["lr"] for row in member.history] == [row["lr"] for row in alone.history]
    with pytest.raises(ValueError, match="`start` for 1 members"):
        fit_many(build, data, recipe, seeds=[3, 4], start=starts[:1])


def test_members_trained_jointly_in_single_precision_reach_the_metrics_of_members_alone():
    data, fresh = points(400, seed=0), points(2000, seed=1)
    recipe = replace(SMALL, epochs=20)
    accuracies = []
    for joint in (True, False):
        fitted = fit_many(mlp, data, recipe, seeds=range(6), joint=joint)
        accuracies.append([(logits(m.model, fresh[0]).argmax(1) == fresh[1]).double().mean() for m in fitted])
    assert min(accuracies[0]) > 0.6
    torch.testing.assert_close(torch.tensor(accuracies[0]), torch.tensor(accuracies[1]), atol=0.005, rtol=0)


def test_members_of_unequal_size_fall_back_to_one_by_one_exactly():
    x, y = points()
    indices = [torch.arange(20), torch.arange(50) > 9]
    members = fit_many(mlp, (x, y), SMALL, seeds=[1, 2], indices=indices)
    for k, member in enumerate(members):
        assert same(member, fit(mlp, (x[indices[k]], y[indices[k]]), SMALL, seed=k + 1))


def test_each_member_has_its_own_defenses():
    members = fit_many(mlp, points(), SMALL, seeds=[1, 2], hooks=lambda k: [Momentum(weight=k)])
    assert same(members[0], fit(mlp, points(), SMALL, seed=1))
    assert same(members[1], fit(mlp, points(), SMALL, seed=2, hooks=[Momentum(weight=1)]))


class FunctionalDropout(nn.Linear):
    def forward(self, x):
        return F.dropout(super().forward(x), training=self.training)


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.inner, self.scale = mlp(), scale

    def forward(self, x):
        return self.inner(x) * (self.scale[0] if isinstance(self.scale, list) else self.scale)


class Counting(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) / self.calls


def test_members_with_the_same_plain_attributes_can_be_stacked():
    fit_many(lambda: Scaled(0.5), points(), SMALL, seeds=[0, 1], joint=True)


def test_members_that_drew_a_plain_attribute_keep_their_own():
    def build():
        return Scaled(torch.rand(()).item())

    for seed, member in enumerate(fit_many(build, points(), SMALL, seeds=[0, 1])):
        alone = fit(build, points(), SMALL, seed=seed)
        assert member.model.scale == alone.model.scale
        assert same(member, alone)


@pytest.mark.parametrize(
    ("build", "settings", "cause"),
    [
        (mlp, {"indices": [torch.arange(20), torch.arange(30)]}, "samples differ"),
        (mlp, {"hooks": lambda k: [Momentum()]}, "have defenses"),
        (mlp, {"defenses": [Prune()]}, "have defenses"),
        (mlp, {"seeds": [0]}, "fewer than two"),
        (mlp, {"data": batches_of(points())}, "source of batches"),
        (dropout_mlp, {}, "random"),
        (lambda: FunctionalDropout(6, 3), {}, "random"),
        (lambda: nn.Sequential(nn.BatchNorm1d(6), mlp()), {}, "BatchNorm1d"),
        (lambda: nn.Sequential(mlp(), nn.LeakyReLU(torch.rand(()).item())), {}, "neither a parameter nor a buffer"),
        (lambda: Scaled(torch.rand(()).item()), {}, "neither a parameter nor a buffer"),
        (lambda: Scaled(torch.rand(())), {}, "neither a parameter nor a buffer"),
        (lambda: Scaled([torch.rand(())]), {}, "neither a parameter nor a buffer"),
        (lambda: Counting(6, 3), {}, "change it as they run"),
    ],
)
def test_what_cannot_be_trained_jointly_trains_one_by_one_unless_asked_for(build, settings, cause):
    settings = {"data": points(), "seeds": [0, 1]} | settings
    assert len(fit_many(build, recipe=SMALL, **settings)) == len(settings["seeds"])
    with pytest.raises(ValueError, match=cause):
        fit_many(build, recipe=SMALL, joint=True, **settings)


@pytest.mark.parametrize("joint", [True, False])
def test_a_build_that_returns_one_module_again_is_refused(joint):
    model = mlp()
    with pytest.raises(ValueError, match="a new one at each call"):
        fit_many(lambda: model, points(), SMALL, seeds=[0, 1], joint=joint)


def test_indices_must_match_the_seeds_and_need_data_in_memory():
    with pytest.raises(ValueError, match="2 seeds, but indices for 1"):
        fit_many(mlp, points(), SMALL, seeds=[0, 1], indices=[torch.arange(9)])
    with pytest.raises(ValueError, match="data in memory"):
        fit_many(mlp, batches_of(points()), SMALL, seeds=[0], indices=[torch.arange(9)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("joint", [True, False])
def test_training_on_cuda_learns_as_on_the_cpu(joint):
    x, y = images(200, dtype=torch.float32)
    x += y[:, None, None, None]
    recipe = replace(SMALL, epochs=10, augment=("crop", "flip"))
    accuracies = []
    for device in ("cpu", "cuda"):
        members = fit_many(cnn, (x, y), recipe, seeds=[0, 1], device=device, joint=joint)
        accuracies.append([(logits(m.model, x).argmax(1) == y).double().mean() for m in members])
    torch.testing.assert_close(torch.tensor(accuracies[1]), torch.tensor(accuracies[0]), atol=0.1, rtol=0)
