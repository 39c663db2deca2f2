"""What `load` returns: the samples of one data set as tensors in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """One pool of labelled samples: first the `train` rows of the official training set, then the official test set.

    x: uint8 [n, c, h, w] images, or float32 [n, c, h, w] or [n, d]; y: int64 [n] in 0..classes-1; train: None where
    no official test set exists; mean, std: per channel of uint8 images scaled to [0, 1], () for float data, which
    needs no scaling.
    """

    name: str
    x: Tensor
    y: Tensor
    classes: int
    train: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.y.shape != (len(self.x),) or self.y.dtype != torch.int64:
            raise ValueError(f"{self.name}: {len(self.x)} samples need as many int64 labels, got {self.y.shape}")
        if len(self.y) and not 0 <= self.y.min() <= self.y.max() < self.classes:
            raise ValueError(
                f"{self.name}: labels from {self.y.min()} to {self.y.max()}, expected 0 to {self.classes - 1}"
            )

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, row_ids: Tensor, *, batch: int = 64, shuffle: bool = False, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Samples x [k, ...] and labels int64 [k] of these rows: int64 [k] in any order, repeats allowed.

        batch, shuffle and seed matter to an image folder's stream alone.
        """
        row_ids = checked_rows(self.name, len(self), row_ids)
        return self.x[row_ids], self.y[row_ids]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.x.shape[1:])


def checked_rows(name: str, n_rows: int, row_ids: Tensor) -> Tensor:
    """Return the row ids; ValueError unless they are int64 [k] and rows of the data set of that name and size."""
    if row_ids.dtype != torch.int64 or row_ids.ndim != 1:
        raise ValueError(f"{name}: row_ids must be int64 [k], not {row_ids.dtype} {list(row_ids.shape)}")
    if len(row_ids) and not 0 <= row_ids.min() <= row_ids.max() < n_rows:
        raise ValueError(f"{name}: row_ids run from {row_ids.min()} to {row_ids.max()}, expected 0 to {n_rows - 1}")
    return row_ids
