"""A published set of small networks on embedded data, with weights that numpy draws: in memory, or as files."""

import hashlib
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import torch

from mialab import data, models
from mialab.models import released

NAME = "planted"
SHAPE, CLASSES = data.known.known("fashion").shape, data.known.known("fashion").classes


def theirs(number, model="small_cnn"):
    """A model's entries as a wrapper of several devices names them, some of each drawn by numpy alone."""
    draw = np.random.default_rng(number)
    state = models.build(model, SHAPE, CLASSES).state_dict()
    drawn = OrderedDict()
    for name, value in state.items():
        if name.startswith("scale."):
            continue
        fan_in = max(1, value[0].numel()) if value.ndim else 1
        fresh = draw.normal(size=value.shape) * (3 / fan_in) ** 0.5
        drawn[f"module.{name}"] = torch.from_numpy(np.asarray(fresh)).to(value.dtype)
    return drawn


def published(count=2, **changes):
    """The set, its checksums those of `theirs`."""
    contents = [released.content(theirs(number)) for number in range(count)]
    whole = released.Published(
        data="fashion",
        model="small_cnn",
        epoch=7,
        mean=(0.5,) * SHAPE[0],
        std=(0.25,) * SHAPE[0],
        folder="planted",
        name="model_{}.pt",
        address="https://example.org/planted/model_{}.pt",
        files=tuple(released.File("0" * 64, content) for content in contents),
    )
    return replace(whole, **changes)


@contextmanager
def planted():
    """The set under its name, its files in nobody's folder: what they hold is given, and any accuracy is believed."""

    def checkpoint(name, number):
        own = published()
        return released.Checkpoint(released.ours(own, theirs(number), "planted"), own.epoch, 0.5)

    with (
        mock.patch.dict(released.PUBLISHED, {NAME: published()}),
        mock.patch.object(released, "checkpoint", checkpoint),
        mock.patch.object(released, "check_accuracy", lambda *_, **__: None),
    ):
        yield


def save(folder, state, *, number=0, epoch=7, accuracy=50.0, **more):
    """A checkpoint file as training scripts write them; returns its path and SHA-256."""
    path = folder / "planted" / f"model_{number}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": epoch, "state_dict": state, "acc": torch.tensor(accuracy), **more}, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()
