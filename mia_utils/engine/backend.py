"""Where tasks run: in this process, its threads, its processes (loky), or a Dask cluster's workers."""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ..errors import InputError, shown

BACKENDS = ("loky", "dask")
_CONNECT = 10  # seconds
_WORKERS = 60
"""Seconds that a cluster may be without a worker."""
_IDLE = 60
"""Seconds that a process of this machine waits for the next call."""
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)
_pools: dict[int, Executor] = {}
"""Pools of processes by their size."""
_lock = threading.Lock()
Outcome = tuple[int, BaseException | None]
"""A task's place among the arguments, and what it raised."""


class LostWorkers(InputError):
    """What ran the tasks is gone; whatever had finished is kept."""


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
    if backend is None:
        backend = os.environ.get("MIA_BACKEND") or "loky"
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise InputError(f"backend={shown(backend)}; expected one of {', '.join(BACKENDS)}")
    if not isinstance(scheduler, str | None):
        raise InputError(f"scheduler={shown(scheduler)}; expected an address, tcp://HOST:8786")
    if backend == "loky":
        if scheduler:
            raise InputError(
                f"scheduler={shown(scheduler)} goes with backend='dask', not with 'loky'"
            )
        return backend, None
    scheduler = scheduler or os.environ.get("MIA_SCHEDULER")
    if not scheduler:
        raise InputError(
            f"backend='dask'{'' if given else ' (MIA_BACKEND)'} needs the address of a scheduler, "
            "such as tcp://127.0.0.1:8786; pass scheduler= or set MIA_SCHEDULER"
        )
    return backend, scheduler


def make_importable(folders: Sequence[str]) -> None:
    """Put these folders at the end of sys.path: a reader's own factory imports as in the caller.

    They stay: threads of a worker that take them away would do so under each other's imports.
    """
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def in_turn(function: Callable[..., None], arguments: Sequence[tuple]) -> Iterator[Outcome]:
    """One task after the other, here."""
    for index, given in enumerate(arguments):
        try:
            function(*given)
        except Exception as error:
            yield index, error
        else:
            yield index, None


def in_threads(
    function: Callable[..., None],
    arguments: Sequence[tuple],
    jobs: int,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """`jobs` tasks at a time in threads of this process.

    `stop` is called when nobody listens any more (Ctrl-C): it makes tasks end that still run.
    """
    with ThreadPoolExecutor(jobs, thread_name_prefix="training") as pool:
        try:
            yield from _finished(pool, function, arguments, jobs)
        except BaseException:
            stop()
            raise


def in_processes(
    function: Callable[..., None], arguments: Sequence[tuple], jobs: int
) -> Iterator[Outcome]:
    """`jobs` tasks at a time in processes of this machine, which end with this one.

    Raises
    ------
    LostWorkers
        If one of them was killed.
    """
    pool = _processes(jobs)
    try:
        # One task more than there are processes: none of them waits for its next.
        yield from _finished(pool, function, arguments, jobs + 1)
    except BrokenProcessPool as error:
        _pools.pop(jobs, None)
        reason = " ".join(str(error).split())
        raise LostWorkers(
            f"a worker process was killed ({reason[:200]}); if memory ran out, take fewer jobs"
        ) from None
    except BaseException:
        # Also GeneratorExit, when the caller stops listening. Nobody waits for what still runs.
        _pools.pop(jobs, None)
        pool.shutdown(wait=True, kill_workers=True)
        raise


def _processes(jobs: int) -> Any:
    """The pool of the last call with so many processes: starting them costs seconds of imports.

    It is not joblib's reusable one, which scikit-learn's `n_jobs` takes and stops as it likes.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    with _lock:
        try:
            _pools[jobs].submit(int).result()
        except (KeyError, BrokenProcessPool):  # none yet, or one that died since
            _pools[jobs] = ProcessPoolExecutor(
                jobs, timeout=_IDLE, initializer=_begin, initargs=(os.getpid(),), env=_ONE_THREAD
            )
        return _pools[jobs]


def _finished(
    pool: Executor, function: Callable[..., None], arguments: Sequence[tuple], most: int
) -> Iterator[Outcome]:
    """Tasks as they finish, no more than `most` of them handed in at a time."""
    waiting = deque(enumerate(arguments))
    running: dict[Future, int] = {}
    while waiting or running:
        while waiting and len(running) < most:
            index, given = waiting.popleft()
            running[pool.submit(function, *given)] = index
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise error
            yield running.pop(future), error


def _begin(parent: int) -> None:
    """In a new worker process: Ctrl-C is for the parent, whose end is this process's too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def on_cluster(
    function: Callable[..., None], arguments: Sequence[tuple], scheduler: str
) -> Iterator[Outcome]:
    """Tasks on the workers of a Dask cluster, those that join later included; none of them here.

    Raises
    ------
    InputError
        If Dask is missing, or no worker can be reached.
    LostWorkers
        If the scheduler, or for a minute every worker, is gone.
    """
    finished: queue.Queue = queue.Queue()
    client = _client(scheduler)
    try:
        # pure=False: a name of its own for every task, so that no other call's result is taken.
        futures = {
            client.submit(function, *given, pure=False): index
            for index, given in enumerate(arguments)
        }
        for future in futures:
            future.add_done_callback(finished.put)
        for _ in arguments:
            future = _next(client, finished, scheduler)
            if future.status == "cancelled":
                raise LostWorkers(f"the Dask scheduler at {scheduler} is gone")
            yield futures[future], _told(future.exception())
    finally:
        _close(client)


def _told(error: BaseException | None) -> BaseException | None:
    """What a task raised; of Dask's own words about workers that die of it, one line."""
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return InputError("several workers died of one training; give them more memory")
    return error


def _next(client, finished: queue.Queue, scheduler: str):
    """The next future that ends. A cluster may lose all its workers for a while, not for ever."""
    since = time.monotonic()
    while True:
        try:
            return finished.get(timeout=1)
        except queue.Empty:
            pass
        if client.status != "running":
            raise LostWorkers(f"the Dask scheduler at {scheduler} is gone")
        if client.scheduler_info()["workers"]:
            since = time.monotonic()
        elif time.monotonic() - since > _WORKERS:
            raise LostWorkers(
                f"the Dask cluster at {scheduler} has had no worker for {_WORKERS} seconds"
            )


def _client(scheduler: str):
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "backend='dask' needs Dask; install it with: pip install 'mia-utils[cluster]'"
        ) from None
    client = None
    try:
        client = Client(scheduler, timeout=_CONNECT, set_as_default=False)
        client.wait_for_workers(1, timeout=_WORKERS)
    except (OSError, TimeoutError, ValueError) as error:
        if client is not None:
            _close(client)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"no Dask workers at scheduler={shown(scheduler)}: {reason}") from None
    return client


def _close(client) -> None:
    """Let go of a cluster. What it says about a scheduler that is gone has been said in one line."""
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        client.close(timeout=_CONNECT)
    finally:
        log.setLevel(level)
