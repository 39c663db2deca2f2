"""The schedule that mialab chooses beside all others: `python benchmarks/schedules.py [--quick] [repetitions]`.

Each row computes the same cells from nothing, in a process and a store of its own: with what is chosen where the user
says nothing, and with one and two processes on one and two threads each. Rows take turns, repetition after repetition.
The ratio is the row's median of seconds over that of the fastest fixed schedule; the chosen one should stay below 1.2.
--quick takes a few cells of each experiment, full sizes their first seed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from mialab import experiments
from mialab.cells.models import Models
from mialab.cells.shadows import Shadows
from mialab.engine.run import compute
from mialab.engine.schedule import cores
from mialab.engine.store import Config, Store, closure

NAMES = ("ensemble/figure1", "basics/attacks")
CHOSEN = "chosen"
FIXED = {f"{p} process{'es' * (p > 1)}, {t} thread{'s' * (t > 1)}": (p, t) for p in (1, 2) for t in (1, 2)}


def cells(name: str, *, quick: bool) -> Sequence[Config]:
    """The first seed's cells of an experiment; quick: a handful of its trainings."""
    grid = experiments.get(name).grid("smoke", seeds=(0,))
    if not quick:
        return grid
    trainings = [config for config in closure(grid) if isinstance(config, Models)][:4]
    return [*trainings, *[config for config in closure(grid) if isinstance(config, Shadows)][:1]]


def measured(name: str, schedule: str, *, quick: bool) -> float:
    """Seconds in a process of its own, its start included."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    jobs = []
    if schedule != CHOSEN:
        processes, threads = FIXED[schedule]
        environment["OMP_NUM_THREADS"], jobs = str(threads), ["--jobs", str(processes)]
    command = [sys.executable, __file__, "--one", name, *jobs, *["--quick"] * quick]
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repetitions", type=int, nargs="?", default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        with tempfile.TemporaryDirectory() as folder:
            compute(cells(asked.one, quick=asked.quick), Store(Path(folder)), jobs=asked.jobs)
        return
    print(f"{cores()} cores, load {os.getloadavg()[0]:.1f} at the start, {asked.repetitions} repetitions\n")
    print("| experiment | schedule | seconds | ratio to the best |\n|---|---|---|---|")
    for name in NAMES:
        took: dict[str, list[float]] = {schedule: [] for schedule in (CHOSEN, *FIXED)}
        for _ in range(asked.repetitions):
            for schedule, seconds in took.items():
                seconds.append(measured(name, schedule, quick=asked.quick))
        best = min(median(took[schedule]) for schedule in FIXED)
        for schedule, seconds in took.items():
            print(f"| {name} | {schedule} | {median(seconds):.1f} | {median(seconds) / best:.2f} |", flush=True)
        print(json.dumps({"experiment": name, "seconds": took}), file=sys.stderr)


if __name__ == "__main__":
    main()
