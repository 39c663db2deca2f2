import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from filelock import FileLock
from store_cases import LOG, Toy, contents, notes, pyramid, starts, worker_settings

from mialab.data.download import DataError
from mialab.engine import executors, schedule
from mialab.engine import run as run_module
from mialab.engine.executors import WorkersError, open_executor
from mialab.engine.run import CellsFailed, Done, run
from mialab.engine.store import Cell, Config, Store, StoreError
from mialab.engine.worker import Outcome


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    return tmp_path / "log"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def counts(done: Done):
    return done.found, done.computed, done.left


def test_all_that_the_cells_need_is_computed_first_and_each_cell_once(store, log):
    cells = pyramid(6)
    assert counts(run([*cells, *cells, cells[0]], store)) == (0, 13, 0)
    assert set(starts(log).values()) == {1}
    assert store.find(cells[-1]).info["total"] == 1000 + 615 + 2 * 15
    begun = [number for _, event, number, _ in notes(log) if event == "start"]
    for cell in cells:
        assert all(begun.index(need.number) < begun.index(cell.number) for need in cell.of)


def test_only_what_is_missing_is_computed(store, log):
    cells = pyramid(6)
    run(cells[:2], store)
    assert counts(run(cells, store)) == (2 + 2, 13 - 5, 0), "two that others need, and not the one that none does"
    assert counts(run(cells, store)) == (7, 0, 0)
    assert set(starts(log).values()) == {1}


def test_what_only_finished_cells_need_is_not_computed_again(store, log):
    (cell,) = pyramid(2)[:1]
    run([cell], store)
    for need in cell.of:
        store.folder(need).rename(store.root.parent / store.name(need))
    assert counts(run([cell], store)) == (1, 0, 0)


def test_a_damaged_cell_is_computed_again(store, log):
    cells = pyramid(3)
    run(cells, store)
    unread = cells[1].of[1]
    for damaged in (cells[0], unread):
        (store.folder(damaged) / "cell.json").write_text("{}")
    with pytest.warns(UserWarning, match="is damaged") as caught:
        assert counts(run(cells, store)) == (3 + 2, 1, 0)
    assert len(caught) == 1, "nobody needs the other one"
    store.folder(cells[1]).rename(store.root.parent / "gone")
    with pytest.warns(UserWarning, match=f"{store.name(unread)} is damaged"):
        run(cells, store)
    assert starts(log) == {0: 1, 1: 1, 2: 2, 100: 2, 101: 2, 102: 1, 1000: 1}


def test_a_relative_store_is_the_same_wherever_the_workers_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    executor = WithResults(lambda name: Outcome(name, "failed", "no reason"))
    with pytest.raises(CellsFailed):
        run([Toy(2)], Store(Path("store")), executor=executor)
    assert executor.stores == [Store(tmp_path / "store")]


# Parts


def test_the_parts_of_a_run_do_all_the_work_once_and_the_last_one_what_needs_it(store, log):
    cells = pyramid(6)
    done = [run(cells, store, only=(part, 3)) for part in (2, 3, 1)]
    assert [counts(each) for each in done] == [(0, 2, 7), (2, 2 + 2, 5), (4 + 2, 2 + 5, 0)]
    assert set(starts(log).values()) == {1}
    assert counts(run(cells, store)) == (7, 0, 0)


def test_the_parts_do_not_depend_on_what_is_there(store, tmp_path):
    cells = [Toy(number) for number in range(6)]
    run([cells[0], cells[4]], store)
    run(cells, store, only=(2, 3))
    assert [store.has(cell) for cell in cells] == [True, True, False, False, True, False]


@pytest.mark.parametrize("only", [(0, 3), (4, 3), (1, 0)])
def test_a_part_that_does_not_exist_is_refused(store, only):
    with pytest.raises(ValueError, match="the parts are 1/"):
        run([Toy(1)], store, only=only)


# Failures


def test_a_cell_that_fails_stops_only_those_that_need_it(store, log):
    bad = Toy(1, fails="of no use")
    cells = [Toy(2, of=(bad,)), Toy(3, of=(Toy(4),)), Toy(5, of=(Toy(2, of=(bad,)),))]
    with pytest.raises(CellsFailed) as caught:
        run(cells, store)
    message = str(caught.value)
    assert message == (
        f"1 cell failed (2 more wait): {store.name(bad)}: ValueError: of no use. "
        "Run again after mending that; finished cells are kept"
    )
    assert "test_run" not in message
    assert "store_cases.py" in caught.value.__notes__[0], "where it happened"
    assert store.has(cells[1])
    with pytest.raises(CellsFailed):
        run(cells, store)
    assert starts(log) == {1: 2, 3: 1, 4: 1}


@dataclass(frozen=True)
class WithoutData(Config):
    KIND: ClassVar[str] = "toy"
    VERSION: ClassVar[int] = 1
    number: int = 0

    def needs(self):
        return ()

    def compute(self, inputs, *, scratch):
        raise DataError("CIFAR-10 is missing; put cifar-10.tar.gz into MIALAB_DATA")


def test_missing_data_are_named_once_with_their_own_remedy(store):
    cells = [WithoutData(number) for number in range(5)]
    names = [store.name(cell) for cell in cells]
    with pytest.raises(CellsFailed) as caught:
        run(cells, store)
    reason = "CIFAR-10 is missing; put cifar-10.tar.gz into MIALAB_DATA"
    assert f"5 cells failed: {names[0]}, {names[1]} and 3 more: {reason}. Run again" in str(caught.value)
    assert [failure.name for failure in caught.value.failures] == names


def test_a_store_that_cannot_be_written_stops_the_run_at_once(store, log):
    store.root.write_text("in the way")
    with pytest.raises(StoreError, match="MIALAB_STORE"):
        run([Toy(number) for number in range(5)], store)
    assert not starts(log)


def test_an_interrupt_keeps_what_was_finished(store, log, monkeypatch):
    compute = Toy.compute

    def interrupted(self, inputs, *, scratch):
        if self.number == 3:
            raise KeyboardInterrupt
        return compute(self, inputs, scratch=scratch)

    monkeypatch.setattr(Toy, "compute", interrupted)
    cells = [Toy(number) for number in range(6)]
    with pytest.raises(KeyboardInterrupt):
        run(cells, store)
    monkeypatch.setattr(Toy, "compute", compute)
    assert counts(run(cells, store)) == (3, 3, 0)
    assert set(starts(log).values()) == {1}


# Other processes


def test_what_another_process_computes_comes_last_and_is_waited_for(store, log, monkeypatch):
    monkeypatch.setattr(run_module, "_BUSY_SECONDS", 0.05)
    cells = [Toy(number) for number in range(4)]
    (store.root / "locks").mkdir(parents=True)
    other = FileLock(store.root / "locks" / f"{store.name(cells[0])}.lock", thread_local=False)
    other.acquire()

    def finish():
        while len(starts(log)) < 3:
            time.sleep(0.01)
        time.sleep(0.2)
        store._write(store.folder(cells[0]), Cell({"total": 0}, {}))
        other.release()

    thread = threading.Thread(target=finish)
    thread.start()
    assert counts(run(cells, store)) == (1, 3, 0)
    thread.join()
    assert starts(log) == {1: 1, 2: 1, 3: 1}


class WithResults(Executor):
    """Says of every cell what it is told to say, and computes nothing."""

    def __init__(self, say):
        self.say, self.stores = say, []

    def submit(self, function, store, config):
        self.stores.append(store)
        future = Future()
        future.set_result(self.say(store.name(config)))
        return future


def test_workers_with_another_folder_are_named(store, monkeypatch):
    monkeypatch.setattr(run_module, "_APPEAR_SECONDS", 0.2)
    elsewhere = WithResults(lambda name: Outcome(name, "computed"))
    with pytest.raises(WorkersError, match="the workers must see the same folder"):
        run([Toy(1)], store, executor=elsewhere)


# Progress


class Bar:
    """A progress bar that remembers."""

    def __init__(self, total, **options):
        self.total, self.moves, self.words = total, [], set()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def update(self, count):
        self.moves.append(count)

    def set_postfix_str(self, words):
        self.words.add(words)


def test_the_bar_moves_once_for_every_missing_cell(store, monkeypatch):
    bars = []
    monkeypatch.setattr(run_module, "bar", lambda **options: bars.append(Bar(**options)) or bars[-1])
    cells = pyramid(4)
    run(cells[:1], store)
    run(cells, store)
    assert [(each.total, sum(each.moves)) for each in bars] == [(3, 3), (6, 6)]
    assert all(words == "" or re.fullmatch(r"about \d+ s left", words) for each in bars for words in each.words)
    assert any(words for words in bars[1].words), "this store has timed such cells"


def test_a_run_that_nobody_watches_prints_nothing(store, capfd):
    run(pyramid(3), store)
    assert capfd.readouterr() == ("", "")


# Executors


def test_one_job_is_this_process_and_needs_no_gpu(monkeypatch):
    monkeypatch.setattr(executors, "_gpus", lambda: ["0"])
    for jobs in (None, 1):
        with open_executor(jobs=jobs) as executor:
            assert executor is None
    monkeypatch.setattr(executors, "_gpus", lambda: ["0", "1"])
    with open_executor(jobs=1) as executor:
        assert executor is None


def test_jobs_must_be_some_and_are_no_matter_of_a_cluster():
    for options in ({"jobs": 0}, {"jobs": 2, "scheduler": "tcp://localhost:1"}):
        with pytest.raises(ValueError, match="jobs"), open_executor(**options):
            pass


def test_gpus_are_those_that_this_process_may_use(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5f")
    assert executors._gpus() == ["3", "GPU-5f"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert executors._gpus() == ["0", "1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert executors._gpus() == []


def test_a_pool_has_a_gpu_per_worker_and_shares_the_threads_out(monkeypatch):
    monkeypatch.setattr(executors, "_gpus", lambda: ["4", "7"])
    monkeypatch.setattr(schedule, "cores", lambda: 8)
    monkeypatch.setattr(Toy, "operations", lambda self: 2 * schedule.LARGE)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with open_executor([Toy(1), Toy(2), Toy(3)]) as pool:
        assert isinstance(pool, ProcessPoolExecutor)
        seen = set()
        while len({pid for *_, pid in seen}) < 2:
            seen |= set(pool.map(worker_settings, range(8)))
    assert {gpu for _, gpu, _, _ in seen} == {"4", "7"}
    assert len(seen) == 2, "a worker keeps its GPU"
    assert {(shown, threads) for shown, _, threads, _ in seen} == {(False, "4")}


def when(condition, act):
    """Call `act` in a thread as soon as the condition holds."""

    def watch():
        while not condition():
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def running(log):
    """The processes that have begun a cell last and not finished it."""
    last = {pid: event for pid, event, _, _ in notes(log)}
    return [pid for pid, event in last.items() if event == "start"]


SLOW, ENDLESS = {"steps": 5, "seconds": 0.01}, {"steps": 1000, "seconds": 0.1}


COMPLAINT = "error::pytest.PytestUnhandledThreadExceptionWarning"


@pytest.mark.filterwarnings(COMPLAINT)
def test_a_killed_worker_of_a_pool_is_named_and_costs_only_the_cells_in_flight(store, log, tmp_path):
    cells = pyramid(6, **SLOW)
    with pytest.raises(WorkersError, match="ended abruptly.*finished cells are kept: run again"):  # noqa: SIM117
        with open_executor(jobs=2) as pool:
            kill = when(lambda: len(notes(log)) > 6 and running(log), lambda: os.kill(running(log)[0], signal.SIGKILL))
            run(cells, store, executor=pool)
    kill.join()
    kept = {number for _, event, number, _ in notes(log) if event == "end"}
    assert len(kept) >= 2
    with open_executor(jobs=2) as pool:
        done = run(cells, store, executor=pool)
    assert done.computed <= 13 - len(kept) + 1
    again = {number for number, count in starts(log).items() if count > 1}
    assert len(again) <= 2, "those that the two workers had begun"
    run(cells, Store(tmp_path / "calm"))
    assert contents(store.root) == contents(tmp_path / "calm")


@pytest.mark.filterwarnings(COMPLAINT)
def test_an_interrupt_ends_the_workers_at_once_and_keeps_what_was_finished(store, log):
    cells = [Toy(number, **ENDLESS) if number > 3 else Toy(number) for number in range(8)]
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with open_executor(jobs=2) as pool:
            when(lambda: len(starts(log)) == 6, lambda: os.kill(os.getpid(), signal.SIGINT))
            run(cells, store, executor=pool)
    assert [store.has(cell) for cell in cells] == [True] * 4 + [False] * 4
    assert not any(alive(pid) for pid in {pid for pid, *_ in notes(log)})


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


SCRIPT = """
import sys
from pathlib import Path
from store_cases import Toy
from mialab.engine.run import compute
from mialab.engine.store import Store
print("script", flush=True)
try:
    compute([Toy(number, steps={steps}, seconds=0.1) for number in range(4)], Store(Path({store!r})), jobs=2)
except KeyboardInterrupt:
    sys.exit(130)
"""


def script(tmp_path, store, *, steps):
    """A script as a newcomer writes it, without a guard, in a group of its own as a shell gives it one."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(store=str(store.root), steps=steps))
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, path], env=environment, start_new_session=True, **pipes)


def test_workers_do_not_run_the_script_again_that_starts_them(tmp_path, store, log):
    out, err = script(tmp_path, store, steps=3).communicate(timeout=60)
    assert (out, err) == ("script\n", "")
    assert starts(log) == dict.fromkeys(range(4), 1) and len({pid for pid, *_ in notes(log)}) == 2


@pytest.mark.parametrize("begun", [0, 2], ids=["while workers start", "while they compute"])
def test_an_interrupt_of_all_processes_is_told_in_one_line(tmp_path, store, log, begun):
    parent = script(tmp_path, store, steps=1000)
    assert parent.stdout.readline() == "script\n"
    while len(starts(log)) < begun:
        time.sleep(0.02)
    time.sleep(0.1)
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=30)
    assert (parent.returncode, out, err) == (130, "", "interrupted; finished cells are kept: run again to go on\n")
    assert not any(alive(pid) for pid in {pid for pid, *_ in notes(log)})


def endless(store):
    with open_executor(jobs=2) as pool:
        run([Toy(number, **ENDLESS) for number in range(4)], store, executor=pool)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_workers_end_with_a_killed_parent_and_free_their_cells(store, log):
    parent = multiprocessing.get_context("fork").Process(target=endless, args=(store,))
    parent.start()
    while len(running(log)) < 2:
        time.sleep(0.02)
    workers = running(log)
    parent.kill()
    deadline = time.monotonic() + 5
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.join()
    for _, _, number, _ in notes(log):
        with store._lock(store.name(Toy(number, **ENDLESS)), wait=False) as locked:
            assert locked
