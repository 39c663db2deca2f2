"""Where randomness comes from: named seeds, generators, and a forked global state. Nothing here seeds it.

Torch is imported where it is needed: an audit draws seeds too, and does not wait for torch.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *names: str | int) -> int:
    """Hash a seed and the names of a role into a new seed of 63 bits, the same on every platform.

    `derive(0, "target", 3)` and `derive(0, "shadow", 3)` are independent: no two models share their seed. Their data
    may still be the same: a synthetic set is drawn afresh for each repetition, while on a real one repetitions differ
    in weights, batch order and what an attacker knows, and may share all members.
    """
    parts = [operator.index(seed), *(name if isinstance(name, str) else operator.index(name) for name in names)]
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *names: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """Return a new generator on `device`, seeded with `derive(seed, *names)`."""
    import torch

    return torch.Generator(device).manual_seed(derive(seed, *names))


@contextmanager
def forked(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Seed torch's global generators inside the block (CPU, and `device` if CUDA); outside they stay untouched."""
    import torch

    device = torch.device(device)
    index = (torch.cuda.current_device() if device.index is None else device.index) if device.type == "cuda" else None
    with torch.random.fork_rng([] if index is None else [index]):
        # Not torch.manual_seed: it would also seed the GPUs that are not forked.
        torch.default_generator.manual_seed(seed)
        if index is not None:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
