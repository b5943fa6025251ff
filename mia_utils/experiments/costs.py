"""What the rows of Table 1 that were not run would cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import arguments
from ..data.catalog import CATALOG, REPORTED
from ..errors import InputError
from .table1 import BUILT_AS, EPOCHS, plain, title


class Cost(NamedTuple):
    """What one row of Table 1 costs: a target and a shadow model at the report's settings."""

    dataset: str
    architecture: str
    tflop: float  # 10^12 floating-point operations for both models
    core_hours: float | None  # at the median speed of the runs in the records; None without any


def _tflop(dataset: str, architecture: str, epochs: int) -> float:
    """Forward and backward passes (three times the forward) of two models on a quarter each."""
    from ..training.models import build, forward_flops

    if dataset not in REPORTED:
        raise InputError(f"dataset={dataset!r}; expected one of {', '.join(REPORTED)}")
    architecture = BUILT_AS.get((dataset, architecture), architecture)
    facts = CATALOG[dataset]
    forward = forward_flops(build(architecture, facts.shape, facts.classes), facts.shape)
    return 2 * 3 * forward * (facts.records // 4) * epochs / 1e12


def costs(frame, rows: list[tuple[str, str]]) -> list[Cost]:
    """The cost of some (data set, architecture), in core-hours as the recorded runs suggest.

    Raises
    ------
    InputError
        If a data set is none of the report's, or an architecture is unknown.
    """
    done = plain(frame)
    done = done[(done["device"] == "cpu") & (done["precision"] == "fp32")].drop_duplicates("run")
    done = done[done["dataset"].isin(REPORTED) & ~done["architecture"].str.contains(":")]
    speed = [
        _tflop(run.dataset, run.architecture, run.epochs) / run.seconds for run in done.itertuples()
    ]
    found = []
    for dataset, architecture in rows:
        arguments.text("architecture", architecture)
        work = _tflop(dataset, architecture, EPOCHS)
        hours = work / float(np.median(speed)) / 3600 if speed else None
        found.append(Cost(dataset, architecture, round(work), hours))
    return found


def cost_table(found: list[Cost]):
    """Costs as a pandas.DataFrame of texts."""
    import pandas as pd

    columns = ["data set", "architecture", "10^12 operations", "core-hours, about"]
    rows = [
        (
            title(cost.dataset),
            cost.architecture,
            f"{cost.tflop:,.0f}",
            "" if cost.core_hours is None else f"{cost.core_hours:.1f}",
        )
        for cost in found
    ]
    return pd.DataFrame(rows, columns=columns)
