"""Trained language models and what they say: of the corpus from the store, of other texts by asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np

from .. import arguments
from ..arguments import as_integer
from ..arrays import as_integers
from ..engine.store import Store
from ..errors import InputError, shown
from .config import TextConfig
from .corpus import Corpus
from .outputs import TokenOutputs
from .tokenizer import as_tokens


@dataclass(frozen=True, eq=False)
class TextModels:
    """Language models of one corpus, as `train_text` returns them.

    Parameters
    ----------
    corpus : Corpus
    copies : uint8 (M, N)
        How often each model's training set holds each document.
    config : TextConfig
    names : tuple of str
        In the store.
    store : Store
    """

    corpus: Corpus
    copies: np.ndarray
    config: TextConfig
    names: tuple[str, ...]
    store: Store = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index) -> TextModels:
        """Some of the models, by a slice or a list of numbers; one number gives one model.

        Raises
        ------
        InputError
            If there is no such model.
        """
        try:
            rows = np.atleast_1d(np.arange(len(self))[index])
        except IndexError:
            raise InputError(f"model {index!r} of {len(self)}, which count from 0") from None
        names = tuple(self.names[row] for row in rows)
        return TextModels(self.corpus, self.copies[rows], self.config, names, self.store)

    @property
    def members(self) -> np.ndarray:
        """bool (M, N)."""
        return self.copies > 0

    def records(self) -> list[dict]:
        """What the store keeps of each training: losses, seconds, privacy, versions."""
        return [self.store.record(name) for name in self.names]

    def outputs(
        self,
        epoch: int | None = None,
        *,
        lowercase: bool = False,
        neighbours: int = 0,
        seed: int = 0,
    ) -> TokenOutputs:
        """What every model said of every token of the corpus.

        Parameters
        ----------
        epoch : int, default the last
            One of `config.looks`.
        lowercase : bool
            Ask also about the documents in lower case (the last epoch alone).
        neighbours : int
            Ask also about so many versions of each document (the last epoch alone), in which one
            token in ten is another one of the corpus, drawn by frequency and `seed`. Mattern et al.
            (2023) let a masked language model choose; this is a cheap stand-in.

        Raises
        ------
        InputError
            If the models were not asked after that epoch or are not in the store, or `neighbours` is no
        number of versions.
        """
        known = [*self.config.looks, self.config.epochs]
        epoch = self.config.epochs if epoch is None else epoch
        if not isinstance(epoch, Integral) or isinstance(epoch, bool) or epoch not in known:
            raise InputError(
                f"epoch={shown(epoch)}; the models were asked after {known}: set looks="
            )
        neighbours = as_integer(
            "neighbours", neighbours, "a number of versions, 0 to 1000", 0, 1000
        )
        arguments.truth("lowercase", lowercase)
        arguments.seed(seed)
        if epoch != known[-1] and (lowercase or neighbours):
            raise InputError(
                "lowercase and neighbours ask the trained model; they go with its last epoch alone"
            )
        look = known.index(epoch)
        found = np.stack([self.store.logits(name)[look] for name in self.names], axis=1)
        other = {}
        if lowercase:
            other["lowercase_log_probs"] = self._means([text.lower() for text in self.corpus.texts])
        if neighbours:
            versions = (
                self._means(_perturbed(self.corpus, [seed, version]))
                for version in range(neighbours)
            )
            other["neighbour_log_probs"] = np.stack(list(versions), axis=2)
        return TokenOutputs(
            log_probs=found[0],
            mean=found[1],
            std=found[2],
            ranks=found[3].astype(np.int32),
            offsets=self.corpus.offsets,
            members=self.members,
            texts=self.corpus.texts,
            groups={"source": np.array(self.corpus.sources)},
            names=self.names,
            fingerprint=self.corpus.fingerprint,
            **other,
        )

    def ask(self, documents: Sequence[str | Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """What the trained models say of other documents, texts or rows of tokens.

        Returns
        -------
        float32 (4, M, T), int64 (documents + 1,)
            Log-probability, mean, standard deviation and rank of each token, and the bounds of the
            documents.

        Raises
        ------
        InputError
            If a document has fewer than two tokens, or one that is not in the vocabulary.
        """
        from ..training.device import one_thread
        from .training import answers

        encode, size = self.corpus.tokenizer.encode, self.corpus.tokenizer.size
        documents = arguments.several("documents", documents, "a list of texts")
        rows = [
            encode(row) if isinstance(row, str) else as_integers(row, "documents").ravel()
            for row in documents
        ]
        tokens, offsets = as_tokens(rows, size)
        with one_thread():
            found = [answers(self.load(row), tokens, offsets) for row in range(len(self))]
        return np.stack(found, axis=1), offsets

    def _means(self, documents: Sequence[Any]) -> np.ndarray:
        """Mean log-probability of each document's tokens, float64 (M, documents)."""
        found, offsets = self.ask(documents)
        sums = np.add.reduceat(found[0].astype(np.float64), offsets[:-1], axis=1)
        return sums / np.diff(offsets)

    def load(self, row: int = 0):
        """A model, `GPT` in evaluation mode on the CPU; raises InputError if it is not stored."""
        import torch

        from ..training.generators import Generators
        from .training import build

        model = build(self.corpus.tokenizer.size, self.config, Generators.of_seed(0, "cpu"))
        weights = self.store.weights(self[row].names[0])
        model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
        return model.eval()


def _perturbed(corpus: Corpus, seed: Sequence[int]) -> list[np.ndarray]:
    """Every document with one token in ten drawn anew from the corpus."""
    rng = np.random.default_rng([*seed, 17])
    changed = np.where(
        rng.random(corpus.tokens.size) < 0.1, rng.permutation(corpus.tokens), corpus.tokens
    )
    return np.split(changed, corpus.offsets[1:-1])
