"""What figures are given: mappings of arrays, read and checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import arguments
from ..arrays import as_numbers
from ..errors import InputError

_LARGEST = 1e300
"""Beyond it an axis has no width that is a number."""


def named(value, role: str, expected: str, *, empty: bool = False) -> Mapping:
    """`value`, if it is a mapping with something in it (or nothing: `empty`); `role` is "plots.NAME(ARGUMENT)".

    Raises
    ------
    InputError
        If it is anything else.
    """
    if not isinstance(value, Mapping) or not (value or empty):
        raise InputError(f"{role} got {value!r:.80}; expected {expected}")
    return value


def labels(**texts) -> None:
    """InputError unless each of them is a text."""
    for name, text in texts.items():
        arguments.text(name, text)


def several_numbers(value, role: str, *, least: int = 1, finite: bool = True) -> np.ndarray:
    """Numbers in a row, float64 (n,).

    Raises
    ------
    InputError
        If they are no numbers, fewer than `least`, or (`finite`) one of them is not finite.
    """
    found = as_numbers(value, role).astype(np.float64)
    if found.ndim != 1 or found.size < least:
        what = "number" if least == 1 else "numbers"
        raise InputError(f"{role} has shape {found.shape}; expected at least {least} {what}")
    return check_size(found, role, finite=finite)


def check_size(found: np.ndarray, role: str, *, finite: bool = True) -> np.ndarray:
    """`found`, if all of it can be drawn; NaN is left out of a figure where `finite` is False.

    Raises
    ------
    InputError
        If a number is not finite, or too large for an axis.
    """
    bad = ~(np.abs(found) < _LARGEST) & (True if finite else ~np.isnan(found))
    if bad.any():
        raise InputError(f"{role} holds {found[bad].flat[0]:g}; expected finite numbers")
    return found


def number(value, role: str) -> float:
    """One finite number.

    Raises
    ------
    InputError
        If it is anything else.
    """
    arguments.number(role, value, "a number", -_LARGEST, _LARGEST)
    return float(value)


def pair(value, role: str) -> tuple[float, float]:
    """Two finite numbers.

    Raises
    ------
    InputError
        If it is anything else.
    """
    parts = arguments.several(role, value, "two numbers")
    if len(parts) != 2:
        raise InputError(f"{role}={value!r:.80}; expected two numbers")
    return number(parts[0], role), number(parts[1], role)
