"""Does any attack find what is not there, on real images and trained models? And does it find what is?

`python -m benchmarks.nulls` writes book/results/nulls.csv, in a few minutes of one core. The pool is the
CIFAR-10 images inside the package. Two targets are judged on the same 1,000 records: one was trained on
half of them, one on other records alone. Memberships are then dealt to these records anew, many times,
*after* the models have answered; each time every attack scores them afresh, and its AUC is held
against the range of chance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from mia_utils import Masks, Outputs, TrainConfig, attacks, balanced_masks, load_dataset, train
from mia_utils.evaluation import auc, auc_interval, null_auc_range

from . import command, save

AUDITED, POPULATION = 1000, 400
SHADOWS, DEALS, SEED = 16, 50, 0
LEVEL = 0.95
CONFIG = TrainConfig(epochs=15)
ATTACKS = {
    "random": attacks.RandomAttack,
    "correctness": attacks.CorrectnessAttack,
    "loss": attacks.LossAttack,
    "confidence": attacks.ConfidenceAttack,
    "entropy": attacks.EntropyAttack,
    "modified entropy": attacks.ModifiedEntropyAttack,
    "margin": attacks.MarginAttack,
    "learned": lambda: attacks.LearnedAttack(hidden=(10,), epochs=10),
    "similarity": attacks.SimilarityAttack,
    "population": attacks.PopulationAttack,
    "reference": attacks.ReferenceAttack,
    "calibrated": attacks.CalibratedAttack,
    "LiRA": attacks.LiRA,
    "LiRA offline": lambda: attacks.LiRA(online=False),
    "RMIA": attacks.RMIA,
    "RMIA offline": lambda: attacks.RMIA(online=False),
    "BASE": attacks.BASE,
    "quantile": attacks.QuantileAttack,
    "stacked": lambda: attacks.StackedAttack([attacks.LossAttack(), attacks.CalibratedAttack()]),
}
"""All that look at answers alone."""


def models() -> tuple[Outputs, dict[str, Outputs], dict[str, Outputs]]:
    """Answers of the shadow models and, by what it was trained on, of each target for the audited
    records and for its population."""
    pool = load_dataset("cifar10-mini")
    rng = np.random.default_rng(SEED)
    audited, population, other = np.split(
        rng.permutation(len(pool)), [AUDITED, AUDITED + POPULATION]
    )
    members = np.zeros((SHADOWS + 2, len(pool)), bool)
    members[:SHADOWS, audited] = balanced_masks(AUDITED, models=SHADOWS, seed=SEED).members
    members[SHADOWS, rng.permutation(audited)[: AUDITED // 2]] = True
    members[SHADOWS + 1, other] = True
    evaluated = np.ones_like(members)
    evaluated[:SHADOWS] = ~np.isin(np.arange(len(pool)), other)
    masks = Masks(members, evaluated)
    outputs = train(pool, masks, "cnn", CONFIG, seed=SEED, progress=False)
    own = {"half": outputs.select(models=[SHADOWS]), "others": outputs.select(models=[SHADOWS + 1])}
    return (
        outputs.select(models=slice(0, SHADOWS)),
        {name: target.select(records=audited) for name, target in own.items()},
        {name: target.select(records=population) for name, target in own.items()},
    )


def deals() -> np.ndarray:
    """Memberships dealt to the audited records, bool (DEALS, AUDITED)."""
    rng = np.random.default_rng([SEED, 1])
    half = np.arange(AUDITED) < AUDITED // 2
    return rng.permuted(np.tile(half, (DEALS, 1)), axis=1)


def dealt(attack: attacks.Attack, target: Outputs) -> tuple[float, int]:
    """The mean AUC over all deals, and how many are outside of the range of chance."""
    areas, outside = [], 0
    for members in deals():
        scores = attack.score(target.replace(members=members[None]))[0]
        low, high = null_auc_range(scores, members, level=LEVEL)
        areas.append(auc(scores, members))
        outside += not low - 1e-12 <= areas[-1] <= high + 1e-12
    return float(np.mean(areas)), outside


def measure(make, shadows: Outputs, targets: dict, populations: dict) -> dict:
    """One row: what an attack finds on true members, and where there are none to find."""
    row = {}
    for name, target in targets.items():
        attack = make().fit(shadows, populations[name])
        if name == "half":
            found = auc_interval(attack.score(target)[0], target.members[0])
            row |= {"AUC": found.value, "low": found.low, "high": found.high}
        kind = "dealt anew" if name == "half" else "saw neither half"
        row[f"{kind}: mean AUC"], row[f"{kind}: outside"] = dealt(attack, target)
    counts = [row[name] for name in row if name.endswith("outside")]
    p = min(binomtest(k, DEALS, 1 - LEVEL, alternative="greater").pvalue for k in counts)
    return row | {"deals": DEALS, "p": p}


def main(chosen: list[str]) -> int:
    given = models()
    rows = []
    for name, make in ATTACKS.items():
        rows.append({"attack": name, **measure(make, *given)})
        print(rows[-1], flush=True)
    frame = pd.DataFrame(rows)
    for name in frame.columns.drop("attack"):
        if frame[name].dtype == float:
            frame[name] = frame[name].map("{:.3f}".format)
    save(frame, "nulls.csv")
    return 0


if __name__ == "__main__":
    command(main)
