"""Worker processes end with whoever started them; what is lost is said in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dask_cluster import Cluster

from mia_utils import InputError, Store, TrainConfig, balanced_masks, load_dataset, train
from mia_utils.engine import backend

TASKS = """
import sys
from test_workers import _write_pid
from pathlib import Path
from mia_utils.engine.backend import in_processes
for _ in in_processes(_write_pid, [(Path(sys.argv[1]), i, 0.5) for i in range(100)], 2):
    pass
"""


def _started(folder) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A run in a process of its own whose first task is done, and its workers."""
    run = subprocess.Popen(
        [sys.executable, "-c", TASKS, str(folder)],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    while len(list(folder.iterdir())) < 2:
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.05)
    workers = psutil.Process(run.pid).children(recursive=True)
    assert {int(path.read_text()) for path in folder.iterdir()} <= {w.pid for w in workers}
    return run, workers


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_workers_end_with_their_parent(how, tmp_path):
    run, workers = _started(tmp_path)
    if how == "killed":
        run.kill()
    else:
        os.killpg(run.pid, signal.SIGINT)  # what Ctrl-C sends, to parent and workers alike
    assert run.wait(timeout=20) != 0
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert len(list(tmp_path.iterdir())) < 100, "ended too late to matter"
    said = run.stderr.read()
    if how == "interrupted":
        assert said.rstrip().endswith("KeyboardInterrupt") and said.count("Traceback") == 1, said


def _write_pid(folder: Path, number: int, seconds: float) -> None:
    time.sleep(seconds)
    (folder / str(number)).write_text(str(os.getpid()))


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_said_in_one_line():
    with pytest.raises(backend.LostWorkers, match="worker process was killed.*fewer jobs"):
        list(backend.in_processes(_die, [(), ()], 2))
    assert list(backend.in_processes(_pause, [(0.0,)], 2)) == [(0, None)], "the next call works"


def test_a_training_that_loses_its_workers_says_what_it_has(monkeypatch, tmp_path):
    def lost(function, tasks, jobs):
        function(*tasks[0])
        yield 0, None
        raise backend.LostWorkers("gone")

    monkeypatch.setattr("mia_utils.engine.schedule.in_processes", lost)
    pool, masks = load_dataset("digits"), balanced_masks(1797, models=4, seed=0)
    with pytest.raises(InputError, match="gone; 1 of the 4 models are stored, the same call goes"):
        train(pool, masks, "mlp", TrainConfig(epochs=1), store=tmp_path, jobs=2, progress=False)


def test_threads_end_with_the_epoch_when_nobody_waits_for_them(tmp_path):
    """As after Ctrl-C: the other training would go on for hours."""
    from mia_utils.engine.schedule import fit_with_one_of
    from mia_utils.engine.spec import specifications
    from mia_utils.training.worker import Workers

    pool, masks = load_dataset("digits"), balanced_masks(1797, models=2, seed=0)
    options = {"seed": 0, "precision": "fp32", "device": "cpu"}
    short, long = (
        specifications(pool, masks.members[:1], "mlp", TrainConfig(epochs=epochs), **options)[0]
        for epochs in (1, 100_000)
    )
    store, workers = Store(tmp_path), Workers("cpu", 2)
    tasks = [(spec, pool, store, True, workers) for spec in (short, long)]
    run = backend.in_threads(fit_with_one_of, tasks, 2, workers.stop)
    assert next(run) == (0, None)
    began = time.monotonic()
    run.close()
    assert time.monotonic() - began < 20
    assert store.names() == [short.name] and list((tmp_path / "leases").iterdir()) == []


# ---- a cluster -----------------------------------------------------------------------------------


def _pause(seconds: float) -> None:
    time.sleep(seconds)


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def test_a_worker_that_joins_later_gets_work_and_the_client_does_none(cluster, tmp_path):
    first = cluster.add_worker()
    tasks = [(tmp_path, number, 0.4) for number in range(24)]
    second = None
    for done, (_, error) in enumerate(
        backend.on_cluster(_write_pid, tasks, cluster.address), start=1
    ):
        assert error is None
        if done == 1:
            second = cluster.add_worker()
    pids = {int((tmp_path / str(number)).read_text()) for _, number, _ in tasks}
    assert pids == {first.pid, second.pid}


def test_a_scheduler_that_is_killed_is_said_in_one_line(cluster, caplog):
    cluster.add_worker()
    began = time.monotonic()
    with pytest.raises(backend.LostWorkers, match=f"scheduler at {cluster.address} is gone$"):
        for _ in backend.on_cluster(_pause, [(0.2,)] * 20, cluster.address):
            cluster.scheduler.kill()
    assert time.monotonic() - began < 20
    assert not [r for r in caplog.records if r.exc_info], "a log full of tracebacks"


def test_a_cluster_without_workers_is_waited_for_a_while(cluster, monkeypatch):
    monkeypatch.setattr(backend, "_WORKERS", 2)
    worker = cluster.add_worker()
    with pytest.raises(backend.LostWorkers, match="has had no worker for 2 seconds"):
        for _ in backend.on_cluster(_pause, [(0.2,)] * 20, cluster.address):
            worker.kill()


def test_a_task_that_kills_its_workers_does_not_stop_the_others(cluster):
    for _ in range(5):
        cluster.add_worker()
    outcomes = dict(backend.on_cluster(_maybe_die, [(False,), (True,), (False,)], cluster.address))
    assert outcomes[0] is None and outcomes[2] is None
    assert isinstance(outcomes[1], InputError) and "workers died" in str(outcomes[1])


def _maybe_die(now: bool) -> None:
    if now:
        _die()
