"""The pruning paper's tables and figures, and what they lack: sweeps and controls.

The paper states neither epochs nor learning rates nor per-layer shares; what stands here is our choice, after the code
of the authors of ADMM pruning where there is any: plain training, ADMM in four stages whose penalty grows tenfold, and
masked retraining. First and last layers stay whole, all others keep one share that meets Table 4's ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mialab.cells.attacked import Attacked
from mialab.cells.inspected import Inspected
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.cells.shadows import Shadows
from mialab.defenses.pruning import Admm, Budget, Prune, Rewind
from mialab.engine.grid import Experiment
from mialab.engine.store import Config
from mialab.splits import PRUNING, Arrangement
from mialab.training import Defense, Phase, Recipe, Steps

KNOWN = 0.5  # half of either side teaches the attack, as in the code of Nasr et al.
ATTACK = ("nasr-paper",)  # the pruning paper's section 5.2
SUITE = ("gap", "confidence", "modified-entropy-per-class", "nasr-paper")


@dataclass(frozen=True)
class Setting:
    """A network on a data set, and the recipes of its phases.

    keep: the share of the weights kept, by Table 4's ratio. rho: ADMM's penalties, one a stage.
    """

    data: str
    model: str
    keep: float
    dense: Recipe
    admm: Recipe
    retrained: Recipe
    rho: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    samples: tuple[int, int] | None = None
    arrangement: Arrangement = PRUNING

    @property
    def budget(self) -> Budget:
        """What is kept in Table 4."""
        return Budget(self.keep)

    def pipeline(
        self, seed: int, *later: Phase, first: tuple[Defense, ...] = (), recipe: Recipe | None = None
    ) -> Pipeline:
        """Plain training, unless other defenses and another recipe are given for it, and what comes after."""
        phases = (Phase(recipe or self.dense, first), *later)
        return Pipeline(self.data, self.model, phases, seed, samples=self.samples, arrangement=self.arrangement)

    def plain(self, seed: int) -> Pipeline:
        """The paper's baseline."""
        return self.pipeline(seed)

    def pruned(self, seed: int, budget: Budget | None = None) -> Pipeline:
        """The paper's MIA-Pruning: plain training, ADMM, masked retraining (Eq. 2)."""
        budget = budget or self.budget
        cut = Phase(self.retrained, (Prune(budget, by="admm"),))
        return self.pipeline(seed, Phase(self.admm, (Admm(budget, self.rho),)), cut)

    def cut(self, seed: int, budget: Budget, by: str = "magnitude") -> Pipeline:
        """One-shot pruning: plain training, the cut, retraining as long as ADMM and its retraining together."""
        recipe = replace(self.retrained, epochs=self.retrained.epochs + self.admm.epochs)
        return self.pipeline(seed, Phase(recipe, (Prune(budget, by=by),)))


def _adam(epochs: int, batch: int = 128) -> Recipe:
    return Recipe(epochs, batch=batch, optimizer="adam", lr=1e-3)


FINER = (1e-3, 1e-2, 1e-1, 1.0)  # short stages need a larger penalty for the weights to come near Z
SMALL = Setting("fashion", "lenet5", 0.1, _adam(60, 50), _adam(24, 50), _adam(12, 50), rho=FINER, samples=(3125, 0))
LENET = Setting("mnist", "lenet5", 1 / 15.78, _adam(50), _adam(40), _adam(20), rho=FINER)

# For CIFAR: the recipe of networks with batch norm, a tenth of its rate while ADMM draws and for the rest, as long.
_CIFAR = Recipe(160, lr=0.1, weight_decay=5e-4, schedule=Steps((80, 120)), augment=("crop", "flip"))
_CIFAR_ADMM = replace(_CIFAR, lr=0.01, weight_decay=1e-4, schedule=Steps((120,)))
_CIFAR_LATER = replace(_CIFAR, lr=0.01, schedule=Steps((80, 120)))
KEPT = {"vgg16": 1 / 13.84, "resnet18": 1 / 10.54, "mobilenet_v2": 1 / 10.06}


def _cifar(data: str, model: str, *, part: int = 1) -> Setting:
    """part: by which all epochs are divided."""
    dense, admm, later = (_shorter(recipe, part) for recipe in (_CIFAR, _CIFAR_ADMM, _CIFAR_LATER))
    return Setting(data, model, KEPT[model], dense, admm, later)


def _shorter(recipe: Recipe, part: int) -> Recipe:
    assert isinstance(recipe.schedule, Steps)
    milestones = tuple(epoch // part for epoch in recipe.schedule.milestones)
    return replace(recipe, epochs=recipe.epochs // part, schedule=replace(recipe.schedule, milestones=milestones))


TABLE1 = {
    "smoke": (SMALL,),
    "course": (LENET, _cifar("cifar10", "vgg16", part=8), _cifar("cifar100", "vgg16", part=8)),
    "paper": (
        LENET,
        *(_cifar("cifar10", model) for model in KEPT),
        *(_cifar("cifar100", model) for model in KEPT),
    ),
}
KEEPS: dict[str, tuple[float, ...]] = {
    "smoke": (0.5, 0.2, 0.1, 0.05, 0.03),
    "course": (0.5, 0.2, 0.1, 0.05, 0.02),
    "paper": (0.5, 0.3, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02),
}


def models(pipeline: Pipeline, epochs: Sequence[int] = ()) -> Models:
    """One model, kept whole after its last epoch; its answers after that and other epochs of its last phase."""
    end = pipeline.last.recipe.epochs
    return Models(pipeline, tuple(sorted({*epochs, end})), weights=(end,))


def audited(pipeline: Pipeline, *, attacks: tuple[str, ...] = SUITE, epoch: int | None = None) -> Attacked:
    """The audit that all tables read: attacks on one model, with what Algorithm 1 looks at."""
    at = pipeline.last.recipe.epochs if epoch is None else epoch
    target = models(pipeline, (at,))
    return Attacked(target, at, attacks=attacks, known=KNOWN, scores=True, curves=True, gains=True)


def _table4(preset: str, seed: int) -> tuple[Config, ...]:
    return tuple(
        Inspected(models(pipeline))
        for setting in TABLE1[preset]
        for pipeline in (setting.plain(seed), setting.pruned(seed))
    )


def _first(preset: str) -> Setting:
    """The setting of the sweeps: the one that is trained fastest."""
    return TABLE1[preset][0]


def _sparsity(preset: str, seed: int) -> tuple[Config, ...]:
    setting = _first(preset)
    swept = [setting.pruned(seed, Budget(keep)) for keep in KEEPS[preset]]
    pipelines = [setting.plain(seed), *swept]
    return tuple(audited(pipeline) for pipeline in pipelines)


_EARLY = (1, 2, 3, 5, 8, 12, 20, 30, 50)
EARLY = {"smoke": (2, 4, 6, 8, 12, 16, 20, 30, 60), "course": _EARLY, "paper": _EARLY}


def _early(preset: str, seed: int) -> tuple[Config, ...]:
    plain = _first(preset).plain(seed)
    return tuple(audited(plain, epoch=epoch) for epoch in EARLY[preset])


UNTRAINED = Recipe(1, lr=1e-12, momentum=0.0)  # the shortest phase there is: a cut, and no retraining
ROUNDS = 3


def _controls(preset: str, seed: int) -> tuple[Config, ...]:
    setting, rewound = _first(preset), (Rewind(1),)
    budget, keep = setting.budget, setting.keep
    pruned = setting.pruned(seed)
    channels = Budget(keep**0.5, unit="channels", whole=("last",))  # so that about the same share of weights is left
    pipelines = [
        setting.plain(seed),
        pruned,
        replace(pruned, phases=(*pruned.phases[:-1], Phase(UNTRAINED, pruned.last.defenses))),
        setting.pruned(seed, Budget(keep, scope="global")),
        *(
            setting.cut(seed, cut, by)
            for cut, by in ((budget, "magnitude"), (budget, "random"), (channels, "magnitude"))
        ),
        setting.pipeline(seed, *_iterative(setting)),
        setting.pipeline(seed, Phase(setting.dense, (Prune(budget), *rewound)), first=rewound),
    ]
    return tuple(audited(pipeline) for pipeline in pipelines)


def _iterative(setting: Setting) -> list[Phase]:
    """As many epochs of retraining as one-shot pruning has, spread over rounds that each cut the same share."""
    recipe = replace(setting.retrained, epochs=(setting.retrained.epochs + setting.admm.epochs) // ROUNDS)
    budgets = [Budget(setting.keep ** (number / ROUNDS)) for number in range(1, ROUNDS)] + [setting.budget]
    return [Phase(recipe, (Prune(budget, rounds=number),)) for number, budget in enumerate(budgets, start=1)]


SHADOWS = {"smoke": 16, "course": 16, "paper": 16}
LIKELIHOODS = ("lira-online-fixed", "lira-offline-fixed", "rmia-online", "rmia-offline", "shadow-thresholds")


def _shadows(preset: str, seed: int) -> tuple[Config, ...]:
    """Dense and pruned targets, each with shadows made as it was; the pruned one with dense shadows, too."""
    setting = _first(preset)
    plain, pruned = setting.plain(seed), setting.pruned(seed)
    return tuple(
        _with_shadows(target, shadow, SHADOWS[preset], per_cell=4 if preset == "smoke" else 1)
        for target, shadow in ((plain, plain), (pruned, pruned), (pruned, plain))
    )


def _with_shadows(target: Pipeline, shadow: Pipeline, number: int, *, per_cell: int) -> Attacked:
    cell = Shadows(shadow, (shadow.last.recipe.epochs,), count=per_cell)
    chosen = (*SUITE, *LIKELIHOODS)
    return replace(audited(target, attacks=chosen), shadow=cell, shadows=number)


_PLACE = ("data", "model", "method")
_VALUES = (
    "test_accuracy",
    "train_accuracy",
    "balanced_accuracy",
    "best_epoch_accuracy",
    "auc",
    "tpr_0.01",
    "gain",
    "js",
)

TABLE4 = Experiment(
    "pruning/table4",
    title="Weights before and after pruning",
    source="pruning paper, Table 4; bytes, operations and seconds are ours",
    cells=_table4,
    by=_PLACE,
    values=(
        *("weights", "all_weights", "reduction_ratio", "storage_bytes", "dense_bytes"),
        *("multiply_adds", "dense_multiply_adds", "inference_seconds", "narrowed_seconds", "residual"),
    ),
    reported=("pruning", "table4"),
)
SPARSITY = Experiment(
    "pruning/sparsity",
    title="Accuracy, attacks and divergence by the share of weights kept",
    source="pruning paper, Algorithm 1 and section 4.2; the paper shows no such sweep",
    cells=_sparsity,
    by=(*_PLACE, "mask", "keep", "attack"),
    values=_VALUES,
)
EARLY_STOPPING = Experiment(
    "pruning/early_stopping",
    title="Plain training stopped early: as accurate and as private?",
    source="ours",
    cells=_early,
    by=(*_PLACE, "epoch", "attack"),
    values=_VALUES,
)
CONTROLS = Experiment(
    "pruning/controls",
    title="What in pruning protects: masks, rounds, retraining",
    source="ours",
    cells=_controls,
    by=(*_PLACE, "mask", "keep", "epoch", "attack"),
    values=_VALUES,
)
PRUNED_SHADOWS = Experiment(
    "pruning/shadows",
    title="Attacks with shadow models, dense and pruned, on dense and pruned targets",
    source="ours, after Yuan and Zhang 2022",
    cells=_shadows,
    by=(*_PLACE, "shadow_method", "attack"),
    values=_VALUES,
)
