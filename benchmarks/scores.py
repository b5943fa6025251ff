"""Did a change move scores? Every attack on the embedded data, before and after, compared.

    python benchmarks/scores.py FOLDER before          # at the old commit
    python benchmarks/scores.py FOLDER after           # at the new one
    python benchmarks/scores.py FOLDER before after    # largest differences, attack by attack

Models are trained once, into FOLDER; the package is the one that PYTHONPATH names first, attacks are
set up as in the `tests/factories.py` beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

EPOCHS = {"digits": ("mlp", 30), "cifar10-mini": ("cnn", 10)}


def outputs(folder: Path, dataset: str):
    """Eight shadow models and two targets, in an order that depends on their masks alone."""
    from mia_utils import (
        Outputs,
        TrainConfig,
        balanced_masks,
        independent_masks,
        load_dataset,
        train,
    )

    parts = []
    for name, models, seed in (("shadow", 8, 0), ("target", 2, 1)):
        path = folder / f"{dataset}-{name}.npz"
        if not path.exists():
            pool = load_dataset(dataset)
            masks = balanced_masks if name == "shadow" else independent_masks
            architecture, epochs = EPOCHS[dataset]
            train(
                pool,
                masks(len(pool), models=models, seed=seed),
                architecture,
                TrainConfig(epochs=epochs),
                seed=100 * seed,
                store=folder / "store",
                jobs=1,
            ).save(path)
        part = Outputs.load(path)
        order = sorted(range(models), key=lambda m: part.members[m].tobytes())
        parts.append(part.select(models=order))
    return parts


def measure(folder: Path, name: str) -> None:
    import mia_utils

    root = Path(mia_utils.__file__).parents[1]
    sys.path.insert(0, str(root / "tests"))
    from factories import FACTORIES

    scores = {}
    for dataset in EPOCHS:
        shadow, target = outputs(folder, dataset)
        order = np.random.default_rng(0).permutation(target.labels.size)
        population, audited = (
            target.select(records=np.sort(rows)) for rows in (order[:600], order[600:])
        )
        for attack, make in FACTORIES.items():
            fitted = make().fit(shadow, population)
            scores[f"{dataset}/{attack}"] = fitted.score(audited)
    np.savez(folder / f"{name}.npz", **scores)
    print(f"{len(scores)} arrays of scores by {root}")


def compare(folder: Path, before: str, after: str) -> int:
    a, b = (np.load(folder / f"{name}.npz", allow_pickle=False) for name in (before, after))
    moved = 0
    for name in a.files:
        scale = np.nanstd(a[name]) or 1.0
        difference = np.nanmax(np.abs(a[name] - b[name])) / scale
        order = [np.argsort(np.argsort(s, axis=1), axis=1) for s in (a[name], b[name])]
        ranks = np.abs(order[0] - order[1]).max()
        moved += difference > 1e-9
        print(f"{name:38s} {difference:8.1e} standard deviations, at most {ranks} ranks")
    print(f"{moved} of {len(a.files)} differ by more than rounding")
    return moved


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) == 3:
        measure(place, sys.argv[2])
    else:
        compare(place, *sys.argv[2:])
