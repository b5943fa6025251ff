"""The book's figures. Every function draws and returns a matplotlib Figure.

In a notebook write `figure = roc(curves)`: the figure is open, and shown once as the cell ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data import Pool
from ..errors import InputError
from ..evaluation.roc import Roc

MEMBER, NONMEMBER = "#0072b2", "#d55e00"  # tell apart for colour-blind readers too
_COLOURS = (MEMBER, NONMEMBER, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def use_style() -> None:
    """Set the book's colours, sizes and fonts for every later figure of this process."""
    plt.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=_COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.dpi": 100,
            "font.size": 10,
            "legend.frameon": False,
        }
    )


def roc(curves: Mapping[str, Roc], log: bool = False, ax: Axes | None = None) -> Figure:
    """ROC curves by name, on linear or (log=True) double logarithmic axes, with chance dashed.

    Raises
    ------
    InputError
        If there is no curve.
    """
    if not curves:
        raise InputError("plots.roc got no curves; expected {name: roc_curve(scores, members)}")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.8, 4.4), layout="constrained")
    low = 0.0
    if log:
        positive = [x[x > 0].min() for c in curves.values() for x in (c.fpr, c.tpr)]
        low = min(min(positive), 0.1)
        ax.set(xscale="log", yscale="log")
    for name, curve in curves.items():
        # Zero has no logarithm: such points are moved onto the axes.
        ax.plot(np.maximum(curve.fpr, low), np.maximum(curve.tpr, low), label=name)
    ax.plot([low, 1], [low, 1], color="0.5", linestyle="--", linewidth=1, label="chance")
    ax.set(
        xlim=(low, 1),
        ylim=(low, 1.02),
        xlabel="false positive rate",
        ylabel="true positive rate",
    )
    ax.legend(loc="lower right")
    return ax.figure


def distributions(values: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """One panel a name: histograms of (member values, non-member values), both float (any,).

    Raises
    ------
    InputError
        If there is nothing to draw, or a value is not finite.
    """
    if not values:
        raise InputError("plots.distributions got no values; expected {name: (member, nonmember)}")
    figure, axes = plt.subplots(
        1, len(values), figsize=(4.2 * len(values), 3.2), layout="constrained", squeeze=False
    )
    for ax, (name, pair) in zip(axes[0], values.items(), strict=True):
        inside, outside = (np.asarray(x, dtype=np.float64).ravel() for x in pair)
        both = np.concatenate([inside, outside])
        if both.size == 0 or not np.isfinite(both).all():
            raise InputError(f"plots.distributions, {name!r}: expected finite values, at least one")
        edges = np.histogram_bin_edges(both, bins=40)
        for x, colour, label in (
            (inside, MEMBER, "members"),
            (outside, NONMEMBER, "non-members"),
        ):
            weights = np.full(x.size, 1 / max(x.size, 1))
            ax.hist(x, bins=edges, weights=weights, alpha=0.55, color=colour, label=label)
        ax.set(xlabel=name, ylabel="share of the group")
    axes[0, 0].legend()
    return figure


def record_margins(inside: np.ndarray, outside: np.ndarray, target: Mapping[str, float]) -> Figure:
    """One record's margins under the shadow models that held it and under those that did not.

    Histograms as densities with a tick for each model, over them the Gaussians with the same mean
    and deviation; vertical lines are the margins under the `target` models, by name. Both groups:
    float (models >= 2,).

    Raises
    ------
    InputError
        If a group has fewer than two models.
    """
    groups = [np.asarray(x, dtype=np.float64).ravel() for x in (inside, outside)]
    if min(x.size for x in groups) < 2:
        raise InputError(
            f"plots.record_margins got {groups[0].size} margins of models that held the record and "
            f"{groups[1].size} of others; expected at least 2 of each"
        )
    figure, ax = plt.subplots(figsize=(6.2, 3.8), layout="constrained")
    ends = np.concatenate([*groups, list(target.values())])
    room = 0.25 * (np.ptp(ends) or 1.0)
    x = np.linspace(ends.min() - room, ends.max() + room, 300)
    edges = np.histogram_bin_edges(np.concatenate(groups), bins=16)
    for values, colour, label in (
        (groups[0], MEMBER, "held it"),
        (groups[1], NONMEMBER, "did not"),
    ):
        ax.hist(values, bins=edges, density=True, alpha=0.3, color=colour)
        ax.scatter(values, np.zeros(values.size), marker="|", s=120, color=colour, clip_on=False)
        mean, deviation = values.mean(), max(values.std(ddof=1), 1e-3 * room)
        density = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        ax.plot(x, density, color=colour, label=f"{values.size} shadow models that {label}")
    for (name, value), style in zip(target.items(), ("-", "--", ":", "-."), strict=False):
        ax.axvline(value, color="black", linestyle=style, linewidth=1.3, label=name)
    ax.set(xlabel=r"margin $\phi$", ylabel="density", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    return figure


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
        A dashed horizontal line.

    Raises
    ------
    InputError
        If there is no curve, or one has another number of points.
    """
    x = np.asarray(x, dtype=np.float64)
    wrong = [name for name, y in curves.items() if np.ndim(y) != 2 or len(y) != x.size]
    if not curves or wrong:
        raise InputError(
            f"plots.bands got {len(curves)} curves, {wrong} not of shape ({x.size}, targets)"
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    for name, values in curves.items():
        values = np.asarray(values, dtype=np.float64)
        known = np.isfinite(values).all(axis=1)
        (line,) = ax.plot(x[known], values[known].mean(axis=1), marker="o", ms=3, label=name)
        if known.any():
            low, high = values[known].min(axis=1), values[known].max(axis=1)
            ax.fill_between(x[known], low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    if level is not None:
        ax.axhline(level[1], color="0.3", linestyle="--", linewidth=1, label=level[0])
    ax.set_xscale("log", base=2)
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.minorticks_off()
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(fontsize=8)
    return ax.figure


def accuracy_against_gap(points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Attack accuracy against the generalization gap, with the baseline's line (1 + g)/2 (the
    report's figure 6); for each attack (gaps, accuracies), float (runs,) both.

    Raises
    ------
    InputError
        If there is no point.
    """
    if not any(np.size(gaps) for gaps, _ in points.values()):
        raise InputError("plots.accuracy_against_gap got no points; expected {attack: (gap, acc)}")
    figure, ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    for (name, (gaps, accuracies)), marker in zip(points.items(), "os^Dvx+*", strict=False):
        ax.plot(gaps, accuracies, marker, markersize=5, alpha=0.8, label=name)
    ends = np.array([0.0, max(np.max(gaps) for gaps, _ in points.values() if np.size(gaps))])
    ax.plot(ends, (1 + ends) / 2, color="0.4", linestyle="--", label="(1 + g)/2")
    ax.set(xlabel="generalization gap g", ylabel="attack accuracy")
    ax.legend()
    return figure


def matrix(tables: Mapping[str, object], *, low: float = 0.5, high: float = 1.0) -> Figure:
    """One panel a table (pandas.DataFrame), three in a row: its numbers in coloured squares, NaN
    left blank.

    Raises
    ------
    InputError
        If there is no table, or one is empty.
    """
    if not tables or any(table.size == 0 for table in tables.values()):
        raise InputError("plots.matrix got no table, or an empty one; expected {title: DataFrame}")
    columns = min(3, len(tables))
    rows = -(-len(tables) // columns)
    tallest, widest = np.max([table.shape for table in tables.values()], axis=0)
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
                colour = "white" if dark else "black"
                style = {"ha": "center", "va": "center", "fontsize": 9, "color": colour}
                ax.text(column, row, f"{value:.3f}", **style)
        ax.set_xticks(range(table.shape[1]), [str(c) for c in table.columns], rotation=25)
        ax.set_yticks(range(table.shape[0]), [str(i) for i in table.index])
        ax.set(xlabel=table.columns.name, ylabel=table.index.name)
        ax.set_title(title, fontsize=10)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    return figure


def defense_arrows(
    start: tuple[float, float],
    ends: Mapping[str, tuple[float, float]],
    xlabel: str = "test accuracy",
    ylabel: str = "attack AUC",
) -> Figure:
    """Every defense an arrow from the undefended model: right is more useful, down more private.

    Parameters
    ----------
    start : (utility, attack) of the undefended model
    ends : the same of each defended one, by name

    Raises
    ------
    InputError
        If there is no defense.
    """
    if not ends:
        raise InputError("plots.defense_arrows got no defense; expected {name: (utility, attack)}")
    figure, ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    for number, (name, end) in enumerate(ends.items()):
        colour = _COLOURS[(number + 1) % len(_COLOURS)]
        style = {"arrowstyle": "->", "color": colour, "linewidth": 1.5, "shrinkA": 4, "shrinkB": 2}
        ax.annotate("", end, start, arrowprops=style)
        marker = "osD^v"[number // len(_COLOURS) % 5]  # more defenses than colours
        ax.plot(*end, marker, color=colour, markersize=5, label=name)
    ax.plot(*start, "s", color="black", markersize=8, label="no defense", zorder=3)
    ax.axhline(0.5, color="0.5", linestyle="--", linewidth=1)
    ax.margins(0.15)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure


def samples(pool: Pool, index: Sequence[int] | np.ndarray) -> Figure:
    """The images pool.records[index] in a grid, ten a row, each under its class.

    Raises
    ------
    InputError
        If the pool holds no images, or index is empty.
    """
    index = np.asarray(index).ravel()
    if not pool.is_image or index.size == 0:
        raise InputError(f"plots.samples({pool.name!r}, {index.size} records); expected images")
    columns = min(10, index.size)
    rows = -(-index.size // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(0.95 * columns, 1.15 * rows), layout="constrained", squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, index, strict=False):
        image = np.asarray(pool.records[i])
        ax.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        ax.set_title(str(pool.classes[pool.labels[i]]), fontsize=7)
    return figure


def _box(ax: Axes, x: float, y: float, text: str, colour: str = "0.93") -> None:
    style = {"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "0.3"}
    ax.text(x, y, text, ha="center", va="center", fontsize=9, bbox=style, zorder=3)


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", gap: int = 30
) -> None:
    """From box to box; the head ends `gap` points before the middle of the last box."""
    style = {"arrowstyle": "->", "color": "0.3", "shrinkA": 0, "shrinkB": gap}
    ax.annotate("", end, start, arrowprops=style, zorder=1)
    middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    ax.text(middle[0], middle[1] + 0.05, text, ha="center", va="bottom", fontsize=8)


def _canvas(ax: Axes, title: str) -> None:
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.axis("off")
    ax.set_title(title, fontsize=10)


def threat_models() -> Figure:
    """What a white-box and a black-box attacker see (after the report's figures 1 and 2)."""
    figure, axes = plt.subplots(2, 1, figsize=(8, 4.4), layout="constrained")
    seen = (
        ("White box: the attacker holds the model", "parameters, layers,\ngradients, output"),
        ("Black box: the attacker can only ask", "output alone"),
    )
    for ax, (title, answer) in zip(axes, seen, strict=True):
        _canvas(ax, title)
        _box(ax, 0.08, 0.5, "record")
        _box(ax, 0.34, 0.5, "target\nmodel", "white" if "White" in title else "0.6")
        _box(ax, 0.62, 0.5, answer)
        _box(ax, 0.90, 0.5, "attack:\nmember?", "#cfe5f3")
        for a, b, gap in ((0.08, 0.34, 24), (0.34, 0.62, 58), (0.62, 0.90, 32)):
            _arrow(ax, (a, 0.5), (b, 0.5), gap=gap)
    return figure


def shadow_training() -> Figure:
    """k shadow models on 2k disjoint sets teach the attack (after the report's figure 3)."""
    figure, ax = plt.subplots(figsize=(8.5, 4.4), layout="constrained")
    _canvas(ax, "Shadow training")
    for y, i in ((0.82, "1"), (0.30, "k")):
        _box(ax, 0.08, y + 0.09, f"$D_{i}$", "#cfe5f3")
        _box(ax, 0.08, y - 0.09, f"$D'_{i}$", "#f7dcc8")
        _box(ax, 0.36, y, f"shadow\nmodel {i}")
        _box(ax, 0.66, y + 0.09, "members' outputs", "#cfe5f3")
        _box(ax, 0.66, y - 0.09, "non-members' outputs", "#f7dcc8")
        _arrow(ax, (0.08, y + 0.09), (0.36, y), "trains")
        _arrow(ax, (0.08, y - 0.09), (0.36, y))
        for side in (0.09, -0.09):
            _arrow(ax, (0.36, y), (0.66, y + side), gap=64)
            _arrow(ax, (0.66, y + side), (0.93, 0.56))
    ax.text(0.36, 0.56, "...", ha="center", fontsize=14)
    _box(ax, 0.93, 0.56, "attack")
    return figure
