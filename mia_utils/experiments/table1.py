"""The report's numbers as data, and ours beside them, cell by cell."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from ..data import catalog
from ..errors import InputError
from ..evaluation import prediction_interval

METRICS = ("loss", "confidence", "entropy")
LARGE = 0.03
"""A difference of AUCs beyond which candidate causes are looked at."""

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
    same = np.ones(len(frame), bool)
    for part in parts:
        same &= (frame[part] == frame[f"shadow_{part}"]).to_numpy()
    return frame[same]


def plain(frame):
    """The records of undefended targets whose shadow models differ from them in nothing."""
    return alike(frame[frame["defense"] == "none"])


def adaptive(frame):
    """The records of attackers who know the defense, at default settings; undefended ones too."""
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


def _as_in_report(frame, settings: dict | None = None):
    """Plain records with the report's epochs, of one precision and device."""
    rows = plain(frame)
    rows = rows[(rows["epochs"] == EPOCHS) & (rows["settings"] == json.dumps(settings or {}))]
    return most_seeds(rows)


def _row(frame, dataset: str, architecture: str):
    """The records of one row of Table 1."""
    built = BUILT_AS.get((dataset, architecture), architecture)
    return _as_in_report(frame[(frame["dataset"] == dataset) & (frame["architecture"] == built)])


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
        """not run; agrees, differs (with a prediction interval); close, far (without)."""
        if self.ours is None:
            return "not run"
        if self.next_low is not None:
            return "agrees" if self.next_low <= self.report <= self.next_high else "differs"
        return "close" if abs(self.difference) <= LARGE else "far"


def compare(frame) -> list[Comparison]:
    """Every cell of Table 1 in the report's order, with what the records say about it.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `results.read` gives it. Figures of different precision or device are never averaged.
    """
    cells = []
    for (dataset, architecture), values in TABLE_1.items():
        mine = _row(frame, dataset, architecture)
        for attack, value in zip(METRICS, values, strict=True):
            rows = mine[mine["attack"] == attack].sort_values("seed")
            limits = (None, None)
            if len(rows) >= 3:
                limits = prediction_interval(rows["auc"].to_numpy())[1:]
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


class Cause(NamedTuple):
    """What a candidate cause does to one cell: our AUC without and with it (None: not run)."""

    dataset: str
    architecture: str
    attack: str
    cause: str
    report: float
    without: float
    with_it: float | None

    @property
    def verdict(self) -> str:
        if self.with_it is None:
            return "not run"
        before, after = abs(self.without - self.report), abs(self.with_it - self.report)
        if after <= LARGE:
            return "explains it"
        return "brings it nearer" if after < before - 0.01 else "does not explain it"


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
    """Each candidate cause for each cell that is more than `LARGE` off, seed by seed, averaged."""
    rows = []
    for cell in cells:
        if cell.difference is None or abs(cell.difference) <= LARGE:
            continue
        here = frame[frame["dataset"] == cell.dataset]
        mine = _row(here, cell.dataset, cell.architecture)
        own = mine[mine["attack"] == cell.attack].set_index("seed")
        twice = _as_in_report(here[here["architecture"] == TWICE + cell.architecture])
        drop = _as_in_report(here[here["architecture"] == cell.architecture], LR_DROP)
        found = {
            "softmax twice": _aucs(twice, cell.attack),
            "judged on the shadow model": own["shadow_auc"],
            "rate drop after 40 epochs": _aucs(drop, cell.attack),
        }
        if cell.attack == "entropy":
            found["careless entropy"] = _aucs(mine, "entropy_careless")
        for cause in CAUSES:
            if cause in found:
                both = found[cause].index.intersection(own.index)
                shift = (found[cause][both] - own["auc"][both]).mean() if len(both) else None
                moved = None if shift is None else cell.ours + float(shift)
                key = (cell.dataset, cell.architecture, cell.attack)
                rows.append(Cause(*key, cause, cell.report, cell.ours, moved))
    return rows


def _aucs(rows, attack: str):
    return rows[rows["attack"] == attack].set_index("seed")["auc"]


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
        If `axis` is neither.
    """
    if axis not in ("architecture", "dataset"):
        raise InputError(f"axis={axis!r}; expected 'architecture' or 'dataset'")
    same = frame[axis] == frame[f"shadow_{axis}"]
    base = attack.removesuffix("_normalized")
    rows = frame[(frame["attack"] == np.where(same, base, attack)) & (frame["defense"] == "none")]
    rows = rows[rows["shadow_defense"] == "none"]
    table = rows.pivot_table(figure, axis, f"shadow_{axis}")
    return table.rename_axis(index="target", columns="shadow model")


class Cost(NamedTuple):
    """What one row of Table 1 costs: a target and a shadow model at the report's settings."""

    dataset: str
    architecture: str
    tflop: float  # 10^12 floating-point operations for both models
    core_hours: float | None  # at the median speed of the runs in the records; None without any


_SHAPES = {
    # data set: (shape of a record, classes, records)
    "mnist": ((28, 28, 1), 10, 70_000),
    "cifar10": ((32, 32, 3), 10, 60_000),
    "cifar100": ((32, 32, 3), 100, 60_000),
    "a1k": ((64, 64, 3), 1_000, 95_134),
}


def _tflop(dataset: str, architecture: str, epochs: int) -> float:
    """Forward and backward passes (three times the forward) of two models on a quarter each."""
    from ..training.models import build, forward_flops

    architecture = BUILT_AS.get((dataset, architecture), architecture)
    shape, classes, records = _SHAPES[dataset]
    forward = forward_flops(build(architecture, shape, classes), shape)
    return 2 * 3 * forward * (records // 4) * epochs / 1e12


def costs(frame, rows: list[tuple[str, str]]) -> list[Cost]:
    """The cost of some (data set, architecture), in core-hours as the recorded runs suggest."""
    done = plain(frame)
    done = done[(done["device"] == "cpu") & (done["precision"] == "fp32")].drop_duplicates("run")
    done = done[done["dataset"].isin(_SHAPES) & ~done["architecture"].str.contains(":")]
    speed = [
        _tflop(run.dataset, run.architecture, run.epochs) / run.seconds for run in done.itertuples()
    ]
    found = []
    for dataset, architecture in rows:
        work = _tflop(dataset, architecture, EPOCHS)
        hours = work / float(np.median(speed)) / 3600 if speed else None
        found.append(Cost(dataset, architecture, round(work), hours))
    return found


def title(dataset: str) -> str:
    """How the book calls a data set."""

    return "A1K" if dataset == "a1k" else catalog.title(dataset)


# ---- for the reader ----------------------------------------------------------------------------

COLOURS = {
    "agrees": "#d9f0d3",
    "close": "#d9f0d3",
    "differs": "#fddbc7",
    "far": "#fddbc7",
    "not run": "#eeeeee",
}
"""Background of each verdict."""


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{low:.3f}–{high:.3f}"


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


def cause_table(found: list[Cause]):
    """Candidate causes as a pandas.DataFrame of texts."""
    import pandas as pd

    columns = ["data set", "architecture", "attack", "candidate", "report", "ours", "with it"]
    rows = [
        (
            *(title(cause.dataset), cause.architecture, cause.attack, cause.cause),
            *(f"{cause.report:.4f}", f"{cause.without:.4f}"),
            "" if cause.with_it is None else f"{cause.with_it:.4f}",
            cause.verdict,
        )
        for cause in found
    ]
    return pd.DataFrame(rows, columns=[*columns, "verdict"])


def explained(cells: list[Comparison], found: list[Cause]) -> list[str]:
    """One sentence for each cell that is more than `LARGE` off."""
    lines = []
    for cell in cells:
        mine = [c for c in found if c[:3] == cell[:3]]
        good = [c.cause for c in mine if c.verdict == "explains it"]
        tested = sum(c.with_it is not None for c in mine)
        if mine:
            verdict = (
                f"{' or '.join(good)} would explain it"
                if good
                else f"unexplained; {tested} of {len(mine)} candidates tested"
            )
            lines.append(f"{title(cell.dataset)} {cell.architecture} {cell.attack}: {verdict}")
    return lines


def crossed(frame, axis: str):
    """Records of transfers along one axis alone, one table for each comparable group.

    Yields
    ------
    (dict, pandas.DataFrame)
        What the group has in common (`epochs`, `precision`, and the data set or the
        architecture), and its records, those without a transfer among them.
    """
    other = {"architecture": "dataset", "dataset": "architecture"}[axis]
    rows = frame[(frame[other] == frame[f"shadow_{other}"]) & (frame["settings"] == "{}")]
    moved = rows[rows[axis] != rows[f"shadow_{axis}"]]
    # Figures of different precision are never averaged.
    keys = [other, "epochs", "precision"]
    for key, mine in moved.groupby(keys):
        names = set(mine[axis]) | set(mine[f"shadow_{axis}"])
        here = rows[(rows[keys] == list(key)).all(axis=1)]
        yield (
            dict(zip(keys, key, strict=True)),
            here[here[axis].isin(names) & here["seed"].isin(mine["seed"])],
        )
