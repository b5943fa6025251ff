"""Tables as coloured squares."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from pandas import DataFrame

from .. import arguments
from ..arrays import as_numbers
from ..errors import InputError
from . import given
from .style import INK

WIDTH = 5.6
"""Inches that a figure may be wide, to be read on a phone."""


def matrix(tables: Mapping[str, DataFrame], *, low: float = 0.5, high: float = 1.0) -> Figure:
    """One panel a table (pandas.DataFrame), one below the other where they are wide: its numbers
    in coloured squares, NaN left blank.

    Raises
    ------
    InputError
        If there is no table, one is empty, or something is no number.
    """
    given.named(tables, "plots.matrix(tables)", "{title: DataFrame}", empty=True)
    low, high = given.number(low, "low"), given.number(high, "high")
    if not low < high:
        raise InputError(f"low={low:g}, high={high:g}; expected low < high")
    if not tables or any(np.size(table) == 0 for table in tables.values()):
        raise InputError("plots.matrix got no table, or an empty one; expected {title: DataFrame}")
    for title, table in tables.items():
        role = f"table {title!r}"
        arguments.instance(role, table, DataFrame, "a pandas.DataFrame of numbers")
        given.check_size(as_numbers(table, role).astype(np.float64), role, finite=False)
    tallest, widest = np.max([table.shape for table in tables.values()], axis=0)
    columns = max(1, min(len(tables), int(WIDTH / (1.5 + 0.6 * widest))))
    rows = -(-len(tables) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * (1.5 + 0.6 * widest), rows * (1.3 + 0.36 * tallest)),
        layout="constrained",
        squeeze=False,
    )
    for ax in axes.flat[len(tables) :]:
        ax.axis("off")
    for ax, (title, table) in zip(axes.flat, tables.items(), strict=False):
        values = table.to_numpy(dtype=np.float64)
        ax.imshow(values, cmap="Blues", vmin=low, vmax=high, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = value > low + 0.6 * (high - low)
                colour = "white" if dark else INK
                style = {"ha": "center", "va": "center", "fontsize": 9, "color": colour}
                ax.text(column, row, f"{value:.3f}", **style)
        ax.set_xticks(range(table.shape[1]), [str(c) for c in table.columns], rotation=25)
        ax.set_yticks(range(table.shape[0]), [str(i) for i in table.index])
        ax.set(xlabel=table.columns.name, ylabel=table.index.name)
        ax.set_title(title, fontsize=10)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    return figure
