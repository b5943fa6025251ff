"""A stand-in for A1K, a folder of its layout: python -m mia_utils.data.standin DIR

A1K itself (64x64 colour images, one folder a class) cannot be downloaded. This writes
`DIR/a1k-standin/train/CLASS/*.png` and `val/CLASS/*.png` from CIFAR-100, enlarged to 64x64, so that
the same commands can be tried. What they give there reproduces nothing of A1K.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .load import data_root, load_dataset
from .pool import Pool

NAME, SIDE = "a1k-standin", 64


def write_standin(pool: Pool, folder: Path, *, per_class: int, seed: int = 0) -> int:
    """Write `per_class` random images of each class, a tenth of them to val/; return how many."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    for label, name in enumerate(pool.classes):
        chosen = rng.permutation(np.flatnonzero(pool.labels == label))[:per_class]
        for number, record in enumerate(chosen):
            split = "val" if number < len(chosen) // 10 else "train"
            path = folder / split / name / f"{record:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(np.asarray(pool.records[record]))
            image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(path)
    return sum(1 for _ in folder.glob("*/*/*.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, nargs="?", help="folder of data sets, else MIA_DATA")
    parser.add_argument("--per-class", type=int, default=40, metavar="N", help="default 40")
    arguments = parser.parse_args()
    root = data_root(arguments.root)
    folder = root / NAME
    count = write_standin(load_dataset("cifar100", root), folder, per_class=arguments.per_class)
    print(f"{folder}: {count} images of {SIDE}x{SIDE} pixels")


if __name__ == "__main__":
    main()
