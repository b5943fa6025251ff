"""What is done for one model: claim it, train it, store it."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data import Pool
from ..errors import InputError
from .backend import make_importable
from .place import has_cuda
from .pools import find_pool
from .spec import ModelSpec, recipe
from .store import Store

if TYPE_CHECKING:
    from ..training.batches import SharedRows
    from ..training.epochs import Trained
    from ..training.worker import Worker, Workers

_thread = threading.local()


class Diverged(InputError):
    """A training whose loss or logits are no longer finite."""


def open_and_fit(
    spec: ModelSpec, path: str, root: Path, folders: Sequence[str], wait: bool
) -> None:
    """What a worker is sent: a specification, and where the pool, the store and own code lie."""
    from ..training.models import architecture_id

    if spec.device == "cuda" and not has_cuda():
        raise InputError(
            f"device='cuda', and a worker on {platform.node()} sees no GPU; start workers where "
            "there is one, or pass device='cpu'"
        )
    pool = find_pool(path, spec.fingerprint)
    make_importable(folders)
    if architecture_id(spec.architecture) != spec.architecture_id:
        raise InputError(
            f"architecture {spec.architecture!r} has another source in a worker than where "
            "the run began; give both the same files"
        )
    fit_into_store(spec, pool, Store(root), wait, _own_worker(spec.device))


def _own_worker(device: str) -> Worker:
    """That of this thread of a worker process, which meets many models."""
    from ..training.worker import Worker

    if not hasattr(_thread, "worker") or _thread.worker.device != device:
        _thread.worker = Worker(device, _shared_rows())
    return _thread.worker


@cache
def _shared_rows() -> SharedRows:
    """One copy of the pool on a device for all threads of a worker process."""
    from ..training.batches import SharedRows

    return SharedRows()


def fit_with_one_of(
    spec: ModelSpec, pool: Pool, store: Store, wait: bool, workers: Workers
) -> None:
    """As `fit_into_store`, with a worker that is free."""
    with workers.one() as worker:
        fit_into_store(spec, pool, store, wait, worker)


def fit_into_store(
    spec: ModelSpec, pool: Pool, store: Store, wait: bool, worker: Worker | None = None
) -> None:
    """Train one model and store it, unless it is there, or (not waiting) another process is at it.

    Raises
    ------
    Diverged
        If its loss or its logits are not finite; the store remembers that.
    DiskError
        If the store cannot be written.
    """
    from ..training import loop

    def fit() -> Trained:
        soft = spec.config.soft_labels
        return loop.fit(
            pool.records,
            pool.labels,
            len(pool.classes),
            spec.mask(),
            spec.architecture,
            spec.config,
            seed=spec.seed,
            precision=spec.precision,
            device=spec.device,
            checkpoint=store.checkpoint(spec.name),
            soft_labels=np.array(store.soft_labels(soft)) if soft else None,
            worker=worker,
        )

    facts = {
        "pool": spec.pool,
        "fingerprint": spec.fingerprint,
        "shape": list(pool.shape),
        "classes": len(pool.classes),
        "architecture": spec.architecture,
        "architecture_id": spec.architecture_id,
        "members": int(spec.mask().sum()),
        "recipe": recipe(spec.config),
    }
    trained_into_store(spec, store, wait, fit, facts)


def trained_into_store(
    spec,
    store: Store,
    wait: bool,
    fit: Callable[[], Trained],
    facts: dict,
) -> None:
    """As `fit_into_store`, whatever kind of model `spec` names; `facts` are its record's own."""
    from ..training import epochs
    from ..training.device import one_thread

    with store.lease(spec.name, wait=wait) as ours:
        if not ours:
            return
        store.clean(spec.name)
        try:
            with one_thread():
                trained = fit()
        except epochs.Diverged as error:
            reason = f"{error} of {spec.title}"
            store.put_failure(spec.name, {"reason": reason, **circumstances(spec.device)})
            raise Diverged(reason) from None
        weights = {name: _array(value) for name, value in trained.weights.items()}
        store.put(spec.name, facts | _record(spec, trained), trained.logits, weights)


def circumstances(device: str) -> dict:
    """The processor and the versions that a training runs with."""
    import torch

    from ..training.device import describe

    return {
        "processor": describe(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def _array(value) -> np.ndarray:
    """A tensor for NumPy, which has no bfloat16: float32 holds its values exactly."""
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()


def _record(spec, trained: Trained) -> dict:
    """What every model's record holds."""
    record = {
        "config": asdict(spec.config),
        "seed": spec.seed,
        "base_seed": spec.base_seed,
        "precision": spec.precision,
        "device": spec.device,
        "identity": spec.identity,
        "losses": trained.losses,
        "seconds": round(trained.seconds, 3),
        **circumstances(spec.device),
    }
    if trained.privacy is not None:
        record["privacy"] = trained.privacy
    return record
