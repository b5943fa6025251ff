"""Mixup: every record is blended with another one, and so is what the loss asks of it."""

from __future__ import annotations

import torch

from .generators import Generators
from .regularizer import Regularizer


def mixup(
    x: torch.Tensor, y: torch.Tensor, alpha: float, generators: Generators
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mix every record with a random partner (Zhang et al., 2018): (mixed x, partner's y, lambda).

    The loss of the mixed label is lambda loss(y) + (1 - lambda) loss(partner's y), since
    cross-entropy is linear in the target.
    """
    shares = torch.tensor([alpha, alpha])  # Beta(alpha, alpha) is a Dirichlet law of two
    weight = float(torch._sample_dirichlet(shares, generator=generators.cpu)[0])
    partner = torch.randperm(len(x), device=x.device, generator=generators.device)
    return torch.lerp(x[partner], x, weight), y[partner], weight


class Mixup(Regularizer):
    """The weight is drawn anew for each batch, from Beta(alpha, alpha), by the processor."""

    field = "mixup"
    recordable = False
    not_with = (
        ("dp", "a mixed record is in the clipped gradients of two, the accountant counts one"),
    )

    def batch(self, x, target, generators):
        mixed, partner, weight = mixup(x, target, self.value, generators)
        return mixed, (target, partner, weight)

    def loss(self, loss):
        def blended(logits, target):
            own, partner, weight = target
            return weight * loss(logits, own) + (1 - weight) * loss(logits, partner)

        return blended
