"""Attacks on models that generalize well: `python -m benchmarks.modern [--shadows 16] [--targets 4]`.

ResNet-9 with the recipe `modern` on random halves of a data set, shadow models balanced, targets
drawn apart from them. Writes book/results/modern.csv: one line an attack, number of shadow models
and target, with the target's accuracy on members and others. Models are kept in the store; on one
GPU a model takes seconds, on a processor hours.

`--accuracy` asks only how well the recipe does: random halves of the public
training split and the whole of it, against the test split; writes book/results/modern_accuracy.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mia_utils import (
    RMIA,
    LiRA,
    LossAttack,
    Outputs,
    Pool,
    Store,
    balanced_masks,
    independent_masks,
    load_dataset,
    query,
    train,
)
from mia_utils.data import Masks
from mia_utils.engine.work import circumstances
from mia_utils.evaluation import auc_interval, tpr_at_fpr_interval
from mia_utils.signals import correct
from mia_utils.training.recipes import modern

from . import command, save

RATES = (0.1, 0.01, 0.001)
ASIDE = 2000
"""Records that the attacks may know to be non-members (RMIA's population); nobody is judged on them."""


def scores(shadows: list[Outputs], z: Outputs, judged: list[Outputs]) -> dict[str, np.ndarray]:
    """float64 (targets, n) of each attack; the second of the Outputs answers about mirror images."""
    one, both = shadows[:1], shadows
    return {
        "loss": LossAttack().score(judged[0]),
        "LiRA online": LiRA(threshold=0).fit(one).score(judged[:1]),
        "LiRA online, mirrored too": LiRA(threshold=0).fit(both).score(judged),
        "LiRA offline": LiRA(online=False, threshold=0).fit(one).score(judged[:1]),
        "RMIA online": RMIA(threshold=0).fit(shadows[0], z).score(judged[0]),
        "RMIA offline": RMIA(online=False, threshold=0).fit(shadows[0], z).score(judged[0]),
    }


def lines(found: dict[str, np.ndarray], judged: Outputs) -> list[dict]:
    """One for each attack and target, with 95 % intervals."""
    rows = []
    for name, values in found.items():
        for target, (score, members) in enumerate(zip(values, judged.members, strict=True)):
            row = {"attack": name, "target": target}
            row |= dict(
                zip(("auc", "auc_low", "auc_high"), auc_interval(score, members), strict=True)
            )
            for rate in RATES:
                if (~members).sum() * rate >= 10:
                    interval = tpr_at_fpr_interval(score, members, rate)
                    names = (f"tpr_at_fpr_{rate:g}{end}" for end in ("", "_low", "_high"))
                    row |= dict(zip(names, interval, strict=True))
            rows.append(row)
    return rows


def measure(
    pool: Pool, counts: list[int], targets: int, *, epochs: int, seed: int, store: Store, **how
) -> pd.DataFrame:
    """Each attack with each number of shadow models."""
    config = modern(epochs=epochs)
    how |= {"seed": seed, "store": store}
    n = len(pool)
    answers = train(
        pool, independent_masks(n, models=targets, seed=seed + 1), "resnet9", config, **how
    )
    right = correct(answers.logits, answers.labels)
    accuracy = [
        (float(r[m].mean()), float(r[~m].mean()))
        for r, m in zip(right, answers.members, strict=True)
    ]
    mirrored = query(answers, pool, "flip", store=store)
    order = np.random.default_rng([seed, 6]).permutation(n)
    aside = min(ASIDE, n // 10)
    z, records = np.sort(order[:aside]), np.sort(order[aside:])
    judged = [outputs.select(records=records) for outputs in (answers, mirrored)]
    device = store.record(answers.names[0])["device"]
    rows = []
    for count in counts:
        masks = balanced_masks(n, models=count, seed=seed + count)
        shadows = train(pool, masks, "resnet9", config, **how)
        pair = [shadows, query(shadows, pool, "flip", store=store)]
        for row in lines(scores(pair, answers.select(records=z), judged), judged[0]):
            both = accuracy[row["target"]]
            rows.append(
                {"shadow_models": count, **row, "train_accuracy": both[0], "test_accuracy": both[1]}
            )
    made = circumstances(device)
    return pd.DataFrame(rows).assign(
        dataset=pool.name,
        architecture="resnet9",
        epochs=epochs,
        seed=seed,
        records=len(records),
        device=device,
        processor=made["processor"],
        **made["versions"],
    )


def accuracy(
    pool: Pool, sizes: dict[int, int], *, epochs: int, seed: int, store: Store, **how
) -> pd.DataFrame:
    """Accuracy of models of so many public training records, {records: models}."""
    inside = np.flatnonzero(pool.train)
    rows = []
    for size, models in sizes.items():
        members = np.zeros((models, len(pool)), bool)
        for draw, row in enumerate(members):
            row[np.random.default_rng(draw).permutation(inside)[:size]] = True
        masks = Masks(members, np.ones_like(members))
        out = train(pool, masks, "resnet9", modern(epochs=epochs), seed=seed, store=store, **how)
        right = correct(out.logits, out.labels)
        for draw, (mask, name) in enumerate(zip(out.members, out.names, strict=True)):
            record = store.record(name)
            made = {"device": record["device"], "processor": record["processor"]}
            rows.append(
                {
                    "dataset": pool.name,
                    "training records": size,
                    "draw": draw,
                    "epochs": epochs,
                    "seed": seed,
                    "train accuracy": right[draw][mask].mean(),
                    "test accuracy": right[draw][~pool.train].mean(),
                    **made,
                    **record["versions"],
                }
            )
    return pd.DataFrame(rows)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modern", description=__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--shadows", type=int, nargs="+", default=[16], metavar="N")
    parser.add_argument("--targets", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--accuracy", action="store_true", help="no attacks")
    parser.add_argument("--out", type=Path, help="else the table named above")
    given = parser.parse_args(argv)
    out = given.out and given.out.resolve()
    pool, store = load_dataset(given.dataset), Store()
    how = {"epochs": given.epochs, "seed": given.seed, "store": store, "precision": given.precision}
    if given.accuracy:
        public = int(pool.train.sum())
        table = accuracy(pool, {public // 2: 3, public: 1}, **how)
        save(table, out or "modern_accuracy.csv")
        print(table)
        return 0
    table = measure(pool, given.shadows, given.targets, **how)
    save(table, out or "modern.csv")
    print(
        table.groupby(["shadow_models", "attack"])[
            ["auc", "train_accuracy", "test_accuracy"]
        ].mean()
    )
    return 0


if __name__ == "__main__":
    command(main)
