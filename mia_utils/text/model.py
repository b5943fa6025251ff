"""A small GPT: each token is predicted from those before it (Radford et al., 2019), in one file."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from ..errors import InputError


class Block(nn.Module):
    """Attention to what came before, then a layer of its own for every token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.before_units = nn.LayerNorm(width)
        self.units = nn.Linear(width, 4 * width)
        self.project = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) to the same."""
        batch, length, width = x.shape
        parts = self.attention(self.before_attention(x))
        q, k, v = parts.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.project(functional.gelu(self.units(self.before_units(x))))


class GPT(nn.Module):
    """Tokens (B, L) to logits (B, L, vocabulary) of what comes next.

    Learned positions, layer norms before each part, and one matrix for the tokens that come in and
    those that go out.

    Parameters
    ----------
    vocabulary : int
        Number of tokens; token `vocabulary` opens every document and is never predicted.
    context : int
        The longest sequence.
    layers, width, heads : int
    """

    def __init__(
        self, vocabulary: int, context: int, *, layers: int, width: int, heads: int
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width={width}, heads={heads}; expected a width that heads divide")
        self.vocabulary, self.context = vocabulary, context
        self.tokens = nn.Embedding(vocabulary + 1, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.last = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                # What is added to the stream, twice a layer, starts the smaller the more there is.
                added = name.endswith(("mix.weight", "project.weight"))
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * layers) if added else 1))

    @property
    def opening(self) -> int:
        """The token before every document."""
        return self.vocabulary

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.last(x), self.tokens.weight[:-1])


class PrivateForm(nn.Module):
    """A GPT as `clipping.clipped_sum` shows it one document at a time: (copies, L) to (copies x L, V)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model(tokens).flatten(0, 1)
