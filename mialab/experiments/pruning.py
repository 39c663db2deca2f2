"""The pruning paper's tables and figures, and what they lack: sweeps and controls.

The paper states neither epochs nor learning rates nor per-layer shares; what stands here is our choice, after the code
of the authors of ADMM pruning where there is any: plain training, ADMM in four stages whose penalty grows tenfold, and
masked retraining. First and last layers stay whole, all others keep one share that meets Table 4's ratio. Where the
last layer alone has more weights than the ratio leaves, as MobileNetV2's for ImageNet, it is pruned as all others are.

From top to bottom: settings (networks, recipes), values of the sweeps, each experiment's cells by the name of its table
or figure (`_table2`), and what is shown of them (`TABLE2`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mialab.cells.attacked import Attacked
from mialab.cells.by_class import ByClass
from mialab.cells.costed import Costed
from mialab.cells.inspected import Inspected
from mialab.cells.matched import Matched
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.cells.shadows import Shadows
from mialab.defenses.dp import DpSgd
from mialab.defenses.min_max import MinMax
from mialab.defenses.pruning import WHOLE, Admm, Budget, Prune, Rewind
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

    keep: the share of the weights kept, by Table 4's ratio. whole: which of the first and last layers are not pruned.
    rho: ADMM's penalties, one a stage. gamma: the game's weight, 1 as in the code of Nasr et al., since the paper does
    not state it. The game takes as many epochs as all phases of pruning together, so that neither has trained longer.
    private: under differential privacy, with Adam at the rate of all others, from the first epoch on; the paper states
    its epsilon for LeNet-5, not its recipe. start: pretrained weights, which a `dense` of no epochs leaves as they are.
    """

    data: str
    model: str
    keep: float
    dense: Recipe
    admm: Recipe
    retrained: Recipe
    rho: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    gamma: float = 1.0
    private: Recipe | None = None
    epsilon: float = 6.28
    samples: tuple[int, int] | None = None
    arrangement: Arrangement = PRUNING
    start: str | None = None
    whole: tuple[str, ...] = WHOLE

    @property
    def budget(self) -> Budget:
        """What is kept in Table 4."""
        return Budget(self.keep, whole=self.whole)

    def pipeline(
        self, seed: int, *later: Phase, first: tuple[Defense, ...] = (), recipe: Recipe | None = None
    ) -> Pipeline:
        """Plain training, unless other defenses and another recipe are given for it, and what comes after."""
        phases = (Phase(recipe or self.dense, first), *later)
        how: dict[str, Any] = {"samples": self.samples, "arrangement": self.arrangement, "start": self.start}
        return Pipeline(self.data, self.model, phases, seed, **how)

    def plain(self, seed: int) -> Pipeline:
        """The paper's baseline."""
        return self.pipeline(seed)

    def pruned(self, seed: int, budget: Budget | None = None, *beside: Defense) -> Pipeline:
        """The paper's MIA-Pruning: plain training, ADMM, masked retraining (Eq. 2), with other defenses in both."""
        budget = budget or self.budget
        drawn = Phase(self.admm, (Admm(budget, self.rho), *beside))
        return self.pipeline(seed, drawn, Phase(self.retrained, (Prune(budget, by="admm"), *beside)))

    def game(self, seed: int, gamma: float | None = None) -> Pipeline:
        """The min-max game of Nasr et al., from the first epoch on."""
        recipe = _longer(self.dense, self.dense.epochs + self.admm.epochs + self.retrained.epochs)
        phase = Phase(recipe, (MinMax(self.gamma if gamma is None else gamma),))
        return replace(self.plain(seed), phases=(phase,))

    def both(self, seed: int, gamma: float | None = None) -> Pipeline:
        """Eq. 3: the game in ADMM's phase and in masked retraining; what comes before is trained plainly."""
        return self.pruned(seed, None, MinMax(self.gamma if gamma is None else gamma))

    def noisy(self, seed: int, settings: DpSgd | None = None) -> Pipeline:
        """Differential privacy (DP-SGD) in place of plain training; ValueError where the setting has no recipe."""
        return self.pipeline(seed, first=(settings or DpSgd(self.epsilon),), recipe=self._private())

    def noiseless(self, seed: int) -> Pipeline:
        """A control: the recipe of differential privacy, neither clipped nor with noise."""
        return self.pipeline(seed, recipe=self._private())

    def _private(self) -> Recipe:
        if self.private is None:
            raise ValueError(f"no recipe of differential privacy for {self.model} on {self.data}: give `private`")
        return self.private

    def longer(self, seed: int) -> Pipeline:
        """A control: trained plainly for as many epochs as all phases of pruning together."""
        return replace(self.plain(seed), phases=(Phase(self.game(seed).last.recipe),))

    def cut(self, seed: int, budget: Budget, by: str = "magnitude") -> Pipeline:
        """One-shot pruning: plain training, the cut, retraining as long as ADMM and its retraining together."""
        recipe = replace(self.retrained, epochs=self.retrained.epochs + self.admm.epochs)
        return self.pipeline(seed, Phase(recipe, (Prune(budget, by=by),)))


def _longer(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe over more epochs or fewer, its milestones at the same shares of them."""
    if not isinstance(recipe.schedule, Steps):
        return replace(recipe, epochs=epochs)
    milestones = tuple(max(1, epoch * epochs // recipe.epochs) for epoch in recipe.schedule.milestones)
    return replace(recipe, epochs=epochs, schedule=replace(recipe.schedule, milestones=milestones))


def _adam(epochs: int, batch: int = 128) -> Recipe:
    return Recipe(epochs, batch=batch, optimizer="adam", lr=1e-3)


FINER = (1e-3, 1e-2, 1e-1, 1.0)  # short stages need a larger penalty for the weights to come near Z
SMALL = Setting(
    *("fashion", "lenet5", 0.1, _adam(60, 50), _adam(24, 50), _adam(12, 50)),
    rho=FINER,
    private=_adam(30, 50),
    samples=(3125, 0),
)
LENET = Setting(
    *("mnist", "lenet5", 1 / 15.78, _adam(50), _adam(40), _adam(20)),
    rho=FINER,
    private=_adam(60, 256),
)

# Table 2's four-layer network. Its keep rate, the mean of Table 4's, and its recipes are our choice.
CNN = Setting(
    *("cifar10", "cnn4", 0.1, _adam(50), _adam(40), _adam(20)),
    private=_adam(60, 256),
)

# For CIFAR: the recipe of networks with batch norm, a tenth of its rate while ADMM draws and for the rest, as long.
_CIFAR = Recipe(160, lr=0.1, weight_decay=5e-4, schedule=Steps((80, 120)), augment=("crop", "flip"))
_CIFAR_ADMM = replace(_CIFAR, lr=0.01, weight_decay=1e-4, schedule=Steps((120,)))
_CIFAR_LATER = replace(_CIFAR, lr=0.01, schedule=Steps((80, 120)))
KEPT = {"vgg16": 1 / 13.84, "resnet18": 1 / 10.54, "mobilenet_v2": 1 / 10.06}


def _cifar(data: str, model: str, *, part: int = 1) -> Setting:
    """part: by which all epochs are divided."""
    dense, admm, later = (_longer(recipe, recipe.epochs // part) for recipe in (_CIFAR, _CIFAR_ADMM, _CIFAR_LATER))
    return Setting(data, model, KEPT[model], dense, admm, later)


SETTINGS = {
    "smoke": (SMALL,),
    "course": (LENET, _cifar("cifar10", "vgg16", part=8), _cifar("cifar100", "vgg16", part=8)),
    "paper": (
        LENET,
        *(_cifar("cifar10", model) for model in KEPT),
        *(_cifar("cifar100", model) for model in KEPT),
    ),
}
# ImageNet from torchvision's weights, ADMM and retraining of twenty epochs each; 10,000 of either side are audited.
_LATER = Recipe(20, batch=256, lr=1e-3, weight_decay=1e-4, schedule=Steps((10,)), augment=("crop", "flip"))
IMAGENET = tuple(
    Setting(
        *("imagenet", model, 1 / ratio, Recipe(0, batch=256), _LATER, _LATER),
        arrangement=Arrangement("ensemble_paper"),
        start="torchvision:IMAGENET1K_V1",
        whole=whole,
    )
    for model, ratio, whole in (("mobilenet_v2", 3.27, ("first",)), ("resnet18", 3.37, WHOLE))
)
# The same networks from scratch on ten classes of photographs. Recipes as for CIFAR.
PHOTOGRAPHS = tuple(replace(_cifar("tiny-imagenet-10", s.model), keep=s.keep) for s in IMAGENET)

# The shares kept in pruning/sparsity (chapters 07 and 10). A further one is computed and recorded by itself:
# `mialab run pruning/sparsity --where keep=0.15`, then `mialab record` with the same options.
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


def _table1(preset: str, seed: int) -> tuple[Config, ...]:
    methods = [(s.plain(seed), s.pruned(seed), s.game(seed)) for s in SETTINGS[preset]]
    return tuple(audited(pipeline) for three in methods for pipeline in three)


def _table2(preset: str, seed: int) -> tuple[Config, ...]:
    chosen = (_first(preset),) if preset == "smoke" else (LENET, CNN)
    return tuple(cell for setting in chosen for cell in _against_dp(setting, preset, seed))


def _against_dp(setting: Setting, preset: str, seed: int) -> tuple[Config, ...]:
    """Plain training and pruning, and differential privacy at the paper's epsilon and where it matches pruning."""
    audit, attack = (_with_rahman, "shadow-rahman") if setting is CNN else (audited, *ATTACK)
    plain, pruned = audit(setting.plain(seed)), audit(setting.pruned(seed))
    swept = tuple(audit(setting.noisy(seed, DpSgd(epsilon))) for epsilon in EPSILONS[preset])
    matched = (Matched(swept, pruned, "epsilon", attack, by) for by in ("attack", "accuracy"))
    return (plain, pruned, *swept, *matched)


def _with_rahman(target: Pipeline) -> Attacked:
    """The audit with the shadow attack of Rahman et al., by which the paper's row of the four-layer network is."""
    cell = Shadows(target, (target.last.recipe.epochs,))
    chosen = ("shadow-rahman", *SUITE)
    return replace(audited(target), attacks=chosen, shadow=cell, shadows=SHADOWS["paper"])


def _table3(preset: str, seed: int) -> tuple[Config, ...]:
    return _plain_and_pruned(IMAGENET if preset == "paper" else (_first(preset),), seed)


def _photographs(preset: str, seed: int) -> tuple[Config, ...]:
    return _plain_and_pruned((_first(preset),) if preset == "smoke" else PHOTOGRAPHS, seed)


def _plain_and_pruned(settings: Sequence[Setting], seed: int) -> tuple[Config, ...]:
    """What Table 3 tells of two models each: the audits, and the weights that are left."""
    pipelines = [pipeline for setting in settings for pipeline in (setting.plain(seed), setting.pruned(seed))]
    return tuple(cell for pipeline in pipelines for cell in (audited(pipeline), Inspected(models(pipeline))))


def _cost(preset: str, seed: int) -> tuple[Config, ...]:
    return tuple(
        Costed(models(pipeline))
        for s in SETTINGS[preset]
        for pipeline in (s.plain(seed), s.longer(seed), s.pruned(seed), s.game(seed), s.both(seed))
    )


def _table5(preset: str, seed: int) -> tuple[Config, ...]:
    chosen = [s for s in SETTINGS[preset] if s.model in ("vgg16", "lenet5")]
    return tuple(audited(pipeline) for s in chosen for pipeline in (s.pruned(seed), s.both(seed)))


def _vgg(preset: str) -> Setting:
    """The setting of Table 6 and both figures."""
    return next((s for s in SETTINGS[preset] if (s.data, s.model) == ("cifar10", "vgg16")), SETTINGS[preset][0])


def _four(preset: str, seed: int) -> tuple[Pipeline, ...]:
    s = _vgg(preset)
    return s.plain(seed), s.pruned(seed), s.game(seed), s.both(seed)


def _table6(preset: str, seed: int) -> tuple[Config, ...]:
    return tuple(ByClass(audited(pipeline)) for pipeline in _four(preset, seed))


def _figure2(preset: str, seed: int) -> tuple[Config, ...]:
    three = _four(preset, seed)[:3]
    return (*map(audited, three), *(Inspected(models(pipeline)) for pipeline in three))


def _figure3(preset: str, seed: int) -> tuple[Config, ...]:
    return tuple(Inspected(models(pipeline)) for pipeline in _four(preset, seed))


GAMMAS = (0.5, 1.0, 2.0, 6.0)


def _gamma(preset: str, seed: int) -> tuple[Config, ...]:
    setting = _first(preset)
    swept = [pipeline for gamma in GAMMAS for pipeline in (setting.game(seed, gamma), setting.both(seed, gamma))]
    return tuple(audited(pipeline) for pipeline in (setting.longer(seed), setting.pruned(seed), *swept))


def _table4(preset: str, seed: int) -> tuple[Config, ...]:
    return tuple(
        Inspected(models(pipeline))
        for setting in (*SETTINGS[preset], *(IMAGENET if preset == "paper" else ()))
        for pipeline in (setting.plain(seed), setting.pruned(seed))
    )


def _first(preset: str) -> Setting:
    """The setting of the sweeps: the one that is trained fastest."""
    return SETTINGS[preset][0]


def _sparsity(preset: str, seed: int) -> tuple[Config, ...]:
    setting = _first(preset)
    swept = [setting.pruned(seed, Budget(keep)) for keep in KEEPS[preset]]
    pipelines = [setting.plain(seed), *swept]
    return tuple(audited(pipeline) for pipeline in pipelines)


_EARLY = (1, 2, 3, 5, 8, 12, 20, 30, 50)
EARLY = {"smoke": (2, 4, 6, 8, 12, 16, 20, 30, 60), "course": _EARLY, "paper": _EARLY}


def _early(preset: str, seed: int) -> tuple[Config, ...]:
    plain, pruned = _first(preset).plain(seed), audited(_first(preset).pruned(seed))
    stopped = tuple(audited(plain, epoch=epoch) for epoch in EARLY[preset])
    return (*stopped, pruned, *(Matched(stopped, pruned, "epoch", *ATTACK, by) for by in ("accuracy", "attack")))


EPSILONS: dict[str, tuple[float, ...]] = {
    "smoke": (1.0, 6.28, 100.0),
    "course": (1.0, 6.28, 100.0),
    "paper": (0.5, 1.0, 3.0, 6.28, 30.0, 100.0, 1000.0),
}
ONLY_CLIPPED = DpSgd(None, noise=0.0)  # no noise, no promise: how much of the protection is clipping's


def _epsilon(preset: str, seed: int) -> tuple[Config, ...]:
    setting = _first(preset)
    swept = [setting.noisy(seed, DpSgd(epsilon)) for epsilon in EPSILONS[preset]]
    return tuple(map(audited, (setting.noiseless(seed), setting.noisy(seed, ONLY_CLIPPED), *swept)))


UNTRAINED = Recipe(1, lr=1e-12, momentum=0.0)  # the shortest phase there is: a cut, and no retraining
ROUNDS = 3


def _controls(preset: str, seed: int) -> tuple[Config, ...]:
    setting, rewound = _first(preset), (Rewind(1),)
    budget, keep = setting.budget, setting.keep
    pruned = setting.pruned(seed)
    channels = Budget(keep**0.5, unit="channels", whole=("last",))  # so that about the same share of weights is left
    pipelines = [
        setting.plain(seed),
        setting.longer(seed),
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
    end, ends = (target.last.recipe.epochs,), (shadow.last.recipe.epochs,)
    cell = Shadows(shadow, ends, count=per_cell, sensitivity=ends)
    disturbed = replace(models(target), sensitivity=end)
    chosen = (*SUITE, *LIKELIHOODS, "samia")
    return replace(audited(target), attacks=chosen, target=disturbed, shadow=cell, shadows=number)


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

TABLE1 = Experiment(
    "pruning/table1",
    title="Plain training, pruning and the min-max game",
    source="pruning paper, Table 1",
    cells=_table1,
    by=(*_PLACE, "attack"),
    values=_VALUES,
    reported=("pruning", "table1"),
)
TABLE2 = Experiment(
    "pruning/table2",
    title="Differential privacy and pruning",
    source="pruning paper, Table 2; plain training beside it; the paper's numbers of the four-layer CNN are quoted",
    cells=_table2,
    by=(*_PLACE, "epsilon", "matched", "attack"),
    values=(*_VALUES, "matched_epsilon", "apart"),
    reported=("pruning", "table2"),
)
TABLE3 = Experiment(
    "pruning/table3",
    title="Pretrained networks for ImageNet, plain and pruned",
    source="pruning paper, Table 3; storage and operations are ours",
    cells=_table3,
    by=(*_PLACE, "attack"),
    values=(*_VALUES, "reduction_ratio", "storage_bytes", "multiply_adds", "inference_seconds"),
    reported=("pruning", "table3"),
)
PHOTOGRAPHS_10 = Experiment(
    "pruning/photographs",
    title="Table 3's networks from scratch, on ten classes of photographs",
    source="ours, for who lacks ImageNet; never counts for Table 3",
    cells=_photographs,
    by=(*_PLACE, "attack"),
    values=(*_VALUES, "reduction_ratio", "storage_bytes", "multiply_adds", "inference_seconds"),
)
COST = Experiment(
    "pruning/cost",
    title="What it takes to train, with the min-max game and without",
    source="ours, on a sentence of the pruning paper's introduction",
    cells=_cost,
    by=(*_PLACE, "epoch"),
    values=("training_multiply_adds", "training_seconds"),
)
TABLE5 = Experiment(
    "pruning/table5",
    title="Pruning alone and within the min-max game",
    source="pruning paper, Table 5",
    cells=_table5,
    by=(*_PLACE, "attack"),
    values=_VALUES,
    reported=("pruning", "table5"),
)
TABLE6 = Experiment(
    "pruning/table6",
    title="Accuracy, certainty and the attack, by class",
    source="pruning paper, Table 6 and section 5.5; the paper prints all classes together",
    cells=_table6,
    by=(*_PLACE, "label", "attack"),
    values=(
        *("train_accuracy", "test_accuracy", "balanced_accuracy", "auc"),
        *("train_certainty", "test_certainty"),
    ),
    reported=("pruning", "table6"),
)
FIGURE2 = Experiment(
    "pruning/figure2",
    title="The loss in training, and the attack as it learns",
    source="pruning paper, Figure 2",
    cells=_figure2,
    by=(*_PLACE, "attack"),
    values=(*_VALUES, "train_loss", "epochs_to_converge"),
)
FIGURE3 = Experiment(
    "pruning/figure3",
    title="How weights are distributed",
    source="pruning paper, Figure 3",
    cells=_figure3,
    by=_PLACE,
    values=("weights", "all_weights", "train_loss", "train_accuracy", "test_accuracy"),
)
GAMMA = Experiment(
    "pruning/gamma",
    title="The weight of the min-max game",
    source="ours; the paper states no weight",
    cells=_gamma,
    by=(*_PLACE, "gamma", "attack"),
    values=_VALUES,
)
TABLE4 = Experiment(
    "pruning/table4",
    title="Weights before and after pruning",
    source="pruning paper, Table 4; bytes, operations and seconds are ours",
    cells=_table4,
    by=_PLACE,
    values=(
        *("test_accuracy", "weights", "all_weights", "reduction_ratio", "storage_bytes", "dense_bytes"),
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
    title="Plain training stopped early: as accurate and as private as pruning?",
    source="ours",
    cells=_early,
    by=(*_PLACE, "epoch", "matched", "attack"),
    values=(*_VALUES, "matched_epoch", "apart"),
)
EPSILON = Experiment(
    "pruning/epsilon",
    title="Differential privacy from hardly any noise to much",
    source="ours; the paper has one epsilon",
    cells=_epsilon,
    by=(*_PLACE, "epsilon", "noise", "attack"),
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
