"""Where a worker finds the pool of its model."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..data import Pool, open_pool
from ..errors import InputError
from ..files import one_line_disk_errors, whole_folder
from .folders import remove_folder
from .store import CHOICE, Store


def pool_path(pool: Pool, store: Store) -> str:
    """The pool's own path if that still holds it, else that of a copy in the store.

    Raises
    ------
    DiskError
        If the copy cannot be written.
    """
    if pool.path is not None and _holds(pool.path, pool.fingerprint):
        return pool.path
    folder = (store.root / "pools" / pool.fingerprint).absolute()
    if not (folder.exists() and _holds(str(folder), pool.fingerprint)):
        with one_line_disk_errors(folder, CHOICE):
            if folder.exists():  # damaged
                remove_folder(folder)
            with whole_folder(folder) as partial:
                for name in ("records", "labels", "train"):
                    np.save(partial / f"{name}.npy", getattr(pool, name))
                (partial / "classes.json").write_text(json.dumps(pool.classes))
    return str(folder)


@lru_cache(maxsize=8)
def _holds(path: str, fingerprint: str) -> bool:
    try:
        return _open(path).fingerprint == fingerprint
    except InputError:
        return False


def find_pool(path: str, fingerprint: str) -> Pool:
    """The pool at a path of `pool_path`; opened once for all models of a worker.

    Raises
    ------
    InputError
        If there is none, or another one.
    """
    pool = _opened(path)
    if pool.fingerprint != fingerprint:  # the file was replaced while this process lived
        _opened.cache_clear()
        pool = _opened(path)
    if pool.fingerprint != fingerprint:
        raise InputError(f"the pool at {path} has changed since this run began; start it again")
    return pool


@lru_cache(maxsize=2)
def _opened(path: str) -> Pool:
    return _open(path)


def _open(path: str) -> Pool:
    folder = Path(path)
    if not (folder / "classes.json").exists():
        return open_pool(path)
    try:
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r" if name == "records" else None)
            for name in ("records", "labels", "train")
        }
        classes = json.loads((folder / "classes.json").read_text())
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); remove it") from None
    pool = Pool.from_arrays(folder.name, **arrays, classes=classes)
    return replace(pool, path=path)
