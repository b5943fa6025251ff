"""What the explorers show, computed from the published results; `pictures` writes it.

An explorer is a figure that a reader can move (`explorers`). Its data lie beside it as a script, so
that it works from file://.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..experiments import records
from . import facts

BINS, POINTS = 80, 160
DEFENSES = {"none": "no defense", "dp_eps8": "DP-SGD, epsilon 8", "dp_eps1": "DP-SGD, epsilon 1"}


class Explorer(NamedTuple):
    """The file with an explorer's data (no ending), and its still picture."""

    data: str
    still: str


EXPLORERS = {
    "threshold": Explorer("threshold", "threshold.svg"),
    "records": Explorer("photographs", "records.png"),
    "guess": Explorer("photographs", "guess.png"),
    "epsilon": Explorer("epsilon", "epsilon.svg"),
    "shadows": Explorer("shadows", "shadows.svg"),
}


def _signals(results: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Margins and memberships of the records that a run's first target was judged on."""
    said = records.load_signals(name, results)
    used = said["evaluated"][0]
    return said["margin"][0, used].astype(np.float64), said["members"][0, used]


def threshold(results: Path) -> dict:
    """Histograms of the margin under the front page's run."""
    run = facts.front_run(records.read(results))
    margin, members = _signals(results, run["run"])
    low, high = np.quantile(margin, [0.002, 0.998])
    edges = np.linspace(low, high, BINS + 1).round(2)
    inside = np.clip(margin, edges[0], edges[-1])  # the few beyond stand in the last bins
    counts = [np.histogram(inside[members == held], bins=edges)[0] for held in (True, False)]
    ticks = np.arange(np.ceil(edges[0] / 10) * 10, edges[-1], 10)
    return {
        "score": "margin (log-odds of the true class)",
        "edges": edges.tolist(),
        "members": counts[0].tolist(),
        "nonmembers": counts[1].tolist(),
        "ticks": ticks.astype(int).tolist(),
    }


def epsilon(results: Path) -> dict:
    """ROC curves of the loss attack with and without DP-SGD, on the small CIFAR-10 CNN."""
    from ..evaluation import roc_curve

    frame = records.read(results)
    rows = frame[(frame["dataset"] == "cifar10") & (frame["architecture"] == "cnn")]
    rows = rows[(rows["attack"] == "loss") & (rows["settings"] == "{}")]
    curves = []
    looks = (("#332288", ""), ("#b08d00", "6 3"), ("#0b6b2d", "2 3"))
    for (defense, name), (colour, dash) in zip(DEFENSES.items(), looks, strict=True):
        mine = rows[(rows["defense"] == defense) & (rows["shadow_defense"] == defense)]
        run = mine.sort_values(["seed", "precision"]).iloc[0]
        curve = roc_curve(*_signals(results, run["run"]))
        at = np.linspace(0, 1, POINTS)
        points = np.column_stack([at, np.interp(at, curve.fpr, curve.tpr)]).round(4)
        curves.append({"name": name, "colour": colour, "dash": dash, "points": points.tolist()})
    return {"curves": curves}


def shadows(results: Path) -> dict:
    """AUC against the number of shadow models, mean and range over targets."""
    import pandas as pd

    from ..plots import attack_style

    table = pd.read_csv(results / "shadow_count.csv")
    dashes = {"-": ""}
    attacks = []
    for name, rows in table.groupby("attack", sort=False):
        style = attack_style(str(name)) or {}
        found = rows.groupby("shadow_models")["auc"].agg(["mean", "min", "max"]).round(4)
        points = [
            {"count": int(n), "mean": m, "low": low, "high": high}
            for n, m, low, high in found.itertuples()
        ]
        dash = style["linestyle"]
        dash = dashes[dash] if isinstance(dash, str) else " ".join(map(str, dash[1]))
        attacks.append({"name": name, "colour": style["color"], "dash": dash, "points": points})
    low = min(p["low"] for a in attacks for p in a["points"])
    return {
        "counts": sorted(int(n) for n in table["shadow_models"].unique()),
        "ylim": [round(np.floor(low * 20) / 20, 2), 1.0],
        "yticks": [t for t in (0.6, 0.7, 0.8, 0.9, 1.0) if t >= low - 0.05],
        "attacks": attacks,
    }


def scripts(root: str | os.PathLike) -> dict[str, str]:
    """The data of the explorers: {file's name: JavaScript}."""
    results = Path(root, "book/results")
    game = facts.photographs(root)
    found = {
        "threshold": threshold(results),
        "epsilon": epsilon(results),
        "shadows": shadows(results),
    }
    texts = {f"{name}.js": _script([name], data) for name, data in found.items()}
    return texts | {"photographs.js": _script(["records", "guess"], game)}


def _script(names: list[str], data: dict) -> str:
    head = "// Written by python -m mia_utils.book.pictures from book/results.\n"
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    targets = " = ".join(f"globalThis.mia.data.{name}" for name in names)
    first = (
        "globalThis.mia = globalThis.mia || {};\nglobalThis.mia.data = globalThis.mia.data || {};\n"
    )
    return f"{head}{first}{targets} = {text};\n"
