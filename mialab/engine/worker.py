"""What runs in a worker process: one cell at a time, from the store into the store.

Nothing here imports torch, so that a worker has its GPU and threads before it does.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import tqdm

from mialab.engine.schedule import set_threads
from mialab.engine.store import Busy, Config, Store, StoreError

# A process has one global random state, and one GPU: a worker with several threads computes one cell at a time, too.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Outcome:
    """What comes back of one cell; its content goes to the store, wherever it was computed."""

    name: str
    state: str  # "computed", "found", "busy", "failed", or "stop": the store cannot be written
    reason: str = ""
    trace: str = field(default="", repr=False)
    seconds: float = 0.0


def compute_cell(store: Store, config: Config) -> Outcome:
    """Compute and keep one cell, in whatever process this is. Never raises an Exception: says what came of it."""
    name = store.name(config)
    with _ONE_AT_A_TIME:
        try:
            there, start = store.has(config), time.perf_counter()
            store.get(config, wait=False)
            return Outcome(name, "found" if there else "computed", seconds=time.perf_counter() - start)
        except Busy:
            return Outcome(name, "busy")
        except StoreError as error:
            return Outcome(name, "stop", str(error))
        except Exception as error:
            return Outcome(name, "failed", reason(error), traceback.format_exc())


def reason(error: BaseException) -> str:
    """One line. This package's own errors name the remedy, and stand for themselves."""
    line = next(iter(str(error).strip().splitlines()), "")
    own = type(error).__module__.partition(".")[0] == "mialab"
    return line if own and line else f"{type(error).__name__}: {line}".removesuffix(": ")


def begin(gpus: Any, threads: int) -> None:
    """Set up a worker: its GPU and threads. It leaves interrupts to the parent, and ends when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if (gpu := gpus.get()) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when CUDA starts, which is not before the first cell
    tqdm.tqdm.set_lock(threading.RLock())  # its own kind is a semaphore of the system's, left behind at a sudden end
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for libraries that are yet to be loaded
    set_threads(threads)


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)  # locks are freed with the process, and what it computes goes on from its checkpoint
