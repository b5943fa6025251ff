"""What the records say about sentences of the report: material of the chapter on claims."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from ..data.catalog import REPORTED
from ..evaluation import paired_auc_difference
from . import records as results
from .table1 import plain
from .transfer import crossed, transfer


def reported(frame):
    """Plain records on the report's data, its architectures as they are, at default settings."""
    rows = plain(frame)
    sound = ~rows["architecture"].str.contains(":") & (rows["settings"] == "{}")
    return rows[sound & rows["dataset"].isin(REPORTED)]


def metric_leads(rows, folder: str | os.PathLike | None = None):
    """The AUC of the loss minus that of the confidence and of the entropy, run by run.

    Parameters
    ----------
    rows : pandas.DataFrame
        Records of runs that left their signals in `folder` (by default the published one).

    Returns
    -------
    pandas.DataFrame
        A row for each run and other metric: `run`, `dataset`, `architecture`, `seed`, `other`,
        `lead`, and its paired 95 % interval over records, `low` to `high`.
    """
    import pandas as pd

    found = []
    for run in rows.drop_duplicates("run").itertuples():
        said = results.load_signals(run.run, folder)
        judged = said["evaluated"][0]
        members, loss = said["members"][0][judged], said["margin"][0][judged]
        others = {"confidence": said["log_confidence"], "entropy": -said["entropy"]}
        for other, scores in others.items():
            lead = paired_auc_difference(loss, scores[0][judged], members)
            row = (run.run, run.dataset, run.architecture, run.seed, other)
            found.append((*row, lead.value, lead.low, lead.high))
    columns = ["run", "dataset", "architecture", "seed", "other", "lead", "low", "high"]
    return pd.DataFrame(found, columns=columns)


def lost_by_transfer(frame, axis: str, attacks: Mapping[str, str]):
    """What each attack's accuracy loses when its shadow models come from elsewhere.

    Parameters
    ----------
    axis : as `transfer` takes it
    attacks : mapping
        Its title by name of the attack.

    Returns
    -------
    pandas.DataFrame
        Columns `same` (what the models have in common), `epochs`, `precision`, `device`, `attack`,
        `target`, `shadow`, `lost` (accuracy with own shadow models minus accuracy with these).
    """
    import pandas as pd

    found = []
    for shared, rows in crossed(frame, axis):
        for attack, label in attacks.items():
            table = transfer(rows, axis, attack)
            for target in table.index.intersection(table.columns):
                lost = table.loc[target, target] - table.loc[target].drop(target)
                for shadow, value in lost[np.isfinite(lost)].items():
                    found.append((*shared.values(), label, target, shadow, value))
    columns = ["same", "epochs", "precision", "device", "attack", "target", "shadow", "lost"]
    return pd.DataFrame(found, columns=columns)
