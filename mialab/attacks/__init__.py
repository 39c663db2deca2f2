"""Membership inference attacks: arrays in, one score per sample out; higher = more likely a member.

`ALL` maps each name to its `Attack`; `get` looks one up. An attack that learns sees membership of the known samples
only, and scores every sample.
"""

from __future__ import annotations

from mialab.attacks import neural, thresholds
from mialab.attacks.base import Attack, Evidence, NotEnough
from mialab.names import unknown

__all__ = ["ALL", "Attack", "Evidence", "NotEnough", "get"]

ALL: dict[str, Attack] = {attack.name: attack for attack in (*thresholds.ATTACKS, *neural.ATTACKS)}


def get(name: str) -> Attack:
    """The attack of that name; ValueError listing close names where there is none."""
    if name not in ALL:
        raise ValueError(unknown("attack", name, ALL))
    return ALL[name]
