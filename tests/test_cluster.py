"""Cells computed by the workers of a real Dask cluster on this machine."""

import os
import socket
import sys
import threading
import time
import warnings

import pytest
from store_cases import LOG, Deadly, Killed, Toy, contents, notes, pyramid, starts

from mialab.engine import executors
from mialab.engine.executors import WorkersError, open_executor
from mialab.engine.run import CellsFailed, run
from mialab.engine.store import Store

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def cluster(log):
    """A scheduler and two workers, each a process that a nanny starts again if it dies."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv(LOG, str(log))
        warnings.simplefilter("ignore")
        options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": ":0", "silence_logs": 50}
        with distributed.LocalCluster(**options) as started:
            yield started


@pytest.fixture
def fresh(log):
    log.unlink(missing_ok=True)
    return log


def test_a_killed_worker_of_a_cluster_loses_nothing_and_nothing_is_done_twice(cluster, fresh, tmp_path, monkeypatch):
    cells = [*pyramid(8, steps=5, seconds=0.02), Killed(5000, steps=10, seconds=0.05)]
    with open_executor(scheduler=cluster.scheduler_address) as executor:
        done = run(cells, Store(tmp_path / "store"), executor=executor)
    assert (done.found, done.computed, done.left) == (0, 18, 0)
    first, second = [(pid, step) for pid, event, number, step in notes(fresh) if (event, number) == ("start", 5000)]
    assert first[0] != second[0], "another process goes on"
    assert second[1] == 5, "from where the first was killed"
    assert {number for number, count in starts(fresh).items() if count > 1} == {5000}
    assert len({pid for pid, *_ in notes(fresh)} - {os.getpid()}) >= 2, "both workers had a share in the work"
    kept = contents(tmp_path / "store")
    monkeypatch.delenv(LOG)
    run(cells, Store(tmp_path / "calm"))
    assert kept == contents(tmp_path / "calm")


def test_a_worker_with_several_threads_computes_one_cell_at_a_time(cluster, fresh, tmp_path):
    cells = [Toy(number, steps=2, seconds=0.02) for number in range(12)]
    with open_executor(scheduler=cluster.scheduler_address) as executor:
        run(cells, Store(tmp_path / "store"), executor=executor)
    for worker in {pid for pid, *_ in notes(fresh)}:
        events = [event for pid, event, *_ in notes(fresh) if pid == worker]
        assert events == ["start", "end"] * (len(events) // 2)


def test_a_cell_that_fails_on_a_cluster_says_why_and_where(cluster, fresh, tmp_path):
    with (
        open_executor(scheduler=cluster.scheduler_address) as executor,
        pytest.raises(CellsFailed, match="ValueError: of no use") as caught,
    ):
        run([Toy(1, fails="of no use"), Toy(2)], Store(tmp_path), executor=executor)
    assert "store_cases.py" in caught.value.__notes__[0]
    assert Store(tmp_path).has(Toy(2))


def test_a_cell_whose_workers_keep_dying_fails_and_the_others_are_there_at_the_latest_after_a_second_run(
    cluster, fresh, tmp_path
):
    others, store = [Toy(number) for number in range(4)], Store(tmp_path)
    with open_executor(scheduler=cluster.scheduler_address) as executor:
        with pytest.raises(CellsFailed, match="KilledWorker.*finished cells are kept") as caught:
            run([*others, Deadly(9)], store, executor=executor)
        assert store.name(Deadly(9)) in {failure.name for failure in caught.value.failures}
        run(others, store, executor=executor)  # Dask may blame a cell that waited in the same worker
    assert all(store.has(cell) for cell in others)


def test_a_scheduler_that_goes_away_is_named(fresh, tmp_path):
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(processes=False, **options) as cluster:
        threading.Timer(1, cluster.close).start()
        with pytest.raises(WorkersError, match="finished cells are kept"):  # noqa: SIM117
            with open_executor(scheduler=cluster.scheduler_address) as executor:
                run([Toy(number, steps=20, seconds=0.05) for number in range(8)], Store(tmp_path), executor=executor)


def test_a_scheduler_without_workers_is_named():
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0", silence_logs=50) as cluster,
        pytest.warns(UserWarning, match="has no workers yet") as caught,
        open_executor(scheduler=cluster.scheduler_address),
    ):
        pass
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:{port}", "127.0.0.1:{port}", "nonsense://x", "tcp://no.such.host.invalid:1"]
)
def test_a_scheduler_that_does_not_answer_is_named_within_seconds(address, monkeypatch):
    monkeypatch.setattr(executors, "_CONNECT_SECONDS", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
    start = time.monotonic()
    with pytest.raises(WorkersError, match="no Dask scheduler answers at .*`dask scheduler`") as caught:  # noqa: SIM117
        with open_executor(scheduler=address):
            pass
    assert time.monotonic() - start < 5
    assert address in str(caught.value)


def test_without_dask_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(WorkersError, match=r"pip install 'mialab\[cluster\]'"):  # noqa: SIM117
        with open_executor(scheduler="tcp://localhost:8786"):
            pass
