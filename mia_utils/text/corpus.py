"""Real text without a download: Python's standard library, or any folder, cut into documents."""

from __future__ import annotations

import hashlib
import os
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import arguments
from ..arguments import as_integer
from ..errors import InputError, InputWarning, shown
from .duplicates import distinct
from .tokenizer import Tokenizer, as_tokens

SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
_TABLES = {"encodings", "lib2to3", "pydoc_data"}
"""Tables of characters, and data that a program wrote."""
SUFFIXES = (".py", ".txt", ".md", ".rst")


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents and their tokens.

    Parameters
    ----------
    texts : strings
    tokenizer : Tokenizer
    sources : strings, default "" for each
        Where each document is from.
    name : str

    Attributes
    ----------
    tokens : int32 (T,)
    offsets : int64 (documents + 1,)
        Document d is tokens[offsets[d]:offsets[d + 1]].

    Raises
    ------
    InputError
        If there is no document, or one has fewer than two tokens.
    """

    texts: tuple[str, ...]
    tokenizer: Tokenizer
    sources: tuple[str, ...] = ()
    name: str = "texts"
    tokens: np.ndarray = field(init=False, repr=False)
    offsets: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        texts = arguments.several("texts", self.texts, "a list of texts")
        arguments.text("name", self.name)
        arguments.instance("tokenizer", self.tokenizer, Tokenizer, "a Tokenizer")
        if wrong := [number for number, text in enumerate(texts) if not isinstance(text, str)]:
            kind = type(texts[wrong[0]]).__name__
            raise InputError(f"document {wrong[0]} is a {kind}; expected a text")
        sources = tuple(self.sources) or ("",) * len(texts)
        if len(sources) != len(texts):
            raise InputError(f"{len(sources)} sources for {len(texts)} documents")
        tokens, offsets = as_tokens(
            [self.tokenizer.encode(text) for text in texts], self.tokenizer.size
        )
        for key, value in [("texts", texts), ("sources", sources)]:
            object.__setattr__(self, key, value)
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "offsets", offsets)

    @classmethod
    def of(cls, texts: Sequence[str], *, vocabulary: int = 1024, name: str = "texts") -> Corpus:
        """A corpus of given texts, with a tokenizer that is trained on all of them.

        The tokenizer sees members and non-members alike, so it says nothing of who is which.
        """
        texts = arguments.several("texts", texts, "a list of texts")
        return cls(texts, Tokenizer.trained(texts, size=vocabulary), name=name)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Corpus({self.name!r}, {len(self):,} documents, {self.tokens.size:,} tokens)"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the tokens, their bounds and the tokenizer."""
        digest = hashlib.sha256(self.tokenizer.fingerprint.encode())
        for array in (self.offsets, self.tokens):
            digest.update(np.ascontiguousarray(array).data.cast("B"))
        return digest.hexdigest()

    def subset(self, index) -> Corpus:
        """The documents of a slice, of these numbers in that order, or of a mask.

        Raises
        ------
        InputError
            If there are none, or a number is not that of a document.
        """
        if not isinstance(index, slice):
            index = np.asarray(index) if np.size(index) else slice(0)
        try:
            index = np.atleast_1d(np.arange(len(self))[index])
        except IndexError as error:
            raise InputError(f"index={shown(index)}: {error}; the corpus has {len(self)}") from None
        return Corpus(
            tuple(self.texts[i] for i in index),
            self.tokenizer,
            tuple(self.sources[i] for i in index),
            self.name,
        )

    def with_texts(self, texts: Sequence[str], source: str = "added") -> Corpus:
        """These documents, then others, with the same tokenizer."""
        texts = tuple(texts)
        return Corpus(
            self.texts + texts, self.tokenizer, self.sources + (source,) * len(texts), self.name
        )

    def instead(self, texts: Sequence[str]) -> Corpus:
        """Other texts in the documents' places: what is left of them after masking, say."""
        return Corpus(tuple(texts), self.tokenizer, self.sources, self.name)


def read_corpus(
    root: str | os.PathLike | None = None,
    *,
    documents: int | None = None,
    length: int = 256,
    least: int | None = None,
    similarity: float = 0.5,
    vocabulary: int = 1024,
    suffixes: Sequence[str] | None = None,
    seed: int = 0,
) -> Corpus:
    """Cut the text files of a folder into documents, near copies left out, in an order of the seed.

    A document begins where a paragraph begins and has at most `length` characters; no two overlap.

    Parameters
    ----------
    root : folder, default this Python's standard library (its sources, without tests and tables)
    documents : int or None
        How many; None for all there are.
    length, least : int
        Characters of a document; shorter ones are kept from `least` on (default `length`).
    similarity : float
        From which on two documents are alike, as `distinct`.
    vocabulary : int
        Tokens of the byte-pair encoding that is trained on the documents.
    suffixes : of file names, default ".py" for the library, else .py, .txt, .md and .rst

    Raises
    ------
    InputError
        If there is no such folder, it holds fewer documents than asked for, or a number is none.

    Warns
    -----
    InputWarning
        If files of one's own folder are no UTF-8.
    """
    own = root is not None
    arguments.folder("root", root)
    arguments.seed(seed)
    if suffixes is not None:
        suffixes = arguments.several("suffixes", suffixes, "endings of file names, as ['.txt']")
        for suffix in suffixes:
            arguments.text("suffixes", suffix)
    root = Path(sysconfig.get_path("stdlib") if root is None else root)
    least = length if least is None else least
    length = as_integer("length", length, "a number of characters")
    least = as_integer("least", least, "a number of characters")
    if documents is not None:
        documents = as_integer("documents", documents, "a number of documents, at least 2", 2)
    if not 1 <= least <= length:
        raise InputError(f"length={length}, least={least}; expected 1 <= least <= length")
    suffixes = tuple(suffixes or (SUFFIXES if own else (".py",)))
    pieces = [
        (text, source)
        for source, whole in _files(root, suffixes, own)
        for text in _cut(whole, length, least)
    ]
    order = np.random.default_rng([seed, 16]).permutation(len(pieces))
    kept = distinct((pieces[i][0] for i in order), similarity=similarity, most=documents)
    if len(kept) < (documents or 1):
        raise InputError(
            f"{root} holds {len(kept)} distinct documents of {least} to {length} characters, "
            f"{documents or 1} were asked for; take fewer, shorter ones, or another folder"
        )
    chosen = [pieces[i] for i in order[kept]]
    texts, sources = (tuple(part) for part in zip(*chosen, strict=True))
    tokenizer = Tokenizer.trained(texts, size=vocabulary)
    return Corpus(texts, tokenizer, sources, root.name if own else "stdlib")


def _files(root: Path, suffixes: tuple[str, ...], own: bool) -> Iterator[tuple[str, str]]:
    """(name, text) of each file, in the order of the names."""
    strange = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.suffix not in suffixes or not path.is_file():
            continue
        if not own and (SKIPPED | _TABLES).intersection(name.parts):
            continue
        try:
            yield name.as_posix(), path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            strange.append(name.as_posix())
    if own and strange:
        warnings.warn(
            f"{root}: {len(strange)} files are no UTF-8 text and are left out ({strange[0]}, ...)",
            InputWarning,
            stacklevel=4,
        )


def _cut(whole: str, length: int, least: int) -> Iterator[str]:
    begin = 0
    while begin < len(whole):
        text = whole[begin : begin + length]
        if len(text.strip()) and len(text) >= least:
            yield text
        end = whole.find("\n\n", begin + len(text) - 1)
        if end < 0:
            return
        begin = end + 2
        while begin < len(whole) and whole[begin] == "\n":
            begin += 1
