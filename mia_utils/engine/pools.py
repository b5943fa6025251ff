"""Where a worker finds the pool of its model."""

from __future__ import annotations

from functools import lru_cache

from ..data import Pool, open_pool, write_mapped
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
                write_mapped(pool, partial)
    return str(folder)


@lru_cache(maxsize=8)
def _holds(path: str, fingerprint: str) -> bool:
    try:
        return open_pool(path).fingerprint == fingerprint
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
    return open_pool(path)
