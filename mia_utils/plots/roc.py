"""ROC curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import arguments
from ..errors import InputError
from ..evaluation.intervals import tpr_at_fpr_interval
from ..evaluation.roc import Roc, roc_curve
from . import given
from .style import FAINT, line_styles, without_marker

_POINTS = 24
"""Places along a curve at which its interval is computed."""
_PIXELS = 250
"""Steps a side that a drawn curve has at most: 15,000 records have as many points."""


def roc(
    curves: Mapping[str, Roc | tuple[np.ndarray, np.ndarray]],
    log: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """ROC curves by name, on linear or (log=True) double logarithmic axes, with chance dashed.

    Parameters
    ----------
    curves : {name: Roc or (scores, members)}
        Scores float and members bool (records,) give the curve with its pointwise 95 % band, drawn
        where ten false positives or more are allowed.

    Raises
    ------
    InputError
        If there is no curve, or as `evaluation.roc_curve`.
    """
    expected = "{name: roc_curve(scores, members)}"
    if not given.named(curves, "plots.roc(curves)", expected, empty=True):
        raise InputError(f"plots.roc got no curves; expected {expected}")
    arguments.truth("log", log)
    for name, curve in curves.items():
        arguments.text("plots.roc(curves): name", name)
        if not isinstance(curve, Roc) and not (isinstance(curve, tuple) and len(curve) == 2):
            raise InputError(
                f"plots.roc(curves), {name!r}: got a {type(curve).__name__}; expected "
                "roc_curve(scores, members), or (scores, members)"
            )
    if ax is None:
        _, ax = plt.subplots(figsize=(4.8, 4.4), layout="constrained")
    drawn = {n: c if isinstance(c, Roc) else roc_curve(*c) for n, c in curves.items()}
    low = 0.0
    if log:
        positive = [x[x > 0].min() for c in drawn.values() for x in (c.fpr, c.tpr)]
        low = min(min(positive), 0.1)
        ax.set(xscale="log", yscale="log")
    styles = line_styles(drawn)
    for name, curve in drawn.items():
        style = without_marker(styles[name])
        # Zero has no logarithm: such points are moved onto the axes.
        x, y = _thinned(np.maximum(curve.fpr, low), np.maximum(curve.tpr, low), log)
        ax.plot(x, y, label=name, **style)
        if not isinstance(curves[name], Roc):
            scores, members = cast(tuple, curves[name])
            _band(ax, scores, members, log, style["color"])
    ax.plot([low, 1], [low, 1], color=FAINT, linestyle="--", linewidth=1, label="chance")
    ax.set(
        xlim=(low, 1),
        ylim=(low, 1.02),
        xlabel="false positive rate",
        ylabel="true positive rate",
    )
    ax.legend(loc="lower right")
    return cast(Figure, ax.figure)


def _thinned(x: np.ndarray, y: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """The points of a curve that can be told from the one before at _PIXELS a side."""
    if x.size <= _PIXELS:
        return x, y
    places = (np.log(x), np.log(y)) if log else (x, y)
    cells = [np.rint(_PIXELS * (p - p[0]) / max(np.ptp(p), 1e-12)) for p in places]
    new = np.append(True, (np.diff(cells[0]) != 0) | (np.diff(cells[1]) != 0))
    new |= np.append(new[1:], True)  # the last point before a step keeps the step upright
    return x[new], y[new]


def _band(ax: Axes, scores, members, log: bool, colour: str) -> None:
    members = np.asarray(members, dtype=bool)
    if np.unique(scores).size < _POINTS:  # between a few thresholds there is no curve
        return
    first = 10 / max(int((~members).sum()), 11)
    at = np.geomspace(first, 0.999, _POINTS) if log else np.linspace(first, 0.999, _POINTS)
    found = [tpr_at_fpr_interval(scores, members, float(f)) for f in at]
    low, high = [i.low for i in found], [i.high for i in found]
    ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
