"""Curves over a number, with bands over targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import arguments
from ..arrays import as_numbers
from ..errors import InputError
from . import given
from .style import FAINT, line_styles


def bands(
    x: Sequence[float],
    curves: Mapping[str, np.ndarray],
    *,
    xlabel: str,
    ylabel: str,
    level: tuple[str, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Means over targets as lines, from the lowest to the highest target as bands; x logarithmic.

    Parameters
    ----------
    x : float (points,), positive
    curves : {name: float (points, targets)}
        A point with NaN is left out.
    level : (name, value), optional
        A dashed horizontal line, none at NaN.

    Raises
    ------
    InputError
        If there is no curve, one has another number of points, or something is no number.
    """
    at = given.several_numbers(x, "plots.bands(x)")
    if not (at > 0).all():
        raise InputError(f"plots.bands(x) holds {at.min():g}; expected positive numbers")
    given.labels(xlabel=xlabel, ylabel=ylabel)
    given.named(curves, "plots.bands(curves)", "{name: array (points, targets)}")
    for name, y in curves.items():
        arguments.text("plots.bands(curves): name", name)
        as_numbers(y, f"plots.bands(curves): {name!r}")
    wrong = [name for name, y in curves.items() if np.ndim(y) != 2 or len(y) != at.size]
    if wrong:
        raise InputError(
            f"plots.bands got {len(curves)} curves, {wrong} not of shape ({at.size}, targets)"
        )
    height = np.nan
    if level is not None:
        title, height = level
        if height == height:
            height = given.number(height, "level")
    if ax is None:
        _, ax = plt.subplots(figsize=(5.0, 3.8), layout="constrained")
    styles = line_styles(curves)
    for name, curve in curves.items():
        values, style = np.asarray(curve, dtype=np.float64), styles[name]
        known = np.isfinite(values).all(axis=1)
        ax.plot(at[known], values[known].mean(axis=1), markersize=4, label=name, **style)
        if known.any():
            low, high = values[known].min(axis=1), values[known].max(axis=1)
            ax.fill_between(at[known], low, high, color=style["color"], alpha=0.15, linewidth=0)
    if level is not None:
        ax.axhline(height, color=FAINT, linestyle="--", linewidth=1, label=title)
    ax.set_xscale("log", base=2)
    ax.set_xticks(at, [f"{value:g}" for value in at])
    ax.minorticks_off()
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(curves) > 3 or level is not None:  # inside it would lie on the line of the level
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2)
    else:
        ax.legend()
    return cast(Figure, ax.figure)
