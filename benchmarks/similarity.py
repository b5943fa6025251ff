"""The similarity attack both ways, for 32 records and k = 4: `python -m benchmarks.similarity`.

Exact: k models without the records, and k more for each record. Amortised: 2k models on balanced
halves. The same four targets are judged by both. Writes book/results/similarity.csv, one line a
record and target, and the trainings and seconds that either design took.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mia_utils import (
    SimilarityAttack,
    Store,
    TrainConfig,
    balanced_masks,
    independent_masks,
    load_dataset,
    train,
)
from mia_utils.data import single_record_masks

from . import save

RECORDS, K, TARGETS, EPOCHS, POOL, SEED = 32, 4, 4, 30, 500, 0


def main() -> None:
    pool = load_dataset("cifar10-mini").sample(POOL, seed=SEED)
    chosen = np.sort(np.random.default_rng([SEED, 5]).permutation(POOL)[:RECORDS])
    config, store = TrainConfig(epochs=EPOCHS), Store()
    designs = {
        "exact": single_record_masks(POOL, chosen, k=K, seed=SEED + 2),
        "amortised": balanced_masks(POOL, models=2 * K, seed=SEED),
    }
    targets = train(
        pool, independent_masks(POOL, models=TARGETS, seed=SEED + 1), "cnn", config, seed=SEED
    ).select(records=chosen)
    table = {
        "record": np.tile(chosen, TARGETS),
        "target": np.repeat(np.arange(TARGETS), RECORDS),
        "member": targets.members.ravel(),
    }
    costs = []
    for name, masks in designs.items():
        models = train(pool, masks, "cnn", config, seed=SEED)
        attack = SimilarityAttack(threshold=0.0).fit(models.select(records=chosen))
        table[name] = attack.score(targets).ravel()
        spent = sum(store.record(model)["seconds"] for model in models.names)
        costs.append({"design": name, "trainings": len(models), "seconds": round(spent)})
    save(pd.DataFrame(table), "similarity.csv")
    save(pd.DataFrame(costs), "similarity_costs.csv")


if __name__ == "__main__":
    main()
