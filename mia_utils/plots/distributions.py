"""Histograms of members and non-members."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..errors import InputError
from .style import MEMBER, NONMEMBER


def distributions(values: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """One panel a name, one below the other: histograms of (member values, non-member values),
    both float (any,).

    Raises
    ------
    InputError
        If there is nothing to draw, or a value is not finite.
    """
    if not values:
        raise InputError("plots.distributions got no values; expected {name: (member, nonmember)}")
    figure, axes = plt.subplots(
        len(values), 1, figsize=(4.8, 0.4 + 2.1 * len(values)), layout="constrained", squeeze=False
    )
    for ax, (name, pair) in zip(axes[:, 0], values.items(), strict=True):
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
