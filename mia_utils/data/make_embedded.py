"""How `embedded/cifar10-mini.npz` was made: `make_embedded.write()`, with cifar10 at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .archive import write_archive
from .load import load_dataset
from .pool import Pool

PER_CLASS = 200
TARGET = Path(__file__).parent / "embedded/cifar10-mini.npz"


def draw(cifar10: Pool, *, seed: int = 0) -> Pool:
    """200 images of each class from all 60,000, in random order: 4 quarters of 50 a class."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(np.flatnonzero(cifar10.labels == label), PER_CLASS, replace=False)
        for label in range(len(cifar10.classes))
    ]
    return cifar10.subset(rng.permutation(np.concatenate(chosen)), "cifar10-mini")


def write(root: str | Path | None = None, target: Path = TARGET) -> Pool:
    """Draw from the cifar10 under `root` (default $MIA_DATA) and write the archive.

    Raises
    ------
    InputError
        If cifar10 is not at hand, or the disk is full.
    """
    return write_archive(draw(load_dataset("cifar10", root)), target, compress=True)
