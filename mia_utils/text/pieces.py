"""Documents that are longer than a model's context, cut into pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""A target that nothing is to be said about: torch's cross_entropy leaves it out."""


class Cut(NamedTuple):
    """The tokens `begin` to `end` of a document, of which those from `first` on are asked about."""

    document: int
    begin: int
    end: int
    first: int


def cuts(offsets: np.ndarray, context: int, repeated: int) -> list[Cut]:
    """Pieces of at most `context` tokens, in order; each token is asked about in one of them.

    A piece that continues a document shows `repeated` tokens of the piece before it once more.

    >>> [tuple(cut) for cut in cuts(np.array([0, 5, 6]), context=4, repeated=2)]
    [(0, 0, 4, 0), (0, 2, 5, 4), (1, 5, 6, 5)]

    Parameters
    ----------
    offsets : int64 (N + 1,)
        Bounds of the documents among all tokens.
    """
    return [
        Cut(document, begin, min(begin + context, stop), begin + repeated * (begin > start))
        for document, (start, stop) in enumerate(pairwise(offsets.tolist()))
        for begin in range(start, max(start + 1, stop - repeated), context - repeated)
    ]


class Pieces(NamedTuple):
    """Documents as rows of at most `context` tokens, filled up on the right.

    `inputs`, int64 (P, L), is what the model sees, `targets` of the same shape what it shall say,
    -100 where there is nothing to say; `documents`, int64 (P,), is whose piece a row is.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    documents: np.ndarray

    @classmethod
    def of(
        cls,
        tokens: np.ndarray,
        offsets: np.ndarray,
        context: int,
        opening: int,
        *,
        repeated: int = 0,
    ) -> Pieces:
        """Cut documents; each piece begins with the token that opens a document.

        A piece that continues a document shows so many tokens of the piece before it once more, and
        is not asked about them.
        """
        cut = cuts(offsets, context, repeated)
        longest = max(end - begin for _, begin, end, _ in cut)
        targets = np.full((len(cut), longest), IGNORED, np.int64)
        inputs = np.full_like(targets, opening)
        for row, seen, (_, begin, end, first) in zip(targets, inputs, cut, strict=True):
            row[: end - begin] = tokens[begin:end]
            seen[1 : end - begin] = row[: end - begin - 1]
            row[: first - begin] = IGNORED
        documents = np.array([document for document, *_ in cut])
        import torch

        return cls(torch.from_numpy(inputs), torch.from_numpy(targets), documents)

    def rows(
        self, index: torch.Tensor, device: str | torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of some pieces, no longer than the longest of them."""
        targets = self.targets[index]
        longest = int((targets != IGNORED).nonzero()[:, 1].max()) + 1
        return self.inputs[index, :longest].to(device), targets[:, :longest].to(device)
