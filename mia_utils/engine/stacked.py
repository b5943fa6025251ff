"""The logits of many models as one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import one_line_disk_errors, whole_folder
from .folders import damage, digest, remove_folder, write_record
from .store import CHOICE, LOGITS, Store

_MAPPED_FROM = 512 * 2**20  # bytes of logits beyond which they stay on disk


def _joined(store: Store, names: tuple[str, ...]) -> Path:
    return store.root / "outputs" / digest({"names": names})


def is_joined(store: Store, names: tuple[str, ...]) -> bool:
    """Whether one whole file holds the logits of these models."""
    return damage(_joined(store, names)) is None


def stacked_logits(store: Store, names: tuple[str, ...]) -> np.ndarray:
    """float32 (M, N, C): in memory when small, else one memory-mapped file in the store.

    Raises
    ------
    InputError
        If a model is missing or damaged, or the file cannot be written.
    """
    first = store.logits(names[0])
    if first.nbytes * len(names) <= _MAPPED_FROM:
        return np.stack([store.logits(name) for name in names])
    folder = _joined(store, names)
    if not is_joined(store, names):
        with one_line_disk_errors(folder, CHOICE):
            if folder.exists():
                remove_folder(folder)
            with whole_folder(folder) as partial:
                shape = (len(names), *first.shape)
                stacked = np.lib.format.open_memmap(
                    partial / LOGITS, mode="w+", dtype=np.float32, shape=shape
                )
                for row, name in zip(stacked, names, strict=True):
                    row[:] = store.logits(name)
                stacked.flush()
                del stacked
                write_record(partial, {"names": list(names)})
    return np.load(folder / LOGITS, mmap_mode="r", allow_pickle=False)
