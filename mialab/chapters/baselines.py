"""Where the numbers of a chapter should lie: one committed file for each chapter, written from runs at several seeds.

A number is judged by a prediction interval. Take n runs at seeds of their own with mean m and standard deviation s; a
further such run lies in m +- t s sqrt(1 + 1/n) with probability `LEVEL`, where t is the quantile of Student's
distribution with n - 1 degrees of freedom (for normal numbers exactly; the interval is thus about runs, not about their
mean). So another seed, device or version passes, and what fails is a change of what the chapter shows.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mialab.engine.files import write_whole

PRESET = "smoke"  # what everybody can run: baselines hold the numbers of this preset only
LEVEL = 0.99  # of each number by itself: of a hundred, one lies outside at a new seed
ROUNDING = 1e-6  # how far sums of float32 may lie apart, relative, where a number does not depend on the seed

Number = float | int | bool


@dataclass(frozen=True)
class Expected:
    """What a baseline says of a number: its value at the first seed, and that a run lies in mean +- tolerance."""

    value: Number
    mean: float
    tolerance: float

    def admits(self, now: Number) -> bool:
        """Say whether `now` lies in the interval; a truth value must be the same truth value."""
        if isinstance(now, bool) or isinstance(self.value, bool):
            return now is self.value
        return abs(now - self.mean) <= self.tolerance


@dataclass(frozen=True)
class Moved:
    """A number that is not as the baseline has it: outside its interval, new (`expected` None) or gone (`now` None)."""

    name: str
    now: Number | None
    expected: Expected | None

    def __str__(self) -> str:
        if self.expected is None:
            return f"{self.name}: new, {_short(self.now)}"
        if self.now is None:
            return f"{self.name}: gone, {_short(self.expected.value)} in the baseline"
        told = f"{self.name}: {_short(self.expected.value)} in the baseline, now {_short(self.now)}"
        if isinstance(self.expected.value, bool):
            return told
        return f"{told}; from seed to seed {_short(self.expected.mean)} ± {self.expected.tolerance:.2g}"


def compare(numbers: Mapping[str, Number], baseline: Mapping[str, Expected]) -> list[Moved]:
    """What moved, is gone or is new, in the baseline's order; empty if all is as it was."""
    lost = [
        Moved(name, numbers.get(name), expected)
        for name, expected in baseline.items()
        if name not in numbers or not expected.admits(numbers[name])
    ]
    return lost + [Moved(name, now, None) for name, now in numbers.items() if name not in baseline]


def from_runs(runs: Sequence[Mapping[str, Number]]) -> dict[str, Expected]:
    """The baseline that at least two runs of a chapter, at different seeds, give. Raises ValueError."""
    if not any(runs):
        raise ValueError("no number is published; hand some to notebook.publish()")
    for name in dict.fromkeys(name for run in runs for name in run):
        if not all(name in run for run in runs):
            raise ValueError(f"{name} is published at some seeds only; publish the same names at every seed")
    return {name: _expected(name, [run[name] for run in runs]) for name in runs[0]}


def _expected(name: str, values: list[Number]) -> Expected:
    if any(isinstance(value, bool) for value in values):
        if any(value is not values[0] for value in values):
            raise ValueError(f"{name} is true at some seeds and false at others; publish the number behind it")
        return Expected(values[0], float(values[0]), 0.0)
    mean = statistics.fmean(values)
    return Expected(values[0], mean, max(_half_width(values), ROUNDING * abs(mean), 1e-12))


def _half_width(values: list[Number]) -> float:
    from scipy.stats import t

    n = len(values)
    return float(t.ppf((1 + LEVEL) / 2, n - 1)) * statistics.stdev(values) * math.sqrt(1 + 1 / n)


def read(path: Path) -> dict[str, Expected]:
    """The baseline in this file. Raises ValueError if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: Expected(**fields) for name, fields in content["numbers"].items()}
    except FileNotFoundError:
        raise ValueError(f"there is no {path}; write it: mialab regress --update") from None
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"{path} is no baseline ({problem!r}); restore it, or mialab regress --update") from None


def write(path: Path, baseline: Mapping[str, Expected], *, seeds: Sequence[int]) -> None:
    """Write the baseline of a chapter."""
    numbers = {name: asdict(expected) for name, expected in baseline.items()}
    content = {"preset": PRESET, "seeds": list(seeds), "numbers": numbers}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def _short(value: Number | None) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}"
