"""What changes a training batch: augmentation and mixup, on whole batches, never on scored records."""

from __future__ import annotations

import torch
from torch.nn import functional


def crop_flip(x: torch.Tensor, padding: int = 4) -> torch.Tensor:
    """Random crop after reflection padding and random horizontal flip, one draw a record.

    Parameters
    ----------
    x : (B, C, H, W); the padding is at most a quarter of the side.
    """
    count, _, height, width = x.shape
    padding = min(padding, height // 4, width // 4)
    padded = functional.pad(x, (padding,) * 4, mode="reflect")
    top, left = torch.randint(0, 2 * padding + 1, (2, count, 1, 1), device=x.device)
    rows = torch.arange(height, device=x.device).view(1, -1, 1) + top
    columns = torch.arange(width, device=x.device).view(1, 1, -1)
    flip = torch.rand(count, 1, 1, device=x.device) < 0.5
    columns = torch.where(flip, width - 1 - columns, columns) + left
    record = torch.arange(count, device=x.device).view(-1, 1, 1)
    # Advanced indices around a slice put the channels last: (B, H, W, C), channels_last after permute.
    return padded[record, :, rows, columns].permute(0, 3, 1, 2)


def mixup(
    x: torch.Tensor, y: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mix every record with a random partner (Zhang et al., 2018): (mixed x, partner's y, lambda).

    The loss of the mixed label is lambda loss(y) + (1 - lambda) loss(partner's y), since
    cross-entropy is linear in the target.
    """
    weight = float(torch.distributions.Beta(alpha, alpha).sample()) if alpha else 1.0
    partner = torch.randperm(len(x), device=x.device)
    return torch.lerp(x[partner], x, weight), y[partner], weight
