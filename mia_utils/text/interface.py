"""Limits of the interface: what is left of `TokenOutputs` where a model tells less.

The counterparts of `defenses.masking`, with the tokens of a document in place of classes. Both need
`ranks`, and what they take away stays away: mean and std over the vocabulary, and answers for
lower-case and perturbed texts, which were made from all log-probabilities. Attacks that need those
say so.
"""

from __future__ import annotations

import numpy as np

from .. import arguments
from ..defenses.masking import FLOOR
from ..errors import InputError
from .attacks import check_fields, given
from .outputs import TokenOutputs


def top_k(outputs: TokenOutputs, k: int) -> TokenOutputs:
    """Only the k likeliest tokens of each position are released, with their log-probabilities.

    A token of a document that is not among them counts as the least likely one that the model
    released anywhere: what an attacker knows is that it is less likely than the k released there.
    Doing it twice changes nothing.

    Raises
    ------
    InputError
        If k is no positive integer, the ranks are missing, or a model's k likeliest tokens are
        never those of a document.
    """
    arguments.count("k", k)
    check_fields(outputs, ("ranks",), "top_k")
    log_probs = np.array(outputs.log_probs)
    for model, ranks in enumerate(given(outputs.ranks)):
        shown = ranks < k
        if not shown.any():
            raise InputError(
                f"no token of any document is among the {k} likeliest of model {model}; choose a "
                "larger k"
            )
        log_probs[model, ~shown] = log_probs[model, shown].min()
    return _without_the_rest(outputs, log_probs, k)


def label_only(outputs: TokenOutputs) -> TokenOutputs:
    """Only the token that the model would generate itself (greedily) is released.

    A token of a document has probability 1 if it is that one, else `defenses.masking.FLOOR`: every
    attack then sees how many tokens, or how many of a share, the model guesses right.

    Raises
    ------
    InputError
        If the ranks are missing.
    """
    check_fields(outputs, ("ranks",), "label_only")
    hit = np.asarray(outputs.ranks) == 0
    return _without_the_rest(outputs, np.where(hit, 0, np.log(FLOOR)).astype(np.float32), 1)


def _without_the_rest(outputs: TokenOutputs, log_probs: np.ndarray, k: int) -> TokenOutputs:
    return outputs.replace(
        log_probs=log_probs,
        ranks=np.minimum(given(outputs.ranks), k),
        mean=None,
        std=None,
        lowercase_log_probs=None,
        neighbour_log_probs=None,
    )
