"""Between the papers: questions that neither asks, and the ensemble paper's own proposal for future work. All ours.

Members are AlexNets on CIFAR-10, ten of them, as in the ensemble paper's Figure 5. `smoke` has five small networks on
textures. Ensembles of fewer models are averaged over subsets that use each model once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mialab import fusion
from mialab.cells.agreed import Agreed
from mialab.cells.attacked import Attacked
from mialab.cells.believed import Believed
from mialab.cells.defended import Defended
from mialab.cells.models import Models
from mialab.cells.pipeline import Pipeline
from mialab.cells.queried import Queried
from mialab.cells.sequential import Sequential
from mialab.cells.shadows import Shadows
from mialab.defenses.pruning import Admm, Budget, Prune
from mialab.engine.grid import Experiment
from mialab.engine.store import Config
from mialab.experiments.basics import ALEXNET, SMALL
from mialab.experiments.ensemble_defenses import ASKED, BY_LABELS, SETTINGS, Setting
from mialab.experiments.pruning import FINER
from mialab.splits import Arrangement
from mialab.training import Phase, Recipe

# Do ensembles of pruned members leak less? Each member is trained, pruned by ADMM and retrained, as the pruning paper
# has it; recipes of the later phases and shares are our choice. Plain ensembles of the same size after several epochs,
# the last of them trained as long as all three phases together, are what they are compared with at the same accuracy.
ADMM = {"smoke": replace(SMALL, epochs=12), "course": replace(ALEXNET, epochs=40, lr=1e-3)}
ADMM["paper"] = ADMM["course"]
KEEPS = {"smoke": (0.3, 0.2, 0.1), "course": (0.3, 0.1, 0.05), "paper": (0.3, 0.1, 0.05)}


def pruned(setting: Setting, admm: Recipe, keep: float, seed: int) -> Pipeline:
    """The pruning paper's three phases (Eq. 2) for each member of an ensemble."""
    budget = Budget(keep)
    cut = Phase(admm, (Admm(budget, FINER),)), Phase(setting.later, (Prune(budget, by="admm"),))
    return setting.pipeline(seed, Phase(setting.recipe), *cut)


def longer(setting: Setting, admm: Recipe) -> Setting:
    """A control: trained plainly for as many epochs as all phases of pruning together."""
    epochs = setting.recipe.epochs + admm.epochs + setting.later.epochs
    return replace(setting, recipe=replace(setting.recipe, epochs=epochs), epochs=(epochs,))


def _pruned(preset: str, seed: int) -> tuple[Defended, ...]:
    setting, admm = SETTINGS[preset], ADMM[preset]
    plain, control = setting.pipeline(seed), longer(setting, admm)
    cut = [pruned(setting, admm, keep, seed) for keep in KEEPS[preset]]
    found = []
    for size, white_box in ((1, False), (setting.models, False), (setting.models, True)):
        usual = [replace(setting.audit(plain, size, epoch), white_box=white_box) for epoch in setting.epochs]
        more = replace(control.audit(control.pipeline(seed), size), white_box=white_box)
        curve = (*usual, more)  # where the learning rate stays, the longer training is the same one, gone on with
        found += [Defended(audit, "none", 0, audit.epoch, curve) for audit in usual]
        found.append(Defended(more, "longer", 0, more.epoch, curve))
        for strength, (keep, pipeline) in enumerate(zip(KEEPS[preset], cut, strict=True), start=1):
            audit = replace(setting.audit(pipeline, size), white_box=white_box)
            found.append(Defended(audit, "pruned", strength, keep, curve))
    return tuple(found)


_BY = ("data", "model", "method", "strength", "dial", "epoch", "access", "models", "attack")
_VALUES = ("train_accuracy", "test_accuracy", "auc", "auc_above_plain", "balanced_accuracy", "tpr_0.01")

PRUNED = Experiment(
    "ensemble/pruned",
    title="Ensembles of pruned members: accuracy, the attack, and the attack on plain ensembles of the same accuracy",
    source="ours, between the papers; members as in the pruning paper's Eq. 2",
    cells=_pruned,
    by=_BY,
    values=_VALUES,
)


# LiRA against an ensemble: a shadow is an entire ensemble, all of it trained on one half. Half of the rows are members,
# and the attacker knows a fifth of either side, so that at `smoke` a TPR at 1 % FPR stands on ten non-members.
KNOWN = 0.2
HALF = Arrangement("carlini")
SHADOWS = {"smoke": 8, "course": 8, "paper": 64}
_SMALL_HALF = Models(
    Pipeline("textures", "small_cnn", (Phase(SMALL),), samples=(2500, 0), arrangement=HALF), (24,), weights=(24,)
)
_CIFAR_HALF = Models(Pipeline("cifar10", "alexnet", (Phase(ALEXNET),), arrangement=HALF), (90,), weights=(90,))
HALVES = {"smoke": (_SMALL_HALF, 5), "course": (_CIFAR_HALF, 10), "paper": (_CIFAR_HALF, 10)}
SIZES = (1, 2, 5, 10)
LIKELIHOODS = ("lira-online-fixed", "lira-offline-fixed", "rmia-online", "rmia-offline")
WITHOUT_SHADOWS = ("gap", "confidence", "modified-entropy-per-class")


def _with_shadows(preset: str, seed: int) -> Attacked:
    """The attacks on all models of the ensemble together; a shadow has as many."""
    target, models = HALVES[preset]
    target = target.seeded(seed)
    shadow = Shadows(target.pipeline, target.epochs, models=models)
    whole = Attacked(target, target.epochs[-1], models=models, size=models, known=KNOWN)
    return replace(whole, shadow=shadow, shadows=SHADOWS[preset])


def _lira(preset: str, seed: int) -> tuple[Attacked, ...]:
    whole = replace(_with_shadows(preset, seed), attacks=(*WITHOUT_SHADOWS, *LIKELIHOODS))
    sizes = [size for size in SIZES if size <= whole.models]
    return tuple(replace(whole, size=size, subsets=whole.models // size) for size in sizes)


LIRA = Experiment(
    "ensemble/lira",
    title="Attacks whose shadows are entire ensembles, by number of models",
    source="ours; LiRA as in Carlini et al. 2022",
    cells=_lira,
    by=("data", "model", "epoch", "models", "shadows", "attack"),
    values=("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "tpr_0.1", "tpr_0.01", "tpr_0.001"),
)

# The ensemble paper's own proposal: models trained in turn, with a criterion that keeps the levels of correct agreement
# close on train and other rows. Which criterion, it leaves open: ours is in `mialab.ensembles.sequential`. Ensembles of
# fewer models are the first ones. Data, networks and what they are compared with are those of `ensemble/pruned`.
LEFT_OUT = (0.25, 0.5, 1.0)


def _sequential(preset: str, seed: int) -> tuple[Config, ...]:
    setting = SETTINGS[preset]
    pipeline = setting.pipeline(seed)
    plain = tuple(setting.audit(pipeline, setting.models, epoch) for epoch in setting.epochs)
    found: list[Config] = [Defended(audit, "none", 0, audit.epoch, plain) for audit in plain]
    found.append(Agreed(setting.target(pipeline), setting.end, setting.models))
    for strength, share in enumerate(LEFT_OUT, start=1):
        target = Sequential(pipeline, setting.epochs, share)
        whole = Attacked(target, setting.end, models=setting.models, size=setting.models)
        found += [Defended(whole, "sequential", strength, share, plain), Agreed(target, setting.end, setting.models)]
    return tuple(found)


SEQUENTIAL = Experiment(
    "ensemble/sequential",
    title="Models trained in turn so that levels of correct agreement stay close: accuracy, levels, the attack",
    source="ours, after a proposal in the ensemble paper's conclusion",
    cells=_sequential,
    by=(*_BY, "leaves_out", "part", "level", "side", "factor"),
    values=(*_VALUES, "level_js", "js_of_accuracy", "agreement", "agreement_gap", "share", "contribution"),
)


# Can a fusion rule keep the accuracy and give back the privacy? Each rule that need not be fitted, with an attacker who
# knows it and with one who believes that confidences are averaged; the models are those of `ensemble/lira`. Label-only
# and gradient attacks ask the ensemble itself. Rules that hand on the answer of one agreeing model give the labels of
# the mean, so that label-only attacks are the same; only the two means have a gradient.
FUSION_ATTACKS = ("gap", "confidence", "neural-published", *LIKELIHOODS[:3])
LABELS = ("confidence", "logit", "vote", "median", "trimmed-mean")
BY_GRADIENTS = ("gradient-input", "gradient-weights")
GRADIENTS = ("confidence", "logit")


def _fusion_defense(preset: str, seed: int) -> tuple[Config, ...]:
    whole = replace(_with_shadows(preset, seed), attacks=FUSION_ATTACKS)
    single = replace(whole, size=1, subsets=whole.models)
    found: list[Config] = [single]
    for rule in fusion.RULES:
        audit = replace(whole, fusion=rule)
        found += [Believed(audit, believed) for believed in dict.fromkeys((rule, "confidence"))]
    return (*found, *_asked(preset, seed))


def _asked(preset: str, seed: int) -> Iterator[Queried]:
    target, models = HALVES[preset]
    target = target.seeded(seed)
    for number, rules in ((1, LABELS[:1]), (models, LABELS)):
        for rule in rules:
            chosen = BY_LABELS + (BY_GRADIENTS if rule in GRADIENTS else ())
            yield Queried(target, chosen, models=number, samples=ASKED[preset], fusion=rule, known=KNOWN)


FUSION_DEFENSE = Experiment(
    "ensemble/fusion_defense",
    title="Fusion rules against attackers who know the rule, who do not, and who ask for labels or gradients",
    source="ours; the ensemble paper leaves other fusions, label-only and gradient attacks to future work",
    cells=_fusion_defense,
    by=("data", "model", "epoch", "access", "fusion", "believed", "models", "attack"),
    values=("train_accuracy", "test_accuracy", "auc", "balanced_accuracy", "tpr_0.01"),
)

ALL: tuple[Experiment, ...] = (PRUNED, LIRA, SEQUENTIAL, FUSION_DEFENSE)
