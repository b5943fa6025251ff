"""Trained models on disk: one folder a model, named by everything that decides it."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import one_line_disk_errors, whole_file, whole_folder

_STALE = 60.0  # seconds without a heartbeat after which a lease belongs to nobody
_BEAT = 10.0


def store_root(given: str | os.PathLike | None = None) -> Path:
    """The given folder, else $MIA_STORE, else ~/.cache/mia/store."""
    return Path(given or os.environ.get("MIA_STORE") or Path.home() / ".cache/mia/store")


def digest(value: dict) -> str:
    """sha256 of a value as sorted JSON, 32 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


class Store:
    """A folder of trained models: `models/NAME/{logits.npy, weights.npz, record.json}`.

    A model appears whole or not at all (written beside, then renamed). Several processes may share
    a store: a lease with a heartbeat keeps two of them from training the same model, and ends by
    itself when its owner dies.
    """

    def __init__(self, root: str | os.PathLike | None = None):
        self.root = store_root(root)

    def folder(self, name: str) -> Path:
        return self.root / "models" / name

    def checkpoint(self, name: str) -> Path:
        return self.root / "checkpoints" / f"{name}.pt"

    def __contains__(self, name: str) -> bool:
        return (self.folder(name) / "record.json").exists()

    def names(self) -> list[str]:
        """The names of all finished models, sorted."""
        return sorted(path.parent.name for path in self.root.glob("models/[!.]*/record.json"))

    def put(
        self, name: str, record: dict, logits: np.ndarray, weights: dict[str, np.ndarray]
    ) -> None:
        """Store a model atomically; storing it a second time changes nothing."""
        final = self.folder(name)
        with one_line_disk_errors(final, "--store, MIA_STORE"), whole_folder(final) as partial:
            np.save(partial / "logits.npy", logits)
            np.savez(partial / "weights.npz", **weights)
            checksums = {
                file: hashlib.sha256((partial / file).read_bytes()).hexdigest()
                for file in ("logits.npy", "weights.npz")
            }
            text = json.dumps({**record, "checksums": checksums}, indent=1, sort_keys=True)
            (partial / "record.json").write_text(text)
        if name not in self:  # else the checkpoint below is all that is left of the training
            raise InputError(f"{final}: holds no model, and is in the way of one; remove it")
        self.checkpoint(name).unlink(missing_ok=True)

    def record(self, name: str) -> dict:
        """Settings, seed, versions, device, seconds and loss curve of a model."""
        try:
            return json.loads((self.folder(name) / "record.json").read_text())
        except FileNotFoundError:
            raise InputError(f"no model {name} in {self.root}; train it first") from None

    def logits(self, name: str) -> np.ndarray:
        """float32 (N, C), memory-mapped."""
        return np.load(self.folder(name) / "logits.npy", mmap_mode="r", allow_pickle=False)

    def weights(self, name: str) -> dict[str, np.ndarray]:
        """The model's state by parameter name."""
        self.record(name)
        with np.load(self.folder(name) / "weights.npz", allow_pickle=False) as archive:
            return dict(archive)

    def put_soft_labels(self, probabilities: np.ndarray) -> str:
        """Keep what a model shall learn in place of labels, float32 (N, C); its name is its hash."""
        array = np.ascontiguousarray(probabilities, dtype=np.float32)
        name = hashlib.sha256(array.tobytes() + str(array.shape).encode()).hexdigest()[:32]
        final = self._soft_labels(name)
        if not final.exists():
            with one_line_disk_errors(final, "--store, MIA_STORE"), whole_file(final) as partial:
                np.save(partial, array)
        return name

    def soft_labels(self, name: str) -> np.ndarray:
        """float32 (N, C), memory-mapped.

        Raises
        ------
        InputError
            If the store does not hold them.
        """
        try:
            return np.load(self._soft_labels(name), mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise InputError(
                f"no soft labels {name} in {self.root}; keep them with Store.put_soft_labels"
            ) from None

    def _soft_labels(self, name: str) -> Path:
        return self.root / "soft_labels" / f"{name}.npy"

    @contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        """Claim a model: True when it is ours to train, False when another process finished it."""
        path = self.root / "leases" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        while name not in self and not _acquire(path):
            time.sleep(0.2)
        if name in self:
            yield False
            return
        stop = threading.Event()
        beat = threading.Thread(target=_heartbeat, args=(path, stop), daemon=True)
        beat.start()
        try:
            yield True
        finally:
            stop.set()
            beat.join()
            path.unlink(missing_ok=True)


def _acquire(path: Path) -> bool:
    """Create the lease file, or take over one whose owner is dead."""
    owner = f"{socket.gethostname()} {os.getpid()}"
    try:
        with open(path, "x") as file:
            file.write(owner)
        return True
    except FileExistsError:
        pass
    try:
        host, _, pid = path.read_text().partition(" ")
        stale = time.time() - path.stat().st_mtime > _STALE
        dead = host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists()
        if stale or (dead and Path("/proc/self").exists()):
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass  # released between the two looks
    return False


def _heartbeat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(_BEAT):
        try:
            os.utime(path)
        except FileNotFoundError:
            return
