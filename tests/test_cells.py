"""A tiny cell of each kind, computed anew, gives the numbers of tests/baselines/cells.json.

Where one does not, the cells in everybody's store, and every record, are no longer what the code gives. If that is
meant, raise the kind's VERSION and run `python tests/test_cells.py --update`; if not, something broke.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import released_cases
import torch
from experiment_cases import TINY, altered, drawn_cell, made, outputs_cell, random_models, shadows_cell

from mialab import audit, experiments, models, seeds, training
from mialab.attacks import References, neural
from mialab.cells.agreed import Agreed
from mialab.cells.attacked import Attacked
from mialab.cells.believed import Believed
from mialab.cells.by_class import ByClass
from mialab.cells.costed import Costed
from mialab.cells.defended import Defended
from mialab.cells.diversified import Diversified
from mialab.cells.inherited import Inherited
from mialab.cells.inspected import Inspected
from mialab.cells.masked import Masked
from mialab.cells.matched import Matched
from mialab.cells.models import Models
from mialab.cells.own_rows import OwnRows
from mialab.cells.parted import Parted
from mialab.cells.pipeline import Pipeline
from mialab.cells.queried import Queried
from mialab.cells.recorder import Recorder
from mialab.cells.released import Released
from mialab.cells.rescaled import Rescaled
from mialab.cells.sequential import Sequential
from mialab.cells.shadows import Shadows
from mialab.cells.snapshots import Snapshots
from mialab.engine.store import Cell, closure
from mialab.ensembles import Division
from mialab.masking import MemGuard, Rounded, TopK
from mialab.models import released
from mialab.splits import NASR, Arrangement
from mialab.training import Cyclic, Phase

BASELINES = Path(__file__).parent / "baselines" / "cells.json"
UPDATE = "python tests/test_cells.py --update"
WITHIN = "mialab.cells"
# Of shares, and of logits relative to their size where that is above 1. The tests below show that rounding moves them
# by less, and each change of method by more. Trained longer or faster, the network itself would make much of rounding.
TOLERANCE = 0.01
ROUNDING = 1e-6  # some ten times that of one operation in float32

SGD = replace(TINY.pipeline.last.recipe, epochs=4, optimizer="sgd", lr=0.01)
ONE = altered(TINY, recipe=SGD, epochs=(2, 4), samples=(200, 200))
# Networks that share a batch norm magnify rounding where they are trained faster.
CALM = altered(ONE, recipe=replace(SGD, lr=5e-4))
DENSE = training.Recipe(epochs=4, batch=64, optimizer="adam", lr=2e-3)
SEVERAL = Models(Pipeline("digits", "tabular", (Phase(DENSE),), arrangement=NASR), epochs=(2, 4), count=2)
ALL_FOUR = Attacked(random_models(), 2, models=4, size=4)
PAIRS = replace(ALL_FOUR, size=2, subsets=2, fusion="logit", white_box=True, known=0.6)
LARGE = altered(random_models(), samples=(1000, 1000))
REFERENCES = ("lira-online", "lira-offline-fixed", "rmia-offline", "shadow-thresholds")
WITH_SHADOWS = Attacked(
    LARGE,
    2,
    models=2,
    size=2,
    attacks=REFERENCES,
    shadow=Shadows(LARGE.pipeline, (2,), models=2, count=4),
    shadows=8,
    scores=True,
)
DISTURBED = Attacked(
    replace(LARGE, sensitivity=(2,)),
    2,
    models=2,
    subsets=2,
    attacks=("samia",),
    shadow=Shadows(LARGE.pipeline, (2,), sensitivity=(2,)),
    shadows=2,
)
KEPT = altered(TINY, samples=(100, 100), count=2, weights=(3,))
GUARDED = altered(KEPT, arrangement=Arrangement(reference=0.2))
HALVES = replace(SEVERAL.pipeline, arrangement=Arrangement("carlini"))
SHORT = altered(ONE, recipe=replace(SGD, epochs=2, lr=0.001), epochs=(2,))  # from made-up weights rounding would grow
TWO_PHASES = replace(SHORT, pipeline=replace(SHORT.pipeline, phases=2 * SHORT.pipeline.phases))
QUERIES = ("label-augmentation", "label-noise", "gradient-weights", "gradient-input")
BIAS_FREE = Models(replace(SEVERAL.pipeline, model="mlp6_5"), epochs=(4,), weights=(4,))
ALONE = altered(LARGE, count=1)
AUDITS = tuple(Attacked(replace(ALONE, epochs=(epoch,)), epoch, attacks=("gap", "confidence")) for epoch in (1, 2, 3))
with released_cases.planted():
    RELEASED = Released(released_cases.NAME, count=2, samples=(100, 100))
SMALL = {
    "models": {
        "one": ONE,
        "several": SEVERAL,
        "second phase": TWO_PHASES,
        "disturbed": replace(SEVERAL, count=1, sensitivity=(4,)),
    },
    "shadows": {
        "two": Shadows(ONE.pipeline, (4,), count=2),
        "ensemble": Shadows(HALVES, (4,), models=2),
        "disturbed": Shadows(HALVES, (4,), sensitivity=(4,)),
    },
    "attacked": {"all four": ALL_FOUR, "pairs": PAIRS, "with shadows": WITH_SHADOWS, "disturbed": DISTURBED}
    | {rule: replace(ALL_FOUR, fusion=rule, calibration=True) for rule in ("weighted", "stacking", "raw-logit")},
    "agreed": {"four": Agreed(random_models(), 2, models=4), "of the answer": Agreed(random_models(), 2, 4, "max")},
    "parted": {"pairs": Parted(random_models(), 2, models=4, size=2, subsets=2)},
    "by_class": {"one": ByClass(Attacked(replace(random_models(), count=1), 2, known=0.5, scores=True))},
    "costed": {"two phases": Costed(replace(TWO_PHASES, weights=(2,)))},
    "matched": {
        "attack": Matched(AUDITS, AUDITS[1], "epoch", "gap"),
        "accuracy": Matched(AUDITS, AUDITS[2], "epoch", "gap", "accuracy"),
    },
    "defended": {"later": Defended(AUDITS[2], "l2", 1, 0.01, AUDITS)},
    "masked": {
        "top": Masked(ALL_FOUR, TopK(2)),
        "rounded": Masked(replace(ALL_FOUR, fusion="logit"), Rounded(1)),
        "guarded": Masked(Attacked(GUARDED, 3, models=2, size=2, attacks=("gap", "confidence")), MemGuard(epochs=3)),
    },
    "inspected": {"one": Inspected(altered(TINY, samples=(100, 100), weights=(3,)))},
    "queried": {"both": Queried(KEPT, QUERIES, models=2, samples=100)},
    "released": {"both": RELEASED},
    "snapshots": {"two": Snapshots(altered(ONE, recipe=replace(SGD, schedule=Cyclic(2))).pipeline)},
    "diversified": {"two": Diversified(CALM.pipeline, (2, 4), 2, 0.1)},
    "believed": {"mean": Believed(replace(WITH_SHADOWS, fusion="vote", scores=False), "confidence")},
    "sequential": {"first": Sequential(altered(ONE, arrangement=Arrangement(reference=0.5)).pipeline, (2, 4))},
    "own_rows": {"part": OwnRows(altered(ONE, division=Division("partition", 2)), 1)},
    "rescaled": {"logit": Rescaled(replace(ALL_FOUR, fusion="logit"))},
    "inherited": {
        "target": Inherited(BIAS_FREE, attacks=("gap", "confidence")),
        "drawn": Inherited(BIAS_FREE, per_weight=6, count=2, attacks=("gap", "confidence")),
    },
}


def tiny_cells(kind: str) -> dict:
    """The version of a kind, and the numbers of its tiny cells: {"version", "numbers": {case: {place: number}}}."""
    (version,) = {config.VERSION for config in SMALL[kind].values()}
    with released_cases.planted():
        numbers = {case: dict(numbers_of(made(config, inputs(config)))) for case, config in SMALL[kind].items()}
    return {"version": version, "numbers": numbers}


def inputs(config):
    """What stands in for the cells that are needed: made up, so that each kind is tested by itself."""
    if isinstance(config, ByClass):
        return [made(config.audit, inputs(config.audit)), *inputs(config.audit)]
    if isinstance(config, Matched | Defended):
        return [made(need, inputs(need)) for need in config.needs()]
    if isinstance(config, Costed):
        return [Cell({**drawn_cell(need).info, "seconds": 1.0}, {}) for need in config.needs()]
    if isinstance(config, Inspected):
        return [_with_curve(drawn_cell(config.target))]
    if isinstance(config, OwnRows):  # which rows are its own is drawn from real data
        return [made(need) for need in config.needs()]
    if isinstance(config, Queried | Models | Inherited) or config is SMALL["masked"]["guarded"]:
        return [drawn_cell(need) for need in config.needs()]
    stand_ins = {Models: outputs_cell, Shadows: shadows_cell}
    samples = 200 if config is DISTURBED else 2000  # its network takes seconds an epoch on many
    return [stand_ins[type(need)](need, samples=samples) for need in config.needs()]


def _with_curve(cell: Cell) -> Cell:
    """The same as if its model had been trained, its loss falling by half in each epoch."""
    history = [[{**row, "train_accuracy": 0.9, "test_accuracy": 0.5} for row in rows] for rows in cell.info["history"]]
    curve = [{"phase": 0, "epoch": epoch, "loss": 2.0**-epoch} for epoch in range(1, 9)]
    return Cell({**cell.info, "history": history, "training": [curve]}, cell.arrays)


def numbers_of(cell) -> Iterator[tuple[str, object]]:
    """All that `rows` and `history` hold but seconds; of each array some entries, its mean and standard deviation."""
    for part in ("history", "rows"):
        held = leaves(part, cell.info.get(part, []))
        yield from ((place, value) for place, value in held if not place.endswith("_seconds"))
    for name, array in cell.arrays.items():
        flat = array.reshape(-1).astype(float)
        yield from ((f"{name}.{at}", round(flat[at], 6)) for at in range(0, len(flat), len(flat) // 7))
        yield from ((f"{name}.mean", round(flat.mean(), 6)), (f"{name}.std", round(flat.std(), 6)))


def leaves(place: str, value) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(f"{place}.{key}", each)
    else:
        yield place, round(value, 6) if isinstance(value, float) else value


def fault(kind: str, found: dict, baseline: dict | None) -> str | None:
    """Why a kind's cells do not fit their baseline, and what to do; None where they do."""
    if baseline is None:
        return f"{kind}: there is no baseline: run {UPDATE}"
    if found["version"] != baseline["version"]:
        return f"{kind}: VERSION is {found['version']}, but the baseline is of {baseline['version']}: run {UPDATE}"
    moved = [
        f"{case}, {place}: {was.get(place)} has become {now.get(place)}"
        for case in dict.fromkeys([*baseline["numbers"], *found["numbers"]])
        for was, now in [(baseline["numbers"].get(case, {}), found["numbers"].get(case, {}))]
        for place in dict.fromkeys([*was, *now])
        if not close(was.get(place), now.get(place))
    ]
    if not moved:
        return None
    return (
        f"{kind}: {len(moved)} numbers moved, but VERSION did not, so that stores and records would keep what the code "
        f"no longer gives: raise VERSION and run {UPDATE}, or find what broke. {'; '.join(moved[:3])}"
    )


def close(was, now) -> bool:
    if isinstance(was, float) and isinstance(now, float):
        return abs(was - now) <= TOLERANCE * max(1, abs(was))
    return was == now


@cache
def baselines() -> dict:
    return json.loads(BASELINES.read_text()) if BASELINES.exists() else {}


def update() -> None:
    """Write what is computed now as the baseline."""
    torch.cuda.is_available = lambda: False
    BASELINES.parent.mkdir(exist_ok=True)
    BASELINES.write_text(json.dumps({kind: tiny_cells(kind) for kind in SMALL}, indent=1) + "\n")


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    """A GPU draws other numbers from the same seed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("kind", SMALL)
def test_tiny_cells_of_each_kind_give_the_numbers_of_its_version(kind):
    assert (found := fault(kind, tiny_cells(kind), baselines().get(kind))) is None, found


def test_each_kind_of_cell_in_any_experiment_has_a_tiny_one_and_a_baseline():
    grids = [one.grid(preset) for one in experiments.ALL.values() for preset in experiments.PRESETS]
    kinds = {config.KIND for grid in grids for config in closure(grid)}
    assert kinds <= SMALL.keys(), f"add tiny cells of the new kind to SMALL and run {UPDATE}"
    assert baselines().keys() == SMALL.keys(), f"run {UPDATE}"


# that this is worth something


def shorter(recorder, run, keep=Recorder.after_epoch):
    seen = {"model": run.model, "history": run.history, "seed": run.seed}
    keep(recorder, SimpleNamespace(epoch=2 * run.epoch, **seen))


def with_recipe(train: Callable, **changes) -> Callable:
    """The trainer, with a recipe that differs by some factors."""

    def changed(build, members, recipe, **options):
        factors = {name: factor * getattr(recipe, name) for name, factor in changes.items()}
        return train(build, members, replace(recipe, **factors), **options)

    return changed


def other_seeds(seed, *names):
    return seeds.derive(seed, "another", *names)


def slower(patch):
    patch.setattr(training, "fit", with_recipe(training.fit, lr=0.9))
    patch.setattr(training, "fit_many", with_recipe(training.fit_many, lr=0.9))


def other_attack_seeds(patch):
    patch.setattr(f"{WITHIN}.attacked.derive", other_seeds)


def judged_on_the_known(patch):
    run = audit.audit
    patch.setattr(audit, "audit", lambda outputs, *, known, **options: run(outputs, known=~known, **options))


def only_one_model_of_a_shadow(patch):
    fused = References.of_ensembles
    one = lambda logits, *rest, **how: fused((each[:1] for each in logits), *rest, **how)  # noqa: E731
    patch.setattr(References, "of_ensembles", one)


def other_scaling(patch):
    own = released.ours
    patch.setattr(released, "ours", lambda published, *rest: own(replace(published, std=(0.2,)), *rest))


CHANGES = {
    "half the epochs": ("models", lambda patch: patch.setattr(Recorder, "after_epoch", shorter)),
    "a lower learning rate": ("models", slower),
    "other seeds": ("models", lambda patch: patch.setattr(f"{WITHIN}.pipeline.derive", other_seeds)),
    "other noise": ("models", lambda patch: patch.setattr(f"{WITHIN}.recorder.derive", other_seeds)),
    "shadows with other seeds": (
        "shadows",
        lambda patch: patch.setattr("mialab.cells.shadows.derive", other_seeds),
    ),
    "shadows trained slower": ("shadows", slower),
    "shadows of one model": ("attacked", only_one_model_of_a_shadow),
    "other samples asked": ("queried", lambda patch: patch.setattr(f"{WITHIN}.queried.derive", other_seeds)),
    "more noise": (
        "queried",
        lambda patch: patch.setattr("mialab.attacks.asking.NOISE_STDS", (1.0, 2.0, 4.0, 8.0)),
    ),
    "images scaled otherwise": ("released", other_scaling),
    "half the attack's epochs": ("attacked", lambda patch: patch.setattr(neural, "EPOCHS", neural.EPOCHS // 2)),
    "other seeds of attacks": ("attacked", other_attack_seeds),
    "known samples for the others": ("attacked", judged_on_the_known),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_method_without_a_raised_version_is_caught(change, monkeypatch):
    kind, make = CHANGES[change]
    make(monkeypatch)
    found = fault(kind, tiny_cells(kind), baselines()[kind])
    assert "numbers moved, but VERSION did not" in found and UPDATE in found


@pytest.mark.parametrize("kind", SMALL)
def test_rounding_on_another_machine_is_not_a_change(kind, monkeypatch):
    weights, outputs = torch.Generator().manual_seed(0), np.random.default_rng(0)

    def rounded(make):
        def rounded_model(*arguments, **options):
            model = make(*arguments, **options)
            with torch.no_grad():
                for part in model.parameters():
                    if not part.is_meta:  # built for its shapes alone
                        part.mul_(1 + ROUNDING * torch.randn(part.shape, generator=weights))
            return model

        return rounded_model

    def rounded_inputs(config):
        cells = inputs(config)
        for cell in cells:
            for name, array in cell.arrays.items():
                if name.startswith(("logits", "sensitivity", "weights")):
                    array *= 1 + ROUNDING * outputs.normal(size=array.shape).astype(np.float32)
        return cells

    monkeypatch.setattr(models, "build", rounded(models.build))
    monkeypatch.setattr(released, "network", rounded(released.network))
    with released_cases.planted():
        found = {case: dict(numbers_of(made(config, rounded_inputs(config)))) for case, config in SMALL[kind].items()}
    assert fault(kind, {**baselines()[kind], "numbers": found}, baselines()[kind]) is None


def test_a_raised_version_wants_a_new_baseline(monkeypatch):
    monkeypatch.setattr(Models, "VERSION", Models.VERSION + 1)
    found = fault("models", {**baselines()["models"], "version": Models.VERSION}, baselines()["models"])
    assert f"VERSION is {Models.VERSION}" in found and UPDATE in found


def test_a_kind_without_a_baseline_says_how_to_make_one():
    assert UPDATE in fault("new", {"version": 1, "numbers": {}}, None)


def test_a_number_that_appears_or_vanishes_has_moved():
    numbers = {"case": {"auc": 0.5, "attack": "gap"}}
    for other in ({"auc": 0.5}, {"auc": 0.5, "attack": "gap", "more": 0.1}, {"auc": 0.5, "attack": "loss"}):
        found = {"version": 1, "numbers": {"case": other}}
        assert "1 numbers moved" in fault("kind", found, {"version": 1, "numbers": numbers})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", required=True, help="write what is computed now")
    parser.parse_args()
    update()
