"""The figure of the book's page on speed, from the CSV files alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def draw(results: Path, path: Path) -> None:
    """Our speed over the others' on the MNIST CNN: bars with their spread, goals as lines."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from mia_utils import plots

    plots.use_style()
    table = pd.read_csv(results / "bench_training.csv", keep_default_na=False)
    table = table[table["benchmark"] == "MNIST CNN"].iloc[::-1]
    figure, ax = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    colours = ["C1" if what.startswith("bf16") else "C0" for what in table["ratio of"]]
    errors = [table["median"] - table["lowest"], table["highest"] - table["median"]]
    ax.barh(table["ratio of"], table["median"], xerr=errors, color=colours, height=0.65)
    for y, goal in enumerate(table["goal"]):
        limit = float(goal.split()[-1])
        ax.plot([limit, limit], [y - 0.4, y + 0.4], color="black", linewidth=2)
    ax.axvline(1, color="0.5", linestyle="--", linewidth=1)
    ax.set(xlabel="times as fast (black: the goal)", xlim=(0, None))
    ax.tick_params(axis="y", labelsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
