"""Histograms of members and non-members."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .. import arguments
from ..arrays import as_numbers
from ..errors import InputError
from . import given
from .style import MEMBER, NONMEMBER


def distributions(values: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """One panel a name, one below the other: histograms of (member values, non-member values),
    both float (any,).

    Raises
    ------
    InputError
        If there is nothing to draw, or a value is not finite.
    """
    expected = "{name: (member, nonmember)}"
    if not given.named(values, "plots.distributions(values)", expected, empty=True):
        raise InputError(f"plots.distributions got no values; expected {expected}")
    pairs: dict[str, list[np.ndarray]] = {}
    for name, pair in values.items():
        role = f"plots.distributions, {name!r}"
        parts = arguments.several(role, pair, "(member values, non-member values)")
        if len(parts) != 2:
            raise InputError(f"{role} has {len(parts)} parts; expected members' and non-members'")
        read = zip(("inside: members'", "outside: non-members'"), parts, strict=True)
        pairs[name] = [_values(part, f"{role}, {which} values") for which, part in read]
        if not sum(part.size for part in pairs[name]):
            raise InputError(f"{role}: expected finite values, at least one")
    figure, axes = plt.subplots(
        len(values), 1, figsize=(4.8, 0.4 + 2.1 * len(values)), layout="constrained", squeeze=False
    )
    for ax, (name, (inside, outside)) in zip(axes[:, 0], pairs.items(), strict=True):
        edges = np.histogram_bin_edges(np.concatenate([inside, outside]), bins=40)
        for x, colour, label in (
            (inside, MEMBER, "members"),
            (outside, NONMEMBER, "non-members"),
        ):
            weights = np.full(x.size, 1 / max(x.size, 1))
            ax.hist(x, bins=edges, weights=weights, alpha=0.55, color=colour, label=label)
        ax.set(xlabel=name, ylabel="share of the group")
    axes[0, 0].legend()
    return figure


def _values(part, role: str) -> np.ndarray:
    return given.check_size(as_numbers(part, role).astype(np.float64).ravel(), role)
