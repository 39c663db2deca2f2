"""A run that is killed goes on bit for bit; nobody's file is lost or mistaken for another's."""

import os
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from threading import Lock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from training_cases import SMALL, Momentum, batches_of, cnn, dropout_mlp, images, mlp, points, same

from mialab.seeds import generator
from mialab.training import TrainingRun, fit
from mialab.training.checkpoint import HEADER, START, Checkpoint


class Dies:
    identity = "the same run, whenever it dies"

    def __init__(self, epoch):
        self.epoch = epoch

    def before_step(self, run, x, y):
        if run.epoch == self.epoch:
            raise KeyboardInterrupt


def dropout_cnn():
    return nn.Sequential(cnn()[0], nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(256, 3))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("killed", [1, 2, 4])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, optimizer, killed):
    recipe = replace(SMALL, optimizer=optimizer, epochs=4, milestones=(2,), augment=("crop", "flip"))
    data = images(dtype=torch.float32)
    whole = fit(dropout_cnn, data, recipe, seed=3, defenses=[Momentum(), Dies(0)])
    path = tmp_path / "deep" / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(dropout_cnn, data, recipe, seed=3, defenses=[Momentum(), Dies(killed)], checkpoint=path)
    assert path.exists() == (killed > 1)
    resumed = fit(dropout_cnn, data, recipe, seed=3, defenses=[Momentum(), Dies(0)], checkpoint=path)
    assert same(whole, resumed)
    assert whole.history == resumed.history
    assert [entry.name for entry in path.parent.iterdir()] == ["run.pt"]


def test_a_finished_run_is_read_back_without_training(tmp_path):
    first = fit(mlp, points(), SMALL, checkpoint=tmp_path / "run.pt")
    again = fit(mlp, points(), SMALL, checkpoint=tmp_path / "run.pt")
    assert same(first, again)
    assert first.history == again.history


def test_a_run_that_was_stopped_stays_stopped(tmp_path):
    class Stop:
        def after_epoch(self, run):
            run.stop = True

    for _ in range(2):
        history = fit(mlp, points(), SMALL, defenses=[Stop()], checkpoint=tmp_path / "run.pt").history
        assert len(history) == 1


def test_a_source_resumes_with_the_epoch_it_had_reached(tmp_path):
    class Shuffled:
        def set_epoch(self, epoch):
            self.epoch = epoch

        def __iter__(self):
            order = torch.randperm(50, generator=generator(0, self.epoch))
            return iter(batches_of(part[order] for part in points()))

    with pytest.raises(KeyboardInterrupt):
        fit(mlp, Shuffled(), SMALL, defenses=[Dies(2)], checkpoint=tmp_path / "run.pt")
    resumed = fit(mlp, Shuffled(), SMALL, defenses=[Dies(0)], checkpoint=tmp_path / "run.pt")
    assert same(resumed, fit(mlp, Shuffled(), SMALL, defenses=[Dies(0)]))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": replace(SMALL, lr=0.02)}, "recipe"),
        ({"seed": 1}, "seed"),
        ({"data": points(40)}, "data"),
        ({"data": points(seed=1)}, "data"),
        ({"build": dropout_mlp}, "model"),
        ({"defenses": [Momentum(weight=0.2)]}, "defenses"),
        ({"defenses": []}, "defenses"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_and_kept(tmp_path, change, named):
    path = tmp_path / "run.pt"
    settings = {"build": mlp, "data": points(), "recipe": SMALL, "seed": 0}
    fit(**settings, defenses=[Momentum()], checkpoint=path)
    assert_refused(path, named, settings | {"defenses": [Momentum()]} | change)


def assert_refused(path, named, settings):
    content = path.read_bytes()
    with pytest.raises(ValueError, match=rf"differs in {named}\).*another path"):
        fit(**settings, checkpoint=path)
    assert path.read_bytes() == content


class Plain:
    def __init__(self, *settings):
        self.settings = settings

    def before_step(self, run, x, y):
        self.steps = run.step


@dataclass
class Nested:
    inner: object
    draw: torch.Generator = field(default_factory=lambda: generator(0, "nested"))

    def before_step(self, run, x, y):
        torch.rand((), generator=self.draw)


class Named:
    """Says itself what tells it from others; its attributes are not asked."""

    def __init__(self, identity, other):
        self.name, self.other = identity, other

    def identity(self):
        return self.name

    def before_step(self, run, x, y):
        self.other += 1


class Source:
    def __init__(self, data, epoch=None):
        self.data, self.epoch = data, epoch

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(batches_of(self.data))


def loader(seed):
    return DataLoader(TensorDataset(*points(seed=seed)), batch_size=16)


PAIRS = [  # two that differ, made anew at each call
    ("defenses", lambda: Plain(0.001), lambda: Plain(0.1)),
    ("defenses", lambda: Plain(torch.zeros(2)), lambda: Plain(torch.tensor([0.0, 1]))),
    ("defenses", lambda: Plain({"a", "b", "c"}, np.zeros(3)), lambda: Plain({"a", "b", "d"}, np.zeros(3))),
    ("defenses", lambda: Plain(partial(max, 1)), lambda: Plain(partial(max, 2))),
    ("defenses", lambda: Plain(mlp, F.relu), lambda: Plain(mlp, F.gelu)),
    ("defenses", lambda: Nested([0.1, 0.2]), lambda: Nested([0.1, 0.3])),
    ("defenses", lambda: Nested(Nested(1)), lambda: Nested(Nested(2))),
    ("defenses", lambda: Named("a", 1), lambda: Named("b", 1)),
    ("data", lambda: Source(points()), lambda: Source(points(seed=1))),
    ("data", lambda: batches_of(points()), lambda: batches_of(points(seed=1))),
    ("data", lambda: loader(0), lambda: loader(1)),
]


def with_(kind, value):
    return {"build": mlp, "data": points(), "recipe": SMALL} | {kind: [value] if kind == "defenses" else value}


@pytest.mark.parametrize(("kind", "one", "other"), PAIRS)
def test_a_checkpoint_knows_defenses_and_sources_by_their_settings(tmp_path, kind, one, other):
    path = tmp_path / "run.pt"
    first = fit(**with_(kind, one()), checkpoint=path)
    assert same(fit(**with_(kind, one()), checkpoint=path), first)
    assert_refused(path, kind, with_(kind, other()))


def test_what_a_defense_calls_its_identity_stands_for_all_its_attributes(tmp_path):
    for other in (1, 2):
        fit(mlp, points(), SMALL, defenses=[Named("a", other)], checkpoint=tmp_path / "run.pt")


def test_a_source_that_stands_at_a_later_epoch_is_the_same_source(tmp_path):
    for epoch in (None, 7):
        fit(mlp, Source(points(), epoch), SMALL, checkpoint=tmp_path / "run.pt")


def test_a_defense_that_has_changed_in_training_must_be_made_anew(tmp_path):
    used = Plain()
    fit(mlp, points(), SMALL, defenses=[used], checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="make new ones"):
        fit(mlp, points(), SMALL, defenses=[used], checkpoint=tmp_path / "run.pt")


def test_a_defense_that_cannot_be_copied_or_holds_itself_can_be_checkpointed(tmp_path):
    for _ in range(2):
        odd = Plain(Lock(), lambda: None)
        odd.itself = odd
        fit(mlp, points(), SMALL, defenses=[odd], checkpoint=tmp_path / "run.pt")


def net(activation=nn.Tanh, share=0.1, shift=0.0, mean=0.0):
    model = nn.Sequential(nn.Linear(6, 8), activation(), nn.Dropout(share), nn.Linear(8, 3))
    model.shift = shift
    model.register_buffer("mean", torch.tensor(mean))
    return model


@pytest.mark.parametrize("change", [{"activation": nn.ReLU}, {"share": 0.9}, {"shift": 1.0}, {"mean": 1.0}])
def test_a_checkpoint_knows_nets_of_the_same_shapes_apart(tmp_path, change):
    path = tmp_path / "run.pt"
    fit(net, points(), SMALL, checkpoint=path)
    fit(net, points(), SMALL, checkpoint=path)
    assert_refused(path, "model", {"build": partial(net, **change), "data": points(), "recipe": SMALL})


@pytest.mark.parametrize("left", [0, 10, 0.5, 0.95])
def test_a_truncated_checkpoint_is_set_aside_and_training_starts_again(tmp_path, left):
    path = tmp_path / "run.pt"
    whole = fit(mlp, points(), SMALL, checkpoint=path)
    content = path.read_bytes()
    for number in (1, 2):
        broken = content[: left if isinstance(left, int) else int(left * len(content))]
        path.write_bytes(broken)
        with pytest.warns(UserWarning, match=f"kept as run.pt.damaged-{number}"):
            assert same(fit(mlp, points(), SMALL, checkpoint=path), whole)
        assert (tmp_path / f"run.pt.damaged-{number}").read_bytes() == broken


def test_a_flipped_bit_never_goes_unnoticed(tmp_path):
    path = tmp_path / "run.pt"
    fit(mlp, points(), SMALL, checkpoint=path)
    content = path.read_bytes()
    weight = content.index(torch.load(BytesIO(content[START:]))["model"]["0.weight"].numpy().tobytes())
    for place in (len(HEADER), START - 1, START, weight, weight + 3, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.warns(UserWarning, match="checksum is wrong.*training starts again"):
            fit(mlp, points(), SMALL, checkpoint=path)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(ValueError, match="not a training checkpoint"):
        fit(mlp, points(), SMALL, checkpoint=path)


def test_a_file_that_is_no_checkpoint_is_refused_and_kept(tmp_path):
    torch.save(mlp().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="not a training checkpoint"):
        fit(mlp, points(), SMALL, checkpoint=tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").exists()


def test_a_directory_as_checkpoint_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="path of a file"):
        fit(mlp, points(), SMALL, checkpoint=tmp_path)


def test_a_write_that_fails_keeps_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    fit(mlp, points(), SMALL, checkpoint=path)
    content = path.read_bytes()

    def full(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    model = mlp()
    run = TrainingRun(model, SMALL, torch.device("cpu"), 0, optimizer=torch.optim.SGD(model.parameters()))
    with pytest.raises(OSError, match="no space"):
        Checkpoint(path, run, model, points(), []).save()
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("odd", ["history", "optimizer"])
def test_numbers_that_a_checkpoint_could_not_read_back_are_refused_when_it_is_written(tmp_path, odd):
    class Numpy:
        def after_epoch(self, run):
            row = run.history[-1] if odd == "history" else run.optimizer.param_groups[0]
            row["lr"] = np.float64(0.1)

    with pytest.raises(TypeError, match=rf"{odd}.*\.item\(\)"):
        fit(mlp, points(), SMALL, defenses=[Numpy()], checkpoint=tmp_path / "run.pt")


def test_a_defense_whose_state_no_file_can_hold_is_named(tmp_path):
    class Odd(Momentum):
        def state_dict(self):
            return {"model": mlp()}

    with pytest.raises(TypeError, match="Odd.state_dict"):
        fit(mlp, points(), SMALL, defenses=[Odd()], checkpoint=tmp_path / "run.pt")
