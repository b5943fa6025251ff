"""Which models are trained where, and what is said of those that fail."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from ..data import Pool
from ..errors import DiskError, InputError
from ..paths import ready
from .backend import LostWorkers, Outcome, in_processes, in_threads, in_turn, on_cluster
from .place import has_cuda
from .pools import pool_path
from .spec import ModelSpec
from .stacked import is_joined
from .store import CHOICE, LOGITS, Store
from .work import Diverged, circumstances, fit_with_one_of, open_and_fit

_NAMED = 3
"""Failures that a message tells."""


class Named(Protocol):
    """What decides a model, of whatever kind."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str: ...


N = TypeVar("N", bound=Named)


def missing_models(specs: Sequence[N], store: Store) -> list[N]:
    """Those that the store lacks, each once. Damaged ones are removed, with a warning.

    Logits that were joined into one file are not read themselves, and not looked at here.
    """
    missing: dict[str, N] = {}
    files = () if is_joined(store, tuple(spec.name for spec in specs)) else (LOGITS,)
    for spec in specs:
        folder = store.folder(spec.name)
        if folder.exists() and (reason := store.damage(spec.name, files)):
            warnings.warn(f"{folder}: {reason}; the model is trained anew", stacklevel=3)
            store.discard(spec.name)
        if spec.name not in store:
            missing[spec.name] = spec
    return list(missing.values())


def train_models(
    specs: Sequence[ModelSpec],
    pool: Pool,
    store: Store,
    *,
    jobs: int | None,
    backend: str,
    scheduler: str | None,
    progress: bool,
) -> None:
    """Train models into the store, in whatever order they finish.

    A model that another process is training is left for last: by then it may be there. One that
    fails does not stop the others.

    Raises
    ------
    InputError
        If models diverge, now or in an earlier call; if the store cannot be written; or if
        what trains them is lost. Whatever had finished is kept.
    """
    if backend == "loky":
        check_gpu(specs, store)
    most = jobs or _default_jobs(specs[0], pool)

    def run(left: Sequence[ModelSpec], wait: bool) -> Iterator[Outcome]:
        return _run(left, pool, store, min(most, len(left)), backend, scheduler, wait)

    run_into_store(specs, store, run, jobs=most, progress=progress)


def check_gpu(specs: Sequence[Named], store: Store) -> None:
    """Raise InputError if models are to be trained on a GPU and none is here."""
    if specs[0].device == "cuda" and not has_cuda():
        raise InputError(
            f"device='cuda': {len(specs)} models are missing in {store.root} and torch sees no GPU "
            "here; train them where there is one (`mia store export` and `import` move models), or "
            "pass device='cpu'"
        )


def run_into_store(
    specs: Sequence[N],
    store: Store,
    run: Callable[[Sequence[N], bool], Iterator[Outcome]],
    *,
    jobs: int,
    progress: bool,
) -> None:
    """Train models of whatever kind: `run` takes those that are left, and whether to wait for what
    other processes are training. Raises what `train_models` does."""
    from tqdm import tqdm

    ready(store.root, CHOICE)  # before hours of work
    failed: dict[str, BaseException] = {
        spec.name: known for spec in specs if (known := _known_failure(spec, store))
    }
    left = [spec for spec in specs if spec.name not in failed]
    at_once = min(jobs, len(left))
    desc = (
        f"training, {at_once} at a time"
        if specs[0].device == "cuda" and at_once > 1
        else "training"
    )
    with tqdm(total=len(left), desc=desc, unit="model", disable=not progress) as bar:
        for wait in (False, True):
            if not left:
                break
            try:
                for index, error in run(left, wait):
                    if isinstance(error, DiskError):
                        raise error
                    if error is not None:
                        failed[left[index].name] = error
                    bar.update(error is not None or left[index].name in store)
            except LostWorkers as error:
                there = sum(spec.name in store for spec in specs)
                raise InputError(
                    f"{error}; {there} of the {len(specs)} models are stored, "
                    "the same call goes on with the rest"
                ) from None
            left = [s for s in left if s.name not in failed and s.name not in store]
    if failed:
        raise _summary(list(failed.values()), len(specs))


def _run(
    specs: Sequence[ModelSpec],
    pool: Pool,
    store: Store,
    jobs: int,
    backend: str,
    scheduler: str | None,
    wait: bool,
) -> Iterator[Outcome]:
    on_gpu = specs[0].device == "cuda"
    if backend == "loky" and (jobs == 1 or on_gpu):
        from ..training.worker import Workers

        # On a GPU models share the device and one copy of the pool, in one process.
        workers = Workers(specs[0].device, jobs)
        here = [(spec, pool, store, wait, workers) for spec in specs]
        if jobs == 1:
            return in_turn(fit_with_one_of, here)
        return in_threads(fit_with_one_of, here, jobs, workers.stop)
    path = pool_path(pool, store)
    folders = [os.path.abspath(folder) for folder in sys.path]
    tasks = [(spec, path, store.root.absolute(), folders, wait) for spec in specs]
    if backend == "dask":
        assert scheduler is not None, "`resolve_backend` asked for it"
        return on_cluster(open_and_fit, tasks, scheduler)
    return in_processes(open_and_fit, tasks, jobs)


def _default_jobs(spec: ModelSpec, pool: Pool) -> int:
    """Every processor, or as many models as keep a GPU busy."""
    import joblib

    from ..training.worker import models_at_a_time

    if spec.device != "cuda":
        return joblib.cpu_count()
    return models_at_a_time(spec.architecture, pool.shape, len(pool.classes), spec.config)


def _known_failure(spec: Named, store: Store) -> InputError | None:
    """What an earlier training with the same processor and versions ended with."""
    known = store.failure(spec.name)
    if known is None or (spec.device == "cuda" and not has_cuda()):
        return None
    if any(known.get(k) != v for k, v in circumstances(spec.device).items()):
        return None
    path = store.failure_path(spec.name)
    return Diverged(f"{known['reason']} (in an earlier call; remove {path} to try again)")


def _summary(errors: Sequence[BaseException], total: int) -> BaseException:
    """One error for all: in one line if each of them is one."""
    strange = [error for error in errors if not isinstance(error, InputError)]
    others = f"{total - len(errors)} of {total} models are stored" if len(errors) < total else ""
    if strange:
        if others:
            strange[0].add_note(others)
        return strange[0]
    lines = list(dict.fromkeys(map(str, errors)))
    told = "; ".join(lines[:_NAMED])
    more = f"; and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    advice = "; lower lr" if any(isinstance(error, Diverged) for error in errors) else ""
    return InputError(f"{told}{more}{advice}{'; ' if others else ''}{others}")
