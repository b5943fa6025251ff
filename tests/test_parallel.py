"""Serial, in processes, in threads, on a cluster: the same bits, for whatever trains on any pool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from dask_cluster import Cluster

from mia_utils import (
    DPConfig,
    Masks,
    Pool,
    SimilarityAttack,
    Store,
    TrainConfig,
    balanced_masks,
    load_dataset,
    query,
    train,
)
from mia_utils.data import single_record_masks, write_archive
from mia_utils.defenses import train_defended, train_selena, train_stacked
from mia_utils.experiments import Experiment, run

CONFIG = TrainConfig(epochs=1, dropout=0.3)
"""Dropout draws random numbers while a model is trained."""
N = 160


def _pools(root) -> dict:
    """A pool of every kind: how it came about decides how a worker gets it."""
    few = load_dataset("digits").subset(np.arange(N), "few")
    write_archive(few, root / "archive.npz")
    mapped = root / "mapped"
    mapped.mkdir()
    np.save(mapped / "images.npy", few.records)
    np.save(mapped / "labels.npy", few.labels)
    from PIL import Image

    for number in range(N):
        folder = root / "pictures" / "train" / f"class {few.labels[number]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(few.records[number, :, :, 0]).save(folder / f"{number:03}.png")
    rows = few.records.reshape(N, -1).astype(np.float32)
    return {
        "embedded": lambda: load_dataset("digits"),
        "archive": lambda: load_dataset("archive", root),
        "folder": lambda: load_dataset("pictures", root),
        "mapped": lambda: load_dataset("mapped", root),
        "memory": lambda: few,
        "table": lambda: Pool.from_arrays("table", rows, few.labels),
        "relabelled": lambda: replace(
            load_dataset("archive", root), labels=(few.labels + 1) % len(few.classes)
        ),
    }


KINDS = ("embedded", "archive", "folder", "mapped", "memory", "table", "relabelled")


def _train(pool, **options):
    masks = balanced_masks(len(pool), models=4, seed=0)
    return train(pool, masks, "mlp", CONFIG, **options).logits


def _stacked(pool, **options):
    masks = balanced_masks(len(pool), models=2, seed=0)
    return train_stacked(pool, masks, "mlp", CONFIG, **options).logits


def _selena(pool, **options):
    masks = balanced_masks(len(pool), models=2, seed=0)
    return train_selena(pool, masks, "mlp", CONFIG, sub_models=3, left_out=1, **options).logits


def _defended(pool, **options):
    masks = balanced_masks(len(pool), models=2, seed=0)
    return train_defended(pool, masks, "cnn", CONFIG, "augmentation", **options).logits


def _mixed(pool, **options):
    config = replace(CONFIG, mixup=1.0, early_stopping=1)
    masks = balanced_masks(len(pool), models=2, seed=0)
    return train(pool, masks, "mlp", config, **options).logits


def _private(pool, **options):
    masks = balanced_masks(len(pool), models=2, seed=0)
    config = TrainConfig(epochs=1, dp=DPConfig(noise_multiplier=1.0))
    return train(pool, masks, "mlp", config, **options).logits


def _query(pool, **options):
    masks = balanced_masks(len(pool), models=2, seed=0)
    outputs = train(pool, masks, "cnn", CONFIG, **options)
    return query(outputs, pool, ("noise", 0.1), store=options["store"]).logits


def _similarity(pool, **options):
    masks = single_record_masks(len(pool), [3, 5], k=2, seed=0)
    shadows = train(pool, masks, "mlp", CONFIG, **options)
    audited = Masks(masks.members[:1], masks.evaluated[:1])
    options["seed"] += 1
    target = train(pool, audited, "mlp", CONFIG, **options)
    return SimilarityAttack().fit(shadows).score(target)


def _experiment(pool, *, seed, store, progress, **places):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("backend", "scheduler"):
            if name in places:
                patch.setenv(f"MIA_{name.upper()}", places[name])
        experiment = Experiment(dataset="digits", architecture="mlp", epochs=1, seed=seed)
        return run(experiment, store=store, progress=progress).target.logits


FUNCTIONS = {
    f.__name__[1:]: f
    for f in (
        _train,
        _stacked,
        _selena,
        _defended,
        _mixed,
        _private,
        _query,
        _similarity,
        _experiment,
    )
}
CASES = [("train", kind) for kind in KINDS] + [
    (name, "table" if name in ("private", "mixed") else "memory")
    for name in FUNCTIONS
    if name != "train"
]


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    return _pools(tmp_path_factory.mktemp("pools"))


@pytest.fixture(scope="module")
def one_worker_with_two_threads(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    cluster.add_worker(threads=2)
    yield cluster.address
    cluster.close()


@pytest.fixture(scope="module")
def serially(pools, tmp_path_factory):
    """The bits of a case, trained one model after the other."""

    @cache
    def bits(name, kind, seed):
        store = tmp_path_factory.mktemp("serial")
        return FUNCTIONS[name](pools[kind](), seed=seed, store=store, jobs=1, progress=False)

    return bits


@pytest.mark.parametrize("way", ["processes", "threads", "dask"])
@pytest.mark.parametrize("name, kind", CASES)
def test_bits_are_the_same_wherever_models_are_trained(
    way, name, kind, pools, serially, tmp_path, request
):
    pool, common = pools[kind](), {"store": tmp_path, "progress": False}
    if way == "processes":
        seeds, options = [0], {"jobs": 2}
    elif way == "dask":
        address = request.getfixturevalue("one_worker_with_two_threads")
        seeds, options = [0], {"backend": "dask", "scheduler": address}
    else:
        seeds, options = [0, 1], {"jobs": 1}
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(seeds)) as threads:
        patch.setenv("LOKY_MAX_CPU_COUNT", "2")  # for an experiment, which takes what there is
        found = list(
            threads.map(lambda s: FUNCTIONS[name](pool, seed=s, **options, **common), seeds)
        )
    for seed, bits in zip(seeds, found, strict=True):
        np.testing.assert_array_equal(bits, serially(name, kind, seed))
    for model in Store(tmp_path).names():
        assert Store(tmp_path).record(model)["pool"] == pool.name or name == "experiment"


def test_a_pools_name_in_records_is_that_of_the_caller_for_any_number_of_jobs(pools, tmp_path):
    for jobs in (1, 2):
        _train(pools["memory"](), seed=0, store=tmp_path / str(jobs), jobs=jobs, progress=False)
        store = Store(tmp_path / str(jobs))
        assert {store.record(name)["pool"] for name in store.names()} == {"few"}


def test_processors_are_counted_where_there_is_no_affinity(pools, tmp_path, monkeypatch):
    """As on macOS."""
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT")
    found = _train(pools["memory"](), seed=0, store=tmp_path, progress=False)
    assert found.shape == (4, N, 10)
