"""Planted secrets, and how far a model prefers the one that it has seen (Carlini et al., 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import arguments
from ..arguments import as_integer
from ..errors import InputError
from .query import TextModels

_AT_ONCE = 4096
_MOST = 10**6  # canaries
"""Candidates that are asked about at a time."""


@dataclass(frozen=True)
class Canary:
    """A sentence with a secret number in it.

    Parameters
    ----------
    form : str
        With one `{}` where the number stands.
    secret : str
        Digits.

    >>> Canary("The code of {} is", "42")
    Traceback (most recent call last):
        ...
    mia_utils.errors.InputError: form='The code of {} is'; expected {} at its end, and no other braces

    >>> Canary("The code is {}", "0042").text
    'The code is 0042'
    """

    form: str
    secret: str

    def __post_init__(self) -> None:
        arguments.text("form", self.form)
        arguments.text("secret", self.secret)
        if not self.form.endswith("{}") or set("{}") & set(self.form[:-2]):
            raise InputError(f"form={self.form!r}; expected {{}} at its end, and no other braces")
        if not (self.secret.isascii() and self.secret.isdigit()):
            raise InputError(f"secret={self.secret!r}; expected digits")

    @property
    def text(self) -> str:
        """The sentence."""
        return self.form.format(self.secret)

    @property
    def space(self) -> int:
        """How many secrets there might have been."""
        return 10 ** len(self.secret)


def canaries(count: int, *, digits: int = 4, seed: int = 0) -> list[Canary]:
    """Secrets of different owners, drawn uniformly.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    count = as_integer("count", count, f"a whole number, 1 to {_MOST:,}", 1, _MOST)
    digits = as_integer("digits", digits, "a whole number, 1 to 9", 1, 9)
    arguments.seed(seed)
    rng = np.random.default_rng([seed, 18])
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    owners = {"".join(rng.choice(letters, 6)) for _ in range(count)}
    while len(owners) < count:
        owners.add("".join(rng.choice(letters, 6)))
    secrets = rng.integers(0, 10, (count, digits))
    return [
        Canary(f"The secret code of {owner} is {{}}", "".join(map(str, row)))
        for owner, row in zip(sorted(owners), secrets, strict=True)
    ]


def exposure(models: TextModels, planted: Sequence[Canary]) -> np.ndarray:
    """Bits by which seeing the model shortens a search for each secret, float64 (models, canaries).

    log2 of the number of possible secrets, minus log2 of the rank of the planted one among all of
    them by likelihood (Carlini et al., 2019, definition 5). By chance it averages about 1.4 bits,
    whatever the space: 1 / ln 2.

    Raises
    ------
    InputError
        If a space has more than a million secrets, or a canary has fewer than two tokens.
    """
    arguments.instance("models", models, TextModels, "TextModels, as train_text returns them")
    planted = arguments.several("planted", planted, "a list of canaries")
    for canary in planted:
        arguments.instance("planted", canary, Canary, "a list of canaries")
    found = np.empty((len(models), len(planted)))
    for column, canary in enumerate(planted):
        if canary.space > 10**6:
            raise InputError(
                f"{canary.space:,} possible secrets of {canary.form!r}; expected at most a million"
            )
        width = len(canary.secret)
        secrets = [canary.form.format(f"{number:0{width}d}") for number in range(canary.space)]
        logs = np.empty((len(models), canary.space))
        for start in range(0, canary.space, _AT_ONCE):
            told, offsets = models.ask(secrets[start : start + _AT_ONCE])
            # What stands before the secret is the same for all.
            sums = [np.add.reduceat(row, offsets[:-1]) for row in told[0].astype(np.float64)]
            logs[:, start : start + _AT_ONCE] = sums
        own = logs[:, int(canary.secret)]
        rank = 1 + (logs > own[:, None]).sum(axis=1)
        found[:, column] = math.log2(canary.space) - np.log2(rank)
    return found
