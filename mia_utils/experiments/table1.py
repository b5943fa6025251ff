"""The report's numbers as data, and ours beside them, cell by cell."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from ..data.catalog import title
from ..evaluation import prediction_interval
from .records import check_frame

METRICS = ("loss", "confidence", "entropy")
LARGE = 0.03
"""A difference of AUCs beyond which candidate causes are looked at."""

WIDE = 0.06
"""Width of a prediction interval, 2 x `LARGE`, from which on agreement with it says nothing."""

TABLE_1: dict[tuple[str, str], tuple[float, float, float]] = {
    # (data set, architecture): AUC of the loss, confidence and entropy attack (report, Table 1)
    ("cifar10", "cnn"): (0.7422, 0.6927, 0.6886),
    ("cifar10", "mlp"): (0.8147, 0.7260, 0.7280),
    ("cifar10", "resnet"): (0.7281, 0.7124, 0.7121),
    ("cifar10", "alexnet"): (0.7612, 0.7008, 0.7054),
    ("mnist", "cnn"): (0.5147, 0.5123, 0.5119),
    ("mnist", "mlp"): (0.5299, 0.5279, 0.5273),
    ("cifar100", "cnn"): (0.8947, 0.7979, 0.7972),
    ("cifar100", "mlp"): (0.9243, 0.7994, 0.7977),
    ("cifar100", "resnet"): (0.5952, 0.6287, 0.6102),
    ("cifar100", "alexnet"): (0.8418, 0.6977, 0.6936),
    ("a1k", "cnn"): (0.9998, 0.9474, 0.9480),
    ("a1k", "mlp"): (0.9999, 0.7989, 0.7963),
    ("a1k", "resnet"): (1.0000, 0.9962, 0.9974),
}
BUILT_AS = {("a1k", "cnn"): "efficientnet"}
"""What the report's code builds where its table says otherwise, by our name."""
EPOCHS = 50
"""Of the report's models; batch 128, Adam and 1e-3 are `TrainConfig`'s defaults."""


def alike(frame, parts=("dataset", "architecture", "defense")):
    """The records of targets whose shadow models do not differ from them in these parts."""
    check_frame(frame)
    same = np.ones(len(frame), bool)
    for part in parts:
        same &= (frame[part] == frame[f"shadow_{part}"]).to_numpy()
    return frame[same]


def plain(frame):
    """The records of undefended targets whose shadow models differ from them in nothing."""
    check_frame(frame)
    return alike(frame[frame["defense"] == "none"])


def adaptive(frame):
    """The records of attackers who know the defense, at default settings; undefended ones too."""
    check_frame(frame)
    return alike(frame[frame["settings"] == "{}"])


def most_seeds(rows):
    """Of runs that differ in epochs, precision or device those of the group with most seeds.

    Of equals the one with most epochs, then fp32, then the first device by name.
    """
    keys = ["epochs", "precision", "device"]
    if rows.empty:
        return rows
    seeds = rows.groupby(keys)["seed"].nunique()
    best = min(seeds.index, key=lambda key: (-seeds[key], -key[0], key[1] != "fp32", key[2]))
    return rows[(rows[keys] == list(best)).all(axis=1)]


def as_in_report(frame, settings: dict | None = None):
    """Plain records with the report's epochs, of one precision and device."""
    rows = plain(frame)
    rows = rows[(rows["epochs"] == EPOCHS) & (rows["settings"] == json.dumps(settings or {}))]
    return most_seeds(rows)


def row_of(frame, dataset: str, architecture: str):
    """The records of one row of Table 1."""
    built = BUILT_AS.get((dataset, architecture), architecture)
    return as_in_report(frame[(frame["dataset"] == dataset) & (frame["architecture"] == built)])


class Comparison(NamedTuple):
    """One cell of Table 1: the report's AUC and ours.

    `ours` is the mean over seeds; `low` to `high` the 95 % interval over records of the first
    seed's model; `next_low` to `next_high` the 95 % prediction interval for one more run (from 3
    seeds on).
    """

    dataset: str
    architecture: str
    attack: str
    report: float
    ours: float | None
    seeds: int
    precision: str
    low: float | None
    high: float | None
    next_low: float | None
    next_high: float | None

    @property
    def difference(self) -> float | None:
        return None if self.ours is None else self.ours - self.report

    @property
    def verdict(self) -> str:
        """Whether one more run of ours could have given the report's number.

        "agrees", "undecided" (it could, and so could almost anything: the interval is wider than
        `WIDE`) or "differs", by the prediction interval; "close" or "far" by `LARGE` without one;
        "not run".
        """
        if self.ours is None:
            return "not run"
        if self.next_low is None or self.next_high is None:
            return "close" if abs(self.ours - self.report) <= LARGE else "far"
        if not self.next_low <= self.report <= self.next_high:
            return "differs"
        return "agrees" if self.next_high - self.next_low <= WIDE else "undecided"


def compare(frame) -> list[Comparison]:
    """Every cell of Table 1 in the report's order, with what the records say about it.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `results.read` gives it. Figures of different precision or device are never averaged.
    """
    cells = []
    for (dataset, architecture), values in TABLE_1.items():
        mine = row_of(frame, dataset, architecture)
        for attack, value in zip(METRICS, values, strict=True):
            rows = mine[mine["attack"] == attack].sort_values("seed")
            limits = (None, None)
            if len(rows) >= 3:
                # An AUC lies in [0, 1], which Student's t does not know.
                limits = np.clip(prediction_interval(rows["auc"].to_numpy())[1:], 0, 1).tolist()
            first = rows.iloc[0] if len(rows) else None
            cells.append(
                Comparison(
                    dataset=dataset,
                    architecture=architecture,
                    attack=attack,
                    report=value,
                    ours=float(rows["auc"].mean()) if len(rows) else None,
                    seeds=len(rows),
                    precision="" if first is None else str(first["precision"]),
                    low=None if first is None else float(first["auc_low"]),
                    high=None if first is None else float(first["auc_high"]),
                    next_low=limits[0],
                    next_high=limits[1],
                )
            )
    return cells


# ---- for the reader ----------------------------------------------------------------------------

VERDICTS = {
    "agrees": "verdict-yes",
    "close": "verdict-yes",
    "undecided": "verdict-open",
    "differs": "verdict-no",
    "far": "verdict-no",
    "not run": "verdict-open",
}
"""The class of `plots.styled` for each verdict."""


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{low:.3f}\N{WORD JOINER}–\N{WORD JOINER}{high:.3f}"


def beside(cells: list[Comparison]):
    """Table 1 with ours beside it, a pandas.DataFrame of texts by (model, attack)."""
    import pandas as pd

    def row(cell: Comparison) -> dict:
        run = cell.ours is not None
        return {
            "model": f"{title(cell.dataset)} {cell.architecture}",
            "attack": cell.attack,
            "report": f"{cell.report:.4f}",
            "ours": f"{cell.ours:.4f}" if run else "",
            "difference": f"{cell.difference:+.4f}" if run else "",
            "verdict": cell.verdict,
            "one more run": _span(cell.next_low, cell.next_high),
            "over records": _span(cell.low, cell.high),
            "seeds": f"{cell.seeds}, {cell.precision}" if run else "",
        }

    return pd.DataFrame([row(cell) for cell in cells]).set_index(["model", "attack"])
