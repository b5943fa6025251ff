"""Attacks on a language model's log-probabilities alone; `shadow` has those with reference models.

Each is one number a document: a mean of token values, compared with something of the document.
"""

from __future__ import annotations

import zlib
from typing import TypeVar

import numpy as np

from .. import arguments
from ..attacks import Attack, Needs
from ..errors import InputError
from .outputs import TokenOutputs, check_tokens
from .windows import AGGREGATES, Windows, blocks, cut, lowest_means, means, together

T = TypeVar("T")
_LEAST = 1e-12  # loss of a document that a model knows by heart: a ratio stays a number
WAYS = {
    "texts": "the documents' texts: write outputs.replace(texts=[...]), one a document",
    "mean": "mean and std of log p over the vocabulary at every token: ask the model for all "
    "log-probabilities, and write outputs.replace(mean=..., std=...)",
    "ranks": "the rank of every token in the vocabulary: write outputs.replace(ranks=...)",
    "lowercase_log_probs": "the model's answers for the texts in lower case: write "
    "outputs.replace(lowercase_log_probs=...), their mean log-probabilities",
    "neighbour_log_probs": "the model's answers for perturbed texts: write "
    "outputs.replace(neighbour_log_probs=...), their mean log-probabilities",
}
"""What an optional field is, and how it gets into `TokenOutputs`."""
WAYS["std"] = WAYS["mean"]


def check_fields(outputs: TokenOutputs, fields: tuple[str, ...], who: str) -> None:
    """Raise InputError for the first of the optional fields that is not there."""
    for name in fields:
        if getattr(outputs, name) is None:
            raise InputError(f"{who} needs {WAYS[name]}")


def given(field: T | None) -> T:
    """An optional field that `check_fields` has found."""
    assert field is not None
    return field


class TokenAttack(Attack):
    """What the attacks on `TokenOutputs` share; use one of them.

    `score` needs no fit; `fit` takes a threshold from shadow models. Higher means a likelier member.

    Parameters
    ----------
    window : int, optional
        Score windows of so many tokens, one after the other (the last one ends with the document),
        and aggregate them. By default a document is scored whole.
    aggregate : "max" or "mean"
        Of the windows' scores: the one that the model knows best (Carlini et al., 2021,
        take the smallest perplexity of any window), or their mean. Long documents have more
        windows, and so a larger maximum.
    threshold : float, optional
        Set by hand, in the unit of the score unless an attack says otherwise.
    """

    fields: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        window: int | None = None,
        aggregate: str = "max",
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        self.window = window
        self.aggregate = aggregate

    @property
    def needs(self) -> Needs:
        return Needs(fields=self.fields)

    def check_arguments(self) -> None:
        super().check_arguments()
        check_windows(self.window, self.aggregate)

    def _check_answers(self, answers, where: str) -> TokenOutputs:
        check_tokens(answers, f"{type(self).__name__}.{where}")
        check_fields(answers, self.needs.fields, type(self).__name__)
        return answers

    def _score_model(self, target: TokenOutputs, model: int, used: np.ndarray) -> np.ndarray:
        rows, scores = np.flatnonzero(used), []
        for part in (rows[place] for place in blocks(target.offsets[rows])):
            begin, end = target.offsets[part[0]], target.offsets[part[-1] + 1]
            values = self._values(target, model, slice(begin, end))
            windows = cut(
                target.offsets[part] - begin, target.offsets[part + 1] - begin, self.window
            )
            found = self._compare(
                self._mean(values, windows), target, model, part[windows.document]
            )
            scores.append(together(found, windows.document, self.aggregate))
        return np.concatenate(scores)

    def _values(self, target: TokenOutputs, model: int, tokens: slice) -> np.ndarray:
        """float64 (n,), one number a token."""
        return np.asarray(target.log_probs[model, tokens], dtype=np.float64)

    def _mean(self, values: np.ndarray, windows: Windows) -> np.ndarray:
        return means(values, windows)

    def _compare(self, mean: np.ndarray, target: TokenOutputs, model: int, documents) -> np.ndarray:
        """Scores (n,) of windows with these means (n,), of these documents (n,)."""
        return mean


def check_windows(window, aggregate) -> None:
    """Raise InputError unless these are a window and an aggregate of an attack."""
    if window is not None:
        arguments.count("window", window)
    arguments.one_of("aggregate", aggregate, AGGREGATES)


class PerplexityAttack(TokenAttack):
    """A member has a low perplexity (Yeom et al., 2018; for language models Carlini et al., 2021).

    The score is the mean log-probability of the tokens: minus the loss, minus the logarithm of the
    perplexity.

    Parameters
    ----------
    window, aggregate
        See `TokenAttack`.
    threshold : float of at least 1, optional
        A perplexity: a document whose perplexity is at most that is a member.

    >>> outputs = TokenOutputs([-1.0, -1.0, -3.0, -3.0], [0, 2, 4], members=[True, False])
    >>> PerplexityAttack(threshold=5).predict(outputs).tolist()
    [[True, False]]
    """

    def check_arguments(self) -> None:
        super().check_arguments()
        if self.threshold is not None:
            arguments.number(
                "threshold", self.threshold, "a perplexity of at least 1", 1, np.inf, closed="low"
            )

    def _in_score_units(self, threshold: float) -> float:
        return -float(np.log(threshold))


class ZlibAttack(TokenAttack):
    """A member is likelier than its text is simple (Carlini et al., 2021).

    The score is minus the ratio of the model's loss to the size in bytes of the text that zlib
    compressed: what any compressor finds easy (repetition) is no memory.

    Parameters
    ----------
    total : bool
        The loss of all tokens together. The paper's, and MIMIR's, is the mean over tokens, for
        texts of one length, where both rank alike; where lengths differ, a mean over a size
        measures the length. False gives theirs.
    window, aggregate, threshold
        See `TokenAttack`. A window's mean loss stands for its document's.
    """

    fields = ("texts",)

    def __init__(
        self,
        *,
        total: bool = True,
        window: int | None = None,
        aggregate: str = "max",
        threshold: float | None = None,
    ) -> None:
        super().__init__(window=window, aggregate=aggregate, threshold=threshold)
        self.total = total

    def _compare(self, mean: np.ndarray, target: TokenOutputs, model: int, documents) -> np.ndarray:
        rows, place = np.unique(documents, return_inverse=True)
        sizes = np.array([_compressed(given(target.texts)[row]) for row in rows])
        return mean * (target.lengths[documents] if self.total else 1) / sizes[place]


def _compressed(text: str) -> int:
    return len(zlib.compress(text.encode("utf-8", "surrogatepass")))


class LowercaseAttack(TokenAttack):
    """A member becomes less likely in lower case (Carlini et al., 2021).

    The score is the loss of the text in lower case over the loss of the text as it is.
    """

    fields = ("lowercase_log_probs",)

    def _compare(self, mean: np.ndarray, target: TokenOutputs, model: int, documents) -> np.ndarray:
        lower = given(target.lowercase_log_probs)[model][documents].astype(np.float64)
        return np.minimum(lower, -_LEAST) / np.minimum(mean, -_LEAST)


class NeighbourhoodAttack(TokenAttack):
    """A member is likelier than texts that differ from it in a few words (Mattern et al., 2023,
    "Membership Inference Attacks against Language Models via Neighbourhood Comparison").

    The score is the mean loss of the neighbours minus the document's. How neighbours are made is
    not decided here; the paper lets a masked language model replace words.
    """

    fields = ("neighbour_log_probs",)

    def _compare(self, mean: np.ndarray, target: TokenOutputs, model: int, documents) -> np.ndarray:
        neighbours = given(target.neighbour_log_probs)[model].mean(axis=-1, dtype=np.float64)
        return mean - neighbours[documents]


class MinKAttack(TokenAttack):
    """Min-K% Prob (Shi et al., 2024, "Detecting Pretraining Data from Large Language Models"): a
    text that the model has not seen is likely to have a few outlier words of low probability.

    The score is the mean log-probability of the `share` of tokens that are the least likely.

    Parameters
    ----------
    share : float in (0, 1]
        int(share x tokens) tokens count, at least one. 0.2 is the paper's.
    window, aggregate, threshold
        See `TokenAttack`.
    """

    def __init__(
        self,
        *,
        share: float = 0.2,
        window: int | None = None,
        aggregate: str = "max",
        threshold: float | None = None,
    ) -> None:
        super().__init__(window=window, aggregate=aggregate, threshold=threshold)
        self.share = share

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.number("share", self.share, "a share in (0, 1]", 0, 1, closed="high")

    def _mean(self, values: np.ndarray, windows: Windows) -> np.ndarray:
        return lowest_means(values, windows, self.share)


class MinKPlusPlusAttack(MinKAttack):
    """Min-K%++ (Zhang et al., 2024, "Min-K%++: Improved Baseline for Detecting Pre-Training Data
    from Large Language Models"): training makes a text's tokens modes of the model's distribution.

    Every log-probability is first standardised by the mean and the standard deviation of log p
    over the vocabulary at its position, p being the model's own probabilities; then as `MinKAttack`.
    Where all tokens of the vocabulary are equally likely (the deviation is 0), the value is 0.
    """

    fields = ("mean", "std")

    def _values(self, target: TokenOutputs, model: int, tokens: slice) -> np.ndarray:
        std = np.asarray(given(target.std)[model, tokens], dtype=np.float64)
        away = super()._values(target, model, tokens) - given(target.mean)[model, tokens]
        return np.divide(away, std, out=np.zeros_like(away), where=std > 0)
