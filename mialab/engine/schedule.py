"""On how many processes and threads cells are fastest here: data in, two numbers out.

Cells that can run at once take a process each, as far as cores and memory go: no arithmetic is lost between processes,
whereas the threads of a small net only wait for each other. What is left of the cores goes to the threads of large
nets. A GPU takes one process. What the user says, by OMP_NUM_THREADS, MIALAB_CORES or `jobs`, is respected.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from threadpoolctl import threadpool_limits

from mialab.engine.store import Config, Store

LARGE = 5e8  # multiply-adds of a step from which on several threads pay (benchmarks/schedules.py)
BYTES_PER_PROCESS = 1e9  # a worker with torch, its data and a small net
BYTES_PER_OPERATION = 0.1  # what a step keeps for its way back: a few values of 4 bytes for each hundred multiply-adds
WORTH_SECONDS = 8.0  # of work: less is done before workers have started
_THREADS, _CORES = "OMP_NUM_THREADS", "MIALAB_CORES"
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Schedule:
    """So many processes, each on so many threads."""

    processes: int
    threads: int


def cores() -> int:
    """The processors to plan with: $MIALAB_CORES, else all that this process, or its container, may use."""
    if (asked := _asked(_CORES)) is not None:
        return asked
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # "max" where there is no limit
        quota, period = map(float, (_CGROUP / "cpu.max").read_text().split())
        found = min(found, max(1, round(quota / period)))
    return found


def threads_for(config: Config, processes: int = 1) -> int:
    """On how many threads a cell is fastest while so many processes share the cores."""
    if (asked := _asked(_THREADS)) is not None:
        return asked
    return max(1, cores() // processes) if config.operations() >= LARGE else 1


def choose(
    work: Sequence[Config],
    *,
    seconds: Mapping[str, float] = MappingProxyType({}),
    gpus: int = 0,
    jobs: int | None = None,
) -> Schedule:
    """The schedule for cells that are missing, each after its needs.

    seconds: what a cell of each kind took here, as far as it is known; gpus: how many there are; jobs: the number of
    processes that the user asks for.
    """
    largest = max(work, key=lambda config: config.operations(), default=None)
    if largest is None:
        return Schedule(jobs or 1, max(1, cores() // (jobs or 1)))
    if jobs is None:
        most = gpus or min(cores(), _fitting(largest))
        jobs = 1 if _short(work, seconds) else max(1, min(most, _at_once(work)))
    return Schedule(jobs, threads_for(largest, jobs))


def _asked(variable: str) -> int | None:
    asked = os.environ.get(variable, "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else None


def _short(work: Sequence[Config], seconds: Mapping[str, float]) -> bool:
    """Whether all of it is done before workers have started, as far as every kind's seconds are known."""
    return all(config.KIND in seconds for config in work) and sum(seconds[c.KIND] for c in work) < WORTH_SECONDS


def _at_once(work: Sequence[Config]) -> int:
    """How many of these cells may run side by side, where those of one depth do: so many needs lie below them."""
    depths: dict[str, int] = {}
    name = Store(Path()).name
    for config in work:
        depths[name(config)] = 1 + max((depths.get(name(need), 0) for need in config.needs()), default=0)
    return max(Counter(depths.values()).values())


def _fitting(config: Config) -> int:
    """How many processes with such a cell memory holds."""
    return int(_free_bytes() // (BYTES_PER_PROCESS + BYTES_PER_OPERATION * config.operations()))


def _free_bytes() -> float:
    """Memory that is to be had, here and in this container, as far as the system tells."""
    free = _system_bytes()
    with suppress(OSError, ValueError):  # "max" where there is no limit
        free = min(free, float((_CGROUP / "memory.max").read_text()))
    return free


def _system_bytes() -> float:
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return float(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, OSError, ValueError):
        return 4e9


def set_threads(threads: int) -> None:
    """From now on, this process runs on so many threads: torch's, if it is loaded, and those of linear algebra."""
    threadpool_limits(threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def keep_to_cores() -> None:
    """Take no more threads than there are cores to plan with, unless OMP_NUM_THREADS says how many.

    Small nets that are trained side by side, each on the threads of the whole machine, take ten times as long.
    """
    if _asked(_THREADS) is None:
        set_threads(cores())


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Run the block on so many threads: torch's and those of linear algebra; afterwards as before."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    with threadpool_limits(threads):
        if torch:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)
