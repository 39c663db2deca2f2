"""Data sets as tensors in memory (`load`), known distributions (`distribution`), image folders (`folder`).

Downloads go to the folder $MIALAB_DATA (default ~/.cache/mialab-data) in the layout that torchvision or the
distributor leaves, and are checked against published checksums. Purchase-100 and Texas-100 have none: the sha256 of
the first download is recorded beside the archive, in `<name>.sha256`, and checked from then on. Location-30's is that
of the copy this reader was proven on.
"""

import difflib
import os

from mialab.data import tabular, vision
from mialab.data.dataset import Dataset
from mialab.data.download import DataError, root_folder
from mialab.data.embedded import GENERATORS, Prototypes, Textures, digits, generated
from mialab.data.vision import Folder, Stream, folder

__all__ = [
    "DataError",
    "Dataset",
    "Folder",
    "Prototypes",
    "Stream",
    "Textures",
    "distribution",
    "folder",
    "load",
    "names",
    "root_folder",
]

_FILES = {
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


def names() -> tuple[str, ...]:
    """The names that `load` knows: embedded ones first."""
    return (*GENERATORS, "digits", *_FILES)


def load(
    name: str,
    *,
    seed: int = 0,
    samples: tuple[int, int] | None = None,
    root: str | os.PathLike | None = None,
    download: bool = True,
) -> Dataset:
    """Load one data set into memory.

    `seed` and `samples` = (train, test) choose what the generators `textures` and `prototypes` draw from their one
    fixed distribution; real data sets have no choice. Files are looked for under `root`, else $MIALAB_DATA, else
    ~/.cache/mialab-data, and downloaded there if missing and `download`. Raises ValueError for an unknown name, which
    lists close ones, and DataError for files that are missing, truncated or altered.
    """
    _known(name, names())
    if name in GENERATORS:
        return generated(name, seed, samples)
    if samples is not None:
        raise ValueError(f"{name} has a fixed number of samples; samples= is for {', '.join(GENERATORS)}")
    return digits() if name == "digits" else _FILES[name](root_folder(root), download)


def distribution(name: str, seed: int = 0) -> Textures | Prototypes:
    """A known distribution with unlimited fresh samples: `distribution("textures").sample(n, seed=...)`.

    `load` draws from seed 0; its rows are never repeated by `sample`, whatever the seeds.
    """
    _known(name, tuple(GENERATORS))
    return GENERATORS[name](seed)


def _known(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        close = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.4) or known
        raise ValueError(f"unknown data set {name!r}; did you mean {', '.join(close)}? All: {', '.join(known)}")
