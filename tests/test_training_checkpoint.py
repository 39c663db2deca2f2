"""A run that is killed goes on bit for bit; nobody's file is lost or mistaken for another's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import SMALL, Momentum, batches_of, cnn, dropout_mlp, images, mlp, points, same

from mialab.seeds import generator
from mialab.training import Run, fit
from mialab.training.checkpoint import Checkpoint


class Dies:
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
    settings = {"build": mlp, "data": points(), "recipe": SMALL, "seed": 0, "defenses": [Momentum()]}
    fit(**settings, checkpoint=path)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=rf"differs in {named}.*another path"):
        fit(**settings | change, checkpoint=path)
    assert path.read_bytes() == content


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

    def full(state, target):
        target.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    model = mlp()
    run = Run(model, SMALL, torch.device("cpu"), 0, optimizer=torch.optim.SGD(model.parameters()))
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
