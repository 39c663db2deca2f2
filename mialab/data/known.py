"""What is known of each data set without loading it: its size, and where its files lie."""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from mialab.data.download import root_folder
from mialab.data.embedded import GENERATORS
from mialab.names import unknown


@dataclass(frozen=True)
class Known:
    """A data set's size: the shape of a sample, classes, rows in all, rows of the official training set (or None).

    `files` are what a load reads first, under the folder of all data sets: any one of them will do; () for the
    embedded ones; `by_hand`: no load downloads them. `y` stands in for the labels, all of one class, so that splits can
    be sized.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    rows: int
    train: int | None = None
    files: tuple[str, ...] = ()
    by_hand: bool = False

    @property
    def y(self) -> Tensor:
        return torch.zeros(self.rows, dtype=torch.int64)


_ALL = (
    *(Known(g.name, g.shape, g.classes, sum(g.sizes), g.sizes[0]) for g in GENERATORS.values()),
    Known("digits", (1, 8, 8), 10, 1797),
    Known("mnist", (1, 28, 28), 10, 70_000, 60_000, ("MNIST/raw",)),
    Known("fashion-mnist", (1, 28, 28), 10, 70_000, 60_000, ("FashionMNIST/raw",)),
    Known("cifar10", (3, 32, 32), 10, 60_000, 50_000, ("cifar-10-batches-py", "cifar-10-python.tar.gz")),
    Known("cifar100", (3, 32, 32), 100, 60_000, 50_000, ("cifar-100-python", "cifar-100-python.tar.gz")),
    Known("svhn", (3, 32, 32), 10, 99_289, 73_257, ("train_32x32.mat",)),
    Known("adult", (108,), 2, 48_842, 32_561, ("adult/adult.data",)),
    Known("purchase100", (600,), 100, 197_324, None, ("purchase100/dataset_purchase.tgz",)),
    Known("texas100", (6169,), 100, 67_330, None, ("texas100/dataset_texas.tgz",)),
    Known("location30", (446,), 30, 5010, None, ("location30/dataset_location.tgz",)),
    Known("tiny-imagenet-10", (3, 64, 64), 10, 5500, 5000, ("tiny-imagenet-10/train",), by_hand=True),
    Known("imagenet", (3, 224, 224), 1000, 1_331_167, 1_281_167, ("imagenet/train",), by_hand=True),
)
_BY_NAME = {known.name: known for known in _ALL}


def known(name: str, *, samples: tuple[int, int] | None = None) -> Known:
    """The size of the data set that `load(name, samples=samples)` gives, without loading it.

    Purchase-100 and Texas-100 publish no checksum, so that theirs is the size that their papers state. Raises
    ValueError for an unknown name, with close ones.
    """
    if name not in _BY_NAME:
        raise ValueError(unknown("data set", name, _BY_NAME))
    size = _BY_NAME[name]
    return size if samples is None else replace(size, rows=sum(samples), train=samples[0])


def place(name: str, root: str | PathLike | None = None) -> Path | None:
    """Where the files of a data set lie, or None where none do; they are checked only when they are loaded."""
    places = (root_folder(root) / file for file in known(name).files)
    return next((place for place in places if place.exists()), None)
