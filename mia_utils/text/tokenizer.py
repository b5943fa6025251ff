"""Byte-pair encoding (Sennrich, Haddow & Birch, 2016) on bytes: any text has tokens, none is unknown."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from numbers import Integral

import numpy as np

from .. import arguments
from ..errors import InputError

_WORDS = re.compile(r" ?[A-Za-z_]+|\d| ?[^\sA-Za-z_\d]+|\s+")
"""No token crosses the bounds of these pieces; every digit is one of its own."""
_BYTES = 256


class Tokenizer:
    """Tokens 0 to 255 are bytes, the later ones pairs of earlier ones.

    Parameters
    ----------
    merges : pairs of int
        The k-th makes token 256 + k.

    >>> tokenizer = Tokenizer.trained(["low lower lowest", "slow slower"], size=260)
    >>> [tokenizer.decode([token]) for token in tokenizer.encode("slowly")]
    ['s', 'low', 'l', 'y']
    """

    def __init__(self, merges: Iterable[tuple[int, int]] = ()) -> None:
        self.merges = tuple((int(a), int(b)) for a, b in merges)
        self._ranks = {pair: _BYTES + k for k, pair in enumerate(self.merges)}
        self._bytes = [bytes([value]) for value in range(_BYTES)]
        for a, b in self.merges:
            self._bytes.append(self._bytes[a] + self._bytes[b])
        self._known: dict[str, tuple[int, ...]] = {}

    @classmethod
    def trained(cls, texts: Iterable[str], *, size: int = 1024) -> Tokenizer:
        """The most frequent pair becomes a token, again and again; of equals the smaller pair.

        Parameters
        ----------
        size : int of at least 256
            Tokens in all, fewer if no pair occurs twice.

        Raises
        ------
        InputError
            If `size` is smaller.
        """
        texts = arguments.several("texts", texts, "a list of texts")
        if not isinstance(size, Integral) or isinstance(size, bool) or size < _BYTES:
            raise InputError(f"vocabulary={size!r}; expected at least {_BYTES}, one for each byte")
        if wrong := [number for number, text in enumerate(texts) if not isinstance(text, str)]:
            kind = type(texts[wrong[0]]).__name__
            raise InputError(f"document {wrong[0]} is a {kind}; expected a text")
        counted = Counter(word for text in texts for word in _WORDS.findall(text))
        words = [list(_utf8(word)) for word in counted]
        times = list(counted.values())
        pairs: Counter[tuple[int, int]] = Counter()
        where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for place, word in enumerate(words):
            for pair in pairwise(word):
                pairs[pair] += times[place]
                where[pair].add(place)
        merges: list[tuple[int, int]] = []
        while len(merges) < size - _BYTES and pairs:
            most = max(pairs.values())
            if most < 2:
                break
            best = min(pair for pair, count in pairs.items() if count == most)
            new = _BYTES + len(merges)
            merges.append(best)
            for place in sorted(where.pop(best)):
                word = words[place]
                for pair in pairwise(word):
                    pairs[pair] -= times[place]
                    if not pairs[pair]:
                        del pairs[pair]
                words[place] = word = _merged(word, best, new)
                for pair in pairwise(word):
                    pairs[pair] += times[place]
                    where[pair].add(place)
        return cls(merges)

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self._bytes)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the merges."""
        return hashlib.sha256(repr(self.merges).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return [token for word in _WORDS.findall(text) for token in self._word(word)]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of some tokens; bytes that are no UTF-8 become a replacement character.

        Raises
        ------
        InputError
            If a token is not in the vocabulary.
        """
        return b"".join(map(self._of, tokens)).decode("utf-8", "replace")

    def _of(self, token: int) -> bytes:
        if not 0 <= token < self.size:
            raise InputError(
                f"token {token} is not in the vocabulary; expected 0 to {self.size - 1}"
            )
        return self._bytes[token]

    def _word(self, word: str) -> tuple[int, ...]:
        if word not in self._known:
            tokens = list(_utf8(word))
            while len(tokens) > 1:
                pairs = set(pairwise(tokens)) & self._ranks.keys()
                if not pairs:
                    break
                first = min(pairs, key=self._ranks.__getitem__)
                tokens = _merged(tokens, first, self._ranks[first])
            self._known[word] = tuple(tokens)
        return self._known[word]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _merged(word: Sequence[int], pair: tuple[int, int], new: int) -> list[int]:
    found, place = [], 0
    while place < len(word):
        if tuple(word[place : place + 2]) == pair:
            found.append(new)
            place += 2
        else:
            found.append(word[place])
            place += 1
    return found


def as_tokens(
    rows: Sequence[Sequence[int] | np.ndarray], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ragged rows as int32 tokens (T,) and int64 offsets (N + 1,).

    Raises
    ------
    InputError
        If there is no document, one has fewer than two tokens, or a token is not in the vocabulary
        of that size.
    """
    if not len(rows):
        raise InputError("there are no documents; expected at least one text")
    lengths = np.array([len(row) for row in rows])
    if lengths.min() < 2:
        short = int(lengths.argmin())
        what = "is empty" if not lengths[short] else "has one token"
        raise InputError(
            f"document {short} {what}; expected at least two tokens: leave such documents out"
        )
    tokens = np.concatenate([np.asarray(row) for row in rows])
    if tokens.dtype.kind not in "iu":
        raise InputError(f"tokens have type {tokens.dtype}; expected integers")
    bad = (tokens < 0) | (tokens >= size)
    if bad.any():
        place = int(bad.argmax())
        document = int(np.searchsorted(np.cumsum(lengths), place, side="right"))
        raise InputError(
            f"token {tokens[place]} of document {document} is not in the vocabulary; expected 0 to "
            f"{size - 1}"
        )
    return tokens.astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
