"""A training run on disk: written after each epoch, refused if it is another run's, set aside if it is damaged."""

import hashlib
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mialab.training.identity import describe, describe_model

# A file is this line, the SHA-256 of the rest as another, and the rest: torch's format, which has no check of its own.
HEADER = b"mialab training checkpoint 1\n"
START = len(HEADER) + 65


class Checkpoint:
    """Saves and restores a run with its model, optimizer and defenses.

    No state of a random generator is kept: each epoch derives its own from the seed and its number. What tells the run
    from others is taken here, so before any hook is called: defenses and sources must be as they were when it began.
    """

    def __init__(self, path: str | os.PathLike, run: Any, model: nn.Module, data: Any, defenses: Sequence[Any]):
        self.path = Path(path)
        if self.path.is_dir():
            raise IsADirectoryError(f"checkpoint {self.path} is a directory: give the path of a file")
        if hasattr(data, "set_epoch"):
            data.set_epoch(1)  # sources are compared as they are at their start, wherever an earlier run left them
        self.run, self.model, self.defenses = run, model, defenses
        self.identity = {
            "recipe": repr(run.recipe),
            "seed": str(run.seed),
            "data": describe(data),
            "model": describe_model(model),
            "defenses": "; ".join(map(describe, defenses)),
        }

    def save(self) -> None:
        """Write the run's state after an epoch; the file is always a whole one, the old or the new."""
        run = self.run
        state = {
            "identity": self.identity,
            "run": {"epoch": run.epoch, "step": run.step, "stop": bool(run.stop), "history": run.history},
            "model": self.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "defenses": [d.state_dict() if hasattr(d, "state_dict") else None for d in self.defenses],
        }
        self._check(state)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest().encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.part-{os.getpid()}")
        try:
            with part.open("wb") as file:
                file.writelines([HEADER, digest, b"\n", buffer.getbuffer()])
            os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)

    def _check(self, state: dict[str, Any]) -> None:
        owners = [f"{type(defense).__name__}.state_dict()" for defense in self.defenses]
        parts = zip(
            ["run.history", "the optimizer", *owners],
            [state["run"], state["optimizer"], *state["defenses"]],
            strict=True,
        )
        for owner, part in parts:
            if not _is_plain(part):
                raise TypeError(
                    f"a checkpoint cannot hold {owner}: it may only have tensors, Python's own numbers and strings, "
                    "None, lists, tuples and dicts (of a NumPy number take .item())"
                )

    def restore(self) -> None:
        """Bring the run back to where the file left it; without a readable file, leave it at its start."""
        state = self._read()
        if state is None:
            return
        for name, value in state["run"].items():
            setattr(self.run, name, value)
        self.model.load_state_dict(state["model"])
        self.run.optimizer.load_state_dict(state["optimizer"])
        for defense, kept in zip(self.defenses, state["defenses"], strict=True):
            if kept is not None:
                defense.load_state_dict(kept)

    def _read(self) -> dict[str, Any] | None:
        try:
            content = memoryview(self.path.read_bytes())
        except FileNotFoundError:  # none yet, or another process that trains the same has just finished with it
            return None
        if content[: len(HEADER)] != HEADER[: len(content)]:
            raise ValueError(f"{self.path} is not a training checkpoint: give another path")
        try:
            if hashlib.sha256(content[START:]).hexdigest().encode() + b"\n" != content[len(HEADER) : START]:
                raise ValueError("its checksum is wrong")
            state = torch.load(io.BytesIO(content[START:]), map_location=self.run.device, weights_only=True)
        except Exception as error:  # what another version of torch wrote can raise nearly anything
            self._set_aside(error)
            return None
        theirs = state["identity"]
        differing = [name for name, value in self.identity.items() if theirs.get(name) != value]
        if differing:
            raise ValueError(
                f"checkpoint {self.path} belongs to another run (differs in {', '.join(differing)}): "
                "give another path, or delete the file to start again. Of defenses and sources that change as they "
                "train, make new ones"
            )
        return state

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


def _is_plain(value: Any) -> bool:
    """Say whether a file can give the value back without running code from it."""
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, torch.Tensor) or type(value) in (int, float, str, bool, type(None))
