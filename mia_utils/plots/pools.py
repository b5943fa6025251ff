"""What is in a pool, and how it is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .. import arguments
from ..arrays import as_integers
from ..data import Pool
from ..errors import InputError
from . import given
from .samples import PHOTOGRAPH
from .style import FAINT, INK

WIDTH = 5.6
"""Inches that a figure may be wide, to be read on a phone."""


def sample_sheet(pools: Mapping[str, Pool], *, columns: int = 10, rows: int = 2) -> Figure:
    """Images of several pools, one block below the other (the report's figure 4).

    Classes take turns, each with the images from the middle of it on.

    Parameters
    ----------
    pools : {title: Pool of images}
    columns, rows : int
        Of each block.

    Raises
    ------
    InputError
        If there is no pool, or one without images.
    """
    given.named(pools, "plots.sample_sheet(pools)", "{title: pool}", empty=True)
    for title, pool in pools.items():
        arguments.instance(f"pool {title!r}", pool, Pool, "a Pool, as load_dataset gives it")
    columns = arguments.as_integer("columns", columns, "a number from 1 to 100", 1, 100)
    rows = arguments.as_integer("rows", rows, "a number from 1 to 100", 1, 100)
    if not pools or not all(pool.is_image for pool in pools.values()):
        raise InputError("plots.sample_sheet got no pool of images; expected {title: pool}")
    side = WIDTH / columns
    figure, axes = plt.subplots(
        len(pools),
        1,
        figsize=(WIDTH, len(pools) * (rows * side + 0.3)),
        layout="constrained",
        squeeze=False,
    )
    for ax, (title, pool) in zip(axes.flat, pools.items(), strict=True):
        ax.imshow(_sheet(pool, columns, rows), cmap="gray", vmin=0, vmax=255)
        ax.set_title(title, fontsize=9, loc="left", color=FAINT)
        ax.axis("off")
        ax.set_gid(PHOTOGRAPH)
    return figure


def _sheet(pool: Pool, columns: int, rows: int) -> np.ndarray:
    """One RGBA array of rows x columns images with gaps between them."""
    chosen = _spread(pool.labels, rows * columns)
    height, width, _ = pool.shape
    gap = max(1, height // 16)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for place, record in enumerate(chosen):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        image = np.broadcast_to(pool.records[record], (height, width, 3))
        sheet[top : top + height, left : left + width, :3] = image
        sheet[top : top + height, left : left + width, 3] = 255
    return sheet


def _spread(labels: np.ndarray, count: int) -> list[int]:
    """At most `count` records of as many classes as there are, the classes in turn."""
    classes = np.unique(labels)
    classes = classes[np.linspace(0, len(classes) - 1, min(len(classes), count)).astype(int)]
    places = [np.flatnonzero(labels == label) for label in classes]
    turns = range(-(-count // len(classes)))
    found = [p[(len(p) // 2 + turn) % len(p)] for turn in turns for p in places if turn < len(p)]
    return found[:count]


def class_shares(
    labels: np.ndarray, cuts: Mapping[str, Mapping[str, Sequence[int] | np.ndarray]]
) -> Figure:
    """The classes of the parts into which a pool is cut: one panel a cut, one bar a part.

    A bar shows the part's records sorted by class, a colour for each class.

    Parameters
    ----------
    labels : int (N,)
    cuts : {title: {part: record numbers}}

    Raises
    ------
    InputError
        If there is no cut, one without a record, or a record is not in the pool.
    """
    labels = as_integers(labels, "labels")
    if labels.ndim != 1 or not labels.size or labels.min() < 0:
        raise InputError(f"labels have shape {labels.shape}; expected numbers of classes (N,)")
    given.named(cuts, "plots.class_shares(cuts)", "{title: {part: records}}", empty=True)
    for title, parts in cuts.items():
        given.named(parts, f"plots.class_shares(cuts), {title!r}", "{part: records}")
    rows = {
        title: {part: _records(index, part, labels.size) for part, index in parts.items()}
        for title, parts in cuts.items()
    }
    if not cuts or not all(index.size for parts in rows.values() for index in parts.values()):
        raise InputError("plots.class_shares got an empty part; expected {title: {part: records}}")
    bars = sum(map(len, cuts.values()))
    figure, axes = plt.subplots(
        len(cuts),
        1,
        figsize=(WIDTH, 0.45 * len(cuts) + 0.3 * bars),
        layout="constrained",
        squeeze=False,
    )
    top = max(1, int(labels.max()))
    for ax, (title, parts) in zip(axes.flat, rows.items(), strict=True):
        for place, part in enumerate(parts.values()):
            colours = np.sort(labels[part])[None]
            ends = (0, 1, place + 0.38, place - 0.38)
            ax.imshow(
                colours,
                extent=ends,
                aspect="auto",
                cmap="turbo",
                vmin=0,
                vmax=top,
                interpolation="nearest",
            )
        ax.set(xlim=(0, 1), ylim=(len(parts) - 0.5, -0.5), xticks=())
        ax.set_yticks(range(len(parts)), list(parts), fontsize=8, color=INK)
        ax.set_title(title, fontsize=9, loc="left", color=INK)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    return figure


def _records(index, part: str, records: int) -> np.ndarray:
    found = as_integers(index, f"part {part!r}")
    if found.ndim != 1 or (found.size and not 0 <= found.min() <= found.max() < records):
        raise InputError(f"part {part!r} of cuts is no row of record numbers 0 to {records - 1}")
    return found
