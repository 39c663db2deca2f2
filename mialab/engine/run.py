"""Cells computed in their order by any executor: each once, and what fails or is cut off costs only itself."""

import json
import queue
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from mialab.engine.executors import WorkersError, open_executor
from mialab.engine.schedule import cores, limited, threads_for
from mialab.engine.store import Config, Store, StoreError, closure, joined, observed
from mialab.engine.worker import Outcome, compute_cell, reason
from mialab.progress import bar, duration

_BUSY_SECONDS = 0.5  # between two looks at what another process is computing
_LATEST = 8  # cells of a kind by which its seconds are told
_APPEAR_SECONDS = 10  # that a cell kept by another machine may take to appear here


@dataclass(frozen=True)
class Done:
    """What a run did: cells that were there or came from other processes, cells computed, and cells left.

    Left are those that need what other parts of the work (`only`) have not finished yet.
    """

    found: int
    computed: int
    left: int
    seconds: float


class CellsFailed(RuntimeError):
    """Some cells could not be computed; one line that names them, why, and the remedy. All others are kept."""

    def __init__(self, failures: Sequence[Outcome], waiting: int = 0):
        reasons: dict[str, list[str]] = {}
        for failure in failures:
            reasons.setdefault(failure.reason, []).append(failure.name)
        causes = "; ".join(f"{_listed(names)}: {cause}" for cause, names in reasons.items())
        also = f" ({waiting} more wait)" if waiting else ""
        count = "1 cell" if len(failures) == 1 else f"{len(failures)} cells"
        super().__init__(f"{count} failed{also}: {causes}. Run again after mending that; finished cells are kept")
        self.failures = tuple(failures)
        self.add_note(failures[0].trace)


def compute(
    cells: Sequence[Config],
    store: Store,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    only: tuple[int, int] | None = None,
) -> Done:
    """Compute what is missing in as many processes, on as many threads, as are fastest here; see `run`.

    jobs: so many processes instead; scheduler: a Dask scheduler's address instead. An interrupt ends all processes, and
    says so.
    """
    work = closure(cells, store=store)
    try:
        seconds = recorded_seconds(store) if work else {}
        with open_executor(work, seconds=seconds, jobs=jobs, scheduler=scheduler) as executor:
            return run(cells, store, executor=executor, only=only)
    except KeyboardInterrupt:
        print("interrupted; finished cells are kept: run again to go on", file=sys.stderr)
        raise


def run(
    cells: Sequence[Config],
    store: Store,
    *,
    executor: Executor | None = None,
    only: tuple[int, int] | None = None,
    progress: bool = True,
) -> Done:
    """Compute what is missing of the cells, and of those that they need, each as soon as all that it needs is there.

    The result is in the store. `only=(3, 8)` computes every 8th of the cells that need nothing (the trainings), from
    the third on, and of the others those for which nothing is missing then: eight such runs on one store do all the
    work, and each training once. What another process is computing is waited for, last.

    Raises CellsFailed after all else is done, StoreError as soon as the store cannot be written, and WorkersError if
    workers were lost. However it ends, what was finished is kept: run again.
    """
    start, store = time.perf_counter(), Store(store.root.absolute())
    plan = _Plan(store)
    wanted = {plan.add(config) for config in cells}
    missing, found = plan.missing(wanted)
    elsewhere = plan.elsewhere(*(only or (1, 1)))
    blocked = {name: missing.intersection(needs) for name, needs in plan.needs.items() if name in missing - elsewhere}
    work = _Work(plan.configs, blocked, store, executor or _Inline())
    with bar(total=len(blocked), desc="cells", unit="cell", show=progress) as steps:
        work.finish(steps, recorded_seconds(store))
    if work.failed:
        raise CellsFailed(work.failed, len(work.blocked))
    return Done(found + work.found, work.computed, len(work.blocked), time.perf_counter() - start)


class _Plan:
    """Cells and all that they need by name, each once and after its needs."""

    def __init__(self, store: Store):
        self.store = store
        self.configs: dict[str, Config] = {}
        self.needs: dict[str, list[str]] = {}

    def add(self, config: Config) -> str:
        name = self.store.name(config)
        if name not in self.configs:
            self.needs[name] = [self.add(need) for need in config.needs()]
            self.configs[name] = config
        self.configs[name] = joined(self.configs[name], observed(config))
        return name

    def missing(self, wanted: set[str]) -> tuple[set[str], int]:
        """Which cells to compute, and how many are there. What only cells that are there need is not missed."""
        missing, found, looked_for = set(), 0, set(wanted)
        for name in reversed(self.configs):  # a cell comes before its needs
            if name not in looked_for:
                continue
            config = self.configs[name]
            if self.store.find(config) is not None if name in wanted else self.store.has(config):
                found += 1
            else:
                missing.add(name)
                looked_for.update(self.needs[name])
        return missing, found

    def elsewhere(self, part: int, parts: int) -> set[str]:
        """The cells that need nothing and are another part's. It does not depend on what is there already."""
        if not 1 <= part <= parts:
            raise ValueError(f"only = {part}/{parts}: the parts are 1/{parts} to {parts}/{parts}")
        trainings = [name for name, needs in self.needs.items() if not needs]
        return set(trainings).difference(trainings[part - 1 :: parts])


class _Work:
    """The cells to compute: blocked by what they need, ready, running, or busy in another process."""

    def __init__(self, configs: dict[str, Config], blocked: dict[str, set[str]], store: Store, executor: Executor):
        self.configs, self.blocked, self.store, self.executor = configs, blocked, store, executor
        self.ready: deque[str] = deque()
        self.running: dict[Future, str] = {}
        self.finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self.busy: list[str] = []
        self.failed: list[Outcome] = []
        self.found = self.computed = 0
        self.seen: dict[str, list[float]] = {}  # seconds of the cells that this run computes, by kind

    def finish(self, steps: Any, seconds: Mapping[str, float]) -> None:
        """Compute until nothing is left to do; `steps` is a progress bar, moved on for every cell.

        seconds: what a cell of each kind took here before, as far as it is known.
        """
        self._unblock()
        while self.ready or self.running or self.busy or self._unblock_from_store():
            if self.ready:
                self._submit(self.ready.popleft())
            steps.set_postfix_str(self._words(seconds))
            if (outcome := self._next()) is not None:
                self._settle(outcome)
                steps.update(outcome.state != "busy")

    def _words(self, seconds: Mapping[str, float]) -> str:
        """What stands beside the bar: the time left, as far as such cells were timed here, and what waits."""
        timed = {**seconds, **{kind: mean(took) for kind, took in self.seen.items()}}
        kinds = Counter(self.configs[name].KIND for name in (*self.blocked, *self.ready, *self.running.values()))
        left = sum(number * timed.get(kind, 0.0) for kind, number in kinds.items())
        left /= max(1, min(len(self.running), cores()))  # that many are computed side by side
        words = [f"{len(self.busy)} in other processes"] * bool(self.busy)
        if left:
            known = "about" if all(kind in timed for kind in kinds) else "at least"
            words.insert(0, f"{known} {duration(left)} left")
        return ", ".join(words)

    def _unblock(self, finished: str | None = None) -> None:
        for needs in self.blocked.values():
            needs.discard(finished)
        free = [name for name, needs in self.blocked.items() if not needs]
        self.ready.extend(free)
        for name in free:
            del self.blocked[name]

    def _unblock_from_store(self) -> bool:
        """See whether other processes have finished what our cells still need."""
        for name in set().union(*self.blocked.values()):
            if self.store.has(self.configs[name]):
                self._unblock(name)
        return bool(self.ready)

    def _submit(self, name: str) -> None:
        try:
            future = self.executor.submit(compute_cell, self.store, self.configs[name])
        except BrokenExecutor as error:
            raise _lost(error) from error
        self.running[future] = name
        future.add_done_callback(self.finished.put)

    def _next(self) -> Outcome | None:
        """What a worker has sent back. Waits for it only if there is nothing to submit."""
        try:
            future = self.finished.get(not self.ready, _BUSY_SECONDS if self.busy else None)
        except queue.Empty:
            if not self.ready:
                self.ready.extend(self.busy)
                self.busy.clear()
            return None
        name = self.running.pop(future)
        if future.cancelled():
            raise WorkersError("the scheduler gave up or went away; finished cells are kept: start it and run again")
        if (error := future.exception()) is None:
            return future.result()
        if isinstance(error, BrokenExecutor):
            raise _lost(error) from error
        return Outcome(name, "failed", reason(error))

    def _settle(self, outcome: Outcome) -> None:
        if outcome.state == "stop":
            raise StoreError(outcome.reason)
        if outcome.state == "busy":
            self.busy.append(outcome.name)
        elif outcome.state == "failed":
            self.failed.append(outcome)
        else:
            self._check_visible(self.configs[outcome.name])
            self.found += outcome.state == "found"
            self.computed += outcome.state == "computed"
            if outcome.state == "computed":
                self.seen.setdefault(self.configs[outcome.name].KIND, []).append(outcome.seconds)
            self._unblock(outcome.name)

    def _check_visible(self, config: Config) -> None:
        deadline = time.monotonic() + _APPEAR_SECONDS
        while not self.store.has(config):
            if time.monotonic() > deadline:
                raise WorkersError(
                    f"a worker has kept {self.store.name(config)}, but it does not appear in {self.store.root}: the "
                    "workers must see the same folder; choose one that they share with --store or MIALAB_STORE"
                )
            time.sleep(0.1)


class _Inline(Executor):
    """Computes in this process, at once, on the number of threads that suits the cell."""

    def submit(self, function: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        with limited(threads_for(args[1])):
            future.set_result(function(*args, **kwargs))
        return future


def recorded_seconds(store: Store) -> dict[str, float]:
    """The mean seconds that a cell of each kind took in this store, of its latest cells."""
    written: list[tuple[float, Path]] = []
    for path in store.root.glob("*-*/cell.json"):
        with suppress(OSError):  # another process may be replacing it
            written.append((path.stat().st_mtime, path))
    took: dict[str, list[float]] = {}
    for _, path in sorted(written, reverse=True):
        latest = took.setdefault(path.parent.name.partition("-")[0], [])
        if len(latest) < _LATEST:
            with suppress(OSError, ValueError, KeyError):
                latest.append(json.loads(path.read_bytes())["seconds"])
    return {kind: mean(latest) for kind, latest in took.items() if latest}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _lost(error: BaseException) -> WorkersError:
    return WorkersError(
        "a worker process ended abruptly (killed, out of memory, or unable to import the cells' classes); finished "
        f"cells are kept: run again, perhaps with fewer jobs ({reason(error)})"
    )
