"""`train(...) -> Outputs`: which models are missing, trained in parallel, into the store."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .backend import importable, resolve_backend, run_tasks
from ..training.config import TrainConfig
from ..data import Masks, Pool, open_pool
from ..errors import InputError
from ..files import whole_file, whole_folder
from ..outputs import Outputs
from .store import Store, digest

_MAPPED_FROM = 512 * 2**20  # bytes of logits beyond which they stay on disk


@dataclass(frozen=True)
class ModelSpec:
    """Everything that decides a trained model; `name` is its hash."""

    fingerprint: str
    members: bytes  # packed bits of bool (N,)
    count: int
    architecture: str
    architecture_id: str
    config: TrainConfig
    seed: int
    precision: str
    device: str

    @property
    def name(self) -> str:
        return digest(
            {
                "fingerprint": self.fingerprint,
                "members": hashlib.sha256(self.members).hexdigest(),
                "architecture": self.architecture_id,
                "config": self.config.changed(),
                "seed": self.seed,
                "recipe": _recipe(self.config),
                "precision": self.precision,
                "device": self.device,
            }
        )

    def mask(self) -> np.ndarray:
        """bool (N,): the members."""
        return np.unpackbits(np.frombuffer(self.members, np.uint8), count=self.count).astype(bool)


def _recipe(config: TrainConfig) -> int:
    if config.dp is not None:
        from ..training.dp import RECIPE
    else:
        from ..training.loop import RECIPE
    return RECIPE


def train(
    pool: Pool,
    masks: Masks,
    architecture: str,
    config: TrainConfig = TrainConfig(),
    *,
    seed: int = 0,
    precision: str = "fp32",
    device: str = "auto",
    store: str | os.PathLike | Store | None = None,
    jobs: int | None = None,
    backend: str | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> Outputs:
    """Train the models of `masks` that the store lacks and return what all of them answer.

    Each model is trained alone on one thread with generators of its own, so that its bits do not
    depend on the number of processes or the order (fp32, one machine). A killed call resumes with
    the models that are missing.

    Parameters
    ----------
    pool : Pool
    masks : Masks, bool (M, N) each
        Who is in which training set, and which pairs may be scored.
    architecture : str
        A name of `models.ARCHITECTURES` or "module:function".
    seed : int
        Every model's own seed is derived from it and from the model's mask.
    precision, device : "fp32", "bf16" or "auto"; "cpu", "cuda" or "auto"
    store : path or Store, default $MIA_STORE or ~/.cache/mia/store
    jobs : int, default the number of free processors (1 on a GPU)
    backend : "loky" or "dask", default $MIA_BACKEND or "loky"
        Processes of this machine, or the workers of a cluster that see the same store and pools.
    scheduler : str, default $MIA_SCHEDULER
        Address of the Dask scheduler.

    Returns
    -------
    Outputs
        M models, all N records; an early-stopping hold-out is not `evaluated`.

    Raises
    ------
    InputError
        If masks and pool disagree, a model has no member, a setting is unknown, soft labels are
        missing or of another shape, or the cluster cannot be reached.
    """
    from ..training.device import alone, resolve_device, resolve_precision
    from ..training.models import build
    from ..training.loop import holdout

    members = np.asarray(masks.members)
    if members.ndim != 2 or members.shape[1] != len(pool) or members.dtype != bool:
        raise InputError(
            f"masks are {members.dtype} {members.shape}; pool {pool.name!r} needs "
            f"bool (models, {len(pool)})"
        )
    if not members.any(axis=1).all():
        raise InputError(f"model {int(np.argmin(members.any(axis=1)))} of the masks has no member")
    place = resolve_backend(backend, scheduler)
    device = resolve_device(device)
    precision = resolve_precision(precision, device)
    if config.augmentation != "none" and not pool.is_image:
        raise InputError(
            f"augmentation={config.augmentation!r} needs images; pool {pool.name!r} has feature "
            f"rows of shape {pool.shape}"
        )
    with alone(0):  # a size or name that cannot work fails here, before any work
        build(architecture, pool.shape, len(pool.classes), dropout=config.dropout)
        if config.dp is not None:
            from ..training.dp import check_private

            sizes = sorted(set(members.sum(axis=1).tolist()))
            check_private(architecture, pool, config, sizes, precision)
    store = store if isinstance(store, Store) else Store(store)
    if config.soft_labels is not None:
        shape = store.soft_labels(config.soft_labels).shape
        if shape != (len(pool), len(pool.classes)):
            raise InputError(
                f"soft_labels have shape {shape}; pool {pool.name!r} needs "
                f"({len(pool)}, {len(pool.classes)})"
            )
    specs = specifications(
        pool, members, architecture, config, seed=seed, precision=precision, device=device
    )
    missing = list({spec.name: spec for spec in specs if spec.name not in store}.values())
    _train_missing(missing, pool, store, jobs, place, progress)
    evaluated = np.array(masks.evaluated)
    if config.early_stopping:
        for row, spec in zip(evaluated, specs, strict=True):
            row &= ~holdout(spec.mask(), config, spec.seed)
    names = tuple(spec.name for spec in specs)
    return Outputs(
        logits=_stacked(store, names),
        labels=pool.labels,
        members=members,
        evaluated=evaluated,
        fingerprint=pool.fingerprint,
        names=names,
    )


def specifications(
    pool: Pool,
    members: np.ndarray,
    architecture: str,
    config: TrainConfig,
    *,
    seed: int,
    precision: str,
    device: str,
) -> list[ModelSpec]:
    """One for each row of `members`, bool (M, N); precision and device are resolved names."""
    from ..training.models import architecture_id

    return [
        ModelSpec(
            fingerprint=pool.fingerprint,
            members=np.packbits(row).tobytes(),
            count=len(pool),
            architecture=architecture,
            architecture_id=architecture_id(architecture),
            config=config,
            seed=_own_seed(seed, row),
            precision=precision,
            device=device,
        )
        for row in members
    ]


def _own_seed(seed: int, members: np.ndarray) -> int:
    """A model's seed: different for every mask, so that no two models share an initialisation."""
    text = f"{seed} ".encode() + np.packbits(members).tobytes()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big")


def _train_missing(missing, pool: Pool, store: Store, jobs, place, progress: bool) -> None:
    from tqdm import tqdm

    if not missing:
        return
    backend, scheduler = place
    if jobs is None:
        jobs = 1 if missing[0].device == "cuda" else len(os.sched_getaffinity(0))
    jobs = min(jobs, len(missing))
    bar = tqdm(total=len(missing), desc="training", unit="model", disable=not progress)
    with bar:
        if backend == "loky" and jobs == 1:
            for spec in missing:
                _fit_into_store(spec, pool, store.root)
                bar.update()
            return
        path = str(Path(pool.path or _spill(pool, store)).resolve())
        folders = [folder or os.getcwd() for folder in sys.path]
        tasks = [(spec, path, store.root.resolve(), folders) for spec in missing]
        for _ in run_tasks(_task, tasks, jobs=jobs, backend=backend, scheduler=scheduler):
            bar.update()


def _spill(pool: Pool, store: Store) -> str:
    """Write a pool that lives in memory where workers can map it: `pools/FINGERPRINT/`."""
    folder = store.root / "pools" / pool.fingerprint
    if not folder.exists():
        with whole_folder(folder) as partial:
            np.save(partial / ("images.npy" if pool.is_image else "features.npy"), pool.records)
            np.save(partial / "labels.npy", pool.labels)
            np.save(partial / "train.npy", pool.train)
            (partial / "classes.txt").write_text("\n".join(pool.classes) + "\n")
    return str(folder)


@lru_cache(maxsize=1)
def _opened(path: str) -> Pool:
    return open_pool(path)


def _task(spec: ModelSpec, path: str, root: Path, folders: list[str]) -> None:
    """What a worker is sent: a specification, and where the pool, the store and own code lie."""
    from ..training.models import architecture_id

    pool = _opened(path)
    if pool.fingerprint != spec.fingerprint:
        raise InputError(f"the pool at {path} has changed since this run began; start it again")
    with importable(folders):
        if architecture_id(spec.architecture) != spec.architecture_id:
            raise InputError(
                f"architecture {spec.architecture!r} has another source in a worker than where "
                "the run began; give both the same files"
            )
        _fit_into_store(spec, pool, root)


def _fit_into_store(spec: ModelSpec, pool: Pool, root: Path) -> None:
    """Train one model unless somebody else has, and store it."""
    import torch

    from ..training.device import alone, describe
    from ..training.loop import fit

    store = Store(root)
    with store.lease(spec.name) as ours:
        if not ours:
            return
        soft = spec.config.soft_labels
        with alone(spec.seed):
            trained = fit(
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
                soft_labels=soft and np.array(store.soft_labels(soft)),
            )
        if not np.isfinite(trained.logits).all():
            raise InputError(
                f"training of {spec.architecture!r} diverged (logits are not finite); lower lr={spec.config.lr}"
            )
        record = {
            "pool": pool.name,
            "fingerprint": spec.fingerprint,
            "shape": list(pool.shape),
            "classes": len(pool.classes),
            "architecture": spec.architecture,
            "architecture_id": spec.architecture_id,
            "config": asdict(spec.config),
            "members": int(spec.mask().sum()),
            "seed": spec.seed,
            "recipe": _recipe(spec.config),
            "precision": spec.precision,
            "device": spec.device,
            "processor": describe(spec.device),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            "losses": trained.losses,
            "seconds": round(trained.seconds, 3),
        }
        if trained.privacy is not None:
            record["privacy"] = trained.privacy
        weights = {k: v.cpu().numpy() for k, v in trained.model.state_dict().items()}
        store.put(spec.name, record, trained.logits, weights)


def _stacked(store: Store, names: tuple[str, ...]) -> np.ndarray:
    """float32 (M, N, C): in memory when small, else one memory-mapped file in the store."""
    first = store.logits(names[0])
    if first.nbytes * len(names) <= _MAPPED_FROM:
        return np.stack([store.logits(name) for name in names])
    path = store.root / "outputs" / f"{digest({'names': names})}.npy"
    if not path.exists():
        with whole_file(path) as partial:
            stacked = np.lib.format.open_memmap(
                partial, mode="w+", dtype=np.float32, shape=(len(names), *first.shape)
            )
            for row, name in zip(stacked, names, strict=True):
                row[:] = store.logits(name)
            stacked.flush()
    return np.load(path, mmap_mode="r")


def load_model(name: str, store: str | os.PathLike | Store | None = None):
    """A stored model, `nn.Module` in evaluation mode, and its record.

    Raises
    ------
    InputError
        If the store does not hold it.
    """
    import torch

    from ..training.models import build

    store = store if isinstance(store, Store) else Store(store)
    record = store.record(name)
    model = build(
        record["architecture"],
        tuple(record["shape"]),
        record["classes"],
        dropout=record["config"]["dropout"],
    )
    if dp := record["config"].get("dp"):
        from ..training.dp import private_layers

        model = private_layers(model, dp.get("weight_standardisation", False))
    model.load_state_dict(
        {k: torch.from_numpy(np.array(v)) for k, v in store.weights(name).items()}
    )
    return model.eval(), record
