"""Theorem 1 of the pruning paper: a random network wide enough holds a subnetwork that answers as a given one does.

`subset_sum` finds the random numbers that add up to a weight, `networks` has the target f (Eq. 4) and how far another
network can be from it, `ticket` finds the masked g (Eqs. 5-6). Nothing is trained, and no solver is needed. Explained
in the chapter "The lottery".
"""

from mialab.lottery.networks import Bounded, Distance, Signed, answers, bounded, distance
from mialab.lottery.subset_sum import Subsets, decay, exhaustive, nearest, reach
from mialab.lottery.ticket import Layer, Ticket, find

__all__ = [
    "Bounded",
    "Distance",
    "Layer",
    "Signed",
    "Subsets",
    "Ticket",
    "answers",
    "bounded",
    "decay",
    "distance",
    "exhaustive",
    "find",
    "nearest",
    "reach",
]
