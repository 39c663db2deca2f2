"""What the doctor finds, what is known of data without loading it, and what cells are said to cost."""

import os
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from toy_cases import Trained, experiment

from mialab import data, doctor, experiments, training
from mialab.cells import cost
from mialab.cells.cost import Work
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.data.known import known, place
from mialab.defenses.pruning import Budget
from mialab.engine import store
from mialab.engine.run import recorded_seconds
from mialab.engine.store import Store, closure
from mialab.experiments import pruning
from mialab.progress import duration
from mialab.training import Phase

SECONDS_PER_SAMPLE = 1e-6
FILES = [name for name in data.names() if known(name).files]
RECIPE = training.Recipe(epochs=4, batch=100)


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("MIALAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MIALAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(cost, "_seconds_per_sample", lambda *net: SECONDS_PER_SAMPLE)
    monkeypatch.setattr(experiments, "ALL", {})


@pytest.fixture
def empty(tmp_path):
    return Store(tmp_path / "store")


def section(blocks, title):
    [block] = [block for block in map(str.strip, blocks) if block.startswith(title)]
    return [line.strip() for line in block.splitlines()[1:]]


# data


def same_size(name, root=None, samples=None):
    loaded, size = data.load(name, root=root, samples=samples, download=False), known(name, samples=samples)
    return (size.shape, size.classes, size.rows, size.train) == (
        loaded.shape,
        loaded.classes,
        len(loaded),
        loaded.train,
    )


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("textures", None),
        ("textures", (30, 50)),
        ("prototypes", None),
        ("digits", None),
        ("fashion", None),
        ("fashion", (1000, 2500)),
    ],
)
def test_what_is_known_of_embedded_data_is_what_loads(name, samples):
    assert same_size(name, samples=samples)


REAL = os.environ.get("MIALAB_DATA")


@pytest.mark.parametrize("name", FILES)
def test_what_is_known_of_real_data_is_what_loads(name):
    if not REAL or place(name, REAL) is None:
        pytest.skip(f"{name} is not under MIALAB_DATA")
    assert same_size(name, root=REAL)


def test_all_data_sets_are_known_and_others_refused_with_close_names():
    assert all(known(name).name == name for name in data.names())
    with pytest.raises(ValueError, match="unknown data set 'cifar'; did you mean cifar10"):
        known("cifar")


@pytest.mark.parametrize("name", FILES)
def test_files_are_looked_for_where_the_loader_looks(name, tmp_path):
    assert place(name, tmp_path) is None
    with pytest.raises(data.DataError, match=str(tmp_path / known(name).files[0])):
        data.load(name, root=tmp_path, download=False)
    for file in known(name).files:
        (tmp_path / file).mkdir(parents=True)
        assert place(name, tmp_path) is not None


def test_each_data_set_is_embedded_found_or_missing_with_the_way_to_get_it(tmp_path, empty):
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    lines = dict(line.split(maxsplit=1) for line in section(doctor.blocks(empty), "data ("))
    assert list(lines) == list(data.names())
    assert lines["textures"] == lines["digits"] == lines["fashion"] == "embedded"
    assert lines["cifar10"] == f"found at {tmp_path}/data/cifar-10-batches-py"
    assert lines["svhn"].startswith("missing; the first load downloads it, or by hand: http")
    assert lines["svhn"].endswith("train_32x32.mat")
    assert lines["imagenet"].startswith(
        f"missing; put {tmp_path}/data/imagenet/{{train,val}}/<class>/*.JPEG there by hand"
    )
    assert all(lines[name].startswith("missing") for name in FILES if name != "cifar10")


# the store


def test_an_empty_store_is_reported_and_not_made(empty):
    lines = section(doctor.blocks(empty), f"store ({empty.root})")
    assert lines[0] == "0 cells" and lines[1].endswith("GiB free") and len(lines) == 2
    assert not empty.root.exists()


@pytest.mark.filterwarnings("ignore:toytrained")
def test_damaged_and_foreign_things_in_the_store_are_named(empty):
    cells = [Trained("digits", seed) for seed in range(4)]
    for cell in cells:
        empty.get(cell)
    (empty.folder(cells[0]) / "arrays.safetensors").unlink()
    (empty.folder(cells[1]) / "cell.json").write_text("{")
    empty.find(cells[1])
    (empty.root / "notes.txt").touch()
    (empty.root / store.SCRATCH / "models-0123456789abcdef").mkdir()
    (empty.root / store.SCRATCH / "models-0123456789abcdef.draft-01ab23cd").mkdir()
    (empty.root / "models-0123456789abcdef").touch()
    lines = section(doctor.blocks(empty), "store (")
    assert lines[0] == "2 cells (2 toytrained)"
    assert lines[1] == "1 unfinished, which go on from their checkpoints"
    told = "damaged, will be set aside and computed again: "
    assert lines[2:4] == [told + "models-0123456789abcdef", told + empty.name(cells[0])]
    assert lines[4].startswith(f"damaged and set aside, may be removed: damaged-{empty.name(cells[1])}")
    assert lines[5] == "not of the store, left alone: notes.txt"


def test_a_store_that_cannot_be_written_is_told(empty, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert "is not writable: choose another with --store" in section(doctor.blocks(empty), "store (")[1]


def test_on_colab_a_store_outside_the_drive_is_told_to_vanish(empty, tmp_path, monkeypatch):
    assert not any("Colab" in line for line in section(doctor.blocks(empty), "store ("))
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    hint = section(doctor.blocks(empty), "store (")[-1]
    assert "this store is gone when Colab's runtime ends: run `from google.colab import drive;" in hint
    assert hint.endswith("take --store /content/drive/MyDrive/mialab/store")
    assert not any("Colab" in line for line in section(doctor.blocks(Store(store.DRIVE / "cells")), "store ("))
    monkeypatch.setattr(doctor, "DRIVE", tmp_path)
    assert not any("Colab" in line for line in section(doctor.blocks(empty), "store ("))


# device, versions, extras


def test_device_and_versions_are_named(empty):
    text = list(doctor.blocks(empty))
    assert section(text, "device")[-1].startswith(f"CPU with {os.cpu_count()} cores; torch uses ")
    versions = dict(line.split(maxsplit=1) for line in section(text, "versions"))
    assert versions["torch"] == metadata.version("torch") and {"python", "torchvision", "mialab", "code"} <= set(
        versions
    )


def test_gpus_are_named_with_their_memory(empty, monkeypatch):
    @dataclass
    class Gpu:
        name: str = "NVIDIA H100"
        total_memory: int = 80 * 2**30

    monkeypatch.setattr(doctor.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(doctor.torch.cuda, "get_device_properties", lambda _: Gpu())
    assert section(doctor.blocks(empty), "device")[:2] == 2 * ["GPU NVIDIA H100, 80 GiB"]


def test_an_extra_that_lacks_packages_is_told_with_the_command(empty, monkeypatch):
    monkeypatch.setattr(
        metadata, "requires", lambda _: ["numpy>=2", 'numpy>=1; extra == "full"', "nowhere-at-all>=1; extra == 'bare'"]
    )
    lines = section(doctor.blocks(empty), "extras")
    assert [line.split(maxsplit=1) for line in lines] == [
        ["full", "complete"],
        ["bare", "lacks nowhere-at-all: pip install 'mialab[bare]'"],
    ]


# cost


def test_networks_cost_by_samples_epochs_and_how_many_they_are():
    work = Work("tabular", (64,), 10, batch=100, rows=1000, epochs=3, networks=4)
    assert work.seconds == pytest.approx(4 * 3 * 1000 * SECONDS_PER_SAMPLE)


def test_a_cell_s_work_is_that_of_its_configuration_without_loading_data():
    pipeline = Pipeline("textures", "small_cnn", (Phase(RECIPE), Phase(replace(RECIPE, epochs=2))), samples=(300, 500))
    models = Models(pipeline, epochs=(1,), count=2)
    assert models.work() == Work("small_cnn", (3, 12, 12), 10, batch=100, rows=300, epochs=2, networks=2)
    assert models.needs()[0].work().epochs == 4
    cifar = Models(replace(pipeline, data="cifar10", model="alexnet", samples=None), epochs=(1,))
    assert cifar.work().rows == 50_000


def test_an_epoch_is_timed_by_the_very_loop(monkeypatch):
    monkeypatch.undo()
    seen, fit = [], training.fit
    monkeypatch.setattr(training, "fit", lambda build, data, *a, **o: seen.append(data) or fit(build, data, *a, **o))
    monkeypatch.setattr(cost, "_found", {})
    taken = cost._seconds_per_sample("tabular", (64,), 10, 8)
    assert taken > 0 and len(seen) == 1 and seen[0][0].shape == (cost.MOST_STEPS * 8, 64)


@pytest.mark.parametrize("scope", ["layers", "global"])
def test_a_pruned_network_is_timed_though_noise_may_leave_a_layer_none_of_the_largest_weights(scope, monkeypatch):
    monkeypatch.undo()
    pipeline = pruning.SMALL.pruned(0, Budget(0.1, scope=scope))
    assert pipeline.work(1).seconds > 0


@dataclass(frozen=True)
class Slow(training.Defense):
    """Takes its time at each step of the second phase, which goes on from what it left in the first."""

    NAME: ClassVar[str] = "slow"
    VERSION: ClassVar[int] = 1
    seconds: float

    def start(self, parts):
        return Slowly(self.seconds, later=bool(parts.carried))


class Slowly(training.Hooks):
    def __init__(self, seconds, *, later):
        self.seconds, self.later = seconds, later

    def after_step(self, run):
        time.sleep(self.seconds * self.later)

    def state_dict(self):
        return {"seen": 1}

    def load_state_dict(self, state):
        pass


def test_defenses_are_timed_in_the_phase_that_they_slow_down(monkeypatch):
    monkeypatch.undo()
    phase = Phase(RECIPE, (Slow(0.02),))
    pipeline = Pipeline("digits", "tabular", (phase,))
    defended = [replace(pipeline, phases=(phase,) * number).work(1) for number in (1, 2)]
    plain = replace(pipeline, phases=(Phase(RECIPE),) * 2).work(1)
    assert plain.phases == () and [len(work.phases) for work in defended] == [1, 2]
    first, second = (work.seconds / (work.rows * work.epochs) for work in defended)
    assert second - first == pytest.approx(0.02 / RECIPE.batch, rel=0.5), "20 ms a step"


def test_a_shared_training_is_counted_once_and_what_the_store_has_not_at_all(empty):
    toy = experiment()
    cells = toy.grid("smoke")
    assert cost.seconds(cells, store=empty) == 0, "nothing of this kind was ever timed, and no kind here trains"
    empty.get(cells[0])
    kinds = recorded_seconds(empty)
    assert set(kinds) == {"toytrained", "toymeasured"}
    missing = closure(cells, store=empty)
    assert [config.KIND for config in missing].count("toytrained") == 2, "one training is there, its audits share it"
    expected = sum(kinds[config.KIND] for config in missing)
    assert cost.seconds(cells, store=empty) == pytest.approx(expected)
    for cell in cells:
        empty.get(cell)
    (empty.folder(cells[0].target)).rename(empty.root / "elsewhere")
    assert cost.seconds(cells, store=empty) == 0, "what only finished cells need is not missed"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (8.6, "9 s"), (89, "89 s"), (100, "1.7 min"), (3000, "50 min"), (6000, "1.7 h"), (4e5, "4.6 days")],
)
def test_durations_are_told_to_two_digits(seconds, words):
    assert duration(seconds) == words


def test_the_cost_of_each_preset_is_told_whole_and_missing(empty, monkeypatch):
    monkeypatch.setattr(experiments, "ALL", {"toy/table": experiment()})
    monkeypatch.setattr(Trained, "work", lambda _: SimpleNamespace(seconds=10.0), raising=False)
    monkeypatch.setattr(cost, "recorded_seconds", lambda store: {})
    assert section(doctor.blocks(empty), "cost")[-1].split() == ["toy/table", "30", "s", "30", "s", "50", "s"]
    empty.get(experiment().grid("smoke")[0])
    assert section(doctor.blocks(empty), "cost")[-1].split()[1:6] == ["30", "s", "(20", "s", "missing)"]


def test_the_doctor_changes_nothing(tmp_path, empty):
    before = sorted(Path(tmp_path).rglob("*"))
    doctor.blocks(empty)
    assert sorted(Path(tmp_path).rglob("*")) == before
