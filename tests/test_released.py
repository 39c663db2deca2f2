"""Networks that others have published: found, checked, made ours, and audited."""

import os
import shutil
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import released_cases
import torch
from experiment_cases import made
from released_cases import NAME, planted, published, save, theirs
from torch import nn

from mialab import fusion, models
from mialab.cells.attacked import Attacked
from mialab.cells.released import Released
from mialab.cells.shadows import Shadows
from mialab.data import download
from mialab.data.download import DataError
from mialab.engine.store import Cell, Store
from mialab.experiments.basics import TEXTURES
from mialab.models import released
from mialab.splits import Arrangement

AUTHORS = "resnet20-cifar10"
GAP = ("gap", "confidence")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder, the planted set, and no network."""

    def refuse(*arguments, **options):
        raise URLError("no network")

    monkeypatch.setenv("MIALAB_DATA", str(tmp_path))
    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setitem(released.PUBLISHED, NAME, published())
    return tmp_path


class Block(nn.Module):
    """A basic block as the training code of the released networks has it."""

    def __init__(self, entering, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(entering, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if entering != width:
            self.downsample = nn.Sequential(nn.Conv2d(entering, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        found = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (found + (x if self.downsample is None else self.downsample(x))).relu()


class TheirResNet20(nn.Module):
    """The layers in the order in which that code declares them."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        return self.fc(x.mean(dim=(2, 3)))


def test_our_network_with_their_entries_in_order_answers_as_theirs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TheirResNet20()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):  # all differ, so that two of them exchanged would show
                for values in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                    values.uniform_(0.5, 1.5)
        x = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    state = OrderedDict((f"module.{name}", value) for name, value in net.state_dict().items())
    own = released.get(AUTHORS)
    found = released.ours(own, state, "here")
    assert list(found) == list(models.build("resnet20", (3, 32, 32), 10).state_dict()) and len(state) == 128
    with torch.no_grad():
        expected = net.eval()((x / 255 - 0.5) / 0.5)
        torch.testing.assert_close(released.network(own, found)(x), expected, rtol=1e-4, atol=1e-4)


def test_the_ten_are_named_by_distinct_checksums_and_addresses():
    own = released.get(AUTHORS)
    digests = [value for file in own.files for value in (file.sha256, file.content)]
    assert len(set(digests)) == 20 and all(len(value) == 64 for value in digests)
    assert own.address.format(3).endswith("/resnet20/checkpoint_3_25.pth.tar") and own.name.format(
        3
    ) in own.address.format(3)


def test_a_checkpoint_is_known_by_its_content_with_or_without_the_optimizer_s_state(folder):
    _, bare = save(folder, theirs(0), accuracy=61.5)
    first = released.checkpoint(NAME, 0)
    assert (first.epoch, first.accuracy) == (7, 0.615)
    _, full = save(folder, theirs(0), accuracy=61.5, optimizer={"state": {0: {"momentum": torch.zeros(3)}}})
    assert bare != full
    second = released.checkpoint(NAME, 0)
    for name, value in first.state.items():
        torch.testing.assert_close(second.state[name], value, rtol=0, atol=0)


def test_a_missing_file_is_downloaded_once_and_checked_on_its_way(folder, monkeypatch):
    path, digest = save(folder, theirs(0))
    shutil.move(path, folder / "origin")
    asked = []

    class Answer:
        headers: dict = {}

        def __init__(self, request, timeout):
            asked.append(request.full_url)
            self.file = open(folder / "origin", "rb")  # noqa: SIM115 - closed at the block's end

        def read(self, size):
            return self.file.read(size)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

    monkeypatch.setattr(download.urllib.request, "urlopen", Answer)
    with pytest.raises(DataError, match=f"wrong checksum .sha256 {digest}, expected 0000"):
        released.checkpoint(NAME, 0)
    assert not path.exists()
    monkeypatch.setitem(released.PUBLISHED, NAME, with_file(0, sha256=digest))
    for _ in range(2):
        assert released.checkpoint(NAME, 0).epoch == 7
    assert asked == ["https://example.org/planted/model_0.pt"] * 2 and path.exists()


def with_file(number, **changes):
    files = list(published().files)
    files[number] = replace(files[number], **changes)
    return published(files=tuple(files))


def test_without_file_and_network_the_error_says_what_to_put_where(folder):
    with pytest.raises(DataError) as error:
        released.checkpoint(NAME, 1)
    message = str(error.value)
    assert message.startswith(f"{folder}/planted/model_1.pt is missing") and "\n" not in message
    assert "https://example.org/planted/model_1.pt" in message and "by hand" in message and "MIALAB_DATA" in message


def test_one_changed_weight_or_another_model_s_file_is_refused(folder):
    state = theirs(0)
    next(iter(state.values())).view(-1)[0] += 1e-6
    save(folder, state)
    with pytest.raises(DataError, match="holds other weights than the model 0 that was released .* move it away"):
        released.checkpoint(NAME, 0)
    save(folder, theirs(1))
    with pytest.raises(DataError, match="other weights than the model 0"):
        released.checkpoint(NAME, 0)
    save(folder, theirs(0), epoch=8)
    with pytest.raises(DataError, match="is of epoch 8, not 7"):
        released.checkpoint(NAME, 0)


CLASSES_AND_ONE = released_cases.CLASSES + 1


def test_weights_of_another_architecture_are_refused_by_name(folder, monkeypatch):
    fewer = OrderedDict(list(theirs(0).items())[:-1])
    wider = theirs(0)
    last = list(wider)[-1]
    wider[last] = torch.zeros(CLASSES_AND_ONE)
    for state, match in ((fewer, "entries, not"), (wider, f"{last} of .{CLASSES_AND_ONE}., not")):
        save(folder, state)
        monkeypatch.setitem(released.PUBLISHED, NAME, with_file(0, content=released.content(state)))
        with pytest.raises(DataError, match=f"does not fit small_cnn .*{match}.*take the architecture and the file"):
            released.checkpoint(NAME, 0)


class Runs:
    """Code that would run if the file were unpickled blindly."""

    def __reduce__(self):
        return pytest.fail, ("code from the file was run",)


@pytest.mark.parametrize("what", ["code", "cut off", "other", "text"])
def test_what_is_no_checkpoint_is_refused_and_nothing_in_it_runs(folder, what):
    path, _ = save(folder, theirs(0), **({"optimizer": Runs()} if what == "code" else {}))
    if what == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
    if what == "other":
        torch.save({"weights": 1}, path)
    if what == "text":
        path.write_text("404: Not Found")
    with pytest.raises(DataError) as error:
        released.checkpoint(NAME, 0)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "move it away and load again" in message and "\n" not in message


def test_unknown_sets_and_numbers_are_refused_with_what_there_is(folder):
    with pytest.raises(ValueError, match="did you mean resnet20-cifar10"):
        released.checkpoint("resnet20-cifar", 0)
    with pytest.raises(ValueError, match="planted has models 0 to 1, not 2"):
        released.checkpoint(NAME, 2)


def test_an_accuracy_that_is_not_the_file_s_is_refused_and_rounding_is_not():
    released.check_accuracy(AUTHORS, 0, measured=0.8384, carried=0.8384)
    released.check_accuracy(AUTHORS, 0, measured=0.8381, carried=0.8384)
    with pytest.raises(
        DataError, match=r"model 3 .* answers 72.48 % .* its file says 83.84 % .*or their scaling"
    ) as error:
        released.check_accuracy(AUTHORS, 3, measured=0.7248, carried=0.8384)
    assert "\n" not in str(error.value)


# cells


def kept(config):
    """The cell as a store would hand it on."""
    cell = made(config)
    return Cell({**cell.info, "made_with": {"device": "none"}}, cell.arrays)


def test_a_cell_answers_for_its_models_on_the_official_parts_and_says_how_often_they_are_right():
    with planted():
        config = Released(NAME, count=2, samples=(30, 20))
        cell, seen = made(config), config.seen()
    assert cell.arrays["logits_7"].shape == (2, 50, released_cases.CLASSES)
    assert cell.arrays["member"].tolist() == [True] * 30 + [False] * 20
    train = seen.dataset.train
    np.testing.assert_array_equal(seen.row_ids, [*range(30), *range(train, train + 20)])
    np.testing.assert_array_equal(cell.arrays["labels"], seen.dataset.y[seen.row_ids])
    for logits, (row,) in zip(cell.arrays["logits_7"], cell.info["history"], strict=True):
        right = logits.argmax(axis=1) == cell.arrays["labels"]
        assert row["train_accuracy"] == right[:30].mean() and row["test_accuracy"] == right[30:].mean()
        assert (row["epoch"], row["learning_rate"], row["carried_accuracy"]) == (7, None, 0.5)


def test_all_samples_must_give_the_accuracy_that_the_file_carries(monkeypatch):
    given: dict = {}
    with planted():
        monkeypatch.setattr(released, "check_accuracy", lambda *where, **accuracies: given.update(accuracies))
        made(Released(NAME, samples=(30, 20)))
        assert not given, "of a part it says nothing"
        cell = made(Released(NAME))
    assert given == {"measured": cell.info["history"][0][0]["test_accuracy"], "carried": 0.5}


def test_a_cell_is_named_by_the_content_of_all_files(monkeypatch):
    name = Store(Path()).name
    with planted():
        before = Released(NAME)
        assert before.published.startswith(f"{NAME}@") and before.cells(2)[1] == Released(NAME, first=1)
        monkeypatch.setitem(released.PUBLISHED, NAME, with_file(1, content="f" * 64))
        assert name(Released(NAME)) != name(before)


def test_models_and_samples_that_there_are_not_are_refused():
    with planted():
        for wrong in ({"first": 2}, {"count": 3}, {"first": 1, "count": 2}, {"count": 0}, {"first": -1}):
            with pytest.raises(ValueError, match="planted has models 0 to 1"):
                Released(NAME, **wrong)
        for samples in ((0, 5), (5, 0), (10**6, 5), (5, 10**6)):
            with pytest.raises(ValueError, match="samples are 1 or more of each side, at most"):
                Released(NAME, samples=samples)
    with pytest.raises(ValueError, match="unknown set of released models"):
        Released("resnet56")


def test_audits_of_released_models_have_one_repetition_no_learning_rate_and_no_shadows():
    with planted():
        target = Released(NAME, samples=(200, 200))
        audit = Attacked(target, 7, models=2, size=2, attacks=GAP)
        both = [kept(config) for config in target.cells(2)]
        row = made(audit, both).info["rows"][0]
        assert (row["seed"], row["learning_rate"], row["published"], row["models"]) == (0, None, NAME, 2)
        fused = fusion.answer(np.concatenate([cell.arrays["logits_7"] for cell in both]))
        right = (fused == both[0].arrays["labels"])[200:].mean()
        assert row["test_accuracy"] == pytest.approx(right)
        shadow = Shadows(replace(TEXTURES.pipeline, arrangement=Arrangement("carlini")), (24,), models=2)
        with pytest.raises(ValueError, match="no shadow can be trained as these models were"):
            replace(audit, shadow=shadow, shadows=2)


def test_a_choice_tells_random_ensembles_from_the_first_models_and_how_far_they_differ():
    with planted():
        target = Released(NAME, samples=(200, 200))
        inputs = [kept(config) for config in target.cells(2)]
        single = Attacked(target, 7, models=2, attacks=GAP, known=0.5)
        audits = {
            "random": replace(single, subsets=2, choice="random"),
            "first": replace(single, choice="first"),
            "all": replace(single, size=2, choice="random"),
        }
        cells_of = {name: made(config, inputs) for name, config in audits.items()}
        alone = made(single, inputs).info
    assert cells_of["first"].info["subsets"] == [[0]] and cells_of["random"].info["subsets"] in ([[0], [1]], [[1], [0]])
    for name, found in cells_of.items():
        rows = found.info["rows"]
        assert {row["choice"] for row in rows} == {name} and audits[name].columns().items() <= rows[0].items()
        assert {row["ensembles"] for row in rows} == {2 if name == "random" else 1}
        assert all((row["auc_deviation"] is None) == (name != "random") for row in rows)
    assert "choice" not in alone["rows"][0]
    first, mean = (cells_of[name].info["rows"][1]["auc"] for name in ("first", "random"))
    # Of two, the deviation is the distance of one from their mean times the root of two.
    assert cells_of["random"].info["rows"][1]["auc_deviation"] == pytest.approx(abs(first - mean) * 2**0.5)
    for wrong in ({"choice": "last"}, {"choice": "first", "subsets": 2}):
        with pytest.raises(ValueError, match="choice is None, 'random', or 'first' with one subset"):
            replace(single, **wrong)


def test_a_released_network_has_learnt_its_members_by_heart_and_most_of_the_test_images():
    root = os.environ.get("MIALAB_DATA")
    if not root or not (Path(root) / "released-resnet20" / "checkpoint_0_25.pth.tar").exists():
        pytest.skip("MIALAB_DATA is not set or lacks released-resnet20")
    if not (Path(root) / "cifar-10-batches-py").exists():
        pytest.skip("MIALAB_DATA lacks CIFAR-10")
    config = Released(AUTHORS, samples=(500, 500))
    cell = kept(config)
    ((row,),) = cell.info["history"]
    assert row["carried_accuracy"] == 0.8384
    # 500 of the 10,000 images: four standard deviations of a share are 0.066. Wrongly scaled images fall below that.
    assert abs(row["test_accuracy"] - 0.8384) < 0.066 and row["train_accuracy"] > 0.98
    (found,) = made(Attacked(config, 25, attacks=("gap",), known=0.5), [cell]).info["rows"]
    assert found["auc"] > 0.5
