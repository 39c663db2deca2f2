"""Theorem 1 of the pruning paper: a subnetwork of a random network takes over its target's accuracy, and its leak."""

from dataclasses import replace

from mialab.cells.inherited import Inherited
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.defenses.edge_popup import EdgePopup
from mialab.engine.grid import Experiment
from mialab.splits import Arrangement
from mialab.training import Phase, Recipe

# The theorem's networks have neither biases nor convolutions. LeNet-5 has both, so smaller ones stand here instead.
RECIPE = Recipe(epochs=60, batch=32, optimizer="adam", lr=1e-3)
HALF = Arrangement("carlini")
PLACES = {
    "smoke": Pipeline("fashion", "mlp32", (Phase(RECIPE),), samples=(2000, 0), arrangement=HALF),
    "course": Pipeline("fashion", "mlp32", (Phase(RECIPE),), arrangement=HALF),
    "paper": Pipeline("mnist", "mlp64_32", (Phase(RECIPE),), arrangement=HALF),
}
COUNT = {"smoke": 3, "course": 20, "paper": 20}  # random networks: what a failure rate is a share of
PER_WEIGHT = {"smoke": (4, 8, 12, 18), "course": (2, 4, 8, 12, 16, 20), "paper": (2, 4, 8, 12, 16, 20)}
KEEP = 0.5  # Ramanujan et al. 2020 find that half of the weights do best
ATTACKS = ("gap", "confidence", "nasr-paper")
KNOWN = 0.5


def _cells(preset: str, seed: int) -> tuple[Inherited, ...]:
    plain = _audited(PLACES[preset].seeded(seed))
    popup = _audited(replace(plain.target.pipeline, phases=(Phase(RECIPE, (EdgePopup(KEEP),)),)))
    drawn = (replace(plain, per_weight=number, count=COUNT[preset]) for number in PER_WEIGHT[preset])
    return (plain, *drawn, popup)


def _audited(pipeline: Pipeline) -> Inherited:
    end = (pipeline.last.recipe.epochs,)
    return Inherited(Models(pipeline, end, weights=end), attacks=ATTACKS, known=KNOWN)


THEOREM1 = Experiment(
    "pruning/theorem1",
    title="Subnetworks of random networks: what they answer, and what they leak",
    source="pruning paper, section 4.2, Theorem 1, which it does not run",
    cells=_cells,
    by=("data", "model", "method", "per_weight", "attack"),
    values=(
        *("train_accuracy", "test_accuracy", "auc", "balanced_accuracy"),
        *("weights", "changed", "output_error", "worst_error", "failure_rate", "proven_rate"),
    ),
)
