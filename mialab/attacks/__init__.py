"""Membership inference attacks: arrays in, one score per sample out; higher = more likely a member.

`ALL` maps each name to its `Attack`, `VARIANTS` the names of further versions of LiRA and RMIA; `get` looks one up in
both. An attack that learns sees membership of the known samples only, and scores every sample. One with `needs` says
what is lacking; a costly one is run only when asked for. Attacks that must query (`label_only`, `boundary`,
`gradients`) are functions in modules of their own, which import torch.
"""

from __future__ import annotations

from mialab.attacks import lira, nasr, neural, rmia, shadow, thresholds, vulnerability, white_box
from mialab.attacks.base import Attack, Evidence, NotEnough
from mialab.attacks.references import NoOpinion, References
from mialab.names import unknown

__all__ = ["ALL", "VARIANTS", "Attack", "Evidence", "NoOpinion", "NotEnough", "References", "get"]

MODULES = (thresholds, vulnerability, neural, white_box, nasr, shadow, lira, rmia)
ALL: dict[str, Attack] = {attack.name: attack for module in MODULES for attack in module.ATTACKS}
VARIANTS: dict[str, Attack] = {attack.name: attack for module in (lira, rmia) for attack in module.VARIANTS}


def get(name: str) -> Attack:
    """The attack of that name; ValueError listing close names where there is none."""
    attacks = ALL | VARIANTS
    if name not in attacks:
        raise ValueError(unknown("attack", name, attacks))
    return attacks[name]
