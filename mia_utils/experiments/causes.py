"""Candidate causes for differences from the report's Table 1, each tried on our own runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .table1 import LARGE, Comparison, as_in_report, row_of, title


class Cause(NamedTuple):
    """What a candidate cause does to one cell: our AUCs without and with it, seed by seed."""

    dataset: str
    architecture: str
    attack: str
    cause: str
    report: float
    without: tuple[float, ...]
    with_it: tuple[float, ...]  # empty: not run

    @property
    def closed(self) -> tuple[float, ...]:
        """Of each seed, the share of its distance to the report that the cause takes away.

        1 is all of it, 0 nothing; negative if the cause leads away from the report.
        """
        pairs = zip(self.without, self.with_it, strict=False)
        return tuple(
            1 - abs(after - self.report) / max(abs(before - self.report), 1e-12)
            for before, after in pairs
        )

    @property
    def verdict(self) -> str:
        """Whether the cause accounts for the difference.

        "explains most of it" takes more than half of the distance away in every seed, of which
        there must be two at least: any nudge in the right direction would pass a weaker rule.
        """
        if not self.with_it:
            return "not run"
        if len(self.closed) > 1 and min(self.closed) > 0.5:
            return "explains most of it"
        return "brings it nearer" if min(self.closed) > 0.1 else "does not explain it"


LR_DROP = {"lr_drop": 40}
TWICE = "mia_utils.softmax_twice:"
CAUSES = (
    "softmax twice",
    "judged on the shadow model",
    "careless entropy",
    "rate drop after 40 epochs",
)
"""Candidate causes that records can test; the report's code is known for each of them."""


def causes(frame, cells: list[Comparison]) -> list[Cause]:
    """Each candidate cause for each cell that is more than `LARGE` off.

    Only seeds that were run both ways count, in the precision and on the device of the cell's row.
    """
    rows = []
    for cell in cells:
        if cell.difference is None or abs(cell.difference) <= LARGE:
            continue
        here = frame[frame["dataset"] == cell.dataset]
        row = row_of(here, cell.dataset, cell.architecture)
        same = (here["precision"] == row["precision"].iloc[0]) & (
            here["device"] == row["device"].iloc[0]
        )
        twice = as_in_report(here[same & (here["architecture"] == TWICE + cell.architecture)])
        drop = as_in_report(here[same & (here["architecture"] == cell.architecture)], LR_DROP)
        own = row[row["attack"] == cell.attack].set_index("seed")
        tried = {
            "softmax twice": _aucs(twice, cell.attack),
            "judged on the shadow model": own["shadow_auc"],
            "rate drop after 40 epochs": _aucs(drop, cell.attack),
        }
        if cell.attack == "entropy":
            tried["careless entropy"] = _aucs(row, "entropy_careless")
        for cause in CAUSES:
            if cause in tried:
                both = tried[cause].index.intersection(own.index)
                rows.append(
                    Cause(
                        *(cell.dataset, cell.architecture, cell.attack, cause, cell.report),
                        without=tuple(own["auc"][both]),
                        with_it=tuple(tried[cause][both]),
                    )
                )
    return rows


def _aucs(rows, attack: str):
    return rows[rows["attack"] == attack].set_index("seed")["auc"]


def cause_table(tried: list[Cause]):
    """Candidate causes as a pandas.DataFrame of texts; AUCs are means over the seeds."""
    import pandas as pd

    columns = ["data set", "architecture", "attack", "candidate", "report", "ours", "with it"]
    rows = [
        (
            *(title(cause.dataset), cause.architecture, cause.attack, cause.cause),
            f"{cause.report:.4f}",
            *(f"{np.mean(aucs):.4f}" if aucs else "" for aucs in (cause.without, cause.with_it)),
            len(cause.with_it) or "",
            cause.verdict,
        )
        for cause in tried
    ]
    return pd.DataFrame(rows, columns=[*columns, "seeds", "verdict"])


def explained(cells: list[Comparison], tried: list[Cause]) -> list[str]:
    """One sentence for each cell that is more than `LARGE` off."""
    lines = []
    for cell in cells:
        here = [c for c in tried if c[:3] == cell[:3]]
        good = [c.cause for c in here if c.verdict == "explains most of it"]
        run = sum(bool(c.with_it) for c in here)
        if here:
            verdict = (
                f"{' or '.join(good)} would explain most of it"
                if good
                else f"unexplained; {run} of {len(here)} candidates tried"
            )
            lines.append(f"{title(cell.dataset)} {cell.architecture} {cell.attack}: {verdict}")
    return lines
