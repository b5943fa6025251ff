"""Text generation in small: a corpus that every Python carries, and a character-level model.

The model predicts the next character from the last ones (a feed-forward language model, Bengio et
al., 2003). It is there for one question: does a record's loss betray that it was trained on?
"""

from __future__ import annotations

import ast
import os
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .. import arguments
from ..arrays import as_array, as_integers
from ..errors import InputError
from .corpus import SKIPPED

_PAD = 0  # code of "before the beginning"
_MOST = 0x110000  # as many characters as there are


def docstrings(length: int, *, root: str | os.PathLike | None = None) -> list[str]:
    """The different docstrings of the standard library with at least `length` characters.

    White space is folded to single blanks and the text cut to `length` characters, so that every
    record is of one size. Two docstrings that begin alike count once: a copy of a member among the
    non-members would blur what membership means.

    Parameters
    ----------
    length : int
        Characters of a record.
    root : folder, default this Python's standard library

    Raises
    ------
    InputError
        If there is no such docstring (a Python that ships without its sources), no such folder, or
        the length is none.
    """
    arguments.count("length", length)
    arguments.folder("root", root)
    root = Path(sysconfig.get_path("stdlib") if root is None else root)
    found: dict[str, None] = {}
    for path in sorted(root.rglob("*.py")):
        if SKIPPED.intersection(path.relative_to(root).parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            continue  # a template or a test file that is no Python
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())[:length]
                if len(text) == length:
                    found.setdefault(text)
    if not found:
        raise InputError(f"no docstring of {length} characters under {root}")
    return list(found)


def encode(texts: Iterable[str]) -> tuple[np.ndarray, str]:
    """Texts of one length as int64 (N, length) codes, and the alphabet: code i is alphabet[i - 1].

    >>> codes, alphabet = encode(["ab", "ba"])
    >>> codes.tolist(), alphabet
    ([[1, 2], [2, 1]], 'ab')

    Raises
    ------
    InputError
        If there is no text, or they differ in length.
    """
    texts = arguments.several("texts", texts, "a list of texts")
    for text in texts:
        arguments.text("texts", text)
    if not texts or not texts[0]:
        raise InputError("texts are empty; expected at least one text, of at least one character")
    if len({len(text) for text in texts}) != 1:
        raise InputError("the texts differ in length; cut them to one")
    alphabet = "".join(sorted(set("".join(texts))))
    place = {character: i + 1 for i, character in enumerate(alphabet)}
    return np.array([[place[c] for c in text] for text in texts], np.int64), alphabet


def train_characters(
    codes: np.ndarray,
    members: np.ndarray,
    *,
    epochs: Iterable[int],
    seed: int,
    context: int = 16,
    width: int = 512,
    batch_size: int = 512,
    lr: float = 2e-3,
) -> dict[int, np.ndarray]:
    """Train on the members; after each of the given epochs, what every record costs.

    Parameters
    ----------
    codes : int64 (N, L)
    members : bool (N,)
    epochs : ints
        When to look; training ends with the last one.
    context, width
        Characters that the model sees, units of its hidden layer.
    batch_size : int
        Characters (not records) a step.

    Returns
    -------
    dict of int to float32 (N, L)
        Loss in nats of each character of each record, in evaluation mode.

    Raises
    ------
    InputError
        If nobody is a member, shapes disagree, or a setting is out of range.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    from ..training.device import alone

    codes = as_integers(codes, "codes")
    if codes.ndim != 2 or not codes.size or codes.min() < 1 or codes.max() > _MOST:
        raise InputError(
            f"codes have shape {codes.shape}; expected (records, characters) of 1 to {_MOST:,}, as "
            "encode gives them"
        )
    members = as_array(members, "members")
    if members.shape != codes.shape[:1] or members.dtype != bool or not members.any():
        raise InputError(
            f"members are {members.dtype} {members.shape}; expected bool ({len(codes)},), some True"
        )
    looks = sorted(set(arguments.several("epochs", epochs, "numbers of epochs, as [1, 5]")))
    if not looks:
        raise InputError(f"epochs={epochs!r}; expected at least one number of epochs, as [1, 5]")
    for name, value in {"context": context, "width": width, "batch_size": batch_size}.items():
        arguments.count(name, value)
    for look in looks:
        arguments.count("epochs", look)
    arguments.number("lr", lr, "a positive number", 0, np.inf)
    arguments.seed(seed)
    padded = np.pad(codes, ((0, 0), (context, 0)), constant_values=_PAD)
    windows = np.lib.stride_tricks.sliding_window_view(padded, context, axis=1)[:, :-1]
    x = torch.from_numpy(windows.reshape(-1, context).copy())
    y = torch.from_numpy(codes.reshape(-1))
    characters = int(codes.max()) + 1
    mine = torch.from_numpy(np.flatnonzero(np.repeat(members, codes.shape[1])))
    losses = {}
    with alone(seed):
        model = nn.Sequential(
            nn.Embedding(characters, 24),
            nn.Flatten(),
            nn.Linear(24 * context, width),
            nn.ReLU(),
            nn.Linear(width, characters),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
        for epoch in range(1, looks[-1] + 1):
            for batch in mine[torch.randperm(len(mine))].split(batch_size):
                optimizer.zero_grad(set_to_none=True)
                functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
            if epoch in looks:
                with torch.no_grad():
                    parts = [
                        functional.cross_entropy(model(a), b, reduction="none")
                        for a, b in zip(x.split(8192), y.split(8192), strict=True)
                    ]
                losses[epoch] = torch.cat(parts).numpy().reshape(codes.shape)
    return losses
