"""What defenses cost and bring."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.isotonic import isotonic_regression

from ..errors import InputError
from . import given
from .labels import untangle
from .style import FAINT, INK

Point = tuple[float, float]
_SAME, _ROOM = 1e-9, 0.052
"""Utilities that differ by less are equal; height of a label, as a share of the axis."""
_MASKS, _COLUMN = 0.05, 0.07
"""Shares of the axis: where the masks' dots stand, and from the last dot to the names."""


def defense_arrows(
    start: Point,
    ends: Mapping[str, Point],
    xlabel: str = "test accuracy",
    ylabel: str = "attack AUC",
    *,
    front: Mapping[object, Point] | None = None,
) -> Figure:
    """Every defense an arrow from the undefended model: right is more useful, down more private.

    Defenses that leave the utility as it is (masks of the answer) stand in a strip of their own.

    Parameters
    ----------
    start : (utility, attack) of the undefended model
    ends : the same of each defended one, by name
    front : the same of undefended models that were trained for less long, by number of epochs: what
        a defense must beat. Defenses that lie above it are drawn pale.

    Raises
    ------
    InputError
        If there is no defense, or something is no finite number.
    """
    given.labels(xlabel=xlabel, ylabel=ylabel)
    start = given.pair(start, "start")
    ends = _points(ends, "ends", "got no defense; expected {name: (utility, attack)}")
    if front is not None:
        front = _points(front, "front", "expected {epochs: (utility, attack)}, or None")
    masks = {n: end for n, end in ends.items() if abs(end[0] - start[0]) < _SAME}
    moved = {n: end for n, end in ends.items() if n not in masks}
    lines = max(len(moved), len(masks))
    height = max(3.6, 0.24 * lines + 1.2)
    if masks:
        figure, (ax, strip) = plt.subplots(
            1,
            2,
            figsize=(6.4, height),
            layout="constrained",
            sharey=True,
            width_ratios=(2.4 if moved else 1, 1),
        )
        strip.set_xlim(0, 1)
        strip.set_xticks([])
        strip.set_xlabel("masks:\nsame accuracy")
        strip.spines[["left", "bottom"]].set_visible(False)
        strip.tick_params(left=False)
    else:
        figure, ax = plt.subplots(figsize=(5.4, height), layout="constrained")
        strip = None
    _axes(ax, start, moved, front or {})
    low, high = _limits(ax, [start, *ends.values(), *(front or {}).values()])
    if front:
        points = np.array(sorted([*front.values(), start]))
        ax.plot(*points.T, color=FAINT, linewidth=1.2, linestyle=":", zorder=1)
        for epochs, point in front.items():
            ax.annotate(
                f"{epochs}",
                point,
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=8,
                color=FAINT,
            )
    for name, end in moved.items():
        colour = INK if front is None or _beats(end, start, front) else "#9aa3ab"
        arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "shrinkA": 5, "shrinkB": 0}
        ax.annotate("", end, start, arrowprops=arrow, gid=name)
    ax.plot(*start, "o", color=INK, markersize=7, label="no defense", zorder=3)
    _labels(ax, {"no defense": start, **moved}, low, high)
    if strip is not None:
        # No further than the column of names, so that no line is drawn through one.
        strip.axhline(start[1], xmax=_MASKS + _COLUMN, color=FAINT, linewidth=0.8, linestyle="--")
        for end in masks.values():
            strip.plot(_MASKS, end[1], "o", color=INK, markersize=5)
        _labels(strip, {n: (_MASKS, end[1]) for n, end in masks.items()}, low, high)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return untangle(figure)


def _points(points, name: str, expected: str) -> dict:
    if not isinstance(points, Mapping) or (name == "ends" and not points):
        raise InputError(f"plots.defense_arrows: {name}={points!r:.80}; {expected}")
    return {key: given.pair(point, f"{name}[{key!r}]") for key, point in points.items()}


def _axes(ax: Axes, start: Point, moved: Mapping[str, Point], front: Mapping) -> None:
    x = [start[0], *(p[0] for p in moved.values()), *(p[0] for p in front.values())]
    span = max(max(x) - min(x), 0.02)
    ax.set_xlim(min(x) - 0.08 * span, max(x) + 0.75 * span)  # room for the names at the right
    ticks = MaxNLocator(4).tick_values(min(x), max(x))
    ax.set_xticks([t for t in ticks if min(x) - 0.08 * span <= t <= max(x) + 0.08 * span])
    left, right = ax.get_xlim()
    last = max([start[0], *(p[0] for p in moved.values())])
    end = (last - left) / (right - left) + _COLUMN
    ax.axhline(0.5, xmax=end, color=FAINT, linestyle="--", linewidth=1)


def _limits(ax: Axes, points: list[Point]) -> tuple[float, float]:
    y = [0.5, *(p[1] for p in points)]
    span = max(max(y) - min(y), 0.02)
    limits = min(y) - 0.07 * span, max(y) + 0.07 * span
    ax.set_ylim(*limits)
    return limits


def _beats(end: Point, start: Point, front: Mapping[object, Point]) -> bool:
    """Whether a defense leaves less to the attacker than stopping earlier at its accuracy."""
    points = np.array(sorted([*front.values(), start]))
    return end[1] < np.interp(end[0], *points.T)


def _labels(ax: Axes, points: Mapping[str, Point], low: float, high: float) -> None:
    """Names in a column at the right, in the order of their points and never on each other."""
    room = min(_ROOM, 1 / len(points)) * (high - low)
    order = sorted(points, key=lambda name: points[name][1])
    # As near to their points as labels may stand that keep their order, `room` apart, in the axis.
    steps = room * np.arange(len(order))
    y = steps + isotonic_regression(
        np.array([points[name][1] for name in order]) - steps,
        y_min=low + room / 2,
        y_max=high - room / 2 - steps[-1],
    )
    left, right = ax.get_xlim()
    column = max(p[0] for p in points.values()) + _COLUMN * (right - left)
    for name, place in zip(order, y, strict=True):
        x, at = points[name]
        ax.plot([x, column], [at, place], color=FAINT, linewidth=0.5, zorder=0)
        ax.text(column, place, f" {name}", fontsize=8.5, va="center", ha="left")
