"""A training run on disk: written now and then, refused if it is another run's, set aside if it is damaged."""

import hashlib
import io
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mialab.engine.files import write_whole
from mialab.training.hooks import Hooks, Missed, State, TrainingRun, has, state_of

# A file is this line, the SHA-256 of the rest as another, and the rest: torch's format, which has no check of its own.
HEADER = b"mialab training checkpoint 2\n"
START = len(HEADER) + 65
SECONDS = 60.0  # between two writes: what a kill may cost


class Checkpoint:
    """A file that keeps a run's state, with what tells the run from others and the number of threads it computes with.

    No state of a random generator is kept: each epoch derives its own from the seed and its number. The number of
    threads changes the last bits of sums, so a run that goes on takes the one it began with.
    """

    def __init__(self, path: str | os.PathLike, identity: Mapping[str, str], *, seconds: float | None = None):
        self.path = Path(path)
        if self.path.is_dir():
            raise IsADirectoryError(f"checkpoint {self.path} is a directory: give the path of a file")
        self.identity, self.threads = dict(identity), torch.get_num_threads()
        self.seconds = SECONDS if seconds is None else seconds
        self.last = time.monotonic()

    def due(self) -> bool:
        """Say whether it is time to write."""
        return time.monotonic() - self.last >= self.seconds

    def write(self, state: dict[str, Any]) -> None:
        """Write the state; the file is always a whole one, the old or the new."""
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "threads": self.threads, "state": state}, buffer)
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest().encode()
        write_whole(self.path, lambda file: file.writelines([HEADER, digest, b"\n", buffer.getbuffer()]))
        self.last = time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """Return the state, and take its number of threads; None without a readable file.

        A damaged file, or one of another version of mialab, is set aside. One of another run is a ValueError.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:  # none yet, or another process that trains the same has just finished with it
            return None
        kind = HEADER.rpartition(b" ")[0]
        if content[: len(kind)] != kind[: len(content)]:
            raise ValueError(f"{self.path} is not a training checkpoint: give another path")
        try:
            kept = _unpacked(content)
        except Exception as error:  # what another version of torch wrote can raise nearly anything
            self._set_aside(error)
            return None
        theirs = kept["identity"]
        differing = [name for name, value in self.identity.items() if theirs.get(name) != value]
        if differing:
            raise ValueError(
                f"checkpoint {self.path} belongs to another run (differs in {', '.join(differing)}): "
                "give another path, or delete the file to start again"
            )
        self.threads = kept["threads"]
        return kept["state"]

    def _set_aside(self, error: Exception) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        os.replace(self.path, aside)
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        warnings.warn(
            f"checkpoint {self.path} cannot be read ({cause}); kept as {aside.name}, training starts again",
            stacklevel=2,
        )


def threads_of(path: str | os.PathLike) -> int | None:
    """Return the number of threads that a checkpoint's run computes with; None without a readable file."""
    try:
        return _unpacked(Path(path).read_bytes())["threads"]
    except Exception:  # as above; whoever reads the whole of it says what is wrong
        return None


def _unpacked(content: bytes) -> dict[str, Any]:
    view = memoryview(content)
    if view[: len(HEADER)] != HEADER[: len(view)]:
        raise ValueError("another version of mialab wrote it")
    if hashlib.sha256(view[START:]).hexdigest().encode() + b"\n" != view[len(HEADER) : START]:
        raise ValueError("its checksum is wrong")
    # Each tensor to where it was, as a generator's state must stay on the CPU; without a GPU, all to the CPU.
    place = None if torch.cuda.is_available() else "cpu"
    return torch.load(io.BytesIO(view[START:]), map_location=place, weights_only=True)


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """Let torch compute with so many threads inside the block; None: with as many as now."""
    before = torch.get_num_threads()
    try:
        if threads not in (None, before):
            torch.set_num_threads(threads)
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def check_plain(owner: str, value: Any) -> None:
    """Raise a TypeError that names the owner of what a file could not give back without running code from it."""
    if not _is_plain(value):
        raise TypeError(
            f"a checkpoint cannot hold {owner}: it may only have tensors, Python's own numbers and strings, "
            "None, lists, tuples and dicts (of a NumPy number take .item())"
        )


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, torch.Tensor) or type(value) in (int, float, str, bool, type(None))


def progress_of(run: TrainingRun) -> dict[str, Any]:
    """Return how far a run has come."""
    check_plain("run.history", run.history)
    return {"epoch": run.epoch, "step": run.step, "stop": bool(run.stop), "ended": run.ended, "history": run.history}


def states_of(hooks: Iterable[Hooks]) -> list[tuple[str, State | None]]:
    """Return the class and the state of each of these hooks."""
    states = [(type(one).__qualname__, state_of(one)) for one in hooks]
    for name, state in states:
        check_plain(f"{name}.state_dict()", state)
    return states


def restore_observers(observers: Sequence[Hooks], states: Sequence[tuple[str, State | None]]) -> bool:
    """Load what observers have seen; where one lacks something, leave all as they were, and return False."""
    before = deepcopy([state_of(one) for one in observers])
    try:
        for k, one in enumerate(observers):
            if has(one, "state_dict"):
                name, state = states[k] if k < len(states) else ("", None)
                if name != type(one).__qualname__ or state is None:
                    raise Missed
                one.load_state_dict(state)
    except Missed:
        for one, earlier in zip(observers, before, strict=True):
            if earlier is not None:
                one.load_state_dict(earlier)
        warnings.warn("what is to be observed is not all in the checkpoint: training starts again", stacklevel=2)
        return False
    return True


def optimizer_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Any]:
    """Return an optimizer's state, its class and the names of its parameters, as a hook may have put in another one."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [[names.get(id(parameter)) for parameter in group["params"]] for group in optimizer.param_groups]
    check_plain("the optimizer", state := optimizer.state_dict())
    return {"kind": _kind(optimizer), "groups": groups, "state": state}


def restored_optimizer(
    kept: dict[str, Any], optimizer: torch.optim.Optimizer, model: nn.Module
) -> torch.optim.Optimizer:
    """Return the optimizer with the kept state: this one, or where a hook had swapped it, one as it was."""
    here = optimizer_state(optimizer, model)
    if (here["kind"], here["groups"]) != (kept["kind"], kept["groups"]):
        module, _, name = kept["kind"].rpartition(".")
        named = dict(model.named_parameters())
        if not module.startswith("torch.optim") or None in chain(*kept["groups"]):
            raise ValueError(
                f"a checkpoint cannot make the {name} anew that a hook put in place of {type(optimizer).__name__}: use "
                "one of torch.optim on the model's parameters"
            )
        groups = [{"params": [named[parameter] for parameter in group]} for group in kept["groups"]]
        optimizer = getattr(torch.optim, name)(groups, lr=kept["state"]["param_groups"][0]["lr"])
    optimizer.load_state_dict(kept["state"])
    return optimizer


def _kind(optimizer: torch.optim.Optimizer) -> str:
    return f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
