"""How much memory a worker takes while it trains on a pool of CIFAR-10's size."""

from __future__ import annotations

import numpy as np

from . import loops
from .timing import Ratio, in_a_process, one_core, peak_memory


def _train() -> int:
    from mia_utils import TrainConfig
    from mia_utils.training.loop import fit

    records, labels = loops.images((32, 32, 3), 10, 60_000)
    members = np.arange(60_000) < 1280
    with one_core():
        fit(records, labels, 10, members, "cnn", TrainConfig(epochs=2), seed=0)
    return peak_memory()


def worker() -> list[Ratio]:
    """Resident at most, as a share of 1.5 GB: pool, model, optimizer, batches, torch itself."""
    share = in_a_process(_train) / (1.5 * 2**30)
    return [
        Ratio("CIFAR cnn", "memory of a worker, share of 1.5 GB", share, share, share, "at most 1")
    ]
