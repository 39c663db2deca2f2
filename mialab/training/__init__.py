"""The only training loop: one model (`fit`), many (`fit_many`), and what they answer (`logits`).

`loop` trains one model and calls the defenses' hooks, `joint` trains many, `augment` shifts and flips images,
`checkpoint` survives interruptions and `identity` tells whose one is.
"""

from mialab.training.joint import fit_many
from mialab.training.loop import Fitted, TrainingRun, fit, logits
from mialab.training.recipe import Recipe

__all__ = ["Fitted", "Recipe", "TrainingRun", "fit", "fit_many", "logits"]
