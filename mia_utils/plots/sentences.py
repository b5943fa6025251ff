"""Numbers and names in the book's computed sentences, for any outcome."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun, in the singular or the plural.

    >>> counted(1, "shadow model"), counted(2000, "record"), counted(0, "class", "classes")
    ('1 shadow model', '2,000 records', '0 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[object], *, none: str = "none") -> str:
    """Names in a row; with semicolons where a name holds a comma itself.

    >>> listed(["loss", "entropy", "ML"]), listed(["QMIA, class alone", "loss"]), listed([])
    ('loss, entropy and ML', 'QMIA, class alone; loss', 'none')
    """
    texts = [str(name) for name in names]
    if any("," in text for text in texts):
        return "; ".join(texts)
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:]))) or none


def at_least(bound: float, digits: int) -> str:
    """A lower bound as a text that is no larger than the bound.

    >>> at_least(0.1299, 2), at_least(0.29, 2), at_least(float("nan"), 2)
    ('0.12', '0.29', '–')
    """
    return _towards(math.floor, bound, digits)


def at_most(bound: float, digits: int) -> str:
    """An upper bound as a text that is no smaller than the bound.

    >>> at_most(1.741, 2), at_most(0.29, 2), at_most(-0.001, 2)
    ('1.75', '0.29', '0.00')
    """
    return _towards(math.ceil, bound, digits)


def _towards(side, bound: float, digits: int) -> str:
    if not np.isfinite(bound):
        return "–" if np.isnan(bound) else f"{bound:.{digits}f}"
    nearest = round(float(bound), digits)
    if not math.isclose(nearest, bound, rel_tol=1e-9, abs_tol=1e-12):
        nearest = side(bound * 10**digits) / 10**digits
    return f"{nearest + 0.0:.{digits}f}"
