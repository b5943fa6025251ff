"""MNIST, CIFAR-10 and CIFAR-100 by torchvision, checked and kept as archives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import new_folder, one_line_disk_errors
from .archive import DISK_CHOICE, one_line, write_archive
from .catalog import CATALOG
from .pool import Pool


def download_dataset(name: str, archive: str | Path) -> Pool:
    """Download the two public splits, training first, and write `archive`, whole or not at all.

    Raises
    ------
    InputError
        If there is no network, no space, or what came is not what was expected.
    """
    archive = Path(archive)
    with one_line_disk_errors(archive, DISK_CHOICE), new_folder(archive.parent):
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f".{name}-") as folder:
            splits = [_fetch(name, archive, folder, train) for train in (True, False)]
        counts = _counts(name, archive, splits)
        pool = Pool.from_arrays(
            name,
            np.concatenate([np.asarray(split.data) for split in splits]),
            np.concatenate([np.asarray(split.targets) for split in splits]),
            # torchvision calls MNIST's classes "0 - zero"
            [str(title).partition(" - ")[0] for title in splits[0].classes],
            np.arange(sum(counts)) < counts[0],
        )
        return write_archive(pool, archive)


def _counts(name: str, archive: Path, splits: list) -> tuple[int, int]:
    """Records of the two splits, which are those of the catalog, as are their shapes."""
    facts = CATALOG[name]
    shape = facts.shape[:2] if facts.shape[2] == 1 else facts.shape
    train = facts.train or 0
    counts = train, facts.records - train
    for split, count in zip(splits, counts, strict=True):
        images, labels = np.asarray(split.data), np.asarray(split.targets)
        found = (images.dtype.name, images.shape, labels.shape, len(np.unique(labels)))
        if found != ("uint8", (count, *shape), (count,), facts.classes):
            raise InputError(
                f"{name}: torchvision gave images {images.dtype} {images.shape} with labels "
                f"{labels.shape} of {len(np.unique(labels))} classes; expected uint8 "
                f"{(count, *shape)} of {facts.classes} classes: try again, or put {archive} there"
            )
    return counts


def _fetch(name: str, archive: Path, folder: str, train: bool):
    from urllib.error import URLError

    try:
        from torchvision import datasets
    except ImportError as error:
        raise InputError(
            f"{name}: downloading needs torchvision ({one_line(error)}); install it, or put "
            f"{archive} there"
        ) from None
    try:
        return getattr(datasets, str(CATALOG[name].torchvision))(folder, train=train, download=True)
    except (URLError, RuntimeError, ConnectionError, TimeoutError) as error:
        raise InputError(
            f"{name}: download failed ({one_line(error)}); check the network, or put {archive} "
            "there"
        ) from None
