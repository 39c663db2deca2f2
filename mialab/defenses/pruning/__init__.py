"""Weight pruning: ADMM as the pruning paper has it, magnitude and random masks beside it, and what a mask leaves.

`budget` says how many weights stay and finds the largest; `admm` drives weights towards such a choice; `masked` cuts
the others and trains the rest; `rewinding` starts the rest anew; `report` counts and times; `compact` stores.

The pruning paper's method is three phases: plain training, `Phase(recipe, (Admm(budget),))`, and masked retraining,
`Phase(recipe, (Prune(budget, by="admm"),))`. Explained in the chapter "Pruning".
"""

from mialab.defenses.pruning.admm import Admm
from mialab.defenses.pruning.budget import WHOLE, Budget
from mialab.defenses.pruning.masked import Prune
from mialab.defenses.pruning.rewinding import Rewind

__all__ = ["WHOLE", "Admm", "Budget", "Prune", "Rewind"]
