"""Pools as folders of memory-mapped `.npy` files, which may be larger than memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import arguments
from ..errors import InputError
from .archive import DAMAGED, named_pool, one_line
from .pool import Pool

KINDS = {
    # file: (type, dimensions, as an error says it)
    "images": (np.uint8, (3, 4), "uint8 (N, H, W) or (N, H, W, C)"),
    "features": (np.float32, (2,), "float32 (N, D)"),
}


def is_mapped(folder: Path) -> bool:
    """Does the folder hold `images.npy` or `features.npy`?"""
    return any((folder / f"{kind}.npy").is_file() for kind in KINDS)


def read_mapped(folder: str | Path) -> Pool:
    """The pool of `images.npy` (uint8) or `features.npy` (float32), and `labels.npy`.

    The records are memory-mapped. Beside them, if there, `train.npy` (bool) and `classes.txt`
    (UTF-8, one name a line).

    Raises
    ------
    InputError
        If a file is missing, damaged or does not fit.
    """
    folder = Path(folder).absolute()
    kinds = [kind for kind in KINDS if (folder / f"{kind}.npy").exists()]
    if len(kinds) > 1:
        raise InputError(f"{folder}: holds images.npy and features.npy; expected one of them")
    kind = kinds[0] if kinds else "images"
    arrays: dict[str, Any] = {kind: _mapped(folder / f"{kind}.npy")}
    for name in ("labels", "train"):
        if name == "labels" or (folder / "train.npy").exists():
            arrays[name] = np.array(_mapped(folder / f"{name}.npy"))
    records = arrays[kind]
    dtype, dimensions, expected = KINDS[kind]
    if records.dtype != dtype or records.ndim not in dimensions:
        raise InputError(
            f"{folder / kind}.npy: type {records.dtype}, shape {records.shape}; expected {expected}"
        )
    names = folder / "classes.txt"
    if names.exists():
        arrays["classes"] = _lines(names)
    return named_pool(folder, folder.name, records, arrays)


def write_mapped(pool: Pool, folder: str | Path) -> None:
    """Write a pool's arrays into a folder that is there, as `read_mapped` reads them.

    Raises
    ------
    InputError
        If it is no pool, or there is no such folder.
    """
    arguments.instance("pool", pool, Pool, "a Pool, as load_dataset gives it")
    arguments.path("folder", folder)
    arguments.folder("folder", folder)
    folder = Path(folder)
    np.save(folder / ("images.npy" if pool.is_image else "features.npy"), pool.records)
    np.save(folder / "labels.npy", pool.labels)
    np.save(folder / "train.npy", pool.train)
    text = "".join(f"{name}\n" for name in pool.classes)
    (folder / "classes.txt").write_text(text, encoding="utf-8", newline="\n")


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(
            f"{path}: missing; a pool of .npy files has images.npy or features.npy, and labels.npy"
        ) from None
    except DAMAGED as error:
        raise InputError(f"{path}: not a readable array ({one_line(error)})") from None


def _lines(path: Path) -> list[str]:
    """One name a line, also from an editor that ends lines with CR LF or begins with a mark."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as UTF-8 text ({one_line(error)})") from None
    # Not splitlines(): it would also cut at characters that may be part of a name.
    return text.removesuffix("\n").split("\n")
