"""How much a model's answer moves when its input is disturbed a little (Yuan and Zhang 2022), for `samia`.

Explained in the appendix "Attacks".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mialab.attacks.queries import Inputs, tensor
from mialab.seeds import generator
from mialab.training.forward import full_precision

NOISE_STD = 1e-3  # in units of x, as they have it: standardised features
COPIES = 10  # theirs, too


def sensitivity(
    query: Callable[[Tensor], Tensor],
    x: Inputs,
    *,
    noise_std: float = NOISE_STD,
    copies: int = COPIES,
    seed: int = 0,
    at_once: int = 1000,
) -> np.ndarray:
    """Each probability's mean absolute change over noisy copies of the sample, per unit of noise: float32 [n, classes].

    query: from a tensor [b, ...] to probabilities [b, classes]; give float64, of which small changes are left, as
    `Target.probabilities` does. x: floats [n, ...]; every feature of every copy gets its own normal noise of standard
    deviation noise_std, in units of x. So give x as the network gets it (`Target.scaled`), where a feature's standard
    deviation is near 1: noise of 0.001 is then less than a tenth of one of 256 grey levels. Queries per sample:
    1 + copies. Raises ValueError for whole numbers, in which so little noise is lost, and where nothing is to be asked.
    """
    samples = tensor(x)
    if not samples.is_floating_point():
        found = f"x: found type {samples.dtype}, in which noise of {noise_std} is lost"
        raise ValueError(f"{found}; give floats as the network gets them, such as Target(model).scaled(x)")
    if not len(samples) or copies < 1 or not noise_std > 0:
        asked = f"{len(samples)} samples, copies={copies}, noise_std={noise_std}"
        raise ValueError(f"sensitivity: found {asked}; give at least one sample and one copy, and noise above 0")
    draw = generator(seed, "sensitivity")
    with full_precision(samples.device), torch.no_grad():  # 10-bit products would drown what little noise does
        parts = [_moved(query, some, noise_std, copies, draw) for some in samples.split(at_once)]
    return torch.cat(parts).float().cpu().numpy()


def _moved(
    query: Callable[[Tensor], Tensor], x: Tensor, noise_std: float, copies: int, draw: torch.Generator
) -> Tensor:
    undisturbed = query(x)
    total = torch.zeros_like(undisturbed)
    for _ in range(copies):  # the noise is drawn on the CPU: the same on every device
        noise = torch.randn(x.shape, generator=draw, dtype=torch.float32).to(x)
        total += (query(x + noise_std * noise) - undisturbed).abs()
    return total / (copies * noise_std)
