"""An attacker's share: counted in one way, whoever draws it."""

import numpy as np
import pytest

from mialab import share, splits
from mialab.audit import Outputs, audit


@pytest.mark.parametrize(
    ("part", "size", "expected"),
    [(0.8, 10, 8), (0.8, 12, 9), (0.8, 9, 7), (0.57, 100, 57), (0.29, 100, 29), (0.1, 9, 0), (0.0, 5, 0), (1.0, 7, 7)],
)
def test_a_share_is_rounded_down_but_not_by_the_error_of_floating_point(part, size, expected):
    assert share.count(part, size) == expected


def test_the_first_of_every_stratum_are_marked():
    strata, order = np.array([1, 0, 1, 1, 0, 1]), np.array([5, 4, 3, 2, 1, 0])
    assert share.first_of_each(strata, order, 0.5).tolist() == [False, False, False, True, True, True]
    assert not share.first_of_each(strata, order, 0.0).any() and share.first_of_each(strata, order, 1.0).all()


def test_an_audit_and_a_split_count_a_share_alike():
    labels, member = np.zeros(230, int), np.arange(230) < 115
    logits = np.random.default_rng(0).normal(size=(230, 2))
    for part in (0.31, 0.57, 0.8):
        drawn = ~audit(Outputs(logits, labels, member), attacks="gap", known=part).evaluated
        dealt = splits.known(labels, member, share=part, seed=0)
        for side in (member, ~member):
            assert drawn[side].sum() == dealt[side].sum() == share.count(part, 115)
