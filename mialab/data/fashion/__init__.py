"""The embedded real images: 8,000 of Fashion-MNIST, 4,000 from each of its two official sets, in one picture.

Row 10 k + c of the training part is image number k of class c in the official training file, in the order of that file,
for k = 0 to 399 and c = 0 to 9; the test part is taken from the official test file in the same way. So the classes
alternate: row i has the label i mod 10, and the first 10 k rows of a part hold k images of each class.

`images.png` is made by `python -m mialab.data.fashion.make`; licence and source lie beside it.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch

from mialab.data.dataset import Dataset
from mialab.data.download import DataError

IMAGES = Path(__file__).with_name("images.png")
# Of the 8,000 x 28 x 28 decoded bytes: that holds whichever program has compressed them.
PIXELS_SHA256 = "26de84c92245865e39c13dbc049e923fcbe9a3fa727e5682ed4f844de7baf228"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PER_CLASS = 400  # in each part
PART = PER_CLASS * len(CLASSES)
SIDE = 28
MEAN, STD = (0.2860,), (0.3530,)  # those of the official training set, as `fashion-mnist` has them
ACROSS = 100  # images in a row of the picture: each class fills four rows, first the training part, then the test part


def load(samples: tuple[int, int] | None = None) -> Dataset:
    """The images, uint8 [8000, 1, 28, 28], or the first `samples` = (train, test) rows of each part.

    Raises ValueError for more than 4,000 of either, DataError where the picture is missing or altered.
    """
    train, test = (PART, PART) if samples is None else samples
    if not (1 <= train <= PART and 0 <= test <= PART):
        raise ValueError(
            f"fashion holds {PART:,} training and {PART:,} test images: samples=(train, test) needs train from 1 to "
            f"{PART} and test from 0 to {PART}, got {samples}; load 'fashion-mnist' for more"
        )
    rows = torch.cat([torch.arange(train), PART + torch.arange(test)])
    x = torch.from_numpy(pixels())[rows, None]
    return Dataset("fashion", x, rows % len(CLASSES), len(CLASSES), train, MEAN, STD)


def pixels() -> np.ndarray:
    """All images, uint8 [8000, 28, 28], read and checked. Raises DataError."""
    from PIL import Image

    try:
        with Image.open(IMAGES) as picture:
            images = from_picture(np.asarray(picture))
    except (OSError, SyntaxError, ValueError) as error:
        raise _unusable(error) from error
    if hashlib.sha256(images.data).hexdigest() != PIXELS_SHA256:
        raise _unusable("altered")
    return images


def _unusable(cause: object) -> DataError:
    return DataError(f"{IMAGES}: not mialab's Fashion-MNIST images ({cause}); install mialab again")


def to_picture(images: np.ndarray) -> np.ndarray:
    """The images [8000, 28, 28] in one picture [2240, 2800], class by class: alike images side by side pack better."""
    by_class = images.reshape(2, PER_CLASS, len(CLASSES), SIDE, SIDE).swapaxes(1, 2)
    tiles = by_class.reshape(-1, ACROSS, SIDE, SIDE)
    return np.ascontiguousarray(tiles.swapaxes(1, 2)).reshape(-1, ACROSS * SIDE)


def from_picture(picture: np.ndarray) -> np.ndarray:
    """The images [8000, 28, 28] of such a picture. Raises ValueError for a picture of another size."""
    tiles = picture.reshape(2 * PART // ACROSS, SIDE, ACROSS, SIDE).swapaxes(1, 2)
    by_class = tiles.reshape(2, len(CLASSES), PER_CLASS, SIDE, SIDE)
    return np.ascontiguousarray(by_class.swapaxes(1, 2)).reshape(-1, SIDE, SIDE)
