"""What makes DP-SGD useful: `python -m benchmarks.private_recipes RECIPE ...`.

One target on a quarter of CIFAR-10 with the "cnn", 20 epochs, epsilon 8 at delta 1e-5, by each recipe
that is named. Writes book/results/private_recipes.csv, a line a recipe; other recipes' lines stay.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from mia_utils import LossAttack, Store, TrainConfig, evaluate, load_dataset, quarter_masks, train
from mia_utils.defenses import preset
from mia_utils.errors import InputError
from mia_utils.evaluation.theorems import accuracies

from . import RESULTS, command, save

DATASET, ARCHITECTURE, EPOCHS, SEED = "cifar10", "cnn", 20, 1
LARGE = TrainConfig(**preset("dp_eps8").changes)
DP = LARGE.dp
RECIPES = {
    "small_batches": TrainConfig(dp=DP),
    "large_batches": LARGE,
    "standardised": replace(LARGE, dp=replace(DP, weight_standardisation=True)),
    "copies": replace(LARGE, dp=replace(DP, multiplicity=4), augmentation="crop_flip"),
}


def measure(recipe: str, dataset: str = DATASET, epochs: int = EPOCHS) -> dict:
    """One target, trained unless the store has it."""
    pool, store = load_dataset(dataset), Store()
    target, _ = quarter_masks(pool.labels, seed=SEED, shadow_models=1)
    config = replace(RECIPES[recipe], epochs=epochs)
    outputs = train(pool, target, ARCHITECTURE, config, seed=SEED, store=store)
    found = evaluate(LossAttack(), outputs, seed=SEED)
    record = store.record(outputs.names[0])
    return {
        "recipe": recipe,
        "version": record["recipe"],
        "batch": config.batch_size,
        "rate": config.lr,
        "weights": "standardised" if config.dp.weight_standardisation else "plain",
        "copies": config.dp.multiplicity,
        "noise": record["privacy"]["noise_multiplier"],
        "epsilon": record["privacy"]["epsilon"],
        "test_accuracy": accuracies(outputs).test[0],
        "auc": found.auc.value,
        "minutes": record["seconds"] / 60,
        "dataset": dataset,
        "architecture": ARCHITECTURE,
        "epochs": epochs,
        "seed": SEED,
        "model": outputs.names[0],
        "torch": record["versions"]["torch"],
        "processor": record["processor"],
    }


def main(recipes: list[str]) -> int:
    unknown = set(recipes) - set(RECIPES)
    if not recipes or unknown:
        raise InputError(f"recipes {sorted(unknown)}; expected some of {list(RECIPES)}")
    path = RESULTS / "private_recipes.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    for recipe in recipes:
        rows = [row for row in rows if row["recipe"] != recipe] + [measure(recipe)]
        rows.sort(key=lambda row: list(RECIPES).index(row["recipe"]))
        save(pd.DataFrame(rows), path.name)
    return 0


if __name__ == "__main__":
    command(main)
