"""The attack made for pruned models: SAMIA, a self-attention attack (Yuan and Zhang 2022).

It reads the prediction, its sensitivity to small noise in the input (`mialab.attacks.sensitivity`) and the label, each
class being a token of an attention network, and learns on shadows that were pruned as the target was. It looks at
nobody's membership in the target, known or not. Scores are log-odds: 0 is the boundary.

The network is that of the authors' code: inputs batch-normed, 64 units, 3 layers of 4 heads, 128 units in between,
dropout 0.2; rate 1e-3, weight decay 5e-4, batches of 128, at most 100 epochs. Their code takes steps of SGD, with Adam
written beside it. Ours: steps of Adam, torch's initial weights, at most 10,000 of the shadows' answers, as many of
members as of others. A fifth of them is held back, and training ends when the loss on those has not fallen for 5
epochs. Explained in the appendix "Attacks".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mialab.attacks.base import Evidence, Known, from_function
from mialab.attacks.lacking import DESIGN, NotEnough
from mialab.attacks.nasr import one_thread
from mialab.seeds import derive, forked

if TYPE_CHECKING:
    from mialab.attacks.attention import Settings

MOST_ANSWERS = 10_000  # of shadows on samples: about 3 seconds an epoch on one core, with ten classes
FEWEST_ANSWERS = 8  # on either side


def score(evidence: Evidence, known: Known, seed: int, *, settings: Settings | None = None) -> np.ndarray:
    """Log-odds of membership, float64 [n], from a network trained on the shadows' answers, on a GPU if there is one.

    NotEnough without references that tell their sensitivity, or with fewer than 8 answers of theirs on either side.
    ValueError where the target's probabilities and sensitivities, or the shadows', are not of the same classes.
    """
    references, own = evidence.need("references"), evidence.need("sensitivity")
    shapes = evidence.p.shape, np.shape(own)
    if shapes[0] != shapes[1] or references.logits.shape[1:] != shapes[0]:
        found = f"probabilities {list(shapes[0])}, sensitivities {list(shapes[1])}"
        found += f", shadows' answers {list(references.logits.shape[1:])}"
        raise ValueError(f"samia: found {found}; give all of them for the same samples and classes")
    learnt, member = _answers(evidence, np.random.default_rng(derive(seed, "samia", "answers")))
    asked = _tokens(np.asarray(evidence.shown), own, evidence.labels)
    return _learnt(learnt, member, asked, settings, derive(seed, "samia"))


def _answers(evidence: Evidence, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [m, classes, 3] and membership bool [m] of shadows' answers: as many on either side, drawn at random."""
    references = evidence.need("references")
    if references.sensitivity is None:
        wanted = "train them with Shadows(..., sensitivity=epochs), or give References(..., sensitivity=...)"
        raise NotEnough(f"needs the sensitivity of the reference models, too: {wanted}")
    sides = [np.flatnonzero(references.member.ravel() == side) for side in (True, False)]
    pairs = min(MOST_ANSWERS // 2, *map(len, sides))
    if pairs < FEWEST_ANSWERS:
        wanted = f"{FEWEST_ANSWERS} answers on samples in a shadow's training set and {FEWEST_ANSWERS} on others"
        raise NotEnough(f"needs {wanted}: {DESIGN}")
    drawn = np.concatenate([rng.choice(side, pairs, replace=False) for side in sides])
    shadow, sample = np.divmod(drawn, references.member.shape[1])
    shown, moved = evidence.shown_of(references.logits[shadow, sample]), references.sensitivity[shadow, sample]
    return _tokens(shown, moved, references.labels[sample]), references.member[shadow, sample]


def _tokens(shown: np.ndarray, sensitivity: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each class its confidence as shown, its sensitivity, and whether it is the label: float32 [n, classes, 3]."""
    return np.stack([shown, sensitivity, np.eye(shown.shape[1])[labels]], axis=2).astype(np.float32)


def _learnt(
    learnt: np.ndarray, member: np.ndarray, asked: np.ndarray, settings: Settings | None, seed: int
) -> np.ndarray:
    """What a network that is trained on some tokens says of others."""
    import torch

    from mialab.attacks import attention

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens, truth = torch.from_numpy(learnt).to(device), torch.from_numpy(member.astype(np.float32)).to(device)
    with one_thread(), forked(seed, device):  # dropout draws from the global state
        settings = settings or attention.Settings()
        network = attention.Attention(asked.shape[1], settings).to(device)
        attention.train(network, settings, tokens, truth, np.random.default_rng(derive(seed, "order")))
        return network.answers(torch.from_numpy(asked).to(device)).double().cpu().numpy()


ATTACKS = (from_function("samia", score, needs=("references", "sensitivity"), costly=True, log_odds=True),)
