"""Models to audit, imagined: answers in which membership shows as much as a test says."""

from __future__ import annotations

import numpy as np

from mia_utils.outputs import Outputs


def answers(
    records: int = 600,
    classes: int = 4,
    *,
    leak: float = 0.0,
    seed: int = 0,
    models: int = 1,
    share: float = 0.5,
    balanced: bool = False,
) -> Outputs:
    """Logits of models that are right about most records, surer by `leak` of their members."""
    pool = np.random.default_rng(0)
    labels = pool.integers(classes, size=records)
    mean = pool.normal(size=(records, classes))
    own = (np.arange(records), labels)
    mean[own] += 2
    rng = np.random.default_rng([seed, 1])
    if balanced:
        members = rng.random((models, records)).argsort(axis=0) < models // 2
    else:
        members = np.zeros((models, records), bool)
        for row in members:
            row[rng.permutation(records)[: round(share * records)]] = True
    logits = mean + rng.normal(size=(models, records, classes))
    logits[:, own[0], own[1]] += leak * members
    return Outputs(logits.astype(np.float32), labels, members)
