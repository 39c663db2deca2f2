"""Where cells are computed: here, in processes of this machine, or on a Dask cluster."""

import multiprocessing
import os
import signal
import sys
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType

from mialab.engine.schedule import Schedule, choose
from mialab.engine.store import Config
from mialab.engine.worker import begin

_CONNECT_SECONDS = 5


class WorkersError(RuntimeError):
    """Workers cannot be had, or were lost; one line that names the remedy."""


@contextmanager
def open_executor(
    work: Sequence[Config] = (),
    *,
    seconds: Mapping[str, float] = MappingProxyType({}),
    jobs: int | None = None,
    scheduler: str | None = None,
) -> Iterator[Executor | None]:
    """Yield what computes cells: None for this very process, a pool of `jobs` processes, or a Dask cluster's workers.

    work: the cells that are missing, by which `schedule.choose` finds how many processes and threads are fastest where
    `jobs` does not say; seconds: what a cell of each kind took here. The workers of a pool share GPUs out among them,
    stay until the block ends, and end at once if it ends with an error or an interrupt. `scheduler` is a Dask
    scheduler's address, such as tcp://host:8786. Raises WorkersError.
    """
    if jobs is not None and (jobs < 1 or scheduler is not None):
        cause = "not together with a scheduler, whose workers are started beside it" if scheduler else "at least 1"
        raise ValueError(f"jobs = {jobs}: {cause}")
    if scheduler is not None:
        with _cluster(scheduler) as executor:
            yield executor
        return
    gpus = [] if jobs == 1 or not (work or jobs) else _gpus()
    schedule = choose(work, seconds=seconds, gpus=len(gpus), jobs=jobs)
    if schedule.processes == 1:
        yield None
        return
    with _pool(schedule, gpus) as executor:
        yield executor


def _gpus() -> list[str]:
    """The names, as CUDA_VISIBLE_DEVICES has them, of the GPUs that this process may use. Does not start CUDA."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (named or [str(number) for number in range(count)])[:count]


@contextmanager
def _pool(schedule: Schedule, gpus: Sequence[str]) -> Iterator[Executor]:
    jobs = schedule.processes
    context = multiprocessing.get_context("spawn")  # a fork would inherit CUDA and threads, which do not survive it
    mine = context.SimpleQueue()
    for worker in range(jobs):
        mine.put(gpus[worker % len(gpus)] if gpus else None)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, context, initializer=begin, initargs=(mine, schedule.threads))
    try:
        with _without_main(), _without_interrupts():
            for _ in range(jobs):  # a call for which no worker is idle starts one
                pool.submit(os.getpid)
        yield pool
    except BaseException:  # an interrupt or a full disk: what runs has its checkpoint
        pool.shutdown(wait=False, cancel_futures=True)  # first, as a pool that loses its workers unasked complains
        for process in (workers := set(multiprocessing.active_children()) - others):
            process.terminate()
        for process in workers:
            process.join()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not run the caller's script again: a script or a notebook needs no guard around it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that an interrupt does not reach, not even while they start; here it comes after the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise WorkersError("a scheduler's workers are reached through Dask: pip install 'mialab[cluster]'") from error
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkersError(
            f"no Dask scheduler answers at {address!r} within {_CONNECT_SECONDS} s; start one with `dask scheduler`, "
            "and give the address that it prints, as in tcp://host:8786"
        ) from error
    with client:
        if not client.nthreads():
            warnings.warn(f"the scheduler at {address} has no workers yet; waiting for `dask worker`", stacklevel=5)
        # Not pure: the same call does another thing once a cell is kept, and Dask must not remember the first.
        executor = client.get_executor(pure=False)
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)  # nobody asks for what waits there
            raise
