"""One record under many models."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .. import arguments
from ..errors import InputError
from . import given
from .style import INK, MEMBER, NONMEMBER


def record_margins(inside: np.ndarray, outside: np.ndarray, target: Mapping[str, float]) -> Figure:
    """One record's margins under the shadow models that held it and under those that did not.

    Histograms as densities with a tick for each model, over them the Gaussians with the same mean
    and deviation; vertical lines are the margins under the `target` models, by name. Both groups:
    float (models >= 2,).

    Raises
    ------
    InputError
        If a group has fewer than two models, or something is no finite number.
    """
    groups = [
        given.several_numbers(group, f"plots.record_margins({name})", least=0)
        for name, group in (("inside", inside), ("outside", outside))
    ]
    given.named(target, "plots.record_margins(target)", "{name: margin}", empty=True)
    for name, value in target.items():
        arguments.text("plots.record_margins(target): name", name)
        given.number(value, f"target[{name!r}]")
    if min(x.size for x in groups) < 2:
        raise InputError(
            f"plots.record_margins got {groups[0].size} margins of models that held the record and "
            f"{groups[1].size} of others; expected at least 2 of each"
        )
    figure, ax = plt.subplots(figsize=(5.0, 3.8), layout="constrained")
    ends = np.concatenate([*groups, list(target.values())])
    room = 0.25 * (np.ptp(ends) or 1.0)
    x = np.linspace(ends.min() - room, ends.max() + room, 300)
    edges = np.histogram_bin_edges(np.concatenate(groups), bins=16)
    for values, colour, label in (
        (groups[0], MEMBER, "held it"),
        (groups[1], NONMEMBER, "did not"),
    ):
        ax.hist(values, bins=edges.tolist(), density=True, alpha=0.3, color=colour)
        ax.scatter(values, np.zeros(values.size), marker="|", s=120, color=colour, clip_on=False)
        mean, deviation = values.mean(), max(values.std(ddof=1), 1e-3 * room)
        density = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        ax.plot(x, density, color=colour, label=f"{values.size} shadow models that {label}")
    for (name, value), style in zip(target.items(), ("-", "--", ":", "-."), strict=False):
        ax.axvline(value, color=INK, linestyle=style, linewidth=1.3, label=name)
    ax.set(xlabel=r"margin $\phi$", ylabel="density", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=1, fontsize=9)
    return figure
