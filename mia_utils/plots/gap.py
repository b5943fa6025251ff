"""Attack accuracy and the generalization gap."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .. import arguments
from ..errors import InputError
from . import given
from .style import FAINT, line_styles


def accuracy_against_gap(points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Attack accuracy against the generalization gap, with the baseline's line (1 + g)/2 (the
    report's figure 6); for each attack (gaps, accuracies), float (runs,) both.

    Raises
    ------
    InputError
        If there is no point, or something is no number.
    """
    given.named(points, "plots.accuracy_against_gap(points)", "{attack: (gaps, accuracies)}")
    points = {name: _pair(name, pair) for name, pair in points.items()}
    if not any(np.size(gaps) for gaps, _ in points.values()):
        raise InputError("plots.accuracy_against_gap got no points; expected {attack: (gap, acc)}")
    figure, ax = plt.subplots(figsize=(5.0, 4.2), layout="constrained")
    styles = line_styles(points)
    for name, (gaps, accuracies) in points.items():
        style = {**styles[name], "linestyle": "none"}
        ax.plot(gaps, accuracies, markersize=5, alpha=0.8, label=name, **style)
    ends = np.array([0.0, max(np.max(gaps) for gaps, _ in points.values() if np.size(gaps))])
    ax.plot(ends, (1 + ends) / 2, color=FAINT, linestyle="--", label="(1 + g)/2")
    ax.set(xlabel="generalization gap g", ylabel="attack accuracy")
    ax.legend()
    return figure


def _pair(name: str, pair) -> tuple[np.ndarray, np.ndarray]:
    """Gaps and accuracies; an accuracy that is NaN, of an attack without a threshold, is left out."""
    arguments.text("plots.accuracy_against_gap(points): name", name)
    role = f"plots.accuracy_against_gap, {name!r}"
    parts = arguments.several(role, pair, "(gaps, accuracies)")
    if len(parts) != 2:
        raise InputError(f"{role}: {len(parts)} parts; expected (gaps, accuracies)")
    gaps = given.several_numbers(parts[0], f"{role}, gaps", least=0)
    accuracies = given.several_numbers(parts[1], f"{role}, accuracies", least=0, finite=False)
    if gaps.size != accuracies.size:
        raise InputError(f"{role}: {gaps.size} gaps and {accuracies.size} accuracies")
    return gaps, accuracies
