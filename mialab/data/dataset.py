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

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.x.shape[1:])
