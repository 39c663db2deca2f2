"""How many processes and threads: on machines with known cores, memory and GPUs, for work of known shape."""

import os
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from threadpoolctl import threadpool_info

from mialab.chapters import notebook
from mialab.engine import schedule
from mialab.engine.run import run
from mialab.engine.schedule import LARGE, Schedule, choose, cores, limited, threads_for
from mialab.engine.store import Cell, Config, Store, closure


@dataclass(frozen=True)
class Sized(Config):
    KIND: ClassVar[str] = "sized"
    VERSION: ClassVar[int] = 1
    number: int = 0
    size: float = 0.0
    of: tuple["Sized", ...] = ()

    def needs(self):
        return self.of

    def operations(self):
        return self.size

    def compute(self, inputs, *, scratch):
        return Cell({"threads": torch.get_num_threads(), "blas": blas_threads()}, {})


def blas_threads():
    return max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(schedule, "cores", lambda: 8)
    monkeypatch.setattr(schedule, "_free_bytes", lambda: 64e9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def some(number, size=0.0):
    return [Sized(k, size) for k in range(number)]


@pytest.mark.parametrize(
    ("number", "size", "expected"),
    [
        (20, 1e6, Schedule(8, 1)),
        (3, 1e6, Schedule(3, 1)),
        (20, LARGE, Schedule(8, 1)),
        (4, LARGE, Schedule(4, 2)),
        (1, LARGE, Schedule(1, 8)),
        (1, 1e6, Schedule(1, 1)),
    ],
)
def test_cells_take_a_process_each_and_large_ones_the_cores_that_are_left(number, size, expected):
    assert choose(some(number, size)) == expected


def test_never_more_processes_than_memory_holds(monkeypatch):
    monkeypatch.setattr(schedule, "_free_bytes", lambda: 3.5e9)
    assert choose(some(20)) == Schedule(3, 1)
    assert choose(some(20, 1e10)) == Schedule(1, 8), "a step of 10 billion keeps a gigabyte"
    monkeypatch.setattr(schedule, "_free_bytes", lambda: 1e6)
    assert choose(some(20)) == Schedule(1, 1)


def test_never_more_processes_than_cells_that_can_run_at_once():
    training = Sized(0, 1e6)
    audits = [Sized(number, of=(training,)) for number in range(1, 6)]
    assert choose(closure(audits)) == Schedule(5, 1)
    assert choose(closure([Sized(9, of=(Sized(8, of=(training,)),))])) == Schedule(1, 1)


def test_work_that_is_done_before_workers_have_started_starts_none():
    assert choose(some(4), seconds={"sized": 1.0}) == Schedule(1, 1)
    assert choose(some(4), seconds={"sized": 60.0}) == Schedule(4, 1)
    assert choose(some(4), seconds={"other": 1.0}) == Schedule(4, 1), "unknown is not short"


def test_a_gpu_takes_one_process():
    assert choose(some(20, LARGE), gpus=1).processes == 1
    assert choose(some(20, LARGE), gpus=4) == Schedule(4, 2)
    assert choose(some(2, LARGE), gpus=4).processes == 2


def test_what_the_user_says_is_respected(monkeypatch):
    assert choose(some(20), jobs=3) == Schedule(3, 1)
    assert choose(some(20, LARGE), jobs=2) == Schedule(2, 4)
    assert choose([], jobs=2) == Schedule(2, 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose(some(20)) == Schedule(8, 3)
    assert threads_for(Sized(0, LARGE)) == threads_for(Sized(0)) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads_for(Sized(0)) == 1


def test_the_cores_are_those_of_this_process_its_container_or_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("MIALAB_CORES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(schedule, "_CGROUP", tmp_path)
    assert cores() == 64
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores() == 64
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert cores() == 2
    monkeypatch.setenv("MIALAB_CORES", "5")
    assert cores() == 5


def test_memory_is_that_of_the_system_and_the_container(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(schedule, "_CGROUP", tmp_path)
    free = schedule._free_bytes()
    assert 1e7 < free < 1e14
    (tmp_path / "memory.max").write_text("max\n")
    assert schedule._free_bytes() == pytest.approx(free, rel=0.2)
    (tmp_path / "memory.max").write_text("1000\n")
    assert schedule._free_bytes() == 1000


def test_threads_are_set_where_a_cell_is_computed_and_as_before_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "cores", lambda: 2)
    store, before = Store(tmp_path), (torch.get_num_threads(), blas_threads())
    small, large = Sized(0), Sized(1, LARGE)
    run([small, large], store)
    assert [store.find(cell).info["threads"] for cell in (small, large)] == [1, 2]
    assert store.find(small).info["blas"] == 1
    assert (torch.get_num_threads(), blas_threads()) == before


def test_an_error_restores_the_threads():
    before = torch.get_num_threads()
    with pytest.raises(ValueError), limited(before + 1):  # noqa: PT011
        assert torch.get_num_threads() == before + 1
        raise ValueError
    assert torch.get_num_threads() == before


def test_a_chapter_keeps_to_the_cores_that_it_is_given_unless_the_user_says_how_many_threads(monkeypatch):
    """Kernels side by side, each on all cores, trained chapters 07 and 08 ten times as slowly."""
    monkeypatch.setattr(schedule, "cores", cores)
    with limited(3):
        monkeypatch.setenv("MIALAB_CORES", "2")
        notebook.setup()
        assert torch.get_num_threads() == blas_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "5")
        monkeypatch.setenv("MIALAB_CORES", "1")
        notebook.setup()
        assert torch.get_num_threads() == blas_threads() == 2
