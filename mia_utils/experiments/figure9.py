"""Figure 9, and privacy against utility: defense by defense, from published records and signals."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ..defenses import names, preset
from ..evaluation import tpr_column
from ..evaluation.epsilon import split_epsilon
from . import records as results
from .outdated import outdated
from .table1 import adaptive, alike, most_seeds

_DEVICES = {"cpu": "CPU", "cuda": "GPU"}
DELTA = 1e-5
"""Of every epsilon in the table: that of the DP-SGD presets."""


def defended(frame, *, told: bool = True) -> Iterator[tuple]:
    """Records of defended targets, and of their undefended likes, for figure 9.

    Undefended runs are those of the seeds of the defended ones, and of one device: the one on which
    most defenses ran. A defense has the runs on that device, or else those on the one where it
    has most seeds; `elsewhere` names such defenses.

    Parameters
    ----------
    told : bool
        Was the attacker told of the defense, and trained the shadow model with it?

    Yields
    ------
    (dataset, architecture, pandas.DataFrame)
    """
    rows = alike(frame[frame["settings"] == "{}"], ("dataset", "architecture"))
    rows = rows[rows["shadow_defense"] == (rows["defense"] if told else "none")]
    keys = ["dataset", "architecture", "epochs", "precision"]
    for key, mine in rows[rows["defense"] != "none"].groupby(keys):
        group = rows[(rows[keys] == list(key)).all(axis=1)]
        if "none" in set(group["defense"]):  # else there is nothing to compare with
            yield *key[:2], _of_one_device(group[group["seed"].isin(mine["seed"])])


def _of_one_device(rows):
    seeds = rows.groupby(["defense", "device"])["seed"].nunique()
    ran = seeds.groupby("device").size()
    common = max(seeds["none"].index, key=lambda device: (ran[device], seeds["none", device]))
    chosen = {
        name: common if common in seeds[name].index else seeds[name].idxmax()
        for name in rows["defense"].unique()
    }
    return rows[rows["device"] == rows["defense"].map(chosen)]


def elsewhere(rows) -> str:
    """Which defenses of a group of `defended` ran on another device than the undefended targets.

    A sentence for a reader; "" if there are none.
    """
    devices = rows.groupby("defense")["device"].first()
    apart = devices[devices != devices["none"]]
    if apart.empty:
        return ""
    titles = "; ".join(preset(name).title for name in names() if name in apart.index)
    return (
        f"Trained on a {_DEVICES[apart.iloc[0]]}, and the undefended models on a "
        f"{_DEVICES[devices['none']]}: {titles}."
    )


def by_defense(rows, attacks: Mapping[str, str], figure: str = "balanced_accuracy"):
    """Figure 9: means over seeds, a defense a row in the book's order, an attack a column.

    Parameters
    ----------
    rows : pandas.DataFrame
        One group of `defended`.
    attacks : mapping
        Title of the column by name of the attack.
    """
    table = rows.pivot_table(figure, "defense", "attack")[list(attacks)]
    return table.loc[[d for d in names() if d in table.index]].rename(columns=dict(attacks))


class Row(NamedTuple):
    """One defense of one data set and architecture; without a run only its cost is known.

    AUC and TPR are those of the loss attack, which needs no choice, as means over seeds.
    `epsilon_low` is a 95 % lower bound from the first seed's model (`evaluation.split_epsilon`),
    `epsilon_promised` what the defense guarantees (None: nothing), both at `DELTA`. Where a model is
    `older` than a mend of its training, that promise was not kept.
    """

    defense: str
    seeds: int
    epochs: int | None = None
    precision: str = ""
    device: str = ""
    test_accuracy: float | None = None
    auc: float | None = None
    tpr: float | None = None
    epsilon_low: float | None = None
    epsilon_promised: float | None = None
    core_hours: float | None = None  # of a seed that was not run; NaN if no plain run says it
    older: bool = False


def privacy_and_utility(
    frame, dataset: str, architecture: str, folder: str | os.PathLike | None = None
) -> list[Row]:
    """Every defense by name, from runs whose shadow model had the same defense.

    Of runs that differ in more than the seed those of `most_seeds` are taken.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `results.read` gives it.
    folder : path
        Where the runs' signals lie, by default the published ones.
    """
    rows = adaptive(frame)
    rows = rows[(rows["dataset"] == dataset) & (rows["architecture"] == architecture)]
    rows = rows[rows["attack"] == "loss"]
    plain = rows[(rows["defense"] == "none") & (rows["device"] == "cpu")]
    plain_hours = plain["seconds"].mean() / 3600
    found = []
    for name in names():
        dp = preset(name).changes.get("dp")
        promised = dp.epsilon if dp else None
        mine = rows[rows["defense"] == name]
        if not len(mine):
            hours = plain_hours * preset(name).cost
            found.append(Row(name, 0, epsilon_promised=promised, core_hours=hours))
            continue
        mine = most_seeds(mine).sort_values("seed")
        first = mine.iloc[0]
        said = results.load_signals(first["run"], folder)
        judged = said["evaluated"][0]
        bound = split_epsilon(
            np.exp(-said["loss"][0][judged].astype(np.float64)),  # a pair of sure answers ties
            said["members"][0][judged],
            said["labels"][judged],
            delta=DELTA,
        )
        accuracy, auc, tpr = mine[["test_accuracy", "auc", tpr_column(0.01)]].mean()
        found.append(
            Row(
                name,
                len(mine),
                int(first["epochs"]),
                first["precision"],
                first["device"],
                accuracy,
                auc,
                tpr,
                bound.epsilon,
                promised,
                older=bool(outdated(mine).any()),
            )
        )
    return found


def as_texts(rows: list[Row]):
    """The rows as a pandas.DataFrame of texts, those that were not run at the end."""
    import pandas as pd

    from ..plots import at_least

    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    def texts(row: Row) -> dict:
        hours = number(row.core_hours, 1)
        return {
            "defense": preset(row.defense).title + " (older)" * row.older,
            "test accuracy": number(row.test_accuracy, 3) or f"not run: {hours} core-hours a seed",
            "AUC": number(row.auc, 3),
            "TPR at FPR 1 %": number(row.tpr, 4),
            "epsilon at least": "" if row.epsilon_low is None else at_least(row.epsilon_low, 2),
            "epsilon promised": number(row.epsilon_promised, 0),
            "seeds": row.seeds or "",
            "epochs": row.epochs or "",
            "precision": row.precision,
            "device": _DEVICES.get(row.device, ""),
        }

    return pd.DataFrame([texts(row) for row in sorted(rows, key=lambda row: not row.seeds)])
