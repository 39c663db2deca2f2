"""The papers' tables, and Figure 2, as an experiment's rows, so that a claim's effect can be read off them too."""

from __future__ import annotations

from functools import cache

from mialab.claims.claim import Claim, Filter, matches
from mialab.results import reported

SHARES = {"attack_accuracy": "balanced_accuracy", "test_accuracy": "test_accuracy", "train_accuracy": "train_accuracy"}
ATTACKS = {"cnn4": "shadow-rahman"}  # all others are attacked by Nasr et al.'s network (pruning paper, section 5.2)

EPSILON = 6.28  # of LeNet-5 (section 5.1); the four-layer network's is not stated, and read alike
# Neither the epoch nor whose probability is drawn is stated; both are read as our experiment has them.
FIGURE2 = {"seed": 0, "data": "cifar10", "model": "alexnet", "label": 2, "epoch": 90, "reading": "true"}
PANELS = {  # of one model and of ten
    panel: {"models": models, "subset": subset}
    for panels, models in (("abc", 1), ("def", 10))
    for panel, subset in zip(panels, ("all", "correct", "misclassified"), strict=True)
}


def effect(claim: Claim, setting: Filter) -> float | None:
    """A claim's effect as the table or figure of its experiment's name prints it; None where there is no such line."""
    paper, table = claim.experiment.split("/")
    rows = [row for row in _rows(paper) if row["table"] == table and matches(row, setting)]
    return claim.test.effect.per_seed(rows).get(0)


@cache
def _rows(paper: str) -> list[dict]:
    """One row for each table, data set, model and method; accuracies as shares, everything of one repetition, 0.

    Figure 2's divergences are in its own unit, which is not stated.
    """
    lines: dict[tuple, dict] = {}
    for row in reported.rows():
        if row["paper"] == paper and row["source"].startswith("table"):
            key = row["source"], row["dataset"], row["model"], reported.METHODS.get(row["method"], row["method"])
            line = lines.setdefault(key, dict(zip(("table", "data", "model", "method"), key, strict=True)))
            line |= {"seed": 0, "label": "all", "attack": ATTACKS.get(row["model"], "nasr-paper")}
            line |= {"epsilon": EPSILON} if row["method"] == "dp" else {}
            share = SHARES.get(row["metric"])
            line[share or row["metric"]] = row["value"] / 100 if share else row["value"]
    return [*lines.values(), *_figure2(paper)]


def _figure2(paper: str) -> list[dict]:
    own = [row for row in reported.rows() if row["paper"] == paper]
    panels = [(row["source"].removeprefix("figure2"), row["value"]) for row in own]
    return [{"table": "figure2", **FIGURE2, **PANELS[panel], "js": value} for panel, value in panels if panel in PANELS]
