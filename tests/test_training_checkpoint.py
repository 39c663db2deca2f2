"""A run that is killed goes on bit for bit; nobody's file is lost or mistaken for another's."""

import multiprocessing
import os
import signal
import sys
from collections import Counter as Counts
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from training_cases import SMALL, Momentum, batches_of, cnn, dropout_mlp, images, mlp, points, same

from mialab.seeds import generator
from mialab.training import Defense, Hooks, Missed, Steps, checkpoint, fit, fit_many
from mialab.training.checkpoint import HEADER, START, Checkpoint


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    """Checkpoints after each epoch, as if each took a minute."""
    monkeypatch.setattr(checkpoint, "SECONDS", 0)


class Dies(Hooks):
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
    recipe = replace(SMALL, optimizer=optimizer, epochs=4, schedule=Steps((2,)), augment=("crop", "flip"))
    data = images(dtype=torch.float32)
    whole = fit(dropout_cnn, data, recipe, seed=3, hooks=[Momentum(), Dies(0)])
    path = tmp_path / "deep" / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(dropout_cnn, data, recipe, seed=3, hooks=[Momentum(), Dies(killed)], checkpoint=path)
    assert path.exists() == (killed > 1)
    resumed = fit(dropout_cnn, data, recipe, seed=3, hooks=[Momentum(), Dies(0)], checkpoint=path)
    assert same(whole, resumed)
    assert whole.history == resumed.history
    assert [entry.name for entry in path.parent.iterdir()] == ["run.pt"]


def test_a_finished_run_is_read_back_without_training(tmp_path):
    first = fit(mlp, points(), SMALL, checkpoint=tmp_path / "run.pt")
    again = fit(mlp, points(), SMALL, checkpoint=tmp_path / "run.pt")
    assert same(first, again)
    assert first.history == again.history


def test_a_run_that_was_stopped_stays_stopped(tmp_path):
    class Stop(Hooks):
        identity = "stop"

        def after_epoch(self, run):
            run.stop = True

    for _ in range(2):
        history = fit(mlp, points(), SMALL, hooks=[Stop()], checkpoint=tmp_path / "run.pt").history
        assert len(history) == 1


def test_a_source_resumes_with_the_epoch_it_had_reached(tmp_path):
    class Shuffled:
        identity = "shuffled"

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __iter__(self):
            order = torch.randperm(50, generator=generator(0, self.epoch))
            return iter(batches_of(part[order] for part in points()))

    with pytest.raises(KeyboardInterrupt):
        fit(mlp, Shuffled(), SMALL, hooks=[Dies(2)], checkpoint=tmp_path / "run.pt")
    resumed = fit(mlp, Shuffled(), SMALL, hooks=[Dies(0)], checkpoint=tmp_path / "run.pt")
    assert same(resumed, fit(mlp, Shuffled(), SMALL, hooks=[Dies(0)]))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": replace(SMALL, lr=0.02)}, "recipe"),
        ({"seed": 1}, "seed"),
        ({"data": points(40)}, "data"),
        ({"data": points(seed=1)}, "data"),
        ({"build": dropout_mlp}, "model"),
        ({"hooks": [Momentum(weight=0.2)]}, "hooks"),
        ({"hooks": []}, "hooks"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_and_kept(tmp_path, change, named):
    path = tmp_path / "run.pt"
    settings = {"build": mlp, "data": points(), "recipe": SMALL, "seed": 0}
    fit(**settings, hooks=[Momentum()], checkpoint=path)
    assert_refused(path, named, settings | {"hooks": [Momentum()]} | change)


def assert_refused(path, named, settings):
    content = path.read_bytes()
    with pytest.raises(ValueError, match=rf"differs in {named}\).*another path"):
        fit(**settings, checkpoint=path)
    assert path.read_bytes() == content


@dataclass(frozen=True)
class Inner:
    share: float = 0.1


@dataclass(frozen=True)
class Plain(Defense):
    """A defense of plain settings, which does nothing."""

    NAME: ClassVar[str] = "plain"
    VERSION: ClassVar[int] = 1

    weight: float | tuple | str = 0.1
    inner: Inner = Inner()

    def start(self, parts):
        return Hooks()


class Known(Hooks):
    """Says itself what tells it from others; its other attributes are not asked."""

    def __init__(self, identity, other=None):
        self.identity, self.other = identity, other


class Source:
    def __init__(self, seed, epoch=None):
        self.identity, self.data, self.epoch = f"seed {seed}", points(seed=seed), epoch

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(batches_of(self.data))


PAIRS = [  # two that differ, made anew at each call
    ("defenses", lambda: [Plain(0.001)], lambda: [Plain(0.1)]),
    ("defenses", lambda: [Plain(1)], lambda: [Plain(True)]),
    ("defenses", lambda: [Plain((0.1, 0.2))], lambda: [Plain((0.1, 0.3))]),
    ("defenses", lambda: [Plain(inner=Inner(0.1))], lambda: [Plain(inner=Inner(0.2))]),
    ("defenses", lambda: [Plain()], lambda: []),
    ("hooks", lambda: [Known("a", 1)], lambda: [Known("b", 1)]),
    ("hooks", lambda: [Known(Inner(0.1))], lambda: [Known(Inner(0.2))]),
    ("carried", lambda: {"prune": {"mask": torch.ones(3)}}, lambda: {"prune": {"mask": torch.zeros(3)}}),
    ("start", lambda: mlp_weights(0), lambda: mlp_weights(1)),
    ("start", lambda: mlp_weights(0), lambda: None),
    ("reference", lambda: points(9, seed=1), lambda: points(9, seed=2)),
    ("validation", lambda: points(9, seed=1), lambda: None),
    ("data", lambda: Source(0), lambda: Source(1)),
    ("data", lambda: batches_of(points()), lambda: batches_of(points(seed=1))),
]


def mlp_weights(seed):
    return fit(mlp, points(), replace(SMALL, epochs=1), seed=seed).model.state_dict()


def with_(kind, value):
    return {"build": mlp, "data": points(), "recipe": SMALL} | {kind: value}


@pytest.mark.parametrize(("kind", "one", "other"), PAIRS)
def test_a_checkpoint_knows_what_a_training_starts_from_by_its_settings_and_tensors(tmp_path, kind, one, other):
    path = tmp_path / "run.pt"
    first = fit(**with_(kind, one()), checkpoint=path)
    assert same(fit(**with_(kind, one()), checkpoint=path), first)
    assert_refused(path, kind, with_(kind, other()))


def test_what_hooks_call_their_identity_stands_for_all_their_attributes(tmp_path):
    for other in (1, 2):
        fit(mlp, points(), SMALL, hooks=[Known("a", other)], checkpoint=tmp_path / "run.pt")


def test_a_defense_of_another_version_is_another_run(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    fit(mlp, points(), SMALL, defenses=[Plain()], checkpoint=path)
    monkeypatch.setattr(Plain, "VERSION", 2)
    assert_refused(path, "defenses", with_("defenses", [Plain()]))


def test_a_source_that_stands_at_a_later_epoch_is_the_same_source(tmp_path):
    for epoch in (None, 7):
        fit(mlp, Source(0, epoch), SMALL, checkpoint=tmp_path / "run.pt")


def test_a_source_without_an_identity_is_refused_where_there_is_a_checkpoint(tmp_path):
    loader = DataLoader(TensorDataset(*points()), batch_size=16)
    fit(mlp, loader, SMALL)
    with pytest.raises(TypeError, match="DataLoader.*give it an `identity`"):
        fit(mlp, loader, SMALL, checkpoint=tmp_path / "run.pt")


def test_a_checkpoint_of_another_version_of_the_format_is_set_aside(tmp_path):
    path = tmp_path / "run.pt"
    first = fit(mlp, points(), SMALL, checkpoint=path)
    path.write_bytes(HEADER.replace(b"2", b"1") + path.read_bytes()[len(HEADER) :])
    with pytest.warns(UserWarning, match="another version of mialab.*training starts again"):
        assert same(fit(mlp, points(), SMALL, checkpoint=path), first)


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
    weight = content.index(torch.load(BytesIO(content[START:]))["state"]["model"]["0.weight"].numpy().tobytes())
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
    with pytest.raises(OSError, match="no space"):
        Checkpoint(path, {}).write({})
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("odd", ["history", "optimizer"])
def test_numbers_that_a_checkpoint_could_not_read_back_are_refused_when_it_is_written(tmp_path, odd):
    class Numpy(Hooks):
        identity = "numpy"

        def after_epoch(self, run):
            row = run.history[-1] if odd == "history" else run.optimizer.param_groups[0]
            row["lr"] = np.float64(0.1)

    with pytest.raises(TypeError, match=rf"{odd}.*\.item\(\)"):
        fit(mlp, points(), SMALL, hooks=[Numpy()], checkpoint=tmp_path / "run.pt")


def test_hooks_whose_state_no_file_can_hold_are_named(tmp_path):
    class Odd(Momentum):
        def state_dict(self):
            return {"model": mlp()}

    with pytest.raises(TypeError, match="Odd.state_dict"):
        fit(mlp, points(), SMALL, hooks=[Odd()], checkpoint=tmp_path / "run.pt")


# When it is written


def test_checkpoints_are_written_by_time_and_at_the_end(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert checkpoint.SECONDS == 60
    written, write = [], Checkpoint.write
    monkeypatch.setattr(Checkpoint, "write", lambda self, state: written.append(state["run"]) or write(self, state))
    now = iter(range(0, 10_000, 25))  # seconds: each look at the clock is 25 later than the last
    monkeypatch.setattr(checkpoint, "time", type("clock", (), {"monotonic": lambda: next(now)}))
    fit(mlp, points(), replace(SMALL, epochs=7), checkpoint=tmp_path / "run.pt")
    assert [(state["epoch"], state["ended"]) for state in written] == [(3, False), (6, False), (7, True)]


def test_a_training_may_be_saved_more_often(tmp_path, monkeypatch):
    monkeypatch.undo()
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(mlp, points(), SMALL, hooks=[Dies(3)], checkpoint=path)
    assert not path.exists()
    with pytest.raises(KeyboardInterrupt):
        fit(mlp, points(), SMALL, hooks=[Dies(3)], checkpoint=path, save_every=0)
    assert path.exists()


# What else must go on


class Swap(Hooks):
    """Adam for two epochs, then SGD with momentum on some of the weights, at a rate of its own."""

    identity = "swap"

    def after_epoch(self, run):
        if run.epoch == 2:
            some = [p for name, p in run.model.named_parameters() if "bias" not in name]
            run.optimizer = torch.optim.SGD(some, lr=0.05, momentum=0.9)


@pytest.mark.parametrize("killed", [2, 3, 4])
def test_hooks_that_swap_the_optimizer_resume_bit_for_bit(tmp_path, killed):
    recipe, path = replace(SMALL, epochs=5, schedule=Steps((3,))), tmp_path / "run.pt"
    whole = fit(mlp, points(), recipe, hooks=[Swap(), Dies(0)])
    with pytest.raises(KeyboardInterrupt):
        fit(mlp, points(), recipe, hooks=[Swap(), Dies(killed)], checkpoint=path)
    resumed = fit(mlp, points(), recipe, hooks=[Swap(), Dies(0)], checkpoint=path)
    assert same(whole, resumed)
    assert [row["lr"] for row in resumed.history] == pytest.approx([0.01, 0.01, 0.05, 0.005, 0.005])


def test_an_optimizer_that_a_checkpoint_cannot_make_anew_is_named(tmp_path):
    class Own(torch.optim.SGD):
        pass

    class Foreign(Hooks):
        identity = "foreign"

        def after_epoch(self, run):
            if run.epoch == 2:
                raise KeyboardInterrupt
            run.optimizer = Own(run.model.parameters(), lr=0.1)

    with pytest.raises(KeyboardInterrupt):
        fit(mlp, points(), SMALL, hooks=[Foreign()], checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="Own.*in place of Adam"):
        fit(mlp, points(), SMALL, hooks=[Foreign()], checkpoint=tmp_path / "run.pt")


class Noted(Hooks):
    """Writes into the history, and at the end into the model."""

    identity = "noted"

    def __init__(self, dies=False):
        self.dies = dies

    def after_epoch(self, run):
        run.history[-1] |= {"note": run.epoch / 3, "parts": [run.step, "steps"]}

    def end(self, run):
        if self.dies:
            raise KeyboardInterrupt
        with torch.no_grad():
            run.model[0].weight += torch.rand((), generator=run.generator)


def test_the_end_comes_once_and_what_hooks_wrote_into_the_history_survives(tmp_path):
    path = tmp_path / "run.pt"
    whole = fit(mlp, points(), SMALL, hooks=[Noted()])
    assert whole.history[1]["note"] == 2 / 3
    with pytest.raises(KeyboardInterrupt):
        fit(mlp, points(), SMALL, hooks=[Noted(dies=True)], checkpoint=path)
    for _ in range(2):
        resumed = fit(mlp, points(), SMALL, hooks=[Noted()], checkpoint=path)
        assert same(resumed, whole)
        assert resumed.history == whole.history


def test_a_run_goes_on_with_the_number_of_threads_that_it_began_with(tmp_path, monkeypatch):
    class Watch(Hooks):
        observes = True

        def after_epoch(self, run):
            seen.append(torch.get_num_threads())

    seen, before, path = [], torch.get_num_threads(), tmp_path / "run.pt"
    try:
        torch.set_num_threads(2)
        with pytest.raises(KeyboardInterrupt):
            fit(mlp, points(), SMALL, hooks=[Dies(2), Watch()], checkpoint=path)
        torch.set_num_threads(1)
        fit(mlp, points(), SMALL, hooks=[Dies(0), Watch()], checkpoint=path)
        assert seen == [2, 2, 2]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class Counter(Hooks):
    """An observer that must have seen certain epochs."""

    observes = True

    def __init__(self, *epochs):
        self.epochs, self.seen = epochs, []

    def after_epoch(self, run):
        self.seen.append(run.epoch)

    def state_dict(self):
        return {"seen": self.seen, "epochs": list(self.epochs)}

    def load_state_dict(self, state):
        if any(epoch not in state["epochs"] for epoch in self.epochs if epoch <= len(state["seen"])):
            raise Missed
        self.seen = state["seen"]


@pytest.mark.parametrize("joint", [True, False])
def test_other_observers_do_not_make_another_run_but_what_they_lack_is_trained_again(tmp_path, joint):
    def train(*hooks):
        everyone = {"hooks": lambda k: [*(hooks if k == 0 else ())], "checkpoint": tmp_path / "run.pt", "joint": joint}
        return fit_many(mlp, points(), SMALL, seeds=[1, 2], **everyone)

    whole = train(Counter(3))
    same_run, fewer = Counter(3), Counter()
    for observers in ([same_run], [fewer], []):
        assert all(map(same, whole, train(*observers)))
    assert same_run.seen == fewer.seen == [1, 2, 3]
    first, more = Counter(3), Counter(2, 3)
    with pytest.warns(UserWarning, match="training starts again"):
        assert all(map(same, whole, train(first, more)))
    assert first.seen == more.seen == [1, 2, 3], "both saw each epoch once"


# Several models


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("killed", [1, 2, 3])
def test_members_resume_bit_for_bit_in_the_way_in_which_they_began(tmp_path, begun, killed):
    class Cut(Counter):
        def __init__(self, k, dies):
            super().__init__()
            self.k, self.dies = k, dies

        def after_epoch(self, run):
            super().after_epoch(run)
            if (self.k, run.epoch) == self.dies:
                raise KeyboardInterrupt

    def train(dies=None, **options):
        observers = [Cut(k, dies) for k in range(3)]
        recipe = replace(SMALL, schedule=Steps((2,)))
        members = fit_many(
            mlp, points(), recipe, seeds=[5, 6, 7], indices=bags, hooks=lambda k: [observers[k]], **options
        )
        return members, observers

    bags, path = [torch.arange(40), torch.arange(40) // 2, torch.arange(10, 50)], tmp_path / "run.pt"
    whole, _ = train(joint=begun)
    with pytest.raises(KeyboardInterrupt):
        train((1, killed), joint=begun, checkpoint=path)
    for other in (None, not begun):
        resumed, observers = train(joint=other, checkpoint=path)
        assert all(map(same, whole, resumed))
        assert [member.history for member in whole] == [member.history for member in resumed]
        assert [one.seen for one in observers] == [[1, 2, 3]] * 3
    if not begun or killed > 1:
        other = train(joint=not begun)[0]
        assert not all(map(same, whole, other)), "else this test shows nothing"


def test_members_that_train_by_themselves_all_take_the_first_one_s_number_of_threads(tmp_path):
    class Watch(Hooks):
        observes = True

        def after_epoch(self, run):
            seen.append(torch.get_num_threads())
            if len(seen) == 4:
                raise KeyboardInterrupt

    seen, before, path = [], torch.get_num_threads(), tmp_path / "run.pt"
    options = {"seeds": [1, 2], "hooks": lambda k: [Watch()], "joint": False, "checkpoint": path}
    try:
        torch.set_num_threads(2)
        with pytest.raises(KeyboardInterrupt):
            fit_many(mlp, points(), replace(SMALL, epochs=3), **options)
        torch.set_num_threads(1)
        fit_many(mlp, points(), replace(SMALL, epochs=3), **options)
        assert seen == [2] * 7
    finally:
        torch.set_num_threads(before)


def test_a_checkpoint_of_one_model_is_not_taken_for_one_of_several(tmp_path):
    fit(mlp, points(), SMALL, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="another run"):
        fit_many(mlp, points(), SMALL, seeds=[0, 1], checkpoint=tmp_path / "run.pt")


# Kills


CONTEXT = multiprocessing.get_context("forkserver")
# All tests share one server, so those of `test_kills` are served, too; torch's optimizers import the last one.
CONTEXT.set_forkserver_preload(
    ["pytest", "store_cases", "mialab.engine.run", "training_cases", "mialab.training", "torch._dynamo"]
)


class Log(Hooks):
    """Writes into a file which epoch begins."""

    def __init__(self, path, member=0):
        self.path, self.member, self.identity = path, member, "log"

    def after_epoch(self, run):
        with self.path.open("a") as file:
            file.write(f"{self.member} {run.epoch}\n")


class Look(Log):
    observes = True


def trained(kind, folder, log):
    path = folder / "run.pt"
    if kind == "one":
        return [fit(dropout_mlp, points(), SMALL, hooks=[Momentum(), Swap(), Log(log)], checkpoint=path, save_every=0)]
    options = {"seeds": [1, 2], "hooks": lambda k: [Look(log, k)], "joint": kind == "joint"}
    return fit_many(mlp, points(), SMALL, **options, checkpoint=path, save_every=0)


def trained_until_killed(kind, folder, log, operation):
    count = 0

    def watch(event, arguments):
        nonlocal count
        touched = event.partition(".")[0] in ("open", "os") and any(str(a).startswith(str(folder)) for a in arguments)
        count += touched
        if touched and count == operation:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    torch.set_num_threads(1)
    trained(kind, folder, log)


@pytest.mark.parametrize("kind", ["one", "joint", "one by one"])
def test_a_kill_at_any_operation_on_files_changes_nothing_and_costs_one_epoch_at_most(tmp_path, kind):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = trained(kind, tmp_path / "calm", tmp_path / "log")
    operation, exitcode = 0, None
    while exitcode != 0:
        operation += 1
        folder, log = tmp_path / str(operation), tmp_path / f"log{operation}"
        process = CONTEXT.Process(target=trained_until_killed, args=(kind, folder, log, operation))
        process.start()
        process.join()
        exitcode = process.exitcode
        assert exitcode in (0, -signal.SIGKILL)
        resumed = trained(kind, folder, log)
        assert all(map(same, whole, resumed))
        assert [one.history for one in whole] == [one.history for one in resumed]
        again = [count - 1 for count in Counts(log.read_text().splitlines()).values()]
        assert sum(again) <= (len(whole) if kind == "joint" else 1)
    torch.set_num_threads(before)
    assert operation > 10
