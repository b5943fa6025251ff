"""Data sets by name: inside the package, archives, image folders, downloads."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from ..errors import InputError
from .archive import read_archive, read_mapped
from .pool import Pool

INSIDE = ("cifar10-mini", "digits")
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
"""How the data sets of the book are called there, in the order in which it offers them."""
DOWNLOADED = ("mnist", "cifar10", "cifar100")
_INSIDE = "package:"


def data_root(given: str | Path | None = None) -> Path:
    """The folder of the data sets: as given, else $MIA_DATA, else ~/.cache/mia/data."""
    return Path(given or os.environ.get("MIA_DATA") or "~/.cache/mia/data").expanduser()


def title(name: str) -> str:
    """How a data set is called in the book: its name, if it has no other title."""
    return TITLES.get(name, name)


def load_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    size: int | None = None,
    on_damaged: str = "error",
    download: bool = True,
) -> Pool:
    """The data set of that name, from the first of these places that has it.

    1. inside the package: `cifar10-mini` (2,000 CIFAR-10 images), `digits` (scikit-learn's)
    2. ROOT/NAME.npz: arrays `images` (uint8) or `features` (float32), `labels`, and if there
       `train` (bool) and `classes` (str)
    3. ROOT/NAME/images.npy and labels.npy: memory-mapped, for pools larger than memory
    4. `ROOT/NAME/train/CLASS/*`, with test/ or val/ beside it: images, decoded once into
       ROOT/NAME.npz (delete that file to decode anew)
    5. torchvision, for `mnist`, `cifar10` and `cifar100`: downloaded once into ROOT/NAME.npz

    Parameters
    ----------
    name : str
    root : path, default $MIA_DATA, else ~/.cache/mia/data
    size : int
        Side in pixels to which the images of a folder are resized. Default: their own size, if all
        have the same.
    on_damaged : "error" or "skip"
        What to do about an image of a folder that cannot be read; a warning names those skipped.
    download : bool
        False: never use the network.

    Raises
    ------
    InputError
        If there is no such data set, or what is there cannot be used.

    >>> load_dataset("digits").shape
    (8, 8, 1)
    """
    if on_damaged not in ("error", "skip"):
        raise InputError(f"on_damaged={on_damaged!r}; expected 'error' or 'skip'")
    if not name or Path(name).name != name or name.startswith("."):
        raise InputError(
            f"{name!r} is not the name of a data set; expected a plain name like 'mnist'"
        )
    if size is not None and (not isinstance(size, int) or size < 1):
        raise InputError(f"size={size!r}; expected a side in pixels, an integer of at least 1")
    pool = _load(name, data_root(root), size, on_damaged, download)
    if size is not None and pool.shape[:2] != (size, size):
        raise InputError(
            f"{pool.path}: records have shape {pool.shape}, size={size} was asked for; only an "
            "image folder is resized, when first read (delete its archive to decode it anew)"
        )
    return pool


def _load(name: str, root: Path, size: int | None, on_damaged: str, download: bool) -> Pool:
    if name in INSIDE:
        return open_pool(_INSIDE + name)
    archive, folder = root / f"{name}.npz", root / name
    if archive.exists():
        return read_archive(archive)
    if (folder / "images.npy").exists():
        return read_mapped(folder)
    if (folder / "train").is_dir():
        from .folder import read_folder

        return read_folder(folder, archive, size=size, on_damaged=on_damaged)
    if name in DOWNLOADED and download:
        from .download import download_dataset

        return download_dataset(name, archive)
    way_out = (
        "put the archive there or let it be downloaded (`mia data make`)"
        if name in DOWNLOADED
        else f"known without files: {', '.join(INSIDE + DOWNLOADED)}; put your own there"
    )
    raise InputError(
        f"no data set {name!r}: looked for {archive}, {folder}/images.npy and {folder}/train/; "
        f"{way_out}"
    )


def open_pool(path: str) -> Pool:
    """The pool that a `Pool.path` names: inside the package, an archive or a memory-mapped folder.

    Raises
    ------
    InputError
        If nothing usable is there.
    """
    if path == f"{_INSIDE}digits":
        return replace(_digits(), path=path)
    if path.startswith(_INSIDE):
        file = files(__package__) / "embedded" / f"{path.removeprefix(_INSIDE)}.npz"
        with as_file(file) as archive:
            return replace(read_archive(archive), path=path)
    return read_mapped(path) if Path(path).is_dir() else read_archive(path)


def _digits() -> Pool:
    """scikit-learn's 1,797 digits of 8 x 8 pixels; grey levels 0..16 stretched to 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Pool.from_arrays("digits", images, digits.target, train=np.arange(len(images)) < 1500)
