"""Checks of single arguments; those of an attack are made where they are used, not stored."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import NoReturn

import numpy as np

from .errors import InputError, shown

_LONGEST = 255  # characters of a file's name


def refuse(name: str, value, expected: str) -> NoReturn:
    """InputError that names an argument, its value, and what was expected."""
    raise InputError(f"{name}={shown(value)}; expected {expected}")


def one_of(name: str, value, choices: Collection[str]) -> None:
    """InputError unless `value` is one of the texts."""
    if not (isinstance(value, str) and value in choices):
        refuse(name, value, f"one of {', '.join(map(repr, choices))}")


def text(name: str, value) -> None:
    """InputError unless `value` is a text."""
    if not isinstance(value, str):
        refuse(name, value, "a text")


def truth(name: str, value) -> None:
    """InputError unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        refuse(name, value, "True or False")


def instance(name: str, value, kind: type, expected: str) -> None:
    """InputError unless `value` is one of that kind."""
    if not isinstance(value, kind):
        raise InputError(f"{name} is {shown(value):.80}; expected {expected}")


def path(name: str, value) -> None:
    """InputError unless `value` is a path that a disk can hold."""
    text = str(os.fspath(value)) if isinstance(value, str | os.PathLike) else ""
    if not text or "\0" in text or max(map(len, re.split(r"[\\/]", text))) > _LONGEST:
        refuse(name, value, "a path")


def folder(name: str, value) -> None:
    """InputError unless `value` is the path of a folder that is there, or None."""
    if value is None:
        return
    path(name, value)
    if not os.path.isdir(value):
        raise InputError(f"{name}: no folder {value!s:.200}; expected one that is there")


def several(name: str, value, expected: str) -> tuple:
    """The elements of a sequence; InputError for a text or a single value."""
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        refuse(name, value, expected)
    return tuple(value)


# ---- numbers ------------------------------------------------------------------------------------


def number(name: str, value, expected: str, low: float, high: float, *, closed: str = "") -> None:
    """InputError unless `value` is a number between `low` and `high`; `closed` names the ends that
    may be reached, "low" and "high"."""
    if isinstance(value, bool) or not (
        isinstance(value, Real) and _between(value, low, high, closed)
    ):
        refuse(name, value, expected)


def _between(value, low: float, high: float, closed: str) -> bool:
    try:
        value = float(value)
    except OverflowError:  # an integer beyond all floats
        return False
    return (
        low < value < high
        or ("low" in closed and value == low)
        or ("high" in closed and value == high)
    )


def threshold(
    value, expected: str = "a number", low: float = -np.inf, high: float = np.inf
) -> None:
    """InputError unless `value` is None or a number between `low` and `high`, the ends included
    where they are infinite."""
    ends = ("low" if low == -np.inf else "") + ("high" if high == np.inf else "")
    if value is not None:
        number("threshold", value, expected, low, high, closed=ends)


def count(name: str, value, least: int = 1, *, bits: int = 63) -> int:
    """`value` as a Python int; InputError unless it is an integer of at least `least`, and of no
    more bits than that."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not least <= int(value) < 2**bits:
        refuse(name, value, f"an integer of at least {least}, below 2**{bits}")
    return int(value)


def seed(value, *, bits: int = 32) -> int:
    """A seed as a Python int; InputError unless it is one that every generator takes.

    scikit-learn's have 32 bits. Masks were published for wider ones, and a training takes any
    (`training.config.as_seed`): its noise must not be guessed.
    """
    return count("seed", value, least=0, bits=bits)


def as_number(name: str, value, expected: str) -> float:
    """A finite number as a Python float, whatever kind of number it came as.

    Raises
    ------
    InputError
        If it is no number, or not finite.

    >>> as_number("lr", 1, "a positive number")
    1.0
    """
    if isinstance(value, str):
        refuse(name, value, f"{expected}{_unquoted(value)}")
    try:
        # `float` reads bytes, too.
        number = math.nan if isinstance(value, (bool, np.bool_, bytes)) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        refuse(name, value, expected)
    return number


def _unquoted(text: str) -> str:
    """How to write a number that arrived as a text."""
    if found := re.fullmatch(r"\s*([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)\s*", text):
        whole, part, sign, power = found.groups()
        return f" (YAML needs {whole}{part or '.0'}e{sign or '+'}{power})"
    try:
        float(text)
    except ValueError:
        return ""
    return f" (a number, not a text: {text.strip()} without quotes)"


def as_integer(
    name: str, value, expected: str, least: float = -math.inf, most: float = math.inf
) -> int:
    """A whole number from `least` to `most` as a Python int: 5.0 is 5.

    Raises
    ------
    InputError
        If it is none.
    """
    number = as_number(name, value, expected)
    if number != int(number) or not least <= number <= most:
        refuse(name, value, expected)
    return int(value)
