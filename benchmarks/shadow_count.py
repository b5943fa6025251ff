"""What more shadow models bring: 1 to 64 of them, four targets: `python -m benchmarks.shadow_count`.

On 500 images of cifar10-mini, as chapter 6. Writes book/results/shadow_count.csv, one line an
attack, number of shadow models and target.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mia_utils import (
    RMIA,
    CalibratedAttack,
    LiRA,
    TrainConfig,
    balanced_masks,
    evaluate,
    independent_masks,
    load_dataset,
    train,
)
from mia_utils.data import Masks

from . import save

MOST, TARGETS, EPOCHS, POOL, SEED = 64, 4, 30, 500, 0
ATTACKS = {  # and the fewest shadow models that the attack can do with
    "LiRA online": (LiRA(threshold=0), 4),
    "LiRA online, own variance": (LiRA(variance="per_record", threshold=0), 4),
    "RMIA online": (RMIA(threshold=0), 2),
    "LiRA offline": (LiRA(online=False, threshold=0), 4),
    "RMIA offline": (RMIA(online=False, threshold=0), 1),
    "calibrated loss": (CalibratedAttack(threshold=0), 1),
}


def main() -> None:
    pool = load_dataset("cifar10-mini").sample(POOL, seed=SEED)
    config = TrainConfig(epochs=EPOCHS)
    targets = train(
        pool, independent_masks(POOL, models=TARGETS, seed=SEED + 1), "cnn", config, seed=SEED
    )
    order = np.random.default_rng([SEED, 6]).permutation(POOL)
    population, audited = np.sort(order[:150]), np.sort(order[150:])
    # Blocks of 2, 2, 4, 8, ... balanced models: the first 2, 4, 8, 16, ... are balanced too.
    blocks = [2, *(2 ** np.arange(1, int(np.log2(MOST))))]
    parts = [balanced_masks(POOL, models=int(b), seed=SEED + n) for n, b in enumerate(blocks)]
    masks = Masks(
        *(np.concatenate([getattr(m, f) for m in parts]) for f in ("members", "evaluated"))
    )
    every = train(pool, masks, "cnn", config, seed=SEED)
    rows = []
    for count in 2 ** np.arange(int(np.log2(MOST)) + 1):
        shadows = every.select(models=slice(count))
        known = ~shadows.members.all(axis=0)  # some model is without the record
        z = targets.select(records=population[known[population]])
        judged = targets.select(records=audited[known[audited]])
        for name, (attack, fewest) in ATTACKS.items():
            if count < fewest:
                continue
            found = evaluate(attack.fit(shadows, z), judged)
            for number, metrics in enumerate(found.targets):
                rows.append(
                    {
                        "attack": name,
                        "shadow_models": count,
                        "target": number,
                        "auc": metrics.auc.value,
                        "tpr_at_fpr_0.1": metrics.row()["tpr_at_fpr_0.1"],
                        "records": judged.labels.size,
                    }
                )
        save(pd.DataFrame(rows), "shadow_count.csv")


if __name__ == "__main__":
    main()
