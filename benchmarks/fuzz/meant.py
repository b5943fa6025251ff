"""Calls of which one argument is spoiled, and the strict rule for what may become of them.

A refusal must say the argument's name and, where that is a single value, the value. An answer must be
the one that the plain value gives: 3.0 is 3, and True, "3" and nan are no numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from mia_utils.errors import printable, shown

from .case import Case, differs
from .values import anything, pick, spoiled

Arguments = dict[str, Any]
_MUST_REFUSE = object()

_NUMBERS = (
    *(0, -1, 2.5, 1e308, -1e308, 2**63, 10**30, 10**400, 5e-324, -0.0),
    *(float("nan"), float("inf"), float("-inf"), True, False, np.bool_(True), None),
    *("3", "0.5", "1e-3", "", "x", "nan", b"3", [3], [], (1, 2), {}, {"a": 1}, 1j),
    *(np.float32("nan"), np.float64("inf"), np.int8(-1), np.array([1, 2]), object),
)
_TEXTS = (
    *("", " ", "x", "é", "a/b", "..", "a\nb", "%s", "{0}", "a" * 300, "None", "cpu ", "-1"),
    *(3, 0, None, True, 1.5, float("nan"), b"mlp", ["mlp"], (), {}, np.array(["a"]), object),
    np.array(["a", "b"]),
)
_TRUTHS = (*("True", "no", "", 2, -1, 0.5, float("nan"), None, [True], [], {}, b"1"), object)


@dataclass(frozen=True)
class Call:
    """A public callable and right arguments for it.

    Parameters
    ----------
    call : function of those arguments
        Its answer's numbers are compared.
    make : function (generator, folder) -> arguments by name
    optional : names
        Those that None leaves out.
    negative, zero : names
        Numbers that may be below or at 0; others of them may not.
    endless, blank, truths : names
        Numbers that may be infinite, or NaN, or NumPy's bools.
    also : {name: words}
        What else a refusal may call an argument, or blame in its place.
    fixed : names
        Those that are not spoiled.
    """

    call: Callable[..., Any]
    make: Callable[[np.random.Generator, Path], Arguments]
    optional: Sequence[str] = ()
    negative: Sequence[str] = ()
    zero: Sequence[str] = ()
    endless: Sequence[str] = ()
    blank: Sequence[str] = ()
    truths: Sequence[str] = ()
    also: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fixed: Sequence[str] = ()


def case_of(name: str, trial: Call, rng: np.random.Generator, folder: Path) -> Case:
    """A call with one argument spoiled."""
    arguments = trial.make(rng, folder)
    chosen = pick(rng, [a for a in arguments if a not in trial.fixed])
    right = arguments[chosen]
    bad, how = _spoiled(rng, right)
    given = {**arguments, chosen: bad}
    meant = _meant(trial, chosen, right, bad, how)
    alike = meant is None or meant is _MUST_REFUSE or _same(meant, bad)

    def both():
        """The answer, and that of the plain value where it is another."""
        answer = trial.call(**given)
        return answer, answer if alike else trial.call(**{**arguments, chosen: meant})

    def wrong(answers) -> str:
        return f"{chosen}: {how} was taken" if meant is _MUST_REFUSE else differs(*answers)

    also = trial.also.get(chosen, ())
    single = isinstance(right, (bool, int, float, str)) and not _is_several(bad)
    values = [*_shown(bad), *also] if single else ()
    return Case(f"{name}({chosen}: {how})", both, _words(chosen, *also), wrong, values)


def _same(meant, bad) -> bool:
    """Is it the value itself, or as good a text?"""
    if isinstance(bad, np.ndarray):
        return False
    return type(meant) is type(bad) or isinstance(meant, str)


def _spoiled(rng, right):
    """A value in the place of a right one, and how it was spoiled."""
    if isinstance(right, np.ndarray) and rng.random() < 0.8:
        return spoiled(rng, right)
    if isinstance(right, (bool, np.bool_)):
        value = pick(rng, _TRUTHS + (np.bool_(right), int(right)))
    elif isinstance(right, (int, float)):
        same = (np.int64(right), np.float32(right)) if isinstance(right, int) else ()
        value = pick(rng, _NUMBERS + same + (np.float64(right), float(right)))
    elif isinstance(right, str):
        value = pick(rng, _TEXTS + (np.str_(right), right.upper(), right + " "))
    else:
        value = anything(rng)
    if isinstance(value, int) and 10**4 < value < 2**62:
        value %= 1000  # a size that merely needs more time and memory than a trial has
    return value, f"{value!r:.60}"


def _meant(trial: Call, name: str, right, bad, how: str):
    """The plain value that a bad one stands for; None where nothing can be said."""
    if bad is None:
        return None if right is None or name in trial.optional else _MUST_REFUSE
    if isinstance(right, np.ndarray):
        return None if name in trial.blank and how == "a NaN" else _meant_array(right, bad)
    if isinstance(right, (bool, np.bool_)):
        known = isinstance(bad, (bool, np.bool_, int, float)) and bad in (0, 1)
        return bool(bad) if known else _MUST_REFUSE
    if isinstance(right, (int, float)):
        return _meant_number(trial, name, right, bad)
    if isinstance(right, str):
        return str(bad) if isinstance(bad, str) else _MUST_REFUSE
    return None


def _meant_number(trial: Call, name: str, right, bad):
    if isinstance(bad, np.bool_) and name in trial.truths:
        return None
    if isinstance(bad, (bool, np.bool_)) or not isinstance(bad, Real):
        return _MUST_REFUSE
    if isinstance(bad, int) and abs(bad) > 1e308:  # no float holds it
        return _MUST_REFUSE
    if bad != bad:
        return None if name in trial.blank else _MUST_REFUSE
    if abs(bad) == math.inf and name not in trial.endless:
        return _MUST_REFUSE
    if bad < 0 and name not in trial.negative:
        return _MUST_REFUSE
    if bad == 0 and name not in (*trial.zero, *trial.negative):
        return _MUST_REFUSE
    if isinstance(right, int):
        whole = isinstance(bad, Integral) or float(bad).is_integer()
        return int(bad) if whole else _MUST_REFUSE
    return float(bad)


def _meant_array(right: np.ndarray, bad):
    """An array in the right one's type, if it says the same in another; None for another right one."""
    try:
        array = np.asarray(bad)
        if array.dtype == object:
            array = np.array(array.tolist())
        if array.dtype.kind == "c" or np.ma.is_masked(bad):
            return _MUST_REFUSE
        with np.errstate(all="ignore"):
            plain = array.astype(right.dtype)
            same = plain.astype(np.float64) == array.astype(np.float64)
        return plain if bool(np.all(same)) else _MUST_REFUSE
    except (TypeError, ValueError, OverflowError):
        return _MUST_REFUSE


def _is_several(value) -> bool:
    return isinstance(value, (list, tuple, dict, np.ndarray, bytes, type)) or value is None


def _shown(value) -> list[str]:
    """How a message may write a value."""
    written = {shown(value), str(value) if isinstance(value, str) else shown(value)}
    if isinstance(value, Real) and abs(value) < 1e300:
        written |= {
            f"{float(value):g}",
            repr(float(value)),
            repr(int(value)) if value == value else "",
        }
    return [part for text in written for part in (text[:30], printable(text)[:30]) if part]


def _words(*names: str) -> list[str]:
    words = {name for name in names if name}
    words |= {name.replace("_", other) for name in words for other in (" ", "-")}
    return sorted(words)
