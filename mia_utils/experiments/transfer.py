"""Figures 7 and 8: targets attacked by shadow models of another architecture or data set."""

from __future__ import annotations

import numpy as np

from .. import arguments
from . import records as results
from .records import check_frame


def transfer(frame, axis: str, attack: str, figure: str = "balanced_accuracy"):
    """Figures 7 and 8: mean over seeds by target (rows) and shadow model (columns).

    Parameters
    ----------
    frame : pandas.DataFrame
        Records that agree in everything but seed, attack and `axis`; undefended ones are taken.
    axis : "architecture" or "dataset"
    attack : str
        An attack with "_normalized" has that name off the diagonal alone; on it, dividing by log C
        changes nothing.

    Raises
    ------
    InputError
        If `axis` is neither, `figure` is no column, or `frame` holds no records.
    """
    _check_axis(axis)
    check_frame(frame)
    arguments.text("attack", attack)
    arguments.one_of("figure", figure, results.SCHEMA)
    same = frame[axis] == frame[f"shadow_{axis}"]
    base = attack.removesuffix("_normalized")
    rows = frame[(frame["attack"] == np.where(same, base, attack)) & (frame["defense"] == "none")]
    rows = rows[rows["shadow_defense"] == "none"]
    table = rows.pivot_table(figure, axis, f"shadow_{axis}")
    return table.rename_axis(index="target", columns="shadow model")


def _check_axis(axis) -> None:
    if not isinstance(axis, str) or axis not in ("architecture", "dataset"):
        arguments.refuse("axis", axis, "'architecture' or 'dataset'")


def crossed(frame, axis: str):
    """Records of transfers along one axis alone, one table for each comparable group.

    Yields
    ------
    (dict, pandas.DataFrame)
        What the group has in common (`epochs`, `precision`, `device`, and the data set or the
        architecture), and its records, those without a transfer among them.

    Raises
    ------
    InputError
        If `axis` is neither, or `frame` holds no records.
    """
    _check_axis(axis)
    check_frame(frame)
    other = {"architecture": "dataset", "dataset": "architecture"}[axis]
    rows = frame[(frame[other] == frame[f"shadow_{other}"]) & (frame["settings"] == "{}")]
    moved = rows[rows[axis] != rows[f"shadow_{axis}"]]
    # Figures of different precision or device are never averaged.
    keys = [other, "epochs", "precision", "device"]
    for key, mine in moved.groupby(keys):
        names = set(mine[axis]) | set(mine[f"shadow_{axis}"])
        here = rows[(rows[keys] == list(key)).all(axis=1)]
        yield (
            dict(zip(keys, key, strict=True)),
            here[here[axis].isin(names) & here["seed"].isin(mine["seed"])],
        )
