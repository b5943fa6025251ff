"""Make `embedded/cifar10-mini.npz`: python -m mia_utils.data.make_embedded --data ROOT"""

from __future__ import annotations

import argparse
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of cifar10.npz, else MIA_DATA")
    write_archive(draw(load_dataset("cifar10", parser.parse_args().data)), TARGET, compress=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
