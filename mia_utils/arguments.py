"""Checks of single arguments; those of an attack are made where they are used, not stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from numbers import Integral, Real

import numpy as np

from .errors import InputError


def one_of(name: str, value, choices: Collection[str]) -> None:
    """InputError unless `value` is one of the texts."""
    if not (isinstance(value, str) and value in choices):
        raise InputError(f"{name}={value!r}; expected one of {', '.join(map(repr, choices))}")


def number(name: str, value, expected: str, low: float, high: float, *, closed: str = "") -> None:
    """InputError unless `value` is a number between `low` and `high`; `closed` names the ends that
    may be reached, "low" and "high"."""
    if not (isinstance(value, Real) and _between(value, low, high, closed)):
        raise InputError(f"{name}={value!r}; expected {expected}")


def _between(value, low: float, high: float, closed: str) -> bool:
    return (
        low < value < high
        or ("low" in closed and value == low)
        or ("high" in closed and value == high)
    )


def seed(value) -> None:
    """InputError unless `value` is a seed: an integer of at least 0."""
    count("seed", value, least=0)


def several(name: str, value, expected: str) -> tuple:
    """The elements of a sequence; InputError for a text or a single value."""
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise InputError(f"{name}={value!r}; expected {expected}")
    return tuple(value)


def text(name: str, value) -> None:
    """InputError unless `value` is a text."""
    if not isinstance(value, str):
        raise InputError(f"{name}={value!r}; expected a text")


def count(name: str, value, least: int = 1) -> None:
    """InputError unless `value` is an integer of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}={value!r}; expected an integer of at least {least}")


def threshold(
    value, expected: str = "a number", low: float = -np.inf, high: float = np.inf
) -> None:
    """InputError unless `value` is None or a number between `low` and `high`, the ends included
    where they are infinite."""
    ends = ("low" if low == -np.inf else "") + ("high" if high == np.inf else "")
    if value is not None:
        number("threshold", value, expected, low, high, closed=ends)
