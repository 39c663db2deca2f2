"""Small cells that tests of experiments share, and how they are made without a store."""

from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mialab import fusion, models, splits, training
from mialab.cells.models import Models, rebuild
from mialab.cells.pipeline import Pipeline, evaluated
from mialab.engine.store import Cell
from mialab.training import Phase

RECIPE = training.Recipe(epochs=3, batch=20, optimizer="adam", lr=0.01)
TINY = Models(Pipeline("textures", "small_cnn", (Phase(RECIPE),), samples=(60, 80)), epochs=(1, 3))


def altered(config, **changes):
    """The same cell with other fields, wherever they stand: its own, its pipeline's, or its only phase's."""
    own = {field.name for field in fields(config)}
    phase = {name: changes.pop(name) for name in ("recipe", "defenses") if name in changes}
    if phase:
        (before,) = config.pipeline.phases
        changes["phases"] = (replace(before, **phase),)
    pipeline = {name: changes.pop(name) for name in tuple(changes) if name not in own}
    return replace(config, pipeline=replace(config.pipeline, **pipeline), **changes)


def made(config, inputs=()):
    """The cell of this configuration, computed here and now."""
    with TemporaryDirectory() as folder:
        return config.compute(inputs, scratch=Path(folder) / "scratch")


def random_models():
    """Two models in a cell, whose outputs `outputs_cell` makes up."""
    return Models(Pipeline("textures", "small_cnn", (Phase(RECIPE),)), epochs=(2,), count=2)


def outputs_cell(config, *, samples=400, classes=4):
    """A cell as training might have given: numbers drawn so that members are a little surer, in float64 throughout.

    Drawn by numpy alone, they are the same on every machine.
    """
    draw = np.random.default_rng([config.first, config.seed])
    labels, member = np.arange(samples) % classes, np.arange(samples) < samples // 2
    logits = draw.normal(size=(config.count, samples, classes))
    logits[:, np.arange(samples), labels] += 1.0 + 1.5 * member
    history = [{"epoch": epoch, "learning_rate": config.pipeline.last.recipe.lr} for epoch in config.epochs]
    info = {"history": [history] * config.count, "training": [[]] * config.count, "made_with": {"device": "none"}}
    arrays = {"labels": labels, "member": member}
    arrays |= {f"logits_{epoch}": logits.astype(np.float32) for epoch in config.epochs}
    return Cell(info, arrays | {f"sensitivity_{epoch}": moved(logits) for epoch in config.sensitivity})


def moved(logits):
    """A sensitivity that goes with them: p (1 - p), as if each logit moved by itself."""
    p = fusion.softmax(logits)
    return (p * (1 - p)).astype(np.float32)


def shadows_cell(config, *, samples=400, classes=4):
    """Shadows on the samples of `outputs_cell`, as training might have given: surer of what they have seen."""
    labels = np.arange(samples) % classes
    answers, inside = [], []
    for number in config.numbers:
        draw = np.random.default_rng([number, config.seed, 1])
        inside.append(splits.half(labels, number, seed=config.seed))
        logits = draw.normal(size=(config.models, samples, classes))
        logits[:, np.arange(samples), labels] += 1.0 + 1.5 * inside[-1]
        answers.append(logits.astype(np.float32))
    arrays = {f"logits_{epoch}": np.stack(answers) for epoch in config.epochs}
    arrays |= {f"sensitivity_{epoch}": moved(np.stack(answers)) for epoch in config.sensitivity}
    arrays |= {"member": np.stack(inside), "labels": labels}
    return Cell({"made_with": {"device": "none"}}, arrays)


def drawn_cell(config):
    """A cell of `config.count` models whose weights are drawn by numpy instead of trained, with their logits."""
    seen, (end,) = evaluated(config.pipeline), config.weights
    (x, labels), arrays = seen.samples(), {}
    for k in range(config.count):
        draw = np.random.default_rng([config.first + k, config.seed])
        state = models.build(config.pipeline.model, x.shape[1:], seen.dataset.classes).state_dict()
        for name, value in state.items():
            fan_in = max(1, value[0].numel())
            fresh = draw.normal(size=value.shape) * (3 / fan_in) ** 0.5
            kept = value.numpy() if name.startswith("scale") else fresh
            arrays[f"weights_{end}_{k}.{name}"] = kept.astype(np.float32)
    answers = [training.logits(model, x).numpy() for model in rebuild(config, Cell({}, arrays))]
    arrays |= {f"logits_{config.epochs[-1]}": np.stack(answers), "labels": labels.numpy()}
    history = [{"epoch": epoch, "learning_rate": config.pipeline.last.recipe.lr} for epoch in config.epochs]
    info = {"history": [history] * config.count, "training": [[]] * config.count, "made_with": {"device": "none"}}
    return Cell(info, arrays | {"member": seen.member.numpy()})
