"""On how many processes and threads cells are fastest here: data in, two numbers out.

Small nets get in each other's way on several threads: they take one each, and a process for each core. Large ones share
out their own work. A GPU takes one process. What the user says, by OMP_NUM_THREADS or `jobs`, is respected.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from mialab.engine.store import Config

LARGE = 5e8  # multiply-adds of a step from which on several threads pay (benchmarks/schedules.py)
BYTES_PER_PROCESS = 1.5e9  # a worker with torch, its data and a small net
_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Schedule:
    """So many processes, each on so many threads."""

    processes: int
    threads: int


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(config: Config, processes: int = 1) -> int:
    """On how many threads a cell is fastest while so many processes share the cores."""
    if (asked := os.environ.get(_THREADS, "")).isdigit() and int(asked) > 0:
        return int(asked)
    return max(1, cores() // processes) if config.operations() >= LARGE else 1


def choose(work: Sequence[Config], *, gpus: int = 0, jobs: int | None = None) -> Schedule:
    """The schedule for cells that are missing; `jobs` is the number of processes that the user asks for."""
    largest = max(work, key=lambda config: config.operations(), default=None)
    if largest is None:
        return Schedule(jobs or 1, max(1, cores() // (jobs or 1)))
    if jobs is None and gpus:
        jobs = min(gpus, len(work))
    elif jobs is None:
        fits = max(1, int(_free_bytes() // BYTES_PER_PROCESS))
        jobs = max(1, min(cores() // threads_for(largest), _side_by_side(work), fits))
    return Schedule(jobs, threads_for(largest, jobs))


def _side_by_side(work: Sequence[Config]) -> int:
    """How many of these cells may run at once at the start: those that need none of the others."""
    missing = set(work)
    return max(1, sum(not missing.intersection(config.needs()) for config in work))


def _free_bytes() -> float:
    """Memory that is to be had, as far as the system tells."""
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        return float(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
        except (AttributeError, OSError, ValueError):
            return 4e9


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
