"""Random crops and flips of a whole batch at once, on the batch's own device."""

import torch
import torch.nn.functional as F


def augment(x: torch.Tensor, names: tuple[str, ...], generator: torch.Generator) -> torch.Tensor:
    """Return the images [batch, channels, height, width] cropped and flipped, each sample by its own draw.

    No names: `x` itself. The generator must live on x's device.
    """
    if names and x.ndim != 4:
        raise ValueError(f"augment needs images [n, channels, height, width], not {list(x.shape)}: use augment=()")
    if "crop" in names:
        x = _crop(x, generator)
    if "flip" in names:
        x = _flip(x, generator)
    return x


def _crop(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    count, _, height, width = x.shape
    down, right = max(1, height // 8), max(1, width // 8)
    # All windows of the padded batch as a view; picking one per sample copies just that window.
    windows = F.pad(x, (right, right, down, down)).unfold(2, height, 1).unfold(3, width, 1)
    top = torch.randint(2 * down + 1, (count,), generator=generator, device=x.device)
    left = torch.randint(2 * right + 1, (count,), generator=generator, device=x.device)
    return windows[torch.arange(count, device=x.device), :, top, left]


def _flip(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    chosen = torch.rand(len(x), generator=generator, device=x.device) < 0.5
    return torch.where(chosen[:, None, None, None], x.flip(3), x)
