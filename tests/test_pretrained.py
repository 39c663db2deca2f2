"""Weights that others have trained: found, checked, named, and refused where they would falsify the audit."""

import hashlib
import re
from urllib.error import URLError

import pytest
import torch

from mialab import data, models, splits
from mialab.data import streams
from mialab.models import pretrained

torchvision = pytest.importorskip("torchvision")
START = "torchvision:IMAGENET1K_V1"
OFFICIAL = splits.Arrangement("ensemble_paper", reference=0.3)


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """An empty cache, and no network."""

    def refuse(*arguments, **options):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


def plant(name, state, tmp_path, monkeypatch):
    """A file in torch.hub's cache as torchvision would have published it; returns its path."""
    file = tmp_path / "weights.pth"
    torch.save(state, file)
    prefix = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(pretrained, "_address", lambda *_: f"https://example.org/models/{name}-{prefix}.pth")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True, exist_ok=True)
    return file.rename(tmp_path / "hub" / "checkpoints" / f"{name}-{prefix}.pth")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("old", [False, True])
def test_a_net_with_pretrained_weights_answers_as_torchvisions_own(name, old, tmp_path, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = getattr(torchvision.models, name)().eval()
        state = {key: value for key, value in theirs.state_dict().items() if not (old and "num_batches" in key)}
    plant(name, state, tmp_path, monkeypatch)
    found = pretrained.state_dict(name, START)
    ours = models.build(name, (3, 224, 224), 1000, scale=streams._IMAGENET)
    assert list(found) == list(ours.state_dict())
    ours.load_state_dict(found)
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in streams._IMAGENET)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs((x / 255 - mean) / std))


def test_the_checksum_is_known_without_a_file_and_differs_between_weights():
    assert pretrained.checksum("resnet18", START) == "f37072fd"
    assert pretrained.checksum("mobilenet_v2", START) == "b0353104"
    assert pretrained.checksum("mobilenet_v2", "torchvision:IMAGENET1K_V2") == "7ebf99e0"


def test_without_file_and_network_the_error_says_what_to_put_where(tmp_path):
    with pytest.raises(data.DataError) as error:
        pretrained.state_dict("resnet18", START)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/hub/checkpoints/resnet18-f37072fd.pth is missing")
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in message and "by hand" in message
    assert "\n" not in message and "no network" in message


def test_an_altered_file_is_refused_before_it_is_unpickled(tmp_path, monkeypatch):
    path = plant("resnet18", torchvision.models.resnet18().state_dict(), tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was unpickled"))
    with pytest.raises(data.DataError, match=r"truncated or altered .*remove it, then put the file of https://example"):
        pretrained.state_dict("resnet18", START)


def test_weights_of_another_net_are_refused(tmp_path, monkeypatch):
    plant("resnet18", torchvision.models.resnet18(num_classes=10).state_dict(), tmp_path, monkeypatch)
    with pytest.raises(data.DataError, match="does not fit resnet18 .first: net.fc.bias"):
        pretrained.state_dict("resnet18", START)


@pytest.mark.parametrize(
    ("name", "start", "match"),
    [
        ("vgg16", START, "no pretrained weights fit vgg16: choose resnet18 or mobilenet_v2"),
        ("resnet18", "torchvision:IMAGENET1K", "did you mean torchvision:IMAGENET1K_V1"),
        ("resnet18", "timm:resnet18", "unknown start 'timm:resnet18'"),
    ],
)
def test_weights_that_are_not_published_are_refused_with_a_remedy(name, start, match):
    with pytest.raises(ValueError, match=match):
        pretrained.checksum(name, start)


def test_pretrained_weights_are_for_imagenets_official_members_alone():
    assert pretrained.refusal("imagenet", START, arrangement=OFFICIAL) is None
    assert pretrained.refusal("imagenet", START, arrangement=OFFICIAL, norm="batch") is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"data": "tiny-imagenet-10"}, "has seen all of tiny-imagenet-10, members or not"),
        ({"data": "cifar10"}, "1000 classes, which cifar10 lacks"),
        ({"arrangement": splits.PRUNING}, "whole official training set.*'ensemble_paper', not 'pooled'"),
        ({"norm": "group"}, "batch norm, not norm='group'"),
        ({"shadows": True}, "has seen all samples that shadows must not know"),
    ],
)
def test_what_pretrained_weights_would_falsify_is_refused_with_the_reason(changed, reason):
    asked = {"data": "imagenet", "start": START, "arrangement": OFFICIAL} | changed
    found = pretrained.refusal(**asked)
    assert re.search(reason, found) and "\n" not in found and "start=None" in found
    assert pretrained.refusal(**asked | {"start": None}) is None
