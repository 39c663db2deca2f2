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
    name, and whether they agree out. said: whether the paper says so; else it is an observation of ours.
    """

    id: str
    paper: str
    where: str
    sentence: str
    compute: Callable[[Sequence[dict]], Found]
    said: bool = True


@dataclass(frozen=True)
class Finding:
    """What came of a check: the numbers that decide, by name, and whether they agree with the sentence."""

    check: Check
    numbers: dict[str, float]
    consistent: bool


def audit(rows: Sequence[dict] | None = None) -> list[Finding]:
    """Every check on the printed rows (default: those of the package)."""
    rows = reported.rows() if rows is None else rows
    return [Finding(check, *check.compute(rows)) for check in CHECKS]


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


def _rounds_to(value: float, printed: float, *, operands: int = 0) -> bool:
    """Whether a number that is printed with so many decimals may be this value, rounded.

    operands: how many numbers of two decimals, each rounded itself, the value is a sum or difference of.
    """
    decimals = len(f"{printed:g}".partition(".")[2])
    return abs(value - printed) <= 0.5 * 10**-decimals + operands * 0.005 + 1e-9


def _lowers(source: str, of: str, minus: str) -> Callable:
    """Is one method attacked less than another in every line of a table?"""

    def compute(rows) -> Found:
        numbers = _differences(rows, source, of, minus)
        return numbers, max(numbers.values()) < 0

    return compute


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
    return {"attack": attack, "gap attack at most": most, "always 'member' on all of MNIST": always}, attack <= most


def _dp_protects(rows) -> Found:
    without, under = (_at(rows, t, "mnist", "lenet5", m) for t, m in (("table1", "baseline"), ("table2", "dp")))
    return {"without": without, "with": under}, under < without


def _combination_pays(rows) -> Found:
    pair = "mia_pruning", "mia_pruning+min_max"
    attack, accuracy = _differences(rows, "table5", *pair), _differences(rows, "table5", *pair, "test_accuracy")
    numbers = {
        f"{place}, {what}": side[place]
        for place in attack
        for what, side in (("attack", attack), ("accuracy", accuracy))
    }
    return numbers, all(accuracy[place] <= attack[place] for place in attack)


def _abstract(rows) -> Found:
    below = {m: -min(_differences(rows, "table1", "mia_pruning", m).values()) for m in ("baseline", "min_max")}
    agree = _rounds_to(below["baseline"], 13.6, operands=2) and _rounds_to(below["min_max"], 10, operands=2)
    return below, agree


def _text(section: str) -> Callable:
    """Does each difference in a section's text follow from a table? Gives those that do not, or how many do."""

    def compute(rows) -> Found:
        text = [row for row in rows if row["paper"] == "pruning" and row["source"] == f"text_{section}"]
        off = [(row, nearest) for row in text if not _near_text(nearest := _nearest_in_tables(rows, row), row)]
        numbers: dict[str, float] = {}
        for row, nearest in off:
            name = f"{row['dataset']} {row['model']}, {row['method'].replace('mia_pruning', 'pruning')}"
            numbers |= {f"{name}, text": row["value"], f"{name}, table": nearest}
        return numbers or {"differences that do": len(text)}, not off

    return compute


def _near_text(difference: float, row: dict) -> bool:
    return _rounds_to(difference, row["value"], operands=2)


def _nearest_in_tables(rows, text) -> float:
    """The difference that comes nearest to the text's, of all tables that have both of its methods."""
    of, minus = text["method"].split(" minus ")
    key = {name: text[name] for name in ("paper", "dataset", "model")}
    key["metric"] = text["metric"].removesuffix("_difference")
    cells = {(row["source"], row["method"]): row["value"] for row in rows if matches(row, key)}
    differences = [cells[table, of] - cells[table, minus] for table, m in cells if m == of and (table, minus) in cells]
    return min(differences, key=lambda difference: abs(difference - text["value"]))


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


def _gap_explains_pruning(rows) -> Found:
    (plain, plain_gap), (pruned, pruned_gap) = (_table6(rows)[method] for method in ("baseline", "mia_pruning"))
    fall = {"attack falls by": plain - pruned, "gap attack falls by": plain_gap - pruned_gap}
    return fall, plain_gap - pruned_gap >= (plain - pruned) / 2


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


def _not_torchvisions(rows) -> Found:
    """Are ImageNet's baselines, rounded alike, none of the accuracies of torchvision's pretrained weights?"""
    from torchvision.models import MobileNet_V2_Weights, ResNet18_Weights

    pretrained = {"resnet18": ResNet18_Weights.IMAGENET1K_V1, "mobilenet_v2": MobileNet_V2_Weights.IMAGENET1K_V1}
    numbers: dict[str, float] = {}
    same = []
    for model, weights in pretrained.items():
        published = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        printed = _at(rows, "table3", "imagenet", model, "baseline", "test_accuracy")
        numbers |= {f"{model}, printed": printed, f"{model}, torchvision": published}
        same.append(_rounds_to(published, printed))
    return numbers, not any(same)


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


def _unit_is_clear(rows) -> Found:
    """Does the ensemble's divergence certify the same, in whatever unit? TV >= JS in bits (Lin 1991)."""
    value = _panels(rows)["d"]
    bits = {
        "bits": value,
        "nats": value / math.log(2),
        "distance, bits": value**2,
        "distance, nats": value**2 / math.log(2),
    }
    certified = {f"if {unit}": 50 + 50 * number for unit, number in bits.items()}
    return certified, max(certified.values()) - min(certified.values()) < 1


_PRUNED, _GAME, _BOTH = "mia_pruning", "min_max", "mia_pruning+min_max"
# fmt: off
CHECKS = (
    Check("abstract-sizes", "pruning", "abstract, Table 1",
          "Pruning is attacked up to 13.6 points less than the baseline, up to 10 less than min-max.", _abstract),
    Check("pruning-always-protects", "pruning", "Table 1", "Pruning lowers the attack on every line.",
          _lowers("table1", _PRUNED, "baseline")),
    Check("game-always-protects", "pruning", "Table 1", "The min-max game lowers the attack on every line.",
          _lowers("table1", _GAME, "baseline"), said=False),
    Check("pruning-always-beats-game", "pruning", "section 5.3, Table 1",
          "Pruning is attacked less than the min-max game on every line (the text itself calls MobileNetV2's close).",
          _lowers("table1", _PRUNED, _GAME)),
    Check("pruning-costs-little", "pruning", "introduction, Tables 1, 3",
          "Pruning costs little accuracy (our reading: less than 2 points).", _costs_below(2)),
    Check("mnist-attack-fits-gap", "pruning", "Table 1",
          "The attack on plain LeNet-5 needs no more than its generalisation gap.", _mnist_attack, said=False),
    Check("dp-protects", "pruning", "Tables 1, 2", "LeNet-5 is attacked less with differential privacy than without.",
          _dp_protects, said=False),
    Check("combination-always-helps", "pruning", "section 6, Table 5",
          "Adding min-max lowers the attack on pruning on every line (the text itself calls MNIST's close).",
          _lowers("table5", _BOTH, _PRUNED)),
    Check("combination-pays", "pruning", "Table 5",
          "Adding min-max costs no more accuracy than it takes off the attack.", _combination_pays, said=False),
    Check("text-5.3", "pruning", "section 5.3, Tables 1-3", "The differences in the text are those of the tables.",
          _text("5.3")),
    Check("text-5.4", "pruning", "section 5.4, Table 5", "The differences in the text are those of the tables.",
          _text("5.4")),
    Check("one-accuracy", "pruning", "Tables 1, 2, 5", "LeNet-5 with pruning has the same accuracy in every table.",
          _one_number),
    Check("gap-explains-pruning", "pruning", "section 5.5, Table 6",
          "At least half of what pruning takes from the attack, it takes from the gap attack.", _gap_explains_pruning,
          said=False),
    Check("gap-orders-attack", "pruning", "section 5.5, Table 6", "The wider the gap, the more successful the attack.",
          _gap_orders_attack),
    Check("all-announced", "pruning", "sections 5.1, 5.5", "What the text announces is printed.", _announced),
    Check("ratios-fit", "pruning", "Table 4", "The reduction ratios follow from the numbers of weights.", _ratios),
    Check("weights-lenet5", "pruning", "Table 4", "LeNet-5 has the printed number of weights.",
          _weights("lenet5", "mnist")),
    Check("weights-vgg16", "pruning", "Table 4", "VGG16 has the printed number of weights.",
          _weights("vgg16", "cifar10", "cifar100")),
    Check("weights-resnet18", "pruning", "Table 4", "ResNet-18 has the printed number of weights on CIFAR.",
          _weights("resnet18", "cifar10", "cifar100")),
    Check("weights-mobilenet", "pruning", "Table 4", "MobileNetV2 has the printed number of weights on CIFAR.",
          _weights("mobilenet_v2", "cifar10", "cifar100")),
    Check("weights-resnet18-imagenet", "pruning", "Table 4", "ResNet-18 has the printed number of weights on ImageNet.",
          _weights("resnet18", "imagenet")),
    Check("weights-mobilenet-imagenet", "pruning", "Table 4", "MobileNetV2 has the printed number on ImageNet.",
          _weights("mobilenet_v2", "imagenet")),
    Check("imagenet-baselines-differ", "pruning", "section 5.1, Table 3",
          "The baselines on ImageNet have other accuracies than the networks that torchvision offers ready-made.",
          _not_torchvisions, said=False),
    Check("divergence-rises", "ensemble", "Figure 2", "Every divergence is larger for ten models than for one.",
          _divergence_rises),
    Check("alike-on-correct", "ensemble", "section 3.2, Figure 2",
          "One model tells hardly apart what it classifies correctly (a tenth of all samples' divergence).",
          _alike_when_correct),
    Check("parts-more-alike", "ensemble", "section 3.3, Figure 2",
          "Split by correctness, one model's confidences on the two sides differ less than together.", _parts_alike),
    Check("unit-is-clear", "ensemble", "Figure 2",
          "Ten models' divergence implies the same least success of the best attack in every unit.", _unit_is_clear,
          said=False),
)
