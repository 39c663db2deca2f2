"""A training run on disk: written after each epoch, refused if it is another run's, set aside if it is damaged."""

import dataclasses
import hashlib
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = "mialab training checkpoint 1"


class Checkpoint:
    """Saves and restores a run with its model, optimizer and defenses.

    No state of a random generator is kept: each epoch derives its own from the seed and its number.
    """

    def __init__(self, path: str | os.PathLike, run: Any, model: nn.Module, data: Any, defenses: Sequence[Any]):
        self.path = Path(path)
        if self.path.is_dir():
            raise IsADirectoryError(f"checkpoint {self.path} is a directory: give the path of a file")
        self.run, self.model, self.defenses = run, model, defenses
        self.identity = {
            "recipe": repr(run.recipe),
            "seed": str(run.seed),
            "data": _describe_data(data),
            "model": _describe_model(model),
            "defenses": "; ".join(map(_describe_defense, defenses)),
        }

    def save(self) -> None:
        """Write the run's state after an epoch; the file is always a whole one, the old or the new."""
        run = self.run
        state = {
            "format": FORMAT,
            "identity": self.identity,
            "run": {"epoch": run.epoch, "step": run.step, "stop": bool(run.stop), "history": run.history},
            "model": self.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "defenses": [d.state_dict() if hasattr(d, "state_dict") else None for d in self.defenses],
        }
        self._check(state)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.part-{os.getpid()}")
        try:
            torch.save(state, part)
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
        if not self.path.exists():
            return None
        content = io.BytesIO(self.path.read_bytes())
        try:
            state = torch.load(content, map_location=self.run.device, weights_only=True)
        except Exception as error:  # a damaged file can raise nearly anything
            self._set_aside(error)
            return None
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError(f"{self.path} is not a training checkpoint: give another path")
        theirs = state["identity"]
        differing = [name for name, value in self.identity.items() if theirs.get(name) != value]
        if differing:
            raise ValueError(
                f"checkpoint {self.path} belongs to another run (differs in {', '.join(differing)}): "
                "give another path, or delete the file to start again"
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


def _describe_model(model: nn.Module) -> str:
    shapes = [(name, tuple(value.shape), str(value.dtype)) for name, value in model.state_dict().items()]
    return f"{type(model).__name__} {_digest(repr(shapes).encode())}"


def _describe_data(data: Any) -> str:
    if isinstance(data, tuple) and isinstance(data[0], torch.Tensor):
        return ", ".join(f"{part.dtype} {list(part.shape)} {_digest(_bytes(part))}" for part in data)
    return f"{type(data).__name__} of {len(data) if hasattr(data, '__len__') else 'unknown'} batches"


def _describe_defense(defense: Any) -> str:
    """Return the class and, of a dataclass, the settings that have a short exact form."""
    fields = dataclasses.fields(defense) if dataclasses.is_dataclass(defense) else ()
    settings = {f.name: getattr(defense, f.name) for f in fields if f.init}
    shown = {k: v for k, v in settings.items() if isinstance(v, int | float | str | tuple | None) and _is_plain(v)}
    return f"{type(defense).__qualname__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


def _bytes(tensor: torch.Tensor) -> memoryview:
    return memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def _digest(content: bytes | memoryview) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
