"""Make images.png from the official files of Fashion-MNIST, which are downloaded where $MIALAB_DATA lacks them.

python -m mialab.data.fashion.make            write it and print the checksum of its pixels
python -m mialab.data.fashion.make --check    write nothing, exit 1 if the committed one holds other images
"""

import argparse
import hashlib
import sys

import numpy as np
from PIL import Image

from mialab import data
from mialab.data import fashion


def official_rows(labels: np.ndarray) -> np.ndarray:
    """Rows of an official file [4000] in the order of the embedded part: classes in turn, each in the file's order."""
    of_class = [np.flatnonzero(labels == label)[: fashion.PER_CLASS] for label in range(len(fashion.CLASSES))]
    return np.stack(of_class, axis=1).ravel()


def official_images() -> np.ndarray:
    """The images that the embedded set holds, from the official files: uint8 [8000, 28, 28]. Raises DataError."""
    whole = data.load("fashion-mnist")
    assert isinstance(whole, data.Dataset)
    labels = whole.y.numpy()
    train, test = official_rows(labels[: whole.train]), whole.train + official_rows(labels[whole.train :])
    return whole.x[np.concatenate([train, test]), 0].numpy()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if the images differ")
    check = parser.parse_args(argv).check
    images = official_images()
    if check:
        same = np.array_equal(images, fashion.pixels())
        print("the embedded images are the official ones" if same else "the embedded images differ: make them again")
        return int(not same)
    Image.fromarray(fashion.to_picture(images)).save(fashion.IMAGES, optimize=True)
    print(f"wrote {fashion.IMAGES}, pixels {hashlib.sha256(images.data).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
