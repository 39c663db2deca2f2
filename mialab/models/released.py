"""Trained networks that others have published with their training data named: downloaded, checked, and made ours.

`PUBLISHED` names the sets. "resnet20-cifar10" is what the ensemble paper's authors released: ten ResNet-20 after epoch
25 on CIFAR-10's 50,000 training images, which are thus the members; the test images are the non-members. Their
repository states no licence, so that the files are fetched from it and never passed on.

A checkpoint is known by its content: the SHA-256 over each entry's name and bytes in their order. So a copy without the
optimizer's state is as good as the original.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mialab import models
from mialab.data import known
from mialab.data.download import DataError, damaged, fetch, present, root_folder
from mialab.names import unknown
from mialab.seeds import forked

TOLERANCE = 0.0005  # of a test accuracy: five of 10,000 images, as other kernels round otherwise


@dataclass(frozen=True)
class File:
    """One model's checkpoint: SHA-256 of the file as published, and of its content."""

    sha256: str
    content: str


@dataclass(frozen=True)
class Published:
    """A set of trained models: data set, architecture, epoch, the scaling of their input, and their files.

    address and name: of a file, with the model's number in braces. mean, std: per channel of images in [0, 1].
    """

    data: str
    model: str
    epoch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    folder: str
    name: str
    address: str
    files: tuple[File, ...]

    @property
    def checksum(self) -> str:
        """The first digits of a SHA-256 over all contents: what a cell's name holds of them."""
        return hashlib.sha256("".join(file.content for file in self.files).encode()).hexdigest()[:8]


class Checkpoint(NamedTuple):
    """What a file holds: weights under the names of `models.build`, epoch, and test accuracy, a share."""

    state: dict[str, Tensor]
    epoch: int
    accuracy: float


_COMMIT = "8f05e959a6d0d59da2adb95ac8ad58e385832ef2"
_TEN = (
    (
        "f40b4275a51ca4e8e10b6eef58e061ca0b914073878221c52a9b0f2be8e00a22",
        "5f4655edc2441f427cdae86ff4dc61a4c93e876a69d64807d465b467934afbfd",
    ),
    (
        "16d56b1dcccb298abecc285a82afc7138544230a87534694f16ce3437ccb7475",
        "652ed2ed694760f58e3391ed228704fd90dacc7563ace563e8197a1784d8b46b",
    ),
    (
        "842be257b5229db07dce27d57e09b985c4ed5b30062d06be028392d2df636cac",
        "edc6b92743f54d3e745271b5d9ac5d15024b9cc102e678374f8109c6c98eb535",
    ),
    (
        "b08bafe5d3a0c1a47682b363c4071232d11e0cc2bdeba02e93ae220829bce015",
        "6aa2bca3af849651d3f2b5a2f780b560fd20e2c1a7861491ee897567f5265f07",
    ),
    (
        "52fe1909aa697eed41e65ac7f5c0acefd6859ce70f65885fd1ba77ed7106e3ee",
        "92f47d8237f91dabeb6a3a5a742cd51b1595ae23e35310f0d8a74d491a14120f",
    ),
    (
        "2b1595e8adf95440fa2a37658c0d007aa9a83daf3f3816c6de0ff9e3efcf4653",
        "129318deebc7d05b950fc4a7da118001ce8f7eedbffafa7dc9a1eeb30c99042a",
    ),
    (
        "c602623025fe445ad6db6de65f2eb24e76e05058eb3e65aa0371007296b55a5f",
        "49139c810a59939aac8086c9f6f4a5f53fa047ffd20f82c0ec2e71165f054021",
    ),
    (
        "30de45aa3ec946d473630b837b25917498f77cda3a3d26556344b8a4a15a22b9",
        "d3602b2bb38a85ce3fa25efe2943682b0e2a9523b0297aa94f70de14c50ea1d8",
    ),
    (
        "a3f29a13357d1dbc6fb69a6bb242a67eb3890b56c98122a78e68f2662a82a518",
        "5c5421fbf4256174a197f09d0aedce56b38645c7076afddaf739d90ee8529769",
    ),
    (
        "888e8d1a043af4c1bbd6c359a2e5669f073d7230d6af774788a50e71de34f6a3",
        "824cd5ffe28a4c916374de2a2330fd048be97294ade8a14ea2199a9c3e655125",
    ),
)
PUBLISHED = {
    "resnet20-cifar10": Published(
        data="cifar10",
        model="resnet20",
        epoch=25,
        mean=(0.5, 0.5, 0.5),  # the scaling of their released script; the accuracies that the files carry confirm it
        std=(0.5, 0.5, 0.5),
        folder="released-resnet20",
        name="checkpoint_{}_25.pth.tar",
        address=f"https://raw.githubusercontent.com/shrezaei/MI-on-EL/{_COMMIT}/models/resnet20/checkpoint_{{}}_25.pth.tar",
        files=tuple(File(*pair) for pair in _TEN),
    )
}


def get(name: str) -> Published:
    """The set of that name; ValueError with close names where there is none."""
    if name not in PUBLISHED:
        raise ValueError(unknown("set of released models", name, PUBLISHED))
    return PUBLISHED[name]


def checkpoint(name: str, number: int, *, download: bool = True) -> Checkpoint:
    """Model `number` of the set, from 0 on, checked; its file is downloaded into the data folder first if missing.

    Raises ValueError for an unknown set or number, and DataError for a file that is missing, altered, or of another
    network.
    """
    published = get(name)
    if not 0 <= number < len(published.files):
        raise ValueError(f"{name} has models 0 to {len(published.files) - 1}, not {number}")
    file, path = published.files[number], root_folder() / published.folder / published.name.format(number)
    if not present(path):
        fetch(path, [published.address.format(number)], checksum=f"sha256:{file.sha256}", download=download)
    held = _read(path)
    found = content(held["state_dict"])
    if found != file.content:
        cause = f"holds other weights than the model {number} that was released (sha256 of its content {found}"
        raise damaged(path, f"{cause}, expected {file.content})")
    if held["epoch"] != published.epoch:
        raise damaged(path, f"is of epoch {held['epoch']}, not {published.epoch}")
    return Checkpoint(ours(published, held["state_dict"], path), held["epoch"], round(float(held["acc"]) / 100, 6))


def content(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over each entry's name (UTF-8) and then its tensor's bytes (contiguous, little-endian), in order."""
    digest = hashlib.sha256()
    for name, value in state.items():
        array = value.detach().cpu().contiguous().numpy()
        digest.update(name.encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def ours(published: Published, theirs: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Their entries under the names of our network, with the scaling: one to one, in order.

    source: where they come from, for the DataError that is raised where numbers or shapes differ.
    """
    size = known.known(published.data)
    with torch.device("meta"):
        wanted = models.build(published.model, size.shape, size.classes).state_dict()
    names = [name for name in wanted if not name.startswith("scale.")]
    if len(names) != len(theirs):
        raise _misfit(published, source, f"{len(theirs)} entries, not {len(names)}")
    for name, (their, value) in zip(names, theirs.items(), strict=True):
        if value.shape != wanted[name].shape:
            raise _misfit(published, source, f"{their} of {list(value.shape)}, not {list(wanted[name].shape)}")
    scale = {"scale.mean": published.mean, "scale.std": published.std}
    per_channel = (-1, *[1] * (len(size.shape) - 1))
    found = {name: torch.tensor(values).view(per_channel) for name, values in scale.items()}
    return found | dict(zip(names, theirs.values(), strict=True))


def network(published: Published, state: Mapping[str, Tensor]) -> nn.Module:
    """Our network with these weights, in eval mode on the CPU: raw uint8 images in, logits out."""
    size = known.known(published.data)
    with forked(0):  # the weights that are drawn here are replaced
        scale = published.mean, published.std
        model = models.build(published.model, size.shape, size.classes, scale=scale)
    model.load_state_dict(state)
    return model.eval()


def check_accuracy(name: str, number: int, *, measured: float, carried: float) -> None:
    """DataError where a test accuracy, a share, is further than `TOLERANCE` from the one that the file carries."""
    if abs(measured - carried) > TOLERANCE:
        raise DataError(
            f"model {number} of {name} answers {100 * measured:.2f} % of the test images rightly, its file says "
            f"{100 * carried:.2f} % (at most {100 * TOLERANCE:g} points apart are allowed): the images or their "
            "scaling are not those of its training; load the data set anew, and leave mean and std as published"
        )


def _read(path: Path) -> dict[str, Any]:
    """The file's content, by the reader that runs no code from it."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise damaged(path, f"cannot be read as a checkpoint ({str(error).partition(chr(10))[0]})") from error
    lacking = [key for key in ("state_dict", "epoch", "acc") if not (isinstance(held, dict) and key in held)]
    if lacking:
        raise damaged(path, f"is no such checkpoint: it lacks {lacking[0]}")
    return held


def _misfit(published: Published, source: str | Path, cause: str) -> DataError:
    return DataError(
        f"{source} does not fit {published.model} ({cause}): take the architecture and the file that were published "
        f"together, at {published.address.format('K')}"
    )
