"""Membership inference attacks: arrays in, one score per sample out; higher = more likely a member.

`ALL` maps each name to its `Attack`, `VARIANTS` the names of further versions of LiRA and RMIA, `SCORES` those of
attacks on a score per sample, `QUERIES` those of attacks that ask the model itself; `get` looks one up in all four. An
attack that learns sees membership of the known samples only, and scores every sample. One with `needs` says what is
lacking; a costly one is run only when asked for.

An attack of one's own is a subclass of `Attack` with a `name` and `score(evidence, known, seed)`, or `from_function`.
The functions behind `QUERIES`, with all their settings, stand in `label_only`, `boundary` and `gradients`, which import
torch. Explained in the chapter "The attack suite".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from mialab import catalogue
from mialab.attacks import asking, lira, nasr, neural, rmia, samia, shadow, thresholds, vulnerability, white_box
from mialab.attacks.base import Attack, Evidence, Known, from_function
from mialab.attacks.lacking import NoOpinion, NotEnough
from mialab.attacks.reference_scores import ReferenceScores
from mialab.attacks.references import References
from mialab.names import unknown

__all__ = [
    "ALL",
    "QUERIES",
    "SCORES",
    "VARIANTS",
    "Attack",
    "Evidence",
    "Known",
    "NoOpinion",
    "NotEnough",
    "ReferenceScores",
    "References",
    "from_function",
    "get",
    "names",
    "versions",
]


Kind = TypeVar("Kind", bound=Attack)


def _registered(names: Iterable[str], attacks: Iterable[Kind]) -> dict[str, Kind]:
    """The attacks by name, in the catalogue's order; KeyError for a name without an attack, or the other way round."""
    found = {attack.name: attack for attack in attacks}
    if different := found.keys() ^ set(names):
        raise KeyError(f"mialab/catalogue.py and the attacks differ in {', '.join(sorted(different))}")
    return {name: found[name] for name in names}


MODULES = (thresholds, vulnerability, neural, white_box, nasr, shadow, samia, lira, rmia)
ALL: dict[str, Attack] = _registered(catalogue.USUAL, (attack for module in MODULES for attack in module.ATTACKS))
VARIANTS: dict[str, Attack] = _registered(catalogue.VARIANTS, (*lira.VARIANTS, *rmia.VARIANTS))
SCORES = _registered(catalogue.SCORES, thresholds.OF_SCORES)
QUERIES = _registered(catalogue.QUERIES, asking.ATTACKS)


def names() -> tuple[str, ...]:
    """The names of all attacks."""
    return catalogue.NAMES


def get(name: str) -> Attack:
    """The attack of that name; ValueError listing close names where there is none."""
    attacks = ALL | VARIANTS | SCORES | QUERIES
    if name not in attacks:
        raise ValueError(unknown("attack", name, attacks))
    return attacks[name]


def versions(names: Iterable[str]) -> dict[str, int]:
    """The version of each of these attacks, raised when its scores change, by name. ValueError as `get`."""
    return {name: get(name).version for name in names}
