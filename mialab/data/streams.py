"""Data sets too large for memory: images in ImageNet's folder layout, read in batches when they are wanted."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mialab.data.dataset import checked_rows
from mialab.data.download import DataError
from mialab.data.known import known

SIXTEEN_BITS = 65_535  # the largest number

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PUBLISHED = {
    "tiny-imagenet-10": "http://cs231n.stanford.edu/tiny-imagenet-200.zip, ten of its 200 classes",
    "imagenet": "https://image-net.org/download.php",
}


@dataclass(frozen=True, eq=False)
class Folder:
    """One pool of images in files: first the official training set, then the official test set, in order of file names.

    What `Dataset` has, but for `x`: `rows` gives a stream instead. files: paths under `path`; y: int64 [n]; train: rows
    of the official training set; size: pixels on a side of what is read; workers: processes that read ahead (0: none);
    mean and std are ImageNet's.
    """

    name: str
    path: Path
    files: tuple[str, ...]
    y: Tensor
    class_names: tuple[str, ...]
    train: int
    size: int
    workers: int = 0
    mean: tuple[float, ...] = _IMAGENET[0]
    std: tuple[float, ...] = _IMAGENET[1]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one sample."""
        return 3, self.size, self.size

    def rows(self, row_ids: Tensor, *, batch: int = 64, shuffle: bool = False, seed: int = 0) -> "Stream":
        """A stream over these rows alone: int64 [n] in any order, repeats allowed."""
        return Stream(self, checked_rows(self.name, len(self), row_ids), batch=batch, shuffle=shuffle, seed=seed)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the files' names, not of what they hold."""
        return _digest("\n".join(self.files).encode(errors="surrogateescape"))


@dataclass(eq=False)
class Stream:
    """Batches (x uint8 [b, 3, size, size], y int64 [b]) of some rows of a folder, read anew at every iteration.

    Batches come in the order of `row_ids`; with `shuffle`, in one that follows from `seed` and the epoch alone, which
    the training loop sets before each pass. `len` counts batches. Raises DataError for an image that cannot be read.
    """

    folder: Folder
    row_ids: Tensor
    batch: int = 64
    shuffle: bool = False
    seed: int = 0
    epoch: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")

    def __len__(self) -> int:
        return -(-len(self.row_ids) // self.batch)

    @property
    def y(self) -> Tensor:
        """The labels in the order of `row_ids`: int64 [n]."""
        return self.folder.y[self.row_ids]

    @property
    def identity(self) -> dict[str, str | int]:
        """The settings that tell this stream from others, for a checkpoint; not what the files hold."""
        return {
            "data": self.folder.name,
            "files": self.folder.fingerprint,
            "size": self.folder.size,
            "rows": _digest(self.row_ids.numpy().tobytes()),
            "batch": self.batch,
            "shuffle": self.shuffle,
            "seed": self.seed,
        }

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        row_ids = self.row_ids
        if self.shuffle:
            row_ids = row_ids[np.random.default_rng([self.seed, self.epoch]).permutation(len(row_ids))]
        images: DataLoader = DataLoader(
            _Images(self.folder),
            batch_size=self.batch,
            sampler=row_ids.tolist(),
            num_workers=self.folder.workers,
            collate_fn=torch.stack,
            generator=torch.Generator(),  # else the loader would draw from the global one
        )
        for x, part in zip(images, row_ids.split(self.batch), strict=True):
            yield x, self.folder.y[part]


class _Images(Dataset):
    """Images by row, uint8 [3, size, size]."""

    def __init__(self, folder: Folder):
        from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

        self.folder = folder
        self.transform = Compose([Resize(round(folder.size * 8 / 7)), CenterCrop(folder.size), PILToTensor()])

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, row_id: int) -> Tensor:
        return self.transform(_rgb(self.folder.path / self.folder.files[row_id]))


def folder(path: str | os.PathLike, *, name: str | None = None, size: int = 224, workers: int = 0) -> Folder:
    """Images in ImageNet's layout, `path`/{train,val}/<class>/*.JPEG, never whole in memory.

    Files and folders with hidden names are passed over. Each image is turned to RGB, 16 bits to 8, its shorter side
    resized to size * 8/7 pixels and its centre cut to size x size, the same for members and non-members; random crops
    and flips are the training loop's. name: the folder's own by default; workers: processes that read ahead, 0 for
    none. Raises DataError.
    """
    path = Path(path)
    try:
        train, val = (_part(path / part) for part in ("train", "val"))
    except OSError as error:
        raise DataError(f"{path}: not in ImageNet's layout, {{train,val}}/<class>/*.JPEG ({error})") from error
    if train.classes != val.classes:
        odd = sorted(set(train.classes) ^ set(val.classes))
        raise DataError(f"{path}: train and val differ in classes ({', '.join(odd[:5])}); give both the same folders")
    files = tuple(os.path.relpath(file, path) for file, _ in (*train.samples, *val.samples))
    y = torch.tensor(train.targets + val.targets)
    return Folder(name or path.name, path, files, y, tuple(train.classes), len(train.targets), size, workers)


def _part(path: Path) -> Any:
    """One of the two parts; what a system leaves among images, such as .DS_Store, is no class and no image."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, ImageFolder, has_file_allowed_extension

    class Visible(ImageFolder):
        def find_classes(self, directory):
            found = sorted(one.name for one in os.scandir(directory) if one.is_dir() and not one.name.startswith("."))
            if not found:
                raise FileNotFoundError(f"found no folder of a class in {directory}")
            return found, {name: label for label, name in enumerate(found)}

    def wanted(file: str) -> bool:
        seen = not any(part.startswith(".") for part in Path(file).relative_to(path).parts)
        return seen and has_file_allowed_extension(file, IMG_EXTENSIONS)

    return Visible(path, is_valid_file=wanted)


def named(name: str, root: Path, workers: int) -> Folder:
    """The folder of that name under the folder of all data sets; DataError if it is missing or not all there."""
    size, path = known(name), root / name
    for part in ("train", "val"):
        if not (path / part).is_dir():
            raise DataError(
                f"{path / part} is missing; put {path}/{{train,val}}/<class>/*.JPEG there by hand (published at "
                f"{_PUBLISHED[name]}), or set MIALAB_DATA to the folder that holds {name}"
            )
    found = folder(path, name=name, size=size.shape[-1], workers=workers)
    there, expected = (_size_in_words(each.train or 0, len(each.y), each.classes) for each in (found, size))
    if there != expected:
        raise DataError(f"{path}: holds {there}, not {expected}; put an intact copy there")
    return found


def _size_in_words(train: int, n_rows: int, classes: int) -> str:
    return f"{train:,} + {n_rows - train:,} images of {classes} classes"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _rgb(path: Path):
    from PIL import Image

    try:
        with Image.open(path) as image:
            return _eight_bits(image, path).convert("RGB")
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path}: not a whole image ({error}); remove it or put an intact copy there") from error


def _eight_bits(image, path: Path):
    """The image, 16-bit greys scaled to 8 bits; DataError for numbers of no known range, which would turn white."""
    from PIL import Image

    if image.mode == "F":
        raise DataError(f"{path}: holds floating-point numbers, whose range nobody knows; save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image).astype(np.int64)  # as old versions of Pillow read 16 bits: mode I
    if grey.min() < 0 or grey.max() > SIXTEEN_BITS:
        raise DataError(f"{path}: holds numbers from {grey.min()} to {grey.max()}; save it with 8 or 16 bits")
    return Image.fromarray(np.round(grey * (255 / SIXTEEN_BITS)).astype(np.uint8))
