"""Does a model give a document back? Its continuation word for word, greedily or by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arguments import as_integer, as_number
from ..arrays import as_integers
from ..errors import InputError, shown
from .outputs import TokenOutputs, check_tokens


@dataclass(frozen=True, eq=False)
class Extraction:
    """What continuing the beginning of each document would give.

    Attributes
    ----------
    judged : bool (N,)
        Is the document as long as beginning and continuation together?
    greedy : bool (M, N)
        Does the likeliest token at every place give the document's own continuation?
    log_probability : float64 (M, N)
        Logarithm of the probability that a continuation sampled at temperature 1 is the document's
        own. Both are NaN or False where the document is not judged.
    """

    judged: np.ndarray
    greedy: np.ndarray
    log_probability: np.ndarray

    def within(self, tries: int) -> np.ndarray:
        """Probability that one of so many samples is the document's own continuation, (M, N).

        That is (n, p)-discoverable extraction (Hayes et al., 2024), computed, not sampled.

        >>> Extraction(np.array([True]), np.array([[False]]), np.log([[0.5]])).within(2).tolist()
        [[0.75]]
        """
        if as_number("tries", tries, "at least 1") < 1:
            raise InputError(f"tries={shown(tries)}; expected at least 1")
        with np.errstate(divide="ignore"):
            miss = np.log1p(-np.exp(np.minimum(self.log_probability, 0)))
        return -np.expm1(tries * miss)


def extraction(outputs: TokenOutputs, *, prompt: int, length: int) -> Extraction:
    """Judge every document by what the model said of its tokens; nothing has to be generated.

    Greedy decoding after the document's first `prompt` tokens gives its next `length` tokens
    exactly if each of them was the likeliest given what stands before it: all of it, as far as the
    model's context reaches.

    Parameters
    ----------
    outputs : TokenOutputs
        With `ranks`; the first token of each document counts.
    prompt, length : int
        Tokens that are given, and that must come back.

    Raises
    ------
    InputError
        If there are no ranks, a number is out of range, or no document is long enough.
    """
    check_tokens(outputs, "extraction(outputs)")
    if outputs.ranks is None:
        raise InputError("extraction needs the tokens' ranks; TextModels.outputs gives them")
    prompt = as_integer("prompt", prompt, "a number of tokens, at least 1", 1)
    length = as_integer("length", length, "a number of tokens, at least 1", 1)
    sizes = np.diff(outputs.offsets)
    judged = sizes >= prompt + length
    if not judged.any():
        raise InputError(
            f"no document has {prompt + length} tokens (prompt={prompt}, length={length}); the longest has {int(sizes.max())}: "
            "choose a smaller prompt or length"
        )
    models = len(outputs.log_probs)
    greedy = np.zeros((models, sizes.size), bool)
    logs = np.full(greedy.shape, np.nan)
    places = outputs.offsets[:-1][judged, None] + prompt + np.arange(length)
    for row in range(models):
        greedy[row, judged] = (np.asarray(outputs.ranks[row])[places] == 0).all(axis=1)
        logs[row, judged] = np.asarray(outputs.log_probs[row])[places].sum(axis=1, dtype=np.float64)
    return Extraction(judged, greedy, logs)


def generate(model, tokens, length: int, *, temperature: float = 0.0, seed: int = 0) -> list[int]:
    """Continue a document by so many tokens, as a reader of the model would.

    Parameters
    ----------
    model : GPT
    tokens : integers
        The beginning.
    temperature : float
        0 takes the likeliest token at every place.

    Raises
    ------
    InputError
        If the whole is longer than the model's context, a token is not in its vocabulary, or the
        temperature is negative.
    """
    import torch

    from ..randomness import torch_generator

    if not (hasattr(model, "opening") and hasattr(model, "context")):
        raise InputError(f"model={shown(model)}; expected a model, as TextModels.load gives it")
    length = as_integer("length", length, "a number of tokens, at least 1", 1)
    found = as_integers(tokens, "tokens").ravel().tolist()
    if strange := [token for token in found if not 0 <= token < model.opening]:
        raise InputError(f"token {strange[0]} is not in the vocabulary of {model.opening} tokens")
    if len(found) + length > model.context:
        raise InputError(
            f"{len(found)} + {length} tokens are more than the model's context of {model.context}"
        )
    if as_number("temperature", temperature, "a number >= 0") < 0:
        raise InputError(f"temperature={shown(temperature)}; expected a number >= 0")
    drawing = torch_generator(seed, "generated text")
    with torch.no_grad():
        for _ in range(length):
            logits = model(torch.tensor([[model.opening, *found]]))[0, -1]
            if temperature:
                chances = torch.softmax(logits / temperature, dim=-1)
                found.append(int(torch.multinomial(chances, 1, generator=drawing)))
            else:
                found.append(int(logits.argmax()))
    return found
