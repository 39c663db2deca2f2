"""Fused predictions of large outputs, made anew for the samples that are asked for rather than kept for all.

Of 50,000 samples and 1,000 classes, log-probabilities and confidences take four times the memory of the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

LARGE = 10_000_000  # numbers [n, classes], from which on predictions are not kept
AT_ONCE = 1_000_000  # numbers that are made at a time


class Rows:
    """An array [n, classes], float64, of which rows are made when they are asked for.

    of: the rows of these samples, int [k], as an array [k, classes]. order: which sample each row is, int [n]. NumPy's
    functions take it as an array, and then it takes an array's memory: `pieces` and `by_rows` do not.
    """

    ndim, dtype = 2, np.dtype(np.float64)

    def __init__(self, of: Callable[[np.ndarray], np.ndarray], order: np.ndarray, classes: int):
        self.of, self.order, self.shape = of, order, (len(order), classes)
        self.kept: dict[str, np.ndarray] = {}  # numbers per row that were made once, by the names of what made them

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows, columns = key if isinstance(key, tuple) else (key, None)
        if np.ndim(rows) == 0 and not isinstance(rows, slice):
            row = self.of(self.order[[rows]])[0]
            return row if columns is None else row[columns]
        chosen = self.reordered(rows)
        if columns is None:
            return np.asarray(chosen)
        paired = np.ndim(rows) == 1 and np.ndim(columns) == 1  # row by row, as NumPy has it
        return np.concatenate(
            [
                part[np.arange(len(part)), np.asarray(columns)[some]] if paired else part[:, columns]
                for some, part in chosen.pieces()
            ]
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.empty(self.shape, dtype or self.dtype)
        for some, part in self.pieces():
            whole[some] = part
        return whole

    def reordered(self, order: Any) -> Rows:
        """The same rows in another order, or some of them: int [k], bool [n] or a slice."""
        return Rows(self.of, self.order[order], self.shape[1])

    def pieces(self) -> Iterator[tuple[slice, np.ndarray]]:
        """A few rows at a time, as arrays, and where they stand."""
        step = max(1, AT_ONCE // self.shape[1])
        for start in range(0, len(self), step):
            some = slice(start, start + step)
            yield some, self.of(self.order[some])

    def max(self, axis: int) -> np.ndarray:
        """As of an array, of each row."""
        return self._of_each("max", axis)

    def argmax(self, axis: int) -> np.ndarray:
        """As of an array, of each row."""
        return self._of_each("argmax", axis)

    def argmin(self, axis: int) -> np.ndarray:
        """As of an array, of each row."""
        return self._of_each("argmin", axis)

    def _of_each(self, name: str, axis: int) -> np.ndarray:
        if axis != 1:
            raise ValueError("rows are made one by one: only axis=1 is cheap; take np.asarray for others")
        if name not in self.kept:
            self.kept[name] = np.concatenate([getattr(part, name)(axis=1) for _, part in self.pieces()])
        return self.kept[name]


def by_rows(
    function: Callable[..., np.ndarray], rows: np.ndarray | Rows, *columns: np.ndarray, key: str = ""
) -> np.ndarray:
    """What a function of rows [n, classes], and of columns [n], gives for each row; of `Rows` a few at a time.

    key: a name under which `Rows` keep it, for the next time.
    """
    if not isinstance(rows, Rows):
        return function(rows, *columns)
    if not key or key not in rows.kept:
        made = np.concatenate([function(part, *(one[some] for one in columns)) for some, part in rows.pieces()])
        if not key:
            return made
        rows.kept[key] = made
    return rows.kept[key]
