"""What an attack says when it lacks something."""

from __future__ import annotations

DESIGN = "train more shadows, each sample in half of them"


class NotEnough(ValueError):
    """The attack lacks what it learns from or needs; the message is the reason a report gives for skipping it."""


class NoOpinion(UserWarning):
    """Some samples have too few shadows for an attack, and got the median score instead."""
