"""`train(...) -> Outputs`: which models are missing, trained in parallel, into the store."""

from __future__ import annotations

import os
from numbers import Integral

import numpy as np

from .. import arguments
from ..arrays import as_array
from ..data import Masks, Pool
from ..errors import InputError, shown
from ..outputs import Outputs
from ..training.config import TrainConfig, as_seed
from .backend import resolve_backend
from .place import named_device, named_precision
from .schedule import missing_models, train_models
from .spec import specifications
from .stacked import stacked_logits
from .store import Store


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
    depend on the number of processes or threads or the order (fp32, one machine). A killed call
    resumes with the models that are missing. A model whose stored logits are damaged is trained
    anew, with a warning. A training that diverges does not stop the others, and is remembered: the
    next call says so at once.

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
        Where the store has all models, "cuda" needs no GPU. "auto" is $MIA_DEVICE if that is set.
    store : path or Store, default $MIA_STORE or ~/.cache/mia/store
    jobs : int, default the number of free processors, or on a GPU as many as keep it busy
        Models trained at a time: processes, and on a GPU threads of this process. -1 is the default.
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
        missing or of another shape, models diverge, the store cannot be written, or the cluster
        cannot be reached or is lost.
    """
    from ..training.device import one_thread
    from ..training.loop import holdout, last_batches
    from ..training.models import check_model

    arguments.instance("config", config, TrainConfig, "a TrainConfig")
    seed = as_seed(seed)
    members, evaluated = check_masks(masks, pool)
    jobs = as_jobs(jobs)
    backend, scheduler = resolve_backend(backend, scheduler)
    device = named_device(device)
    precision = named_precision(precision, device)
    if config.augmentation != "none" and not pool.is_image:
        raise InputError(
            f"augmentation={config.augmentation!r} needs images; pool {pool.name!r} has feature "
            f"rows of shape {pool.shape}"
        )
    with one_thread():  # a size or name that cannot work fails here, before any work
        check_model(
            architecture,
            pool.shape,
            len(pool.classes),
            dropout=config.dropout,
            batches=last_batches(members, config),
        )
        if config.dp is not None:
            from ..training.dp import check_private

            sizes = sorted(set(members.sum(axis=1).tolist()))
            check_private(architecture, pool, config, sizes, precision)
    store = Store.of(store)
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
    if missing := missing_models(specs, store):
        train_models(
            missing,
            pool,
            store,
            jobs=jobs,
            backend=backend,
            scheduler=scheduler,
            progress=progress,
        )
    evaluated = np.array(evaluated)
    if config.early_stopping:
        for row, spec in zip(evaluated, specs, strict=True):
            row &= ~holdout(spec.mask(), config, spec.seed)
    names = tuple(spec.name for spec in specs)
    return Outputs(
        logits=stacked_logits(store, names),
        labels=pool.labels,
        members=members,
        evaluated=evaluated,
        fingerprint=pool.fingerprint,
        names=names,
    )


def as_jobs(jobs) -> int | None:
    """How many models are trained at a time, None for the default; raises InputError for no number."""
    if jobs is None or (isinstance(jobs, Integral) and jobs == -1):
        return None
    if isinstance(jobs, bool) or not isinstance(jobs, Integral) or jobs < 1:
        raise InputError(f"jobs={shown(jobs)}; expected an integer >= 1, or -1 for all processors")
    return int(jobs)


def check_masks(masks: Masks, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """members and evaluated, bool (M, N) each.

    Raises
    ------
    InputError
        If they are no masks of that pool, or it is no pool, or a model has no member.
    """
    arguments.instance("pool", pool, Pool, "a Pool, as load_dataset gives it")
    if len(pool.classes) < 2:
        raise InputError(f"pool {pool.name!r} has 1 class; expected at least 2 to tell apart")
    if isinstance(masks, tuple) and any(isinstance(part, tuple) for part in masks):
        raise InputError(
            "masks are several Masks, as quarter_masks gives them; expected one: write "
            "train(pool, masks[0], ...) for the target, masks[1] for the shadow models"
        )
    if not (isinstance(masks, tuple) and len(masks) == 2):
        raise InputError(
            f"masks are a {type(masks).__name__}; expected Masks(members, evaluated), as "
            "balanced_masks makes them; of members alone: Masks(members, np.ones_like(members))"
        )
    members, evaluated = (
        as_array(part, f"masks ({name})") for name, part in zip(Masks._fields, masks, strict=True)
    )
    for name, part in (("members", members), ("evaluated", evaluated)):
        if part.ndim != 2 or part.shape[1] != len(pool) or part.dtype != bool:
            raise InputError(
                f"masks are {part.dtype} {part.shape} ({name}); pool {pool.name!r} needs "
                f"bool (models, {len(pool)})"
            )
    if members.shape != evaluated.shape:
        raise InputError(
            f"masks have {len(members)} rows of members and {len(evaluated)} of evaluated; "
            "expected one of each for every model"
        )
    if not len(members):
        raise InputError("masks have no row; expected one for every model")
    if not members.any(axis=1).all():
        raise InputError(f"model {int(np.argmin(members.any(axis=1)))} of the masks has no member")
    return members, evaluated
