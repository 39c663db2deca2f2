"""Which of n random numbers add up to a given one: by meeting in the middle, for many at once and without a solver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST = 40  # numbers per target: two halves of 2^20 sums each
MOST_AT_ONCE = 20  # numbers whose 2^n sums are all looked at
_BLOCK = 1 << 20  # sums of one half that are held at a time


@dataclass(frozen=True, eq=False)
class Subsets:
    """The subset chosen for each target: sums float64 [targets], chosen bool [targets, n]."""

    sums: np.ndarray
    chosen: np.ndarray


def nearest(targets: np.ndarray, numbers: np.ndarray) -> Subsets:
    """For each target the subset of its own numbers whose sum is nearest to it; the empty one sums to 0.

    targets: float [t]; numbers: float [t, n], a row for each target, n at most 40. All 2^(n/2) sums of the first half
    are sorted, and for each of the other half's the best partner is searched among them: O(n 2^(n/2)) instead of 2^n.
    Raises ValueError for other shapes, for what is not finite, and for too many numbers. Explained in the chapter
    "The lottery".
    """
    targets, numbers = _checked(targets, numbers, MOST)
    half = numbers.shape[1] // 2
    rows = max(1, _BLOCK >> (numbers.shape[1] - half))
    blocks = [slice(start, start + rows) for start in range(0, len(targets), rows)]
    chosen = [_meet(targets[block], numbers[block], half) for block in blocks]
    return _subsets(np.concatenate(chosen) if chosen else np.zeros(numbers.shape, bool), numbers)


def exhaustive(targets: np.ndarray, numbers: np.ndarray) -> Subsets:
    """The same by looking at all 2^n subsets, n at most 20: what `nearest` is tested against."""
    targets, numbers = _checked(targets, numbers, MOST_AT_ONCE)
    best = [int(np.abs(_sums(own) - target).argmin()) for target, own in zip(targets, numbers, strict=True)]
    return _subsets(_bits(np.array(best, dtype=np.int64), numbers.shape[1]), numbers)


def reach(numbers: np.ndarray, radius: float = 0.5) -> np.ndarray:
    """How far a number in [-radius, radius] can be from the nearest subset sum, exactly: float64 [draws].

    numbers: float [draws, n], n at most 20. It is half of the widest gap between neighbouring sums, or what is left at
    an end. Lueker's lemma (1998): of n = O(log 1/epsilon) uniform numbers on [-1, 1] it is at most epsilon for
    radius 1/2, with high probability; the sums serve all weights at once. Raises ValueError as `nearest` does.
    """
    _, numbers = _checked(np.zeros(len(np.atleast_2d(numbers))), np.atleast_2d(numbers), MOST_AT_ONCE)
    if not radius > 0:
        raise ValueError(f"radius must be positive, not {radius}")
    return np.array([_widest(np.sort(_sums(own)), radius) for own in numbers])


def decay(numbers: np.ndarray, errors: np.ndarray) -> float:
    """By how many powers of two the error falls per random number: minus the slope of log2(error), by least squares.

    numbers: how many, [k]; errors: positive [k]. The lemma says that it is some positive constant.
    """
    errors = np.asarray(errors, dtype=np.float64)
    if len(errors) < 2 or not (errors > 0).all():
        raise ValueError("a slope needs at least two errors, all of them positive")
    return float(-np.polyfit(numbers, np.log2(errors), 1)[0])


def _checked(targets: np.ndarray, numbers: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    targets, numbers = np.asarray(targets, dtype=np.float64), np.asarray(numbers, dtype=np.float64)
    if numbers.ndim != 2 or targets.shape != numbers.shape[:1]:
        found = f"targets {list(targets.shape)} and numbers {list(numbers.shape)}"
        raise ValueError(f"{found}: give targets [t] and a row of numbers for each, [t, n]")
    if numbers.shape[1] > most:
        raise ValueError(f"{numbers.shape[1]} numbers have too many subsets here: give at most {most}")
    if not (np.isfinite(targets).all() and np.isfinite(numbers).all()):
        raise ValueError("targets and numbers must be finite")
    return targets, numbers


def _sums(numbers: np.ndarray) -> np.ndarray:
    """All subset sums [..., 2^n] of numbers [..., n]; the k-th bit of the place says whether number k is in."""
    sums = np.zeros((*numbers.shape[:-1], 1))
    for k in range(numbers.shape[-1]):
        sums = np.concatenate([sums, sums + numbers[..., k : k + 1]], axis=-1)
    return sums


def _bits(places: np.ndarray, n: int) -> np.ndarray:
    return (places[:, None] >> np.arange(n)) & 1 == 1


def _subsets(chosen: np.ndarray, numbers: np.ndarray) -> Subsets:
    return Subsets(np.where(chosen, numbers, 0.0).sum(axis=1), chosen)


def _meet(targets: np.ndarray, numbers: np.ndarray, half: int) -> np.ndarray:
    """Which numbers are chosen, bool [t, n]: a sum of the first half, and one of the second that fits it best."""
    first, second = _sums(numbers[:, :half]), _sums(numbers[:, half:])
    wanted = targets[:, None] - second
    partner = _nearest_values(np.sort(first, axis=1), wanted)
    best = np.abs(wanted - partner).argmin(axis=1)
    one = partner[np.arange(len(targets)), best]
    return np.hstack([_bits((first == one[:, None]).argmax(axis=1), half), _bits(best, numbers.shape[1] - half)])


def _nearest_values(rising: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """In each row, for each value wanted the nearest one of the rising ones."""
    # One short search per row: in all rows at once, a binary search in NumPy takes several times as long.
    above = np.stack([np.searchsorted(own, some) for own, some in zip(rising, wanted, strict=True)])
    under, over = (
        np.take_along_axis(rising, place.clip(0, rising.shape[1] - 1), axis=1) for place in (above - 1, above)
    )
    return np.where(np.abs(over - wanted) < np.abs(under - wanted), over, under)


def _widest(sums: np.ndarray, radius: float) -> float:
    """The largest distance from a point of [-radius, radius] to the nearest of rising sums: at an end or halfway."""
    between = (sums[1:] + sums[:-1]) / 2
    points = np.concatenate([[-radius, radius], between[np.abs(between) <= radius]])
    right = np.searchsorted(sums, points).clip(1, len(sums) - 1) if len(sums) > 1 else np.zeros(len(points), int)
    return float(np.minimum(np.abs(points - sums[right - 1]), np.abs(points - sums[right])).max())
