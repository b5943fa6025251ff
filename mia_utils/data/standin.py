"""A stand-in for A1K, an image folder of its layout.

A1K itself (64x64 colour images, one folder a class) cannot be downloaded. `mia data make
a1k-standin` writes ROOT/a1k-standin/train/CLASS/*.png and val/CLASS/*.png from CIFAR-100, enlarged
to 64x64, so that the same commands can be tried. What they give there reproduces nothing of A1K.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import arguments
from ..files import one_line_disk_errors, whole_folder
from .archive import DISK_CHOICE
from .pool import Pool

NAME, SIDE, PER_CLASS = "a1k-standin", 64, 40


def write_standin(
    pool: Pool, folder: str | Path, *, per_class: int = PER_CLASS, seed: int = 0
) -> None:
    """Write an image folder, whole or not at all; one that is there stays as it is.

    Parameters
    ----------
    pool : Pool
        Of colour images: CIFAR-100.
    folder : path
    per_class : int
        Random images of each class, a tenth of them in val/.

    Raises
    ------
    InputError
        If the disk is full or the folder cannot be written.
    """
    from PIL import Image

    rng = np.random.default_rng(arguments.seed(seed))
    folder = Path(folder)
    if folder.exists():
        return
    with one_line_disk_errors(folder, DISK_CHOICE), whole_folder(folder) as partial:
        for label, name in enumerate(pool.classes):
            chosen = rng.permutation(np.flatnonzero(pool.labels == label))[:per_class]
            for number, record in enumerate(chosen):
                split = "val" if number < len(chosen) // 10 else "train"
                path = partial / split / name / f"{record:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image = Image.fromarray(np.asarray(pool.records[record]))
                image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(path)
