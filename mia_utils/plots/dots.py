"""Numbers in rows: each a dot on one axis, or two joined by a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from .. import arguments
from ..arrays import as_numbers
from ..errors import InputError
from . import given
from .labels import untangle
from .style import FAINT, INK, MEMBER, NONMEMBER, attack_style

_WIDTH, _ROW = 4.8, 0.27
"""Inches: of the figure, narrow enough to be read on a phone, and of a row."""


def dots(
    rows: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    lines: Mapping[str, float] | None = None,
    spans: Mapping[str, tuple[float, float]] | None = None,
    attack: str | None = None,
) -> Figure:
    """A row a name, from top to bottom in the order given, and in it a dot for each number.

    Parameters
    ----------
    rows : {name: floats}
        What is not finite is left out. A name that is an attack's takes its colour, if `attack` is not given.
    lines : {label: x}, optional
        Dashed vertical lines.
    spans : {name: (low, high)}, optional
        Intervals of some rows, drawn behind their dots.
    attack : str, optional
        The attack that all numbers are of, for their colour.

    Raises
    ------
    InputError
        If there is no row, a span belongs to none, or something is no number.
    """
    given.named(rows, "plots.dots(rows)", "{name: numbers}")
    if lines:
        given.named(lines, "plots.dots(lines)", "{label: number}")
    if attack is not None:
        arguments.text("attack", attack)
    numbers = {name: _drawn(values, f"rows[{name!r}]") for name, values in rows.items()}
    for label, x in (lines or {}).items():
        given.number(x, f"lines[{label!r}]")
    figure, ax = _axes("plots.dots", list(rows), spans, xlabel)
    named: list[Text] = []
    for label, x in sorted((lines or {}).items(), key=lambda line: line[1]):
        ax.axvline(x, color=FAINT, linestyle="--", linewidth=1)
        text = ax.annotate(
            label,
            (x, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            ha="center",
            textcoords="offset points",
            fontsize=8.5,
            color=FAINT,
        )
        named += [text] if label.strip() else []
    for place, (name, values) in enumerate(numbers.items()):
        colour = (attack_style(attack or name) or {"color": MEMBER})["color"]
        if spans and name in spans:
            ax.plot(spans[name], (place, place), color=colour, alpha=0.3, linewidth=5)
        ax.plot(values, np.full(np.size(values), place), "o", color=colour, markersize=5, alpha=0.8)
    return untangle(figure, named)


def dumbbells(
    rows: Mapping[str, tuple[float, float]],
    *,
    names: tuple[str, str],
    xlabel: str,
    spans: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """A row a name: a hollow dot for the first number, a full one for the second, joined by a line.

    Parameters
    ----------
    rows : {name: (first, second)}
        What is not finite is left out.
    names : what the first and the second number are, for the legend
    spans : {name: (low, high)}, optional
        Intervals of the second number.

    Raises
    ------
    InputError
        If there is no row, a span belongs to none, or something is no number.
    """
    given.named(rows, "plots.dumbbells(rows)", "{name: (first, second)}")
    numbers = {name: _pair(pair, f"rows[{name!r}]") for name, pair in rows.items()}
    words = arguments.several("names", names, "what the first and the second number are")
    if len(words) != 2:
        raise InputError(f"names={names!r:.80}; expected what the two numbers are")
    for word in words:
        arguments.text("names", word)
    figure, ax = _axes("plots.dumbbells", list(rows), spans, xlabel)
    for place, (name, pair) in enumerate(numbers.items()):
        if spans and name in spans:
            ax.plot(spans[name], (place, place), color=MEMBER, alpha=0.25, linewidth=6)
        ax.plot(pair, (place, place), color=FAINT, linewidth=1.2)
    y = np.arange(len(rows))
    first, second = np.array(list(numbers.values())).T
    ax.plot(first, y, "o", color=NONMEMBER, markerfacecolor="white", label=names[0], markersize=6)
    ax.plot(second, y, "o", color=MEMBER, label=names[1], markersize=6)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return untangle(figure)


def _axes(caller: str, names: list[str], spans: Mapping | None, xlabel: str):
    given.labels(xlabel=xlabel)
    for name in names:
        arguments.text(f"{caller}(rows): name", name)
    if spans:
        given.named(spans, f"{caller}(spans)", "{name: (low, high)}")
    unknown = [name for name in spans or {} if name not in names]
    if unknown:
        raise InputError(f"{caller} got {len(names)} rows, and spans of others: {unknown}")
    for name, span in (spans or {}).items():
        _pair(span, f"spans[{name!r}]")
    figure, ax = plt.subplots(figsize=(_WIDTH, 0.9 + _ROW * len(names)), layout="constrained")
    ax.set_yticks(range(len(names)), names, fontsize=9, color=INK)
    ax.set(xlabel=xlabel, ylim=(len(names) - 0.4, -0.6))
    ax.grid(axis="y")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return figure, ax


def _drawn(values, role: str) -> np.ndarray:
    """Numbers, float64 (n,), those that are not finite as NaN: matplotlib leaves them out."""
    found = as_numbers(values, role).astype(np.float64)
    if found.ndim != 1:
        raise InputError(f"{role}={values!r:.80}; expected numbers")
    return _without_infinite(found, role)


def _pair(values, role: str) -> np.ndarray:
    """Two numbers, as `_drawn`."""
    parts = arguments.several(role, values, "two numbers")
    if len(parts) != 2:
        raise InputError(f"{role}={values!r:.80}; expected two numbers")
    for part in parts:
        if not (isinstance(part, Real) and part != part):
            arguments.number(role, part, "a number", -np.inf, np.inf, closed="low high")
    return _without_infinite(np.array(parts, dtype=np.float64), role)


def _without_infinite(found: np.ndarray, role: str) -> np.ndarray:
    known = np.isfinite(found)
    given.check_size(found[known], role)
    return np.where(known, found, np.nan)
