"""How the two-branch network of Nasr et al. 2018 is built and trained. `mialab.attacks.nasr` says where it is from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """Sizes, coding and training of a two-branch network; sizes are those of the ReLU layers after each input."""

    name: str
    prediction: tuple[int, ...] = (1024, 512, 64)
    label: tuple[int, ...] = (512, 64)
    joint: tuple[int, ...] = (256, 64)
    x: tuple[int, ...] = ()  # no such branch
    sees: str = "probabilities"  # or "logits"
    signed: bool = False  # the label's coding: -1 and 1, else 0 and 1
    squared: bool = False  # the loss: squared error of the probability, else log-loss
    initial_std: float | None = None  # of normal initial weights, with biases 0; None: as torch draws them
    rate: float = 1e-3  # of Adam
    batch: int = 128
    epochs: int = 30
    held_back: float = 0.0  # share of the known pairs that judge the epochs, of which the best is kept; 0: the last is


PAPER = Variant("nasr-paper")
CODE = Variant(
    "nasr-code",
    label=(128, 64),
    joint=(256, 128, 64),
    sees="logits",
    signed=True,
    squared=True,
    initial_std=0.01,
    rate=1e-4,
    batch=200,
    epochs=50,
)
PAPER_X = Variant("nasr-paper-x", x=(512, 64), held_back=0.2)
