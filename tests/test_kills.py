"""Processes that are killed, and processes that share a store: nothing is lost, spoilt or done twice."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter

import pytest
from store_cases import LOG, Toy, contents, notes, pyramid, starts

from mialab.engine.run import run
from mialab.engine.store import Store

# A server that has imported everything once, and has no threads, from which processes are forked in milliseconds.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "store_cases", "mialab.engine.run"])


def start(function, *arguments):
    process = CONTEXT.Process(target=function, args=arguments)
    process.start()
    return process


def work(root, log, cells, barrier=None, kill_at=None):
    os.environ[LOG] = str(log)
    if barrier:
        barrier.wait()
    if kill_at is not None:
        die_at(kill_at, str(root))
    run(cells, Store(root))


def die_at(operation, root):
    """Let this process be killed as it is about to do its n-th operation on a file under `root`."""
    count = 0

    def watch(event, arguments):
        nonlocal count
        if event.partition(".")[0] in ("open", "os", "shutil") and any(
            str(each).startswith(root) for each in arguments
        ):
            count += 1
            if count == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


@pytest.fixture(scope="module")
def cells():
    """63 cells on three floors, some resumable, some with arrays that take a while to write."""
    return [
        *pyramid(28, steps=4, seconds=0.004),
        Toy(3000, steps=20, seconds=0.005),
        *(Toy(2000 + k, size=200_000) for k in range(5)),
    ]


@pytest.fixture(scope="module")
def calm(cells, tmp_path_factory):
    """What a run gives that nobody disturbs."""
    root = tmp_path_factory.mktemp("calm") / "store"
    run(cells, Store(root))
    return contents(root)


def test_thirty_two_kills_at_random_instants_change_nothing_and_cost_at_most_the_cell_in_flight(cells, calm, tmp_path):
    root, log = tmp_path / "store", tmp_path / "log"
    draw, kills = random.Random(0), 0
    while kills < 32:
        process = start(work, root, log, cells)
        begun = len(notes(log))
        while len(notes(log)) == begun and process.is_alive():  # where a run only looks around, a kill is cheap
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.06))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"there was not enough work for 32 kills, only for {kills}"
        kills += 1
    last = start(work, root, log, cells)
    last.join()
    assert last.exitcode == 0
    assert contents(root) == calm
    again = {number: count for number, count in starts(log).items() if count > 1}
    assert 0 < sum(count - 1 for count in again.values()) <= kills
    assert_steps_are_not_repeated(log)
    resumed = [step for _, event, _, step in notes(log) if event == "start" and step]
    assert resumed, "a cell goes on from its scratch folder"


def assert_steps_are_not_repeated(log):
    """A cell that begins again does so where it was left: never before the step from which it began the last time."""
    latest = Counter()
    for _, event, number, step in notes(log):
        if event == "start":
            assert step >= latest[number]
            latest[number] = step


def test_a_kill_at_any_operation_on_files_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(LOG, "")  # and back again, as this process takes part
    need = Toy(1, steps=1)
    cells = [Toy(2, of=(need,))]
    run(cells, Store(tmp_path / "calm"))
    expected, operation, exitcode = contents(tmp_path / "calm"), 0, None
    while exitcode != 0:
        operation += 1
        root, log = tmp_path / str(operation) / "store", tmp_path / f"log{operation}"
        killed = start(work, root, log, cells, None, operation)
        killed.join()
        exitcode = killed.exitcode
        assert exitcode in (0, -signal.SIGKILL)
        kept = {number for number, cell in ((1, need), (2, *cells)) if Store(root).has(cell)}
        before = starts(log)
        work(root, log, cells)
        assert contents(root) == expected
        assert all(starts(log)[number] == before[number] for number in kept), "what was kept is not computed again"
    assert operation > 30


def test_two_processes_on_one_store_compute_every_cell_once(cells, calm, tmp_path):
    root, log, barrier = tmp_path / "store", tmp_path / "log", CONTEXT.Barrier(2)
    both = [start(work, root, log, order, barrier) for order in (cells, cells[::-1])]
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert contents(root) == calm
    assert set(starts(log).values()) == {1}
    shares = Counter(pid for pid, event, _, _ in notes(log) if event == "start")
    assert len(shares) == 2, "both had a share in the work"


def test_a_process_takes_over_what_another_was_killed_at(tmp_path):
    root, log = tmp_path / "store", tmp_path / "log"
    slow = Toy(1, steps=30, seconds=0.02)
    first = start(work, root, log, [slow])
    while not starts(log):
        time.sleep(0.005)
    second = start(work, root, log, [slow])
    time.sleep(0.2)
    assert starts(log) == {1: 1}, "the second waits"
    first.kill()
    second.join()
    assert second.exitcode == 0
    (_, went_on) = [step for _, event, _, step in notes(log) if event == "start"]
    assert went_on > 0
    assert Store(root).find(slow).info["total"] == 1
