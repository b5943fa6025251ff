"""What a store holds, models and the rest, and what of it may go."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..files import one_line_disk_errors
from .folders import RECORD, damage, read_record, remove_folder
from .store import CHOICE, Store

_ABANDONED = 3600.0
"""Seconds without a change after which something unfinished belongs to nobody."""


@dataclass(frozen=True)
class Stored:
    """Something on disk: a model, or what came beside it.

    Parameters
    ----------
    name : str
        A model's; of other things their path inside the store.
    record : dict
        A model's; empty if it cannot be read.
    size : int
        In bytes.
    written : float
        Seconds since the epoch.
    kind : str
        "model", or what else it is.
    """

    name: str
    record: dict
    size: int
    written: float
    kind: str = "model"
    path: Path = field(default=Path(), repr=False)


def stored_models(store: Store) -> list[Stored]:
    """Every model, damaged ones too, the oldest first."""
    found = []
    for name in store.names():
        folder = store.folder(name)
        whole = damage(folder, ()) is None
        record = read_record(folder) if whole else {}
        written = _changed(folder / RECORD if whole else folder)
        found.append(Stored(name, record, _size(folder), written, path=folder))
    return sorted(found, key=_age)


def leftovers(store: Store) -> list[Stored]:
    """What is made anew where it is needed, the oldest first.

    Joined outputs, memories of trainings that failed and, while nobody trains, copies of pools,
    checkpoints and soft labels that no stored model learned.
    """
    kinds = {"joined outputs": "outputs/[!.]*", "failed training": "failed/[!.]*"}
    if not any(time.time() - _changed(p) < _ABANDONED for p in store.root.glob("leases/*")):
        kinds |= {"copy of a pool": "pools/[!.]*", "checkpoint": "checkpoints/[!.]*"}
        kinds |= {"soft labels": "soft_labels/[!.]*"}
    found = _found(store, kinds)
    models = stored_models(store)
    learned = {(model.record.get("config") or {}).get("soft_labels") for model in models}
    return [s for s in found if s.kind != "soft labels" or s.path.stem not in learned]


def remains(store: Store, now: float) -> list[Stored]:
    """What killed processes left half done, the oldest first."""
    kinds = {"unfinished": "*/.*", "unfinished import": ".import-*", "lease": "leases/*"}
    return [item for item in _found(store, kinds) if now - item.written > _ABANDONED]


def to_prune(
    items: Sequence[Stored], *, older_than: float | None, keep_bytes: int | None, now: float
) -> list[Stored]:
    """Things past an age in seconds, and the first of the rest until no more than a size is left."""
    gone = [m for m in items if older_than is not None and now - m.written > older_than]
    rest = [m for m in items if m not in gone]
    total = sum(m.size for m in rest)
    while keep_bytes is not None and rest and total > keep_bytes:
        first = rest.pop(0)
        total -= first.size
        gone.append(first)
    return gone


def remove(item: Stored) -> None:
    """Delete it, unless somebody else has.

    Raises
    ------
    DiskError
        If that is not allowed.
    """
    with one_line_disk_errors(item.path, CHOICE):
        try:
            if not item.path.is_dir():
                item.path.unlink()
            elif item.path.name.startswith("."):  # out of sight already
                shutil.rmtree(item.path)
            else:
                remove_folder(item.path)
        except FileNotFoundError:
            pass


def _found(store: Store, kinds: dict[str, str]) -> list[Stored]:
    items = [
        Stored(str(path.relative_to(store.root)), {}, _size(path), _changed(path), kind, path)
        for kind, pattern in kinds.items()
        for path in store.root.glob(pattern)
    ]
    return sorted(items, key=_age)


def _age(item: Stored) -> tuple[float, str]:
    return item.written, item.name


def _files(path: Path) -> list[Path]:
    return [path, *path.rglob("*")]


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in _files(path) if not file.is_dir())


def _changed(path: Path) -> float:
    return max(file.lstat().st_mtime for file in _files(path))
