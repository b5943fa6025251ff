"""bf16 beside fp32, the same seeds: `python -m benchmarks.precision cifar10-mini/mlp ...`.

Each case is DATASET/ARCHITECTURE[/SEEDS[/EPOCHS]], by default 5 seeds and 50 epochs; targets on the
first quarter. Writes one line a model to book/results/precision.csv (other cases' lines stay)
and the comparison to precision_summary.csv.
"""

from __future__ import annotations

import pandas as pd

from mia_utils import LossAttack, Store, TrainConfig, evaluate, load_dataset, quarter_masks, train
from mia_utils.errors import InputError
from mia_utils.evaluation.theorems import accuracies

from . import RESULTS, command, save

FIGURES = {"test_accuracy": "test accuracy", "auc": "loss AUC", "tpr": "TPR at FPR 1 %"}


def measure(dataset: str, architecture: str, seeds: int = 5, epochs: int = 50) -> list[dict]:
    """Two targets a seed, trained unless the store has them."""
    pool, store = load_dataset(dataset), Store()
    rows = []
    for seed in range(seeds):
        target, _ = quarter_masks(pool.labels, seed=seed, shadow_models=1)
        for precision in ("fp32", "bf16"):
            outputs = train(
                pool,
                target,
                architecture,
                TrainConfig(epochs=epochs),
                seed=seed,
                precision=precision,
                store=store,
            )
            found = evaluate(LossAttack(), outputs, seed=seed)
            record = store.record(outputs.names[0])
            rows.append(
                {
                    "dataset": dataset,
                    "architecture": architecture,
                    "epochs": epochs,
                    "seed": seed,
                    "precision": precision,
                    "test_accuracy": accuracies(outputs).test[0],
                    "auc": found.auc.value,
                    "tpr": found.tpr_at_fpr(0.01).value,
                    "model": outputs.names[0],
                    "torch": record["versions"]["torch"],
                    "processor": record["processor"],
                }
            )
    return rows


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, their difference, and the spread (standard deviation) over seeds."""
    rows = []
    keys = ["dataset", "architecture", "epochs"]
    for (dataset, architecture, epochs), part in table.groupby(keys, sort=True):
        for figure, title in FIGURES.items():
            wide = part.pivot(index="seed", columns="precision", values=figure)
            if wide.isna().any(axis=None):
                continue  # a rate that so few non-members cannot give
            spread = wide.std().max()
            difference = wide["bf16"].mean() - wide["fp32"].mean()
            rows.append(
                {
                    "model": f"{dataset} {architecture}",
                    "epochs": epochs,
                    "seeds": len(wide),
                    "figure": title,
                    "fp32": f"{wide['fp32'].mean():.4f}",
                    "bf16": f"{wide['bf16'].mean():.4f}",
                    "difference": f"{difference:+.4f}",
                    "spread over seeds": f"{spread:.4f}",
                    "smaller": "yes" if abs(difference) < spread else "no",
                }
            )
    return pd.DataFrame(rows)


def main(cases: list[str]) -> int:
    path = RESULTS / "precision.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    for case in cases:
        dataset, architecture, *more = case.split("/") if "/" in case else (case, "")
        if not architecture or not all(x.isdigit() and int(x) > 1 for x in more) or len(more) > 2:
            raise InputError(
                f"case {case!r}; expected DATASET/ARCHITECTURE[/SEEDS[/EPOCHS]], at least 2 of each"
            )
        new = pd.DataFrame(measure(dataset, architecture, *map(int, more)))
        if len(table):
            keys = ["dataset", "architecture", "epochs"]
            table = table[(table[keys] != new[keys].iloc[0]).any(axis=1)]
        table = pd.concat([table, new]).sort_values(
            ["dataset", "architecture", "epochs", "seed", "precision"]
        )
        save(table, path.name)
    save(summary(table), "precision_summary.csv")
    print(summary(table).to_string(index=False))
    return 0


if __name__ == "__main__":
    command(main)
