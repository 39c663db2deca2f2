"""How far members' outputs are from non-members': what the best attack could gain, exactly, bounded, and estimated.

The pruning paper's measure of leakage is the Jensen-Shannon divergence (JS) of a model's outputs on members and on
non-members: the best attack gains -log 4 + 2 JS (its Eqs. 1, 8-10). `exact` has it for known distributions, `bounds`
what it says of accuracy and what a measured attack says of it, `histogram` and `classifier` estimate it from samples.
Divergences are in nats unless the name says bits; both sides weigh one half, whatever their numbers.

What it does not cover: Eq. 1 lets the attack look at x, the argument that follows uses f(x) alone. JS of the outputs
bounds no attack that looks at x (`bounds` says why). What it does cover: whatever is computed from the outputs, since
that can only lessen the divergence (data-processing inequality). So a score's JS is at most that of the outputs.
"""

from __future__ import annotations

from mialab.divergence.binned import histogram
from mialab.divergence.bounds import (
    Bounds,
    accuracy_bounds,
    advantage_at_most,
    auc_bounds,
    binary_entropy,
    epsilon_at_least,
    js_at_least,
    js_at_least_from_bce,
    js_bounds,
    pinsker_accuracy,
    pinsker_js,
    tv_at_least,
    tv_bounds,
)
from mialab.divergence.estimate import Divergence, Null
from mialab.divergence.exact import (
    Curve,
    Mixture,
    Nodes,
    distance,
    gain,
    in_bits,
    js,
    on_nodes,
    optimal_accuracy,
    optimal_attack,
    optimal_auc,
    optimal_gain,
    optimal_roc,
    tv,
)
from mialab.divergence.fitted import classifier, features

__all__ = [
    "Bounds",
    "Curve",
    "Divergence",
    "Mixture",
    "Nodes",
    "Null",
    "accuracy_bounds",
    "advantage_at_most",
    "auc_bounds",
    "binary_entropy",
    "classifier",
    "distance",
    "epsilon_at_least",
    "features",
    "gain",
    "histogram",
    "in_bits",
    "js",
    "js_at_least",
    "js_at_least_from_bce",
    "js_bounds",
    "on_nodes",
    "optimal_accuracy",
    "optimal_attack",
    "optimal_auc",
    "optimal_gain",
    "optimal_roc",
    "pinsker_accuracy",
    "pinsker_js",
    "tv",
    "tv_at_least",
    "tv_bounds",
]
