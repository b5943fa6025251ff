"""Accuracy and leakage against the epoch of one training."""

from __future__ import annotations

from typing import cast

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import arguments
from ..errors import InputError
from . import given
from .style import MEMBER, NONMEMBER, attack_style, without_marker

_COLUMNS = ("epoch", "train_accuracy", "test_accuracy", "auc", "auc_low", "auc_high")


def epoch_curve(table, ax: Axes | None = None) -> Figure:
    """Accuracy on members and non-members, and the loss attack's AUC with its 95 % band.

    Parameters
    ----------
    table : pandas.DataFrame
        As `experiments.epoch_curve` gives it, of one training.

    Raises
    ------
    InputError
        If a column is missing, has no numbers, or an epoch is there twice.
    """
    arguments.instance("table", table, pd.DataFrame, "a pandas.DataFrame, as epoch_curve gives it")
    if table.empty:
        raise InputError("the table has no rows; expected one for each epoch")
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise InputError(f"the table has no columns {missing}; expected {', '.join(_COLUMNS)}")
    if table["epoch"].astype(str).duplicated().any():
        raise InputError("an epoch is in the table twice; choose the rows of one training")
    for name in _COLUMNS:
        given.several_numbers(table[name], f"column {name!r} of the table")
    table = table.sort_values("epoch")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
    epochs, loss = table["epoch"], without_marker(attack_style("loss") or {})
    ax.plot(epochs, table["train_accuracy"], color=MEMBER, label="accuracy on members")
    ax.plot(epochs, table["test_accuracy"], color=NONMEMBER, label="accuracy on non-members")
    ax.plot(epochs, table["auc"], label="AUC of the loss attack", **loss)
    ax.fill_between(
        epochs, table["auc_low"], table["auc_high"], color=loss["color"], alpha=0.2, linewidth=0
    )
    ax.set(xlabel="epoch", ylim=(0, 1.02), xlim=(1, epochs.max()))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return cast(Figure, ax.figure)
