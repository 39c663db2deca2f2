"""How the members of an ensemble come to be, apart from random initialisation alone, which needs nothing of its own.

`division` deals the training rows among the models: bags, parts, parts with one left over for a meta-learner. They are
trained independently, by `training.fit_many` where that is faster. `snapshots` takes them from one training whose
learning rate restarts. `diversified` trains backbones under one shared layer, all at once. Explained in the chapter
"Other ensembles".
"""

from mialab.ensembles.diversified import Alone, Diversity, Network, spread
from mialab.ensembles.division import DIVISIONS, Division
from mialab.ensembles.snapshots import ends

__all__ = ["DIVISIONS", "Alone", "Diversity", "Division", "Network", "ends", "spread"]
