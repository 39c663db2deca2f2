"""Image data sets in torchvision's own files: MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100, SVHN."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mialab.data.dataset import Dataset
from mialab.data.download import DataError, damaged, fetch, landing, present, unpack, verify

# Per channel: CIFAR's are those of the training code that the ensemble paper names (bearpaw), the others those of the
# official training set.
_CIFAR = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_SVHN = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
_MNIST = (0.1307,), (0.3081,)
_FASHION = (0.2860,), (0.3530,)

# Of the unpacked files; the MD5s that torchvision knows are those of the packed ones.
_IDX_SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}


def cifar10(root: Path, download: bool) -> Dataset:
    """CIFAR-10, uint8 [60000, 3, 32, 32], from `cifar-10-batches-py/`."""
    from torchvision.datasets import CIFAR10

    return _cifar("cifar10", CIFAR10, 10, root, download)


def cifar100(root: Path, download: bool) -> Dataset:
    """CIFAR-100 with its fine labels, uint8 [60000, 3, 32, 32], from `cifar-100-python/`."""
    from torchvision.datasets import CIFAR100

    return _cifar("cifar100", CIFAR100, 100, root, download)


def mnist(root: Path, download: bool) -> Dataset:
    """MNIST, uint8 [70000, 1, 28, 28], from `MNIST/raw/`."""
    from torchvision.datasets import MNIST

    return _idx("mnist", MNIST, root / "MNIST" / "raw", _MNIST, download)


def fashion_mnist(root: Path, download: bool) -> Dataset:
    """Fashion-MNIST, uint8 [70000, 1, 28, 28], from `FashionMNIST/raw/`."""
    from torchvision.datasets import FashionMNIST

    return _idx("fashion-mnist", FashionMNIST, root / "FashionMNIST" / "raw", _FASHION, download)


def svhn(root: Path, download: bool) -> Dataset:
    """SVHN's cropped digits, uint8 [99289, 3, 32, 32], from `train_32x32.mat` and `test_32x32.mat`."""
    from torchvision.datasets import SVHN

    for url, name, md5 in (SVHN.split_list[split] for split in ("train", "test")):
        fetch(root / name, [url], checksum=f"md5:{md5}", download=download)
    parts = [SVHN(root, split) for split in ("train", "test")]
    x = torch.cat([torch.from_numpy(p.data) for p in parts])
    y = torch.cat([torch.from_numpy(p.labels).long() for p in parts])
    return Dataset("svhn", x, y, 10, len(parts[0]), *_SVHN)


def _cifar(name: str, kind: Any, classes: int, root: Path, download: bool) -> Dataset:
    """Every file is checked against its published MD5 before torchvision unpickles it."""
    folder = root / kind.base_folder
    md5s = dict([*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])])
    missing = [file for file in md5s if not present(folder / file)]
    if missing:
        try:
            archive = fetch(root / kind.filename, [kind.url], checksum=f"md5:{kind.tgz_md5}", download=download)
        except DataError as error:
            raise DataError(f"{folder / missing[0]} is missing, and its archive does not help: {error}") from error
        unpack(archive, {f"{kind.base_folder}/{file}": folder / file for file in missing})
    for file, md5 in md5s.items():
        verify(folder / file, f"md5:{md5}")
    parts = [kind(root, train=train) for train in (True, False)]
    x = torch.from_numpy(np.concatenate([p.data for p in parts])).permute(0, 3, 1, 2).contiguous()
    y = torch.tensor([label for p in parts for label in p.targets])
    return Dataset(name, x, y, classes, len(parts[0]), *_CIFAR)


def _idx(name: str, kind: Any, folder: Path, scale: tuple, download: bool) -> Dataset:
    """torchvision only looks whether the unpacked files exist, so they are checked here before it reads them."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    md5s = dict(kind.resources)
    for file, sha256 in _IDX_SHA256[name].items():
        _unpack_idx(folder / file, kind.mirrors, md5s[f"{file}.gz"], download)
        verify(folder / file, f"sha256:{sha256}")
    x, x_test = (read_image_file(str(folder / f"{part}-images-idx3-ubyte")) for part in ("train", "t10k"))
    y, y_test = (read_label_file(str(folder / f"{part}-labels-idx1-ubyte")) for part in ("train", "t10k"))
    return Dataset(name, torch.cat([x, x_test])[:, None], torch.cat([y, y_test]), 10, len(y), *scale)


def _unpack_idx(plain: Path, mirrors: list[str], md5: str, download: bool) -> None:
    """Make sure that `plain` is there, from the .gz beside it, which is downloaded first if missing."""
    if present(plain):
        return
    packed = plain.with_name(f"{plain.name}.gz")
    fetch(packed, [mirror + packed.name for mirror in mirrors], checksum=f"md5:{md5}", download=download)
    try:
        with gzip.open(packed) as source, landing(plain) as file:
            shutil.copyfileobj(source, file)
    except OSError as error:
        raise damaged(plain, f"cannot be unpacked ({error})") from error
