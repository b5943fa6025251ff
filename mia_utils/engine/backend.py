"""Where tasks run: processes of this machine (loky), or the workers of a Dask cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import InputError

BACKENDS = ("loky", "dask")
_CONNECT = 10  # seconds


def resolve_backend(
    backend: str | None = None, scheduler: str | None = None
) -> tuple[str, str | None]:
    """What was given, else $MIA_BACKEND and $MIA_SCHEDULER, else loky.

    Raises
    ------
    InputError
        If the backend is unknown, or Dask has no scheduler's address, or loky has one.
    """
    given = backend is not None
    backend = backend or os.environ.get("MIA_BACKEND") or "loky"
    if backend not in BACKENDS:
        raise InputError(f"backend={backend!r}; expected one of {', '.join(BACKENDS)}")
    if backend == "loky":
        if scheduler:
            raise InputError(f"scheduler={scheduler!r} goes with backend='dask', not with 'loky'")
        return backend, None
    scheduler = scheduler or os.environ.get("MIA_SCHEDULER")
    if not scheduler:
        raise InputError(
            f"backend='dask'{'' if given else ' (MIA_BACKEND)'} needs the address of a scheduler, "
            "such as tcp://127.0.0.1:8786; pass scheduler= or set MIA_SCHEDULER"
        )
    return backend, scheduler


@contextmanager
def importable(folders: Sequence[str]) -> Iterator[None]:
    """These folders at the end of sys.path: a reader's own factory imports as in the caller."""
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)


def run_tasks(
    function: Callable[..., Any],
    arguments: Sequence[tuple],
    *,
    jobs: int,
    backend: str,
    scheduler: str | None,
) -> Iterator[Any]:
    """Results in the order in which the tasks finish; each task is one call, sent on its own.

    Parameters
    ----------
    jobs : int
        Processes of loky; a cluster decides for itself by its workers.
    """
    from joblib import Parallel, delayed, parallel_config

    if backend == "loky":
        settings, jobs = {"inner_max_num_threads": 1}, jobs
    else:
        # Every task is submitted at once: workers that join later find something to do.
        settings, jobs = {"client": _client(scheduler)}, -1
    with parallel_config(backend=backend, n_jobs=jobs, **settings):
        parallel = Parallel(batch_size=1, pre_dispatch="all", return_as="generator_unordered")
        yield from parallel(delayed(function)(*given) for given in arguments)


def _client(scheduler: str):
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "backend='dask' needs Dask; install it with: pip install 'mia-utils[cluster]'"
        ) from None
    try:
        client = Client(scheduler, timeout=_CONNECT, set_as_default=False)
        client.wait_for_workers(1, timeout=60)
    except (OSError, TimeoutError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"no Dask workers at scheduler={scheduler!r}: {reason}") from None
    return client
