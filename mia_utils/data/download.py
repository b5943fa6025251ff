"""MNIST, CIFAR-10 and CIFAR-100 by torchvision, checked and kept as archives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import one_line_disk_errors
from .archive import DISK_CHOICE, write_archive
from .pool import Pool

_EXPECTED = {  # torchvision class, shape of a record, records for training and testing, classes
    "mnist": ("MNIST", (28, 28), (60_000, 10_000), 10),
    "cifar10": ("CIFAR10", (32, 32, 3), (50_000, 10_000), 10),
    "cifar100": ("CIFAR100", (32, 32, 3), (50_000, 10_000), 100),
}


def download_dataset(name: str, archive: str | Path) -> Pool:
    """Download the two public splits, training first, and write `archive`, whole or not at all.

    Raises
    ------
    InputError
        If there is no network, no space, or what came is not what was expected.
    """
    archive = Path(archive)
    dataset, shape, counts, classes = _EXPECTED[name]
    with one_line_disk_errors(archive, DISK_CHOICE):
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f".{name}-") as folder:
            splits = [_fetch(dataset, name, archive, folder, train) for train in (True, False)]
    for split, count in zip(splits, counts, strict=True):
        images, labels = np.asarray(split.data), np.asarray(split.targets)
        found = (images.dtype, images.shape, labels.shape, len(np.unique(labels)))
        if found != (np.uint8, (count, *shape), (count,), classes):
            raise InputError(
                f"{name}: torchvision gave images {images.dtype} {images.shape} with labels "
                f"{labels.shape} of {len(np.unique(labels))} classes; expected uint8 "
                f"{(count, *shape)} of {classes} classes: try again, or put {archive} there"
            )
    pool = Pool.from_arrays(
        name,
        np.concatenate([np.asarray(split.data) for split in splits]),
        np.concatenate([np.asarray(split.targets) for split in splits]),
        # torchvision calls MNIST's classes "0 - zero"
        [str(title).partition(" - ")[0] for title in splits[0].classes],
        np.arange(sum(counts)) < counts[0],
    )
    return write_archive(pool, archive)


def _fetch(dataset: str, name: str, archive: Path, folder: str, train: bool):
    from urllib.error import URLError

    from torchvision import datasets

    try:
        return getattr(datasets, dataset)(folder, train=train, download=True)
    except (URLError, RuntimeError, ConnectionError, TimeoutError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name}: download failed ({reason}); check the network, or put {archive} there"
        ) from None
