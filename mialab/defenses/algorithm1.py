"""Algorithm 1 of the pruning paper as printed: a search over numbers of weights, an inference network learning inside.

For each {n_i} (line 1), before each step of the classifier (line 2) the inference network f_A takes some on a batch of
D and one of D' (lines 3-7); the classifier steps on a batch of its own (lines 8-9) and is cut again (line 10). Of the
results, line 14 takes the one with the least gain G.

What the printed lines leave open, and how it is read here: an "epoch" of line 2 is one step of the classifier, as it
takes one batch; where the pruning of line 10 is several phases (ADMM, the cut, retraining), f_A goes on through them;
S'' is drawn independently of S, so that a row may be in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mialab.defenses.min_max import MinMax
from mialab.seeds import derive
from mialab.training import Fitted, Phase, fit, logits
from mialab.training.hooks import Data, State

ALONE = MinMax(gamma=0.0)  # pruning alone, Eq. 2: f_A learns, and the classifier does not feel it


@dataclass(frozen=True, eq=False)
class Outcome:
    """Line 12, for one {n_i}: the model, and the gain G of Eq. 1 that f_A ended with, in nats.

    gain: E[log f_A] over members plus E[log(1 - f_A)] over reference rows, both held back from f_A. The *best* f_A has
    at least -log 4 (Eq. 10). A trained one may have less: then it is worse than a coin, and the model no safer for it.
    accuracy: on the validation rows, if there are any.
    """

    fitted: Fitted
    gain: float
    accuracy: float | None = None


@dataclass(frozen=True, eq=False)
class Search:
    """Line 14: the outcome of each candidate by its name, and the name of the one with the least gain."""

    outcomes: Mapping[Hashable, Outcome]
    chosen: Hashable

    @property
    def best(self) -> Outcome:
        """The chosen outcome."""
        return self.outcomes[self.chosen]

    def useful(self, least: float) -> Hashable:
        """The name of the outcome with the least gain among those whose accuracy is `least` or more.

        Our constraint: Eq. 2 has none, so that line 14 may take a network that always answers the same, whose best gain
        is -log 4. Raises ValueError where no outcome is accurate enough, or none was measured.
        """
        found = {name: one.accuracy for name, one in self.outcomes.items() if one.accuracy is not None}
        if not found:
            raise ValueError("algorithm1 ran without validation rows: give validation=(x, y), apart from all others")
        if not (enough := [name for name, accuracy in found.items() if accuracy >= least]):
            raise ValueError(
                f"no candidate is right on {least:g} of the validation rows; the best: {max(found.values()):g}"
            )
        return min(enough, key=lambda name: self.outcomes[name].gain)


def algorithm1(
    build: Callable[[], nn.Module],
    data: Data,
    reference: Data,
    candidates: Mapping[Hashable, Sequence[Phase]],
    *,
    game: MinMax = ALONE,
    seed: int = 0,
    validation: tuple[Tensor, Tensor] | None = None,
    start: Mapping[str, Tensor] | None = None,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> Search:
    """Run Algorithm 1: train every candidate with the inference network inside, and choose by its gain.

    candidates: for each {n_i}, by a name such as its keep rate, the phases with its pruning; all start alike, from the
    same seed. data: D; reference: D', no members. game: f_A, the number of its steps before each of the classifier
    (line 3) and gamma, 0 for Eq. 2 and above for Eq. 3. validation: rows that only `Search.useful` looks at. start: the
    dense model's weights; device, progress: as in `training.fit`. At gamma 0 the weights of each candidate are, bit for
    bit, those of its pruning without f_A, which enters by line 14 alone.

    Line 14 does not look at accuracy, `Search.useful` does. Raises ValueError for no
    candidate, for one without phases, and where a gain is not finite.
    """
    if not candidates or not all(candidates.values()):
        raise ValueError("algorithm1: give at least one candidate, and each at least one phase")
    outcomes = {}
    common: dict[str, Any] = {"reference": reference, "device": device, "progress": progress}
    for name, phases in candidates.items():
        fitted = _trained(partial(fit, build, data, **common), phases, game, seed, start)
        outcomes[name] = Outcome(fitted, -2 * fitted.history[-1]["game_loss"], _accuracy(fitted.model, validation))
        if not math.isfinite(outcomes[name].gain):
            raise ValueError(f"algorithm1: the gain of {name!r} is not finite: lower the learning rate")
    return Search(outcomes, min(outcomes, key=lambda name: outcomes[name].gain))


def _accuracy(model: nn.Module, validation: tuple[Tensor, Tensor] | None) -> float | None:
    if validation is None:
        return None
    x, y = validation
    answers = logits(model, x)
    assert isinstance(answers, Tensor)
    return (answers.argmax(1) == y.cpu()).double().mean().item()


def _trained(
    train: Callable[..., Fitted],
    phases: Sequence[Phase],
    game: MinMax,
    seed: int,
    weights: Mapping[str, Tensor] | None,
) -> Fitted:
    """One candidate's phases, each from the weights and the inference network that the one before ended with."""
    carried: Mapping[str, State] = {}
    for number, phase in enumerate(phases):
        draws = derive(seed, number) if number else seed
        defenses = (*phase.defenses, game)
        fitted = train(phase.recipe, defenses=defenses, seed=draws, start=weights, carried=carried)
        weights, carried = fitted.model.state_dict(), fitted.carried
    return fitted
