"""Data sets as tensors in memory or image folders (`load`, `folder`), known distributions (`distribution`).

Downloads go to the folder $MIALAB_DATA, by default ${XDG_CACHE_HOME:-~/.cache}/mialab-data, in the layout that
torchvision or the distributor leaves. Every load checks, before it uses a file:

- CIFAR-10, CIFAR-100, SVHN: each file's published MD5, as torchvision lists it; CIFAR's archive has one of its own.
- MNIST, Fashion-MNIST: the sha256 of the four unpacked files, computed once from packed files with the published MD5;
  a packed file must have that MD5 before it is unpacked.
- Adult: the MD5 of both files, as other projects list them. Location-30: the sha256 of the copy that its reader was
  proven on. Their distributors publish none.
- Purchase-100, Texas-100: no checksum to go by. The archive must be whole (gzip's length and CRC) and hold rows and
  labels of the right form, but their number is free. A download that is none of it is removed; of the first that is,
  the sha256 is recorded beside it in `<archive>.sha256`, and downloads and file must have that from then on. A copy
  put there by hand has no record.
- Fashion, the part of Fashion-MNIST that mialab carries: the sha256 of its decoded pixels.
- Image folders: how many images and classes there are, and that each image can be decoded when it is read.
"""

import os
from collections.abc import Callable
from pathlib import Path

from mialab.data import fashion, streams, tabular, vision
from mialab.data.dataset import Dataset
from mialab.data.download import DataError, root_folder
from mialab.data.embedded import GENERATORS, Prototypes, Textures, digits, generated
from mialab.data.known import known as size_of
from mialab.data.streams import Folder, Stream, folder
from mialab.names import unknown

__all__ = [
    "DataError",
    "Dataset",
    "Folder",
    "Prototypes",
    "Stream",
    "Textures",
    "class_names",
    "distribution",
    "folder",
    "load",
    "names",
    "root_folder",
]

_FILES: dict[str, Callable[[Path, bool], Dataset]] = {
    "mnist": vision.mnist,
    "fashion-mnist": vision.fashion_mnist,
    "cifar10": vision.cifar10,
    "cifar100": vision.cifar100,
    "svhn": vision.svhn,
    "adult": tabular.adult,
    "purchase100": tabular.PURCHASE100,
    "texas100": tabular.TEXAS100,
    "location30": tabular.LOCATION30,
}
_FOLDERS = ("tiny-imagenet-10", "imagenet")


def names() -> tuple[str, ...]:
    """The names that `load` knows: embedded ones first."""
    return (*GENERATORS, "digits", "fashion", *_FILES, *_FOLDERS)


def load(
    name: str,
    *,
    seed: int = 0,
    samples: tuple[int, int] | None = None,
    root: str | os.PathLike | None = None,
    download: bool = True,
    workers: int = 0,
) -> Dataset | Folder:
    """Load one data set into memory; `tiny-imagenet-10` and `imagenet` stay in their files, which rows are read from.

    `seed` and `samples` = (train, test) choose what the generators `textures` and `prototypes` draw from their one
    fixed distribution. Of `fashion`, `samples` takes the first rows of the training and of the test part, where classes
    alternate; other real data sets have no choice. Files are looked for under `root`, else $MIALAB_DATA, else
    ${XDG_CACHE_HOME:-~/.cache}/mialab-data, and downloaded there if missing and `download`; image folders are put there
    by hand, as <name>/{train,val}/<class>/*.JPEG, and read ahead by so many `workers`. Raises ValueError for an unknown
    name, which lists close ones, and for more samples than there are, and DataError for files that are missing,
    truncated or altered.
    """
    _known(name, names())
    if name in GENERATORS:
        return generated(name, seed, samples)
    if name == "fashion":
        return fashion.load(samples)
    if samples is not None:
        raise ValueError(f"{name} has a fixed number of samples; samples= is for {', '.join(GENERATORS)}, fashion")
    if name in _FOLDERS:
        return streams.named(name, root_folder(root), workers)
    return digits() if name == "digits" else _FILES[name](root_folder(root), download)


def class_names(name: str) -> tuple[str, ...]:
    """What the classes of a data set are called, by label: Fashion-MNIST's garments, elsewhere "class 0" and so on.

    Nothing is loaded for it. Raises ValueError for an unknown name, which lists close ones.
    """
    if name in ("fashion", "fashion-mnist"):
        return fashion.CLASSES
    return tuple(f"class {label}" for label in range(size_of(name).classes))


def distribution(name: str, seed: int = 0) -> Textures | Prototypes:
    """A known distribution with unlimited fresh samples: `distribution("textures").sample(n, seed=...)`.

    `load` draws from seed 0; its rows are never repeated by `sample`, whatever the seeds.
    """
    _known(name, tuple(GENERATORS))
    return GENERATORS[name](seed)


def _known(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(unknown("data set", name, known))
