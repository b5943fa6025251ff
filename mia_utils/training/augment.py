"""What changes a training batch: augmentation, mixup, RelaxLoss; never on scored records."""

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


def randaugment(x: torch.Tensor) -> torch.Tensor:
    """RandAugment (Cubuk et al., 2020): two random operations a record, of magnitude 9 of 31.

    torchvision's, with its defaults, one draw a record: about as slow as a training step of a small
    model.

    Parameters
    ----------
    x : uint8 (B, C, H, W)
        Images before normalisation, of 1 or 3 channels.
    """
    from torchvision.transforms.v2 import RandAugment

    change = RandAugment()
    return torch.stack([change(image) for image in x])


def relaxed(logits: torch.Tensor, y: torch.Tensor, alpha: float, epoch: int) -> torch.Tensor:
    """RelaxLoss's objective of one batch (Chen, Yu & Fritz, 2022, algorithm 1).

    While the mean loss is above alpha: that loss. Below it, in even epochs: minus the loss, a step
    up; in odd epochs: the loss with flattened labels, p_y on the true class as it is and the rest
    spread evenly, for records that the model gets right.

    Parameters
    ----------
    logits : (B, C)
    y : int64 (B,)
    """
    loss = functional.cross_entropy(logits, y)
    if loss > alpha:
        return loss
    if epoch % 2 == 0:
        return -loss
    with torch.no_grad():
        p = logits.softmax(dim=1)
        own = p.gather(1, y[:, None])
        soft = ((1 - own) / (logits.shape[1] - 1)).expand_as(p).scatter(1, y[:, None], own)
        hard = functional.one_hot(y, logits.shape[1]).to(p.dtype)
        right = p.argmax(dim=1, keepdim=True) == y[:, None]
        label = torch.where(right, soft, hard)
    return functional.cross_entropy(logits, label)


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
