"""What a language model's logits say of the token that followed: the numbers of `TokenOutputs`."""

from __future__ import annotations

from typing import NamedTuple

import torch

_AT_ONCE = 2**24  # logits in single precision


class Told(NamedTuple):
    """Of n positions: float32 (n,), `ranks` int64 (n,), as `TokenOutputs` has them."""

    log_probs: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    ranks: torch.Tensor


@torch.no_grad()
def told(logits: torch.Tensor, tokens: torch.Tensor) -> Told:
    """What logits (n, V), of any precision, say of the tokens int64 (n,) that followed.

    A token whose logit is -inf is out of the vocabulary and counts nowhere.
    """
    step = max(1, _AT_ONCE // logits.shape[1])
    parts = [_told(*pair) for pair in zip(logits.split(step), tokens.split(step), strict=True)]
    return Told(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _told(logits: torch.Tensor, tokens: torch.Tensor) -> Told:
    log_p = torch.log_softmax(logits.float(), dim=-1)
    p = log_p.exp()
    known = log_p.masked_fill(p == 0, 0.0)  # 0 times log 0 is nothing
    mean = (p * known).sum(dim=-1)
    std = (p * (known - mean[:, None]).square()).sum(dim=-1).sqrt()
    own = log_p.gather(1, tokens[:, None])
    return Told(own[:, 0], mean, std, (log_p > own).sum(dim=-1))
