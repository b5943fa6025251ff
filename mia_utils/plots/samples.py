"""Photographs of a pool."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .. import arguments
from ..arrays import as_integers
from ..data import Pool
from ..errors import InputError
from .style import FAINT

PHOTOGRAPH = "photograph"
"""The mark of a drawing that holds photographs: the dark theme must not turn it round."""


def samples(pool: Pool, index: Sequence[int] | np.ndarray) -> Figure:
    """The images pool.records[index] in a grid, six a row, each under its class.

    Raises
    ------
    InputError
        If the pool holds no images, or index is empty or leads out of it.
    """
    arguments.instance("pool", pool, Pool, "a Pool, as load_dataset gives it")
    index = as_integers(index, "index").ravel()
    if not pool.is_image or index.size == 0:
        raise InputError(f"plots.samples({pool.name!r}, {index.size} records); expected images")
    if not 0 <= index.min() <= index.max() < len(pool):
        raise InputError(
            f"index runs to {index.max()}, from {index.min()}; expected 0 to {len(pool) - 1}"
        )
    columns = min(6, index.size)
    rows = -(-index.size // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(0.85 * columns, 1.05 * rows), layout="constrained", squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, index, strict=False):
        image = np.asarray(pool.records[i])
        ax.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        # The same grey on white and on black: the text is not turned round either.
        ax.set_title(str(pool.classes[pool.labels[i]]), fontsize=8, color=FAINT)
        ax.set_gid(PHOTOGRAPH)
    return figure
