"""Labels of an axis that do not touch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator

_APART = 6.0
"""Pixels at 100 an inch that stand between two labels of ticks, at least."""


def untangle(figure: Figure, named: Sequence[Text] = ()) -> Figure:
    """The figure, with fewer ticks on each x axis whose labels would touch at its size.

    Of two neighbours among the texts `named`, from left to right, that touch, the left one moves to
    the left and the right one to the right.
    """
    for _ in range(6):
        for _ in range(2):  # the layout settles at the second
            figure.draw_without_rendering()
        tangled = [ax for ax in figure.axes if _touch(ax)]
        if not tangled:
            break
        for ax in tangled:
            _thin(ax)
    for a, b in pairwise(named):
        if b.get_window_extent().x0 - a.get_window_extent().x1 < _APART:
            a.set_horizontalalignment("right")
            b.set_horizontalalignment("left")
    return figure


def _touch(ax: Axes) -> bool:
    if isinstance(ax.xaxis.get_major_locator(), LogLocator):
        return False
    low, high = sorted(ax.get_xlim())
    shown = [
        label.get_window_extent()
        for place, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
        if label.get_text() and low <= place <= high and not label.get_rotation()
    ]
    shown.sort(key=lambda box: box.x0)
    return any(b.x0 - a.x1 < _APART for a, b in pairwise(shown))


def _thin(ax: Axes) -> None:
    if isinstance(ax.xaxis.get_major_locator(), FixedLocator):
        labels = [label.get_text() for label in ax.get_xticklabels()]
        keep = slice(None, None, -2)  # the last one says how far the axis goes
        ax.set_xticks(ax.get_xticks()[keep], labels[keep])
    else:
        low, high = sorted(ax.get_xlim())
        shown = sum(low <= place <= high for place in ax.get_xticks())
        ax.xaxis.set_major_locator(MaxNLocator(max(1, shown - 2), min_n_ticks=1))
