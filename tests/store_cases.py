"""Cheap cells that note when they are computed, and how stores are compared: what tests of store and engine share."""

import json
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from mialab import progress
from mialab.engine.store import Cell, Config, Store, surroundings

LOG = "TOY_LOG"  # the environment variable that names the file where computations are noted, by all processes
surroundings(), progress.bar(show=False).close()  # what a process does once, and forked children need not


@dataclass(frozen=True)
class Toy(Config):
    """A cell whose numbers follow from its own and those it needs; it notes each step, and goes on after the last."""

    KIND: ClassVar[str] = "toy"
    VERSION: ClassVar[int] = 1

    number: int
    of: tuple["Toy", ...] = ()
    steps: int = 1
    seconds: float = 0.0
    size: int = 4
    fails: str = ""

    def needs(self):
        return self.of

    def compute(self, inputs, *, scratch):
        done = scratch / "steps"
        first = int(done.read_text()) if done.exists() else 0
        note("start", self.number, first)
        for step in range(first, self.steps):
            self.before(step)
            time.sleep(self.seconds)
            scratch.mkdir(parents=True, exist_ok=True)
            (scratch / "next").write_text(str(step + 1))
            (scratch / "next").replace(done)
        if self.fails:
            raise ValueError(self.fails)
        total = self.number + sum(cell.info["total"] for cell in inputs)
        draw = np.random.default_rng(total)
        note("end", self.number, self.steps)
        return Cell({"total": total}, {"x": draw.normal(size=self.size), "odd": draw.integers(9, size=3) % 2 == 1})

    def before(self, step):
        """What happens before a step."""


@dataclass(frozen=True)
class Killed(Toy):
    """A cell whose process is killed before its sixth step, once, where computations are noted."""

    def before(self, step):
        begun = [number for _, event, number, _ in notes(os.environ.get(LOG, "")) if event == "start"]
        if step == 5 and begun.count(self.number) == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Deadly(Toy):
    """A cell that kills the process that computes it."""

    def compute(self, inputs, *, scratch):
        os.kill(os.getpid(), signal.SIGKILL)


def note(*words):
    """Append a line to the log, whole even if several processes write."""
    if path := os.environ.get(LOG):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{os.getpid()} {' '.join(map(str, words))}\n".encode())
        os.close(file)


def notes(path):
    """What was noted: (process, event, number, step)."""
    lines = Path(path).read_text().splitlines() if Path(path).is_file() else []
    return [(int(pid), event, int(number), int(step)) for pid, event, number, step in map(str.split, lines)]


def starts(path):
    """How often each cell was begun."""
    return Counter(number for _, event, number, _ in notes(path) if event == "start")


def pyramid(leaves=6, **options):
    """Cells on three floors that share what they need; only the upper two are returned."""
    ground = [Toy(number, **options) for number in range(leaves)]
    middle = [Toy(100 + k, of=(ground[k], ground[(k + 1) % leaves]), **options) for k in range(leaves)]
    return (*middle, Toy(1000, of=tuple(middle), **options))


def worker_settings(_):
    """Whether this process shows progress bars, its GPU, its threads, and which process it is."""
    return progress._watched(), os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS"), os.getpid()


def contents(root):
    """All that a store holds, save for what tells one run from another; and that no run has left anything else."""
    store, found = Store(Path(root)), {}
    assert store.foreign() == ()
    assert not list(store.root.glob("damaged-*"))
    assert not list((store.root / "scratch").iterdir()), "nothing unfinished is left"
    for folder in store.root.glob("toy-*"):
        info = json.loads((folder / "cell.json").read_text())
        assert sorted(path.name for path in folder.iterdir()) == ["arrays.safetensors", "cell.json"]
        varying = {"seconds", "made_with", "sha256"}
        kept = {key: value for key, value in info.items() if key not in varying}
        found[folder.name] = json.dumps(kept, sort_keys=True), (folder / "arrays.safetensors").read_bytes()
    return found
