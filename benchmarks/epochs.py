"""Accuracy and leakage after every epoch: `python -m benchmarks.epochs cifar10-mini/resnet/0 ...`.

Each case is DATASET/ARCHITECTURE/SEED[/SETTINGS], settings in JSON such as {"lr_drop": 40}; 50
epochs, in --precision (default fp32). Writes one line an epoch to book/results/epochs.csv, where
the lines of other cases stay.
"""

from __future__ import annotations

import argparse
import json

import pandas as pd

from mia_utils.errors import InputError
from mia_utils.experiments import Experiment, epoch_curve

from . import RESULTS, command, save

KEY = ["dataset", "architecture", "seed", "settings", "precision", "device"]
TABLE = "epochs.csv"


def parse(case: str, epochs: int, precision: str) -> Experiment:
    """The experiment that a case stands for."""
    parts = case.split("/", 3)
    try:
        dataset, architecture, seed = parts[:3]
        settings = json.loads(parts[3]) if len(parts) == 4 else {}
        return Experiment(
            dataset=dataset,
            architecture=architecture,
            seed=int(seed),
            epochs=epochs,
            precision=precision,
            settings=settings,
        )
    except ValueError:
        raise InputError(
            f"case {case!r}; expected DATASET/ARCHITECTURE/SEED[/SETTINGS], such as "
            "cifar10-mini/resnet/0"
        ) from None


def merged(old: pd.DataFrame | None, new: pd.DataFrame) -> pd.DataFrame:
    """The new cases' lines, and of the old lines those of other cases."""
    if old is not None:
        again = old.set_index(KEY).index.isin(new.set_index(KEY).index)
        new = pd.concat([old[~again], new])
    return new.sort_values([*KEY, "epoch"], ignore_index=True)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epochs", description=__doc__)
    parser.add_argument("cases", nargs="+", metavar="CASE")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args(argv)
    for experiment in [parse(case, given.epochs, given.precision) for case in given.cases]:
        path = RESULTS / TABLE
        old = pd.read_csv(path) if path.exists() else None
        save(merged(old, epoch_curve(experiment)), TABLE)  # one case at a time: a kill loses one
    return 0


if __name__ == "__main__":
    command(main)
