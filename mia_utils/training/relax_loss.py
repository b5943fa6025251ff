"""RelaxLoss: the loss of members is kept where that of others is."""

from __future__ import annotations

import torch
from torch.nn import functional

from .regularizer import Regularizer


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


class RelaxLoss(Regularizer):
    """The processor reads each batch's loss to decide what to do with it."""

    field = "relax_loss"
    recordable = False
    not_with = (
        ("mixup", "a mixed record has no one label"),
        ("label_smoothing", "RelaxLoss flattens labels itself"),
        ("dp", "a batch's mean loss decides about each record, which no accountant counts"),
    )

    def epoch_begins(self, epoch):
        self.epoch = epoch

    def loss(self, loss):
        return lambda logits, target: relaxed(logits, target, self.value, self.epoch)
