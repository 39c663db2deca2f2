"""Tables: UCI's Adult, and Purchase-100, Texas-100 and Location-30 as Shokri et al. (2017) distribute them."""

import gzip
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mialab.data.dataset import Dataset
from mialab.data.download import damaged, fetch, fetch_and_parse

_SHOKRI = "https://www.comp.nus.edu.sg/~reza/files/"
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
_ADULT = {
    "adult.data": "md5:5d7c39d7b8804f071cdd1f2a7c460872",
    "adult.test": "md5:35238206dfdf7f1fe215bbb874adecdc",
}
_COLUMNS = 15
_NUMERIC = (0, 2, 4, 10, 11, 12)
_CATEGORICAL = (1, 3, 5, 6, 7, 8, 9, 13)


def adult(root: Path, download: bool) -> Dataset:
    """Adult census income, float32 [48842, 108]: is it above 50,000 dollars a year (class 1)?

    Six numeric columns are standardised by the training rows; the others are one-hot over the categories of the
    training rows, '?' (missing) being one of them; a category that only the test set has is all zeros.
    """
    files = [
        fetch(root / "adult" / name, [_UCI + name], checksum=checksum, download=download)
        for name, checksum in _ADULT.items()
    ]
    train, test = (_adult_rows(file) for file in files)
    columns = np.array(train + test).T
    numeric = np.stack([columns[i].astype(np.float64) for i in _NUMERIC], axis=1)
    known = numeric[: len(train)]
    blocks = [(numeric - known.mean(0)) / known.std(0).clip(min=1e-12)]
    for i in _CATEGORICAL:
        blocks.append(columns[i][:, None] == np.unique(columns[i][: len(train)]))
    x = torch.from_numpy(np.concatenate(blocks, axis=1).astype(np.float32))
    return Dataset("adult", x, torch.from_numpy((columns[-1] == ">50K").astype(np.int64)), 2, len(train))


def _adult_rows(path: Path) -> list[list[str]]:
    """The cells of one UCI file; its blank lines, its comment and the test labels' full stops are dropped."""
    rows = []
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(path, error) from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.rstrip(". ").split(",")]
        if len(cells) != _COLUMNS or cells[-1] not in ("<=50K", ">50K"):
            raise damaged(path, f"line {number} is not {_COLUMNS - 1} cells and a label")
        if not all(cells[i].isdigit() for i in _NUMERIC):
            raise damaged(path, f"line {number} has text where a number belongs")
        rows.append(cells)
    if not rows:
        raise damaged(path, "no rows")
    return rows


@dataclass(frozen=True)
class Archive:
    """A .tgz of comma-separated binary rows, label first, or labels in a file of their own; labels count from 1."""

    name: str
    file: str
    features: str
    columns: int
    classes: int
    labels: str | None = None
    checksum: str | None = None

    def __call__(self, root: Path, download: bool) -> Dataset:
        """Read `<root>/<name>/<file>` as float32 [n, columns] of 0 and 1; no official test set."""
        path = root / self.name / self.file
        return fetch_and_parse(path, [_SHOKRI + self.file], self._parse, checksum=self.checksum, download=download)

    def _parse(self, path: Path) -> Dataset:
        """Raise ValueError for anything but this data set."""
        try:
            bits, labels = self._read(path)
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise ValueError(f"truncated or no .tgz archive ({error})") from error
        y = self._label_values(labels)
        if len(bits) != len(y):
            raise ValueError(f"has {len(bits)} rows but {len(y)} labels")
        return Dataset(self.name, torch.from_numpy(bits).float(), y, self.classes)

    def _read(self, path: Path) -> tuple[np.ndarray, list[bytes]]:
        """Bits and labels in one pass over the archive, without unpacking it to disk."""
        bits, labels = None, None
        with gzip.open(path) as packed, tarfile.open(fileobj=packed, mode="r:") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name == self.features and (lines := tar.extractfile(member)):
                    bits, first_cells = _binary_rows(lines, self.columns, labelled=self.labels is None)
                    labels = labels if self.labels else first_cells
                elif name == self.labels and (lines := tar.extractfile(member)):
                    labels = lines.read().splitlines()
            while packed.read(1 << 20):  # to the end, where gzip checks length and CRC: tarfile stops before
                pass
        if bits is None or not labels:
            raise ValueError(f"lacks or has empty {self.features}{' or ' + self.labels if self.labels else ''}")
        return bits, labels

    def _label_values(self, labels: list[bytes]) -> torch.Tensor:
        try:
            y = np.array([int(label.strip(b'" ')) for label in labels], dtype=np.int64) - 1
        except (ValueError, OverflowError) as error:
            raise ValueError(f"has a label that is no whole number ({error})") from error
        if y.min() < 0 or y.max() >= self.classes:
            raise ValueError(f"labels run from {y.min() + 1} to {y.max() + 1}, expected 1 to {self.classes}")
        return torch.from_numpy(y)


PURCHASE100 = Archive("purchase100", "dataset_purchase.tgz", "dataset_purchase", 600, 100)
TEXAS100 = Archive("texas100", "dataset_texas.tgz", "texas/100/feats", 6169, 100, labels="texas/100/labels")
LOCATION30 = Archive(
    "location30",
    "dataset_location.tgz",
    "bangkok",
    446,
    30,
    checksum="sha256:927203f85a868f8ee17a0ded1dc61699efe602167beabe34fbf45b4b1de94b33",
)


def _binary_rows(lines: Iterable[bytes], columns: int, *, labelled: bool) -> tuple[np.ndarray, list[bytes]]:
    """Split rows into bits, uint8 [n, columns], and the text before them; by bytes, for Texas-100 is 830 MB of text."""
    bits, labels = bytearray(), []
    for number, line in enumerate(lines, 1):
        line = line.rstrip(b"\r\n")
        if labelled:
            label, _, line = line.partition(b",")
            labels.append(label)
        cells = np.frombuffer(line, np.uint8)
        values, commas = cells[::2], cells[1::2]
        if len(cells) != 2 * columns - 1 or (values & 254 != ord("0")).any() or (commas != ord(",")).any():
            raise ValueError(f"line {number} is not {'a label and ' * labelled}{columns} zeros and ones")
        bits += (values & 1).tobytes()
    return np.frombuffer(bits, np.uint8).reshape(-1, columns), labels
