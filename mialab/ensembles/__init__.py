"""How the members of an ensemble come to be, apart from random initialisation alone, which needs nothing of its own.

`division` deals the training rows among the models: bags, parts, parts with one left over for a meta-learner. They are
trained independently, each as a cell of its own. `snapshots` takes them from one training whose
learning rate restarts. `diversified` trains backbones under one shared layer, all at once. `sequential` says which rows
the next model is trained without. Explained in the chapters "Other ensembles" and "Between the papers".
"""

from mialab.ensembles.diversified import Alone, Diversity, Network, spread
from mialab.ensembles.division import DIVISIONS, Division
from mialab.ensembles.sequential import check, distance, excess, kept
from mialab.ensembles.snapshots import ends

__all__ = [
    "DIVISIONS",
    "Alone",
    "Diversity",
    "Division",
    "Network",
    "check",
    "distance",
    "ends",
    "excess",
    "kept",
    "spread",
]
