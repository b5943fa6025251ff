"""Pools on disk: `.npz` archives, and folders of memory-mapped `.npy` files."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import one_line_disk_errors, whole_file
from .pool import Pool

DISK_CHOICE = "--data, MIA_DATA"
"""What moves the folder that holds the archives."""

ARRAYS = ("images", "features", "labels", "train", "classes")
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # zipfile's, for a compression method it lacks
    RuntimeError,  # and for encryption
)


def read_archive(path: str | Path) -> Pool:
    """The pool in NAME.npz: `images` or `features`, `labels`, and if there `train`, `classes`.

    Raises
    ------
    InputError
        If the file is damaged, an array is missing, holds pickled objects or does not fit.
    """
    path = Path(path).absolute()
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise zipfile.BadZipFile("not a zip file, or cut short")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in ARRAYS if name in archive.files}
                found = archive.files
    except (FileNotFoundError, PermissionError) as error:
        raise InputError(f"{path}: {error.strerror.lower()}") from None
    except _DAMAGED as error:
        raise InputError(
            f"{path}: not a readable archive ({_one_line(error)}); delete it and make it anew"
        ) from None
    if ("images" in arrays) == ("features" in arrays) or "labels" not in arrays:
        raise InputError(
            f"{path}: holds the arrays {', '.join(found) or 'none'}; "
            "expected labels and one of images and features"
        )
    records = arrays["images"] if "images" in arrays else arrays["features"]
    if ("images" in arrays) != (records.ndim != 2):
        raise InputError(
            f"{path}: {'images' if 'images' in arrays else 'features'} have shape {records.shape}; "
            "expected images (N, H, W, C) or features (N, D)"
        )
    return _pool(path, path.stem, records, arrays)


_MAPPED = {
    # file: (type, dimensions, as an error says it)
    "images": (np.uint8, (3, 4), "uint8 (N, H, W) or (N, H, W, C)"),
    "features": (np.float32, (2,), "float32 (N, D)"),
}


def read_mapped(folder: str | Path) -> Pool:
    """The pool of `images.npy` (uint8) or `features.npy` (float32), and `labels.npy`.

    The records are memory-mapped: they may be larger than memory. Beside them, if there,
    `train.npy` (bool) and `classes.txt` (one name a line).

    Raises
    ------
    InputError
        If a file is missing, damaged or does not fit.
    """
    folder = Path(folder).absolute()
    arrays = {}
    kind = "features" if (folder / "features.npy").exists() else "images"
    for name, mode in ((kind, "r"), ("labels", None), ("train", None)):
        path = folder / f"{name}.npy"
        if name == "train" and not path.exists():
            continue
        try:
            arrays[name] = np.load(path, mmap_mode=mode, allow_pickle=False)
        except FileNotFoundError:
            raise InputError(
                f"{path}: missing; a pool of .npy files has images and labels"
            ) from None
        except _DAMAGED as error:
            raise InputError(f"{path}: not a readable array ({_one_line(error)})") from None
    records = arrays[kind]
    dtype, dimensions, expected = _MAPPED[kind]
    if records.dtype != dtype or records.ndim not in dimensions:
        raise InputError(
            f"{folder / kind}.npy: type {records.dtype}, shape {records.shape}; expected {expected}"
        )
    names = folder / "classes.txt"
    if names.exists():
        arrays["classes"] = names.read_text(encoding="utf-8").splitlines()
    return _pool(folder, folder.name, records, arrays)


def write_archive(pool: Pool, path: str | Path, *, compress: bool = False) -> Pool:
    """Write NAME.npz whole or not at all; returns the pool with its `path`.

    Raises
    ------
    InputError
        If the disk is full or the folder cannot be written.
    """
    path = Path(path).absolute()
    arrays = {
        "images" if pool.is_image else "features": pool.records,
        "labels": pool.labels,
        "train": pool.train,
        "classes": np.array(pool.classes),
    }
    with one_line_disk_errors(path, DISK_CHOICE), whole_file(path) as part:
        with open(part, "wb") as file:
            (np.savez_compressed if compress else np.savez)(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
    return replace(pool, path=str(path))


def _pool(path: Path, name: str, records: np.ndarray, arrays: dict) -> Pool:
    classes = arrays.get("classes")
    try:
        pool = Pool.from_arrays(name, records, arrays["labels"], classes, arrays.get("train"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return replace(pool, path=str(path))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
