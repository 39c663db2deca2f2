"""Audit of the printed numbers: do the papers' own numbers agree with each other and with what is said of them?

Everything is computed from `reported.rows()` and, for weights, from the networks; nothing is trained. Units: per cent,
points (differences of per cents), millions of weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mialab.claims.claim import matches
from mialab.results import reported

Found = tuple[dict[str, float], bool]  # numbers by name, and whether they agree with the sentence

SHAPES = {  # of a sample, and classes
    "mnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "imagenet": ((3, 224, 224), 1000),
}


@dataclass(frozen=True)
class Check:
    """A sentence that the printed numbers can be held against.

    where: what is compared. sentence: what would have to hold. compute: printed rows in; the numbers that decide, by
    name, and whether they agree out. note: what there is to say of the numbers. observation: seen in the numbers, and
    no sentence of the paper, which neither says nor denies it.
    """

    id: str
    paper: str
    where: str
    sentence: str
    compute: Callable[[Sequence[dict]], Found]
    note: str = ""
    observation: bool = False


@dataclass(frozen=True)
class Finding:
    """What came of a check: the numbers that decide, by name, and whether they agree with the sentence."""

    check: Check
    numbers: dict[str, float]
    consistent: bool


def audit(rows: Sequence[dict] | None = None) -> list[Finding]:
    """Every check on the printed rows (default: those of the package), observations last."""
    rows = reported.rows() if rows is None else rows
    return [Finding(check, *check.compute(rows)) for check in (*CHECKS, *OBSERVATIONS)]


def gap_attack(train: float, test: float) -> float:
    """Balanced accuracy of the gap attack, in per cent, from accuracies in per cent."""
    return 50 + (train - test) / 2


def _at(rows, source, dataset, model, method, metric="attack_accuracy") -> float:
    key = {"source": source, "dataset": dataset, "model": model, "method": method, "metric": metric}
    (found,) = (row["value"] for row in rows if matches(row, key))
    return found


def _places(rows, source) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["dataset"], row["model"]) for row in rows if row["source"] == source))


def _differences(rows, source, of, minus, metric="attack_accuracy") -> dict[str, float]:
    """One method less another by data set and model, for all lines of a table."""
    return {
        " ".join(place): _at(rows, source, *place, of, metric) - _at(rows, source, *place, minus, metric)
        for place in _places(rows, source)
    }


def _rounds_to(value: float, printed: float, *cells: float) -> bool:
    """Whether a number that is printed with so many decimals may be this value, rounded.

    cells: what the value was computed from, if that is a difference, as a table prints it: rounded as well, to two
    decimals at least.
    """
    decimals = [_decimals(printed), *(max(2, _decimals(cell)) for cell in cells)]
    return abs(value - printed) <= sum(0.5 * 10**-number for number in decimals) + 1e-9


def _decimals(printed: float) -> int:
    return len(f"{printed:g}".partition(".")[2])


def _lines(source: str, of: str, minus: str, hold: Callable) -> Callable:
    """Do the differences between two methods' attacks, over all lines of a table, have what is asked of them?"""

    def compute(rows) -> Found:
        numbers = _differences(rows, source, of, minus)
        return numbers, hold(numbers.values())

    return compute


def _all_fall(differences) -> bool:
    return max(differences) < 0


def _some_rise(differences) -> bool:
    return max(differences) > 0


def _costs_below(points: float) -> Callable:
    """Does pruning cost less accuracy than that in every line of Tables 1 and 3?"""

    def compute(rows) -> Found:
        pair = "mia_pruning", "baseline", "test_accuracy"
        numbers = _differences(rows, "table1", *pair) | _differences(rows, "table3", *pair)
        return numbers, min(numbers.values()) > -points

    return compute


def _mnist_attack(rows) -> Found:
    attack = _at(rows, "table1", "mnist", "lenet5", "baseline")
    most = gap_attack(100, _at(rows, "table1", "mnist", "lenet5", "baseline", "test_accuracy"))
    always = 100 * 60_000 / 70_000  # MNIST's training samples among all of its samples
    return {"attack": attack, "gap attack at most": most, "always 'member' on all of MNIST": always}, attack > most


def _dp_harms(rows) -> Found:
    without, under = (_at(rows, t, "mnist", "lenet5", m) for t, m in (("table1", "baseline"), ("table2", "dp")))
    return {"without": without, "with": under}, under > without


def _combination_costs(rows) -> Found:
    pair = "mia_pruning", "mia_pruning+min_max"
    attack, accuracy = _differences(rows, "table5", *pair), _differences(rows, "table5", *pair, "test_accuracy")
    numbers = {
        f"{place}, {what}": side[place]
        for place in attack
        for what, side in (("attack", attack), ("accuracy", accuracy))
    }
    return numbers, any(accuracy[place] > attack[place] for place in attack)


def _abstract(rows) -> Found:
    def said(method):
        return _at(rows, "text_abstract", "any", "any", f"{method} minus mia_pruning", "attack_accuracy_difference")

    below = {m: -min(_differences(rows, "table1", "mia_pruning", m).values()) for m in ("baseline", "min_max")}
    return below, all(_rounds_to(most, said(method)) for method, most in below.items())


def _text(section: str) -> Callable:
    """Does each difference in a section's text follow from a table? Gives those that do not, or how many do."""

    def compute(rows) -> Found:
        text = [row for row in rows if row["source"] == f"text_{section}" and row["metric"].endswith("_difference")]
        text = [row for row in text if row["qualifier"] != "close to"]  # which is no number
        numbers: dict[str, float] = {}
        for row in text:
            nearest, *cells = min(_in_tables(rows, row), key=lambda found: abs(found[0] - row["value"]))
            if not _rounds_to(nearest, row["value"], *cells):
                name = f"{row['dataset']} {row['model']}, {row['method'].replace('mia_pruning', 'pruning')}"
                numbers |= {f"{name}, text": row["value"], f"{name}, table": nearest}
        return numbers or {"differences that do": len(text)}, not numbers

    return compute


def _in_tables(rows, text) -> list[tuple[float, float, float]]:
    """The text's difference in each table that has both of its methods, and the two numbers that it comes from."""
    of, minus = text["method"].split(" minus ")
    key = {name: text[name] for name in ("paper", "dataset", "model")}
    key["metric"] = text["metric"].removesuffix("_difference")
    cells = {(row["source"], row["method"]): row["value"] for row in rows if matches(row, key)}
    pairs = [(cells[table, of], cells[table, minus]) for table, m in cells if m == of and (table, minus) in cells]
    return [(one - other, one, other) for one, other in pairs]


def _one_number(rows) -> Found:
    tables = "table1", "table2", "table5"
    numbers = {table: _at(rows, table, "mnist", "lenet5", "mia_pruning", "test_accuracy") for table in tables}
    return numbers, len(set(numbers.values())) == 1


def _table6(rows) -> dict[str, tuple[float, float]]:
    """Attack and gap attack by method."""
    methods = dict.fromkeys(row["method"] for row in rows if row["source"] == "table6")
    metrics = "attack_accuracy", "train_accuracy", "test_accuracy"
    cells = {method: [_at(rows, "table6", "cifar10", "vgg16", method, m) for m in metrics] for method in methods}
    return {method: (attack, gap_attack(train, test)) for method, (attack, train, test) in cells.items()}


def _more_than_the_gap(rows) -> Found:
    (plain, plain_gap), (pruned, pruned_gap) = (_table6(rows)[method] for method in ("baseline", "mia_pruning"))
    fall = {"attack falls by": plain - pruned, "gap attack falls by": plain_gap - pruned_gap}
    return fall, plain_gap - pruned_gap < (plain - pruned) / 2


def _gap_orders_attack(rows) -> Found:
    cells = _table6(rows)
    numbers = {f"{m}, {name}": cells[m][place] for m in cells for place, name in enumerate(("attack", "gap attack"))}
    return numbers, sorted(cells, key=lambda m: cells[m][0]) == sorted(cells, key=lambda m: cells[m][1])


def _announced(rows) -> Found:
    tables, accuracy = ("table1", "table2", "table5", "table6"), {"metric": "test_accuracy"}
    announced: dict[str, dict[str, Any]] = {
        "accuracies of ResNet-18 on CIFAR-10": {"source": tables, "dataset": "cifar10", "model": "resnet18"} | accuracy,
        "weights of the four-layer CNN": {"source": "table4", "model": "cnn4"},
        "accuracies by class": {"source": "table6", "label": tuple(range(10))},
    }
    numbers: dict[str, float] = {name: sum(matches(row, key) for row in rows) for name, key in announced.items()}
    return numbers, all(numbers.values())


def _ratios(rows) -> Found:
    """Are all ratios what the printed weights give, however these were rounded? Gives the others, or how many do."""
    names = "weights", "weights_after_pruning", "reduction_ratio"
    numbers: dict[str, float] = {}
    for place in _places(rows, "table4"):
        before, after, ratio = (_at(rows, "table4", *place, "mia_pruning", name) for name in names)
        near = (500, 5) if before < 1e5 else (5000, 5000)  # printed: 60 K, 3.80 K; else millions with two decimals
        least, most = (before - near[0]) / (after + near[1]), (before + near[0]) / (after - near[1])
        if not least - 0.005 <= ratio <= most + 0.005:
            numbers |= {f"{' '.join(place)}, printed": ratio, f"{' '.join(place)}, from its weights": before / after}
    return numbers or {"ratios that do": len(_places(rows, "table4"))}, not numbers


def _weights(model: str, *datasets: str) -> Callable:
    """Is a printed number of weights that of the network, within 3 %?"""

    def compute(rows) -> Found:
        printed = _at(rows, "table4", datasets[0], model, "mia_pruning", "weights") / 1e6
        counted = {f"counted, {dataset}": _count(model, dataset) / 1e6 for dataset in datasets}
        return {"printed": printed} | counted, all(abs(printed / count - 1) <= 0.03 for count in counted.values())

    return compute


@cache
def _count(model: str, dataset: str) -> int:
    import torch  # only here: a list of claims does not wait for it

    from mialab import models

    shape, classes = SHAPES[dataset]
    with torch.device("meta"):
        return models.weights(models.build(model, shape, classes))


def _torchvisions(rows) -> Found:
    """Are ImageNet's baselines, rounded alike, the accuracies of torchvision's pretrained weights?"""
    from torchvision.models import MobileNet_V2_Weights, ResNet18_Weights

    pretrained = {"resnet18": ResNet18_Weights.IMAGENET1K_V1, "mobilenet_v2": MobileNet_V2_Weights.IMAGENET1K_V1}
    numbers: dict[str, float] = {}
    same = []
    for model, weights in pretrained.items():
        published = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        printed = _at(rows, "table3", "imagenet", model, "baseline", "test_accuracy")
        numbers |= {f"{model}, printed": printed, f"{model}, torchvision": published}
        same.append(_rounds_to(published, printed))
    return numbers, all(same)


def _decimal_point(rows) -> Found:
    """Are VGG16's printed weights and ratio a tenth of ImageNet's VGG16, cut and rounded to two decimals?"""
    import torch
    from torchvision.models import vgg16

    with torch.device("meta"):
        tenth = sum(parameter.numel() for parameter in vgg16().parameters()) / 1e7
    key = "table4", "cifar10", "vgg16", "mia_pruning"
    weights, ratio = _at(rows, *key, "weights") / 1e6, _at(rows, *key, "reduction_ratio")
    numbers = {"a tenth of ImageNet's": tenth, "weights, printed": weights, "ratio, printed": ratio}
    return numbers, math.isclose(math.floor(100 * tenth) / 100, weights) and _rounds_to(tenth, ratio)


def _panels(rows) -> dict[str, float]:
    """Figure 2's divergences by panel: a to c of one model, d to f of ten; all, correctly and wrongly classified."""
    return {row["source"][-1]: row["value"] for row in rows if row["source"].startswith("figure2")}


def _divergence_rises(rows) -> Found:
    panels = _panels(rows)
    return panels, all(panels[one] < panels[ten] for one, ten in zip("abc", "def", strict=True))


def _alike_when_correct(rows) -> Found:
    whole, correct = (_panels(rows)[panel] for panel in "ab")
    return {"all samples": whole, "correctly classified": correct}, correct < whole / 10


def _parts_alike(rows) -> Found:
    numbers = dict(zip(("all samples", "correctly classified", "misclassified"), _panels(rows).values(), strict=False))
    return numbers, max(list(numbers.values())[1:]) < numbers["all samples"]


def _unit_matters(rows) -> Found:
    """Does it depend on the unit what the ensemble's divergence certifies? TV >= JS in bits (Lin 1991)."""
    value = _panels(rows)["d"]
    bits = {
        "bits": value,
        "nats": value / math.log(2),
        "distance, bits": value**2,
        "distance, nats": value**2 / math.log(2),
    }
    certified = {f"if {unit}": 50 + 50 * number for unit, number in bits.items()}
    return certified, max(certified.values()) - min(certified.values()) > 1


def _seen(id: str, paper: str, where: str, sentence: str, compute: Callable) -> Check:
    """An observation."""
    return Check(id, paper, where, sentence, compute, observation=True)


_CLOSE = "The lines on which it fails are those that the text itself calls close."
_COUNTED = "of its networks here, within 3 % (our margin)"
_SMALL_SAMPLES = "The histograms hold one class; with so few samples a divergence comes out too large."
_PRUNED, _GAME, _BOTH = "mia_pruning", "min_max", "mia_pruning+min_max"
# fmt: off
CHECKS = (
    Check("abstract-sizes", "pruning", "abstract, Table 1",
          "Pruning is attacked up to 13.6 points less than the baseline, up to 10 less than min-max.", _abstract),
    Check("pruning-always-protects", "pruning", "Table 1", "Pruning lowers the attack on every line.",
          _lines("table1", _PRUNED, "baseline", _all_fall)),
    Check("pruning-always-beats-game", "pruning", "section 5.3, Table 1",
          "Pruning is attacked less than the min-max game on every line.",
          _lines("table1", _PRUNED, _GAME, _all_fall), note=_CLOSE),
    Check("pruning-costs-little", "pruning", "introduction, Tables 1, 3",
          "Pruning costs little accuracy (less than 2 points: our margin).", _costs_below(2)),
    Check("combination-always-helps", "pruning", "section 6, Table 5",
          "Adding min-max lowers the attack on pruning on every line.",
          _lines("table5", _BOTH, _PRUNED, _all_fall), note=_CLOSE),
    Check("text-5.3", "pruning", "section 5.3, Tables 1-3",
          "The differences in the text are those of the tables, up to the rounding of all three numbers.",
          _text("5.3")),
    Check("text-5.4", "pruning", "section 5.4, Table 5",
          "The differences in the text are those of the tables, up to the rounding of all three numbers.",
          _text("5.4")),
    Check("one-accuracy", "pruning", "Tables 1, 2, 5", "LeNet-5 with pruning has the same accuracy in every table.",
          _one_number),
    Check("gap-orders-attack", "pruning", "section 5.5, Table 6", "The wider the gap, the more successful the attack.",
          _gap_orders_attack),
    Check("all-announced", "pruning", "sections 5.1, 5.5", "What the text announces is printed.", _announced),
    Check("ratios-fit", "pruning", "Table 4", "The reduction ratios follow from the numbers of weights.", _ratios),
    *(Check(name, "pruning", "Table 4", f"{words} has the printed number of weights ({_COUNTED}).",
            _weights(model, *datasets))
      for name, words, model, datasets in (
          ("weights-lenet5", "LeNet-5", "lenet5", ("mnist",)),
          ("weights-vgg16", "VGG16", "vgg16", ("cifar10", "cifar100")),
          ("weights-resnet18", "ResNet-18 for CIFAR", "resnet18", ("cifar10", "cifar100")),
          ("weights-mobilenet", "MobileNetV2 for CIFAR", "mobilenet_v2", ("cifar10", "cifar100")),
          ("weights-resnet18-imagenet", "ResNet-18 for ImageNet", "resnet18", ("imagenet",)),
          ("weights-mobilenet-imagenet", "MobileNetV2 for ImageNet", "mobilenet_v2", ("imagenet",)))),
    Check("divergence-rises", "ensemble", "Figure 2", "Every divergence is larger for ten models than for one.",
          _divergence_rises, note=_SMALL_SAMPLES),
    Check("alike-on-correct", "ensemble", "section 3.2, Figure 2",
          "One model tells hardly apart what it classifies correctly (a tenth of all samples' divergence: our margin).",
          _alike_when_correct, note=_SMALL_SAMPLES),
    Check("parts-more-alike", "ensemble", "section 3.3, Figure 2",
          "Split by correctness, one model's confidences on the two sides differ less, in each part, than together.",
          _parts_alike, note=_SMALL_SAMPLES),
)
OBSERVATIONS = (
    _seen("game-raises-attack", "pruning", "Table 1", "The min-max game raises the attack on some lines.",
          _lines("table1", _GAME, "baseline", _some_rise)),
    _seen("mnist-attack-exceeds-gap", "pruning", "Table 1",
          "The attack on plain LeNet-5 succeeds more often than its generalisation gap can explain.", _mnist_attack),
    _seen("dp-harms", "pruning", "Tables 1, 2", "LeNet-5 is attacked more with differential privacy than without.",
          _dp_harms),
    _seen("combination-costs", "pruning", "Table 5",
          "On some lines, adding min-max costs more accuracy than it takes off the attack.", _combination_costs),
    _seen("pruning-takes-more-than-the-gap", "pruning", "Table 6",
          "Less than half of what pruning takes from the attack, it takes from the gap attack.", _more_than_the_gap),
    _seen("imagenet-baselines-are-torchvisions", "pruning", "Table 3",
          "The baselines on ImageNet have the accuracies of the networks that torchvision offers ready-made.",
          _torchvisions),
    _seen("vgg16-decimal-point", "pruning", "Table 4",
          "VGG16's printed weights and ratio are a tenth of the weights and biases of ImageNet's VGG16, cut and "
          "rounded: a decimal point may have moved (a hypothesis).", _decimal_point),
    _seen("unit-matters", "ensemble", "Figure 2",
          "What ten models' divergence implies for the best attack depends on the unit, which is not printed.",
          _unit_matters),
)
