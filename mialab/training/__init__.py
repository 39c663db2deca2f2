"""The only training loop: one model (`fit`), many (`fit_many`), and what they answer (`logits`).

In the order of reading: `recipe` and `schedule` say how a model is trained; `hooks` is the contract of defenses; `loop`
trains one model and calls their hooks, `joint` trains many; `forward` passes inputs through a model, in training and
afterwards; `augment` shifts and flips images; `checkpoint` survives interruptions and `identity` tells whose it is.
"""

from mialab.training.forward import logits
from mialab.training.hooks import Defense, Hooks, Missed, Parts, Phase, TrainingRun
from mialab.training.joint import fit_many
from mialab.training.loop import Fitted, fit
from mialab.training.recipe import Recipe
from mialab.training.schedule import Constant, Cosine, Cyclic, Schedule, Steps

__all__ = [
    "Constant",
    "Cosine",
    "Cyclic",
    "Defense",
    "Fitted",
    "Hooks",
    "Missed",
    "Parts",
    "Phase",
    "Recipe",
    "Schedule",
    "Steps",
    "TrainingRun",
    "fit",
    "fit_many",
    "logits",
]
