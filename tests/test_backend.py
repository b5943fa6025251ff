"""The same tasks on loky's processes and on a real Dask cluster: a scheduler and two workers."""

import operator
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import distributed
import numpy as np
import pytest
from dask_cluster import Cluster
from joblib import Parallel, delayed, executor

from mia_utils import InputError, Pool, Store, TrainConfig, balanced_masks, train
from mia_utils.engine.backend import _processes, in_processes, resolve_backend

CONFIG = TrainConfig(epochs=4, batch_size=16)
FACTORY = """
from torch import nn
def net(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))
"""


@pytest.fixture(scope="module")
def pool():
    records = np.random.default_rng(0).integers(0, 256, (400, 8, 8, 3), dtype=np.uint8)
    return Pool.from_arrays("toy", records, np.arange(400) % 4)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers."""
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    for _ in range(2):
        cluster.add_worker()
    yield cluster
    cluster.close()


def test_a_cluster_that_loses_a_worker_gives_what_loky_gives(pool, cluster, tmp_path):
    address, workers = cluster.address, cluster.workers
    masks = balanced_masks(len(pool), models=8, seed=0)
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    script = (
        "import sys; from mia_utils import Pool, TrainConfig, balanced_masks, train\n"
        "import numpy as np\n"
        "records = np.random.default_rng(0).integers(0, 256, (400, 8, 8, 3), dtype=np.uint8)\n"
        "pool = Pool.from_arrays('toy', records, np.arange(400) % 4)\n"
        "train(pool, balanced_masks(400, models=8, seed=0), 'cnn',\n"
        "      TrainConfig(epochs=4, batch_size=16), store=sys.argv[1], progress=False)\n"
    )
    environment = {**os.environ, "MIA_BACKEND": "dask", "MIA_SCHEDULER": address}
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "dask")], env=environment)
    store = Store(tmp_path / "dask")
    while not store.names():
        assert run.poll() is None
        time.sleep(0.02)
    workers[0].kill()
    workers[0].wait()  # or it lives on as a zombie, and what it was at waits for half a minute
    assert len(store.names()) < 8, "killed too late to matter"
    assert run.wait(timeout=120) == 0
    assert len(store.names()) == 8
    on_cluster = train(pool, masks, "cnn", CONFIG, store=store, progress=False)
    here = train(pool, masks, "cnn", CONFIG, store=tmp_path / "loky", jobs=2, progress=False)
    assert on_cluster.names == here.names
    np.testing.assert_array_equal(on_cluster.logits, here.logits)


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_workers_find_the_readers_own_factory(backend, pool, cluster, tmp_path, monkeypatch):
    (tmp_path / f"own_{backend}.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    masks = balanced_masks(len(pool), models=2, seed=0)
    outputs = train(
        pool,
        masks,
        f"own_{backend}:net",
        CONFIG,
        store=tmp_path / "store",
        jobs=2,
        backend=backend,
        scheduler=cluster.address if backend == "dask" else None,
        progress=False,
    )
    alone = train(
        pool, masks, f"own_{backend}:net", CONFIG, store=tmp_path / "one", jobs=1, progress=False
    )
    np.testing.assert_array_equal(outputs.logits, alone.logits)


def test_processes_are_not_joblibs_which_others_take_and_stop(monkeypatch):
    monkeypatch.setattr(executor, "_executor_args", None)  # as in a process that has just begun

    def trained():
        return dict(in_processes(operator.neg, [(1,), (2,)], jobs=2))

    assert trained() == {0: None, 1: None}
    assert Parallel(2)(delayed(operator.neg)(i) for i in range(3)) == [0, -1, -2]
    assert trained() == {0: None, 1: None}
    assert Parallel(2)(delayed(operator.neg)(i) for i in range(3)) == [0, -1, -2]


def test_a_pool_of_processes_that_died_is_replaced():
    pool = _processes(2)
    assert _processes(2) is pool
    os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
    with pytest.raises(BrokenProcessPool):
        while True:
            pool.submit(int).result()
    assert dict(in_processes(operator.neg, [(1,)], jobs=2)) == {0: None}


@pytest.mark.parametrize(
    "backend, scheduler, word",
    [
        ("ray", None, "expected one of loky, dask"),
        ("loky", "tcp://a:1", "goes with backend='dask'"),
        ("dask", None, "needs the address"),
    ],
)
def test_backends_that_make_no_sense(backend, scheduler, word, monkeypatch):
    monkeypatch.delenv("MIA_SCHEDULER", raising=False)
    with pytest.raises(InputError, match=word):
        resolve_backend(backend, scheduler)


def test_the_environment_decides_when_nobody_else_does(monkeypatch):
    monkeypatch.setenv("MIA_BACKEND", "dask")
    monkeypatch.setenv("MIA_SCHEDULER", "tcp://a:1")
    assert resolve_backend() == ("dask", "tcp://a:1")
    assert resolve_backend("loky") == ("loky", None)


def test_a_scheduler_that_is_not_there(pool, tmp_path, monkeypatch):
    monkeypatch.setattr("mia_utils.engine.backend._CONNECT", 1)
    masks = balanced_masks(len(pool), models=2, seed=0)
    with pytest.raises(InputError, match="no Dask workers at scheduler='tcp://127.0.0.1:9'"):
        train(
            pool,
            masks,
            "cnn",
            CONFIG,
            store=tmp_path,
            backend="dask",
            scheduler="tcp://127.0.0.1:9",
            progress=False,
        )
    assert Store(tmp_path).names() == []
