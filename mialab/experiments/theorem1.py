"""Theorem 1 of the pruning paper: a subnetwork of a random network takes over its target's accuracy, and its leak."""

from dataclasses import replace

from mialab.cells.inherited import Inherited
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.defenses.edge_popup import EdgePopup
from mialab.engine.grid import Experiment
from mialab.splits import Arrangement
from mialab.training import Phase, Recipe

# The theorem's networks have neither biases nor convolutions, so LeNet-5 is none of them: two hidden layers instead.
MODEL = "mlp64_32"
RECIPE = Recipe(epochs=60, batch=32, optimizer="adam", lr=1e-3)
SCORES = Recipe(epochs=60, batch=32, optimizer="adam", lr=1e-3)
HALF = Arrangement("carlini")
DATA = {"smoke": "digits", "course": "fashion", "paper": "mnist"}
PER_WEIGHT = (2, 4, 8, 12, 16)
DRAWS = 20
ATTACKS = ("gap", "confidence", "neural-published", "nasr-paper")
KNOWN = 0.5


def _target(preset: str, seed: int) -> Models:
    pipeline = Pipeline(DATA[preset], MODEL, (Phase(RECIPE),), seed=seed, arrangement=HALF)
    return Models(pipeline, (RECIPE.epochs,), weights=(RECIPE.epochs,))


def _cells(preset: str, seed: int) -> tuple[Inherited, ...]:
    target = _target(preset, seed)
    popup = replace(target, pipeline=replace(target.pipeline, phases=(Phase(SCORES, (EdgePopup(0.5),)),)))
    plain = Inherited(target, attacks=ATTACKS, known=KNOWN)
    drawn = (replace(plain, per_weight=number, draws=DRAWS) for number in PER_WEIGHT)
    return (plain, *drawn, replace(plain, target=popup))


THEOREM1 = Experiment(
    "pruning/theorem1",
    title="Subnetworks of random networks: what they answer, and what they leak",
    source="pruning paper, section 4.2, Theorem 1; the paper has no numbers for it",
    cells=_cells,
    by=("data", "model", "method", "per_weight", "attack"),
    values=(
        *("train_accuracy", "test_accuracy", "auc", "balanced_accuracy"),
        *("weights", "changed", "output_error", "worst_error", "failure_rate", "proven_rate"),
    ),
)
