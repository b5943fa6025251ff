"""The figure of the book's page on speed, from the CSV files alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def draw(results: Path, path: Path) -> None:
    """Our speed over the others' on the MNIST CNN: bars with their spread."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from mia_utils import plots

    plots.use_style()
    table = pd.read_csv(results / "bench_training.csv", keep_default_na=False)
    table = table[table["benchmark"] == "MNIST CNN"].iloc[::-1]
    figure, ax = plt.subplots(figsize=(5.6, 3.0), layout="constrained")
    colours = ["C1" if what.startswith("bf16") else "C0" for what in table["ratio of"]]
    errors = [table["median"] - table["lowest"], table["highest"] - table["median"]]
    ax.barh(table["ratio of"], table["median"], xerr=errors, color=colours, height=0.65)
    ax.axvline(1, color="0.5", linestyle="--", linewidth=1)
    ax.set(xlabel="times as fast", xlim=(0, None))
    ax.tick_params(axis="y", labelsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
