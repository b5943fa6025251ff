"""Trained models on disk: one folder a model, named by everything that decides it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..arrays import as_numbers
from ..data.archive import DAMAGED
from ..errors import InputError
from ..files import one_line_disk_errors, remove_pieces, whole_file, whole_folder
from ..paths import store_root
from .folders import RECORD, damage, read_record, remove_folder, write_record
from .lease import lease
from .weights import read_weights, weights_file, write_weights

CHOICE = "--store, MIA_STORE"
"""What moves the store to another disk."""
LOGITS = "logits.npy"
_LONGEST = 255  # characters of a file's name


class Store:
    """A folder of trained models: `models/NAME/{logits.npy, weights.safetensors, record.json}`.

    A model appears whole or not at all (written beside, then renamed). Whatever is read is compared
    with the checksums in its record, once for as long as a process runs and the file stays as it
    is. Several processes may share a store: a lease keeps two of them from training the same model,
    and ends by itself when its owner dies.
    """

    def __init__(self, root: str | os.PathLike | None = None):
        self.root = store_root(root)

    @classmethod
    def of(cls, store: str | os.PathLike | Store | None) -> Store:
        """`store` itself if it is one, else the store in that folder."""
        return store if isinstance(store, Store) else cls(store)

    def folder(self, name: str) -> Path:
        """Where a model of that name lies, or would.

        Raises
        ------
        InputError
            If it is no name of a model, but leads elsewhere.
        """
        known = isinstance(name, str) and 0 < len(name) <= _LONGEST and name not in (".", "..")
        if not known or set(name) & set("/\\\0"):
            raise InputError(f"name={name!r:.80}; expected the name of a model in the store")
        return self.root / "models" / name

    def checkpoint(self, name: str) -> Path:
        return self.root / "checkpoints" / f"{name}.pt"

    def __contains__(self, name: str) -> bool:
        return (self.folder(name) / RECORD).exists()

    def names(self) -> list[str]:
        """The names of all finished models, sorted; damaged ones are among them."""
        return sorted(p.name for p in self.root.glob("models/[!.]*") if p.is_dir())

    # ---- models ----

    def put(
        self, name: str, record: dict, logits: np.ndarray, weights: dict[str, np.ndarray]
    ) -> None:
        """Store a model atomically; storing it a second time changes nothing.

        Raises
        ------
        DiskError
            If it cannot be written.
        """
        final = self.folder(name)
        with one_line_disk_errors(final, CHOICE), whole_folder(final) as partial:
            np.save(partial / LOGITS, logits)
            write_weights(partial, weights)
            write_record(partial, record)
        if name not in self:  # else the checkpoint below is all that is left of the training
            raise InputError(f"{final}: holds no model, and is in the way of one; remove it")
        self.checkpoint(name).unlink(missing_ok=True)

    def record(self, name: str) -> dict:
        """Settings, seed, versions, device, seconds and loss curve of a model.

        Raises
        ------
        InputError
            If the store does not hold it, or it is damaged.
        """
        self._check(name, ())
        return read_record(self.folder(name))

    def logits(self, name: str) -> np.ndarray:
        """float32 (N, C), memory-mapped; raises what `record` does."""
        self._check(name, (LOGITS,))
        return np.load(self.folder(name) / LOGITS, mmap_mode="r", allow_pickle=False)

    def weights(self, name: str) -> dict[str, np.ndarray]:
        """The model's state by parameter name; raises what `record` does."""
        file = weights_file(self.folder(name))
        self._check(name, (file,))
        return read_weights(self.folder(name) / file)

    def _check(self, name: str, files: Iterable[str]) -> None:
        if not self.folder(name).is_dir():
            raise InputError(f"no model {name} in {self.root}; train it first")
        if reason := self.damage(name, files):
            raise InputError(
                f"model {name} is damaged: {reason}; remove {self.folder(name)} and train it again "
                "(`mia store verify` finds all such models)"
            )

    def damage(self, name: str, files: Iterable[str] | None = None) -> str | None:
        """What is wrong with a stored model, in a few words; None if nothing is.

        Parameters
        ----------
        files : names of files, default all
            Those that are compared with their checksums, besides the record.
        """
        return damage(self.folder(name), files)

    def clean(self, name: str) -> None:
        """Remove what killed processes left of storing a model; for the holder of its lease."""
        remove_pieces(self.root / "models", name)

    def discard(self, name: str) -> None:
        """Delete a model, if it is there."""
        with one_line_disk_errors(self.folder(name), CHOICE):
            try:
                remove_folder(self.folder(name))
            except FileNotFoundError:
                pass  # somebody else was first

    # ---- soft labels ----

    def put_soft_labels(self, probabilities: np.ndarray) -> str:
        """Keep what a model shall learn in place of labels, float32 (N, C); its name is its hash.

        Rows sum to one, or are 0 for records that nobody learns.

        Raises
        ------
        InputError
            If they are no such probabilities.
        """
        array = np.ascontiguousarray(as_numbers(probabilities, "probabilities"), dtype=np.float32)
        sums = array.sum(axis=1) if array.ndim == 2 else np.full(1, np.nan)
        if not ((array >= 0).all() and ((np.abs(sums - 1) < 1e-3) | (sums == 0)).all()):
            raise InputError(
                f"probabilities of shape {array.shape}: expected (records, classes), none below 0, "
                "rows that sum to 1 (or are 0 for records that nobody learns)"
            )
        name = _array_digest(array)
        final = self.soft_labels_path(name)
        if not (final.exists() and _holds(final, name)):
            with one_line_disk_errors(final, CHOICE), whole_file(final) as partial:
                np.save(partial, array)
        return name

    def soft_labels(self, name: str) -> np.ndarray:
        """float32 (N, C), memory-mapped.

        Raises
        ------
        InputError
            If the store does not hold them, or they are damaged.
        """
        path = self.soft_labels_path(name)
        if not path.exists():
            raise InputError(
                f"no soft labels {name} in {self.root}; keep them with Store.put_soft_labels"
            )
        if not _holds(path, name):
            raise InputError(f"{path} has changed since it was written; remove it, make it anew")
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def soft_labels_path(self, name: str) -> Path:
        return self.root / "soft_labels" / f"{name}.npy"

    # ---- trainings that fail ----

    def put_failure(self, name: str, record: dict) -> None:
        """Remember why a model cannot be trained, so that nobody waits for it twice."""
        path = self.failure_path(name)
        with one_line_disk_errors(path, CHOICE), whole_file(path) as partial:
            partial.write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
        self.checkpoint(name).unlink(missing_ok=True)

    def failure(self, name: str) -> dict | None:
        """What `put_failure` kept; None if there is nothing, or nothing that can be read."""
        try:
            record = json.loads(self.failure_path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and "reason" in record else None

    def failure_path(self, name: str) -> Path:
        return self.root / "failed" / f"{name}.json"

    # ---- leases ----

    def lease(self, name: str, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Claim a model: True when it is ours to train, False when another process finished it.

        Without `wait` also False while another process trains it.
        """
        return lease(self.root / "leases" / name, lambda: name in self, CHOICE, wait=wait)


def _array_digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes() + str(array.shape).encode()).hexdigest()[:32]


def _holds(path: Path, name: str) -> bool:
    facts = path.stat()
    return _content_digest(str(path), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns) == name


@lru_cache(maxsize=256)
def _content_digest(path: str, *facts: int) -> str | None:
    """The name that the array in a file would have; None if there is no array in it."""
    try:
        return _array_digest(np.load(path, allow_pickle=False))
    except DAMAGED:
        return None
