"""Data sets by name: inside the package, archives, folders, downloads."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from difflib import get_close_matches
from importlib.resources import as_file, files
from numbers import Integral
from pathlib import Path

import numpy as np

from .. import arguments
from ..errors import InputError, printable, shown
from ..paths import data_root
from .archive import read_archive
from .catalog import CATALOG, DOWNLOADED, EMBEDDED
from .mapped import is_mapped, read_mapped
from .pool import Pool

_INSIDE = "package:"
_LONGEST = 200
"""Characters of a name; file systems allow 255 bytes, and an ending is added."""


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
    3. ROOT/NAME/images.npy or features.npy, and labels.npy: memory-mapped, for pools larger than
       memory
    4. `ROOT/NAME/train/CLASS/*`, with test/ or val/ beside it: images, decoded once into
       ROOT/NAME.npz, and anew when the folder has changed
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
        raise InputError(f"on_damaged={shown(on_damaged)}; expected 'error' or 'skip'")
    if size is not None and (not isinstance(size, Integral) or isinstance(size, bool) or size < 1):
        raise InputError(f"size={shown(size)}; expected a side in pixels, an integer of at least 1")
    size = None if size is None else int(size)
    check_name(name)
    pool = _load(name, data_root(root), size, on_damaged, download)
    if size is not None and pool.shape[:2] != (size, size):
        raise InputError(
            f"{pool.path}: records have shape {pool.shape}, size={size} was asked for; only an "
            "image folder is resized, when first read (delete its archive to decode it anew)"
        )
    return pool


def at_hand(root: str | Path | None = None) -> dict[str, str]:
    """The data sets that `load_dataset` finds without a download: {name: where it is}.

    Parameters
    ----------
    root : path, default $MIA_DATA, else ~/.cache/mia/data
    """
    root = data_root(root)
    archives = sorted(root.glob("[!.]*.npz"))
    folders = sorted(path for path in root.glob("[!.]*") if path.is_dir())
    images = {
        path.name: f"image folder {path}, decoded on first use"
        for path in folders
        if (path / "train").is_dir()
    }
    mapped = {path.name: f"memory-mapped arrays in {path}" for path in folders if is_mapped(path)}
    return {
        **images,
        **mapped,
        **{path.stem: str(path) for path in archives},
        **dict.fromkeys(EMBEDDED, "inside the package"),
    }


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a data set.

    Raises
    ------
    InputError
        If it is no text, or not a plain file name.
    """
    if not isinstance(name, str):
        raise InputError(
            f"a data set's name is a text, {name!r:.60} is of type {type(name).__name__}: write "
            '"2024" with quotation marks in Python, YAML and TOML, and `-r dataset 2024` for '
            "papermill, which reads -p 2024 as a number"
        )
    plain = Path(name).name == name and printable(name) == name and len(name) <= _LONGEST
    if not name or not plain or name.startswith("."):
        raise InputError(
            f"{name[:_LONGEST]!r} is not the name of a data set; expected a plain name like "
            "'mnist' (its folder is root=, --data, or MIA_DATA)"
        )
    if name.endswith(".npz"):
        raise InputError(f"{name!r}: leave the ending out; the name is {name[:-4]!r}")


def open_pool(path: str) -> Pool:
    """The pool that a `Pool.path` names: inside the package, an archive or a memory-mapped folder.

    Raises
    ------
    InputError
        If nothing usable is there.
    """
    arguments.path("path", path)
    path = os.fspath(path)
    if path == f"{_INSIDE}digits":
        return replace(_digits(), path=path)
    if path.startswith(_INSIDE):
        file = files(__package__) / "embedded" / f"{path.removeprefix(_INSIDE)}.npz"
        with as_file(file) as archive:
            return replace(read_archive(archive), path=path)
    return read_mapped(path) if Path(path).is_dir() else read_archive(path)


def _load(name: str, root: Path, size: int | None, on_damaged: str, download: bool) -> Pool:
    if name in EMBEDDED:
        own = [path for path in (root / f"{name}.npz", root / name) if path.exists()]
        if own:
            warnings.warn(
                f"{name} is the data set inside the package; {own[0]} is not read: give it "
                "another name",
                stacklevel=3,
            )
        return open_pool(_INSIDE + name)
    archive, folder = root / f"{name}.npz", root / name
    for path in (archive, folder):
        if path.is_symlink() and not path.exists():
            raise InputError(f"{path}: a link to {os.readlink(path)}, where nothing is")
    if (folder / "train").is_dir() and not is_mapped(folder):
        from .folder import read_folder

        return read_folder(folder, archive, size=size, on_damaged=on_damaged)
    if archive.exists():
        return read_archive(archive)
    if is_mapped(folder):
        return read_mapped(folder)
    if name in DOWNLOADED and download:
        from .download import download_dataset

        return download_dataset(name, archive)
    raise InputError(
        f"no data set {name!r}: looked for {archive}, {folder}/images.npy or features.npy, and "
        f"{folder}/train/; {_way_out(name, folder)}"
    )


def _way_out(name: str, folder: Path) -> str:
    """What somebody can do who asked for a data set that is not there."""
    if folder.is_dir():
        inside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        shown = printable(", ".join(inside[:3])) + (", ..." if len(inside) > 3 else "")
        return f"{folder} holds {shown or 'nothing'}; expected the folder train/ of class folders"
    if name in DOWNLOADED:
        return "put the archive there or let it be downloaded (`mia data make`)"
    if name == "a1k":
        return "only participants of its competition can download it; put its train/ and val/ there"
    if name == "a1k-standin":
        return "`mia data make a1k-standin` makes it from CIFAR-100"
    short = {"".join(filter(str.isalnum, known)): known for known in CATALOG}
    near = get_close_matches("".join(filter(str.isalnum, name.lower())), short, 1, 0.8)
    if near:
        return f"did you mean {short[near[0]]!r}?"
    return (
        f"known without files: {', '.join(EMBEDDED + DOWNLOADED)}; put your own there "
        "(`mia data --help` shows the layouts)"
    )


def _digits() -> Pool:
    """scikit-learn's 1,797 digits of 8 x 8 pixels; grey levels 0..16 stretched to 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Pool.from_arrays("digits", images, digits.target, train=np.arange(len(images)) < 1500)
