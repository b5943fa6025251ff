"""What the engine says when it refuses, what it hands on to those it calls, and what it keeps."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import platform
import queue
import re
import signal
import sys
import time
import zipfile
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mia_utils import DPConfig, InputError, Masks, Pool, Store, TrainConfig, train
from mia_utils.engine import (
    backend,
    folders,
    lease,
    load,
    oracle,
    place,
    plan,
    pools,
    schedule,
    spec,
    stacked,
    tidy,
    transfer,
    work,
)
from mia_utils.engine.query import _named, _noise
from mia_utils.engine.train import as_jobs
from mia_utils.errors import DiskError
from mia_utils.training import device as devices
from mia_utils.training import epochs, loop, worker

LOGITS = np.arange(8, dtype=np.float32).reshape(4, 2)
RECORDS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
POOL = Pool.from_arrays("toy", RECORDS, np.arange(4) % 2)
MEMBERS = np.array([[True, True, False, False]])
SPEC = spec.specifications(
    POOL, MEMBERS, "mlp", TrainConfig(epochs=2, lr=0.5), seed=3, precision="fp32", device="cpu"
)[0]


def put(store, number=0, **record):
    """A model as the engine stores it, without training one."""
    identity = {"number": number}
    facts = {"identity": identity, "classes": 2, "config": {}, **record}
    store.put(folders.digest(identity), facts, LOGITS, {"w": np.ones(3, np.float32)})
    return folders.digest(identity)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("MIA_BACKEND", "MIA_SCHEDULER", "MIA_DEVICE"):
        monkeypatch.delenv(name, raising=False)


# ---- what it says ------------------------------------------------------------------------------


def masks(members, evaluated=None):
    return Masks(members, np.ones_like(members) if evaluated is None else evaluated)


WRONG_MASKS = [
    (
        MEMBERS,
        "masks are a ndarray; expected Masks(members, evaluated), as balanced_masks makes them; of "
        "members alone: Masks(members, np.ones_like(members))",
    ),
    (
        masks(MEMBERS.astype(int)),
        "masks are int64 (1, 4) (members); pool 'toy' needs bool (models, 4)",
    ),
    (
        masks(MEMBERS, MEMBERS[:, :3]),
        "masks are bool (1, 3) (evaluated); pool 'toy' needs bool (models, 4)",
    ),
    (masks(MEMBERS[0]), "masks are bool (4,) (members); pool 'toy' needs bool (models, 4)"),
    (
        masks(MEMBERS, np.ones((2, 4), bool)),
        "masks have 1 rows of members and 2 of evaluated; expected one of each for every model",
    ),
    (masks(MEMBERS[:0]), "masks have no row; expected one for every model"),
    (masks(np.vstack([MEMBERS, ~MEMBERS & False])), "model 1 of the masks has no member"),
]


@pytest.mark.parametrize("wrong, said", WRONG_MASKS)
def test_masks_that_are_refused_are_told_what_is_expected(wrong, said, tmp_path):
    with pytest.raises(InputError) as caught:
        train(POOL, wrong, "mlp", store=tmp_path)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "config, said",
    [
        (
            TrainConfig(augmentation="crop_flip"),
            "augmentation='crop_flip' needs images; pool 'rows' has feature rows of shape (3,)",
        ),
        (
            TrainConfig(soft_labels="LABELS"),
            "soft_labels have shape (4, 3); pool 'rows' needs (4, 2)",
        ),
    ],
)
def test_a_setting_that_does_not_suit_the_pool_is_named(config, said, store):
    rows = Pool.from_arrays("rows", np.ones((4, 3), np.float32), np.arange(4) % 2)
    if config.soft_labels:
        config = replace(config, soft_labels=store.put_soft_labels(np.full((4, 3), 1 / 3)))
    with pytest.raises(InputError) as caught:
        train(rows, masks(MEMBERS), "mlp", config, store=store, progress=False)
    assert str(caught.value) == said


def test_a_gpu_that_is_not_here_is_told_with_a_way_out(store, monkeypatch):
    monkeypatch.setattr(schedule, "has_cuda", lambda: False)
    gpu = replace(SPEC, device="cuda")
    schedule.check_gpu([SPEC, gpu], store)
    with pytest.raises(InputError) as caught:
        schedule.check_gpu([gpu, gpu], store)
    assert str(caught.value) == (
        f"device='cuda': 2 models are missing in {store.root} and torch sees no GPU here; train "
        "them where there is one (`mia store export` and `import` move models), or pass "
        "device='cpu'"
    )
    monkeypatch.setattr(schedule, "has_cuda", lambda: True)
    schedule.check_gpu([gpu], store)


@pytest.mark.parametrize(
    "errors, total, said",
    [
        (["a"], 1, "a"),
        (["a", "a"], 5, "a; 3 of 5 models are stored"),
        (["a", "b", "c"], 3, "a; b; c"),
        (["a", "b", "c", "d", "e"], 6, "a; b; c; and 2 more; 1 of 6 models are stored"),
    ],
)
def test_failures_are_summed_up_in_one_line(errors, total, said):
    assert str(schedule._summary([InputError(e) for e in errors], total)) == said
    diverged = schedule._summary([work.Diverged(e) for e in errors], total)
    stored = said.partition(f"; {total - len(errors)} of")
    assert str(diverged) == f"{stored[0]}; lower lr{stored[1]}{stored[2]}"
    strange = ValueError("x")
    assert schedule._summary([InputError("a"), strange], 2) is strange
    assert not hasattr(strange, "__notes__")
    assert schedule._summary([strange], 3).__notes__ == ["2 of 3 models are stored"]


BACKENDS = [
    (("slurm", None), {}, "backend='slurm'; expected one of loky, dask"),
    (
        ("loky", "tcp://a"),
        {},
        "scheduler='tcp://a' goes with backend='dask', not with 'loky'",
    ),
    (
        ("dask", None),
        {},
        "backend='dask' needs the address of a scheduler, such as tcp://127.0.0.1:8786; pass "
        "scheduler= or set MIA_SCHEDULER",
    ),
    (
        (None, None),
        {"MIA_BACKEND": "dask"},
        "backend='dask' (MIA_BACKEND) needs the address of a scheduler, such as "
        "tcp://127.0.0.1:8786; pass scheduler= or set MIA_SCHEDULER",
    ),
    ((None, None), {}, ("loky", None)),
    ((None, None), {"MIA_BACKEND": "loky", "MIA_SCHEDULER": "tcp://b"}, ("loky", None)),
    ((None, None), {"MIA_BACKEND": "dask", "MIA_SCHEDULER": "tcp://b"}, ("dask", "tcp://b")),
    (("dask", "tcp://a"), {"MIA_SCHEDULER": "tcp://b"}, ("dask", "tcp://a")),
    (("loky", None), {"MIA_BACKEND": "dask"}, ("loky", None)),
]


@pytest.mark.parametrize("given, environment, answer", BACKENDS)
def test_where_models_are_trained_is_what_was_given_else_the_environment(
    given, environment, answer, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if isinstance(answer, tuple):
        assert backend.resolve_backend(*given) == answer
    else:
        with pytest.raises(InputError) as caught:
            backend.resolve_backend(*given)
        assert str(caught.value) == answer


@pytest.mark.parametrize("gpu", [False, True])
def test_names_of_devices_and_precisions(gpu, monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(devices.torch.cuda, "is_bf16_supported", lambda: False)
    here = "cuda" if gpu else "cpu"
    assert place.asked_device() == "auto" and place.has_cuda() is gpu
    assert place.named_device() == place.named_device("auto") == here
    assert [place.named_device(d) for d in ("cpu", "cuda")] == ["cpu", "cuda"]
    for asked in ("cpu", "cuda", "auto"):
        monkeypatch.setenv("MIA_DEVICE", asked)
        assert place.asked_device() == asked
        assert place.named_device("auto") == (here if asked == "auto" else asked)
        assert place.named_device("cpu") == "cpu"
    # A GPU that is elsewhere is taken for one that multiplies bf16; one that is here is asked.
    assert place.named_precision("auto", "cuda") == ("fp32" if gpu else "bf16")
    monkeypatch.setattr(devices, "_multiplies_bf16", lambda: False)
    assert place.named_precision("auto", "cpu") == "fp32"
    assert place.named_precision("fp32", "cuda") == "fp32"
    monkeypatch.setenv("MIA_DEVICE", "tpu")
    with pytest.raises(InputError) as caught:
        place.named_device()
    assert str(caught.value) == "MIA_DEVICE='tpu'; expected 'auto', 'cpu' or 'cuda'"


def test_what_is_wrong_with_a_stored_model_is_said_with_a_way_out(store):
    name = put(store)
    with pytest.raises(InputError) as caught:
        store.record("b" * 32)
    assert str(caught.value) == f"no model {'b' * 32} in {store.root}; train it first"
    (store.folder(name) / "logits.npy").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        store.logits(name)
    assert str(caught.value) == (
        f"model {name} is damaged: logits.npy has changed since it was written; remove "
        f"{store.folder(name)} and train it again (`mia store verify` finds all such models)"
    )
    with pytest.raises(InputError) as caught:
        store.soft_labels("c" * 32)
    assert str(caught.value) == (
        f"no soft labels {'c' * 32} in {store.root}; keep them with Store.put_soft_labels"
    )
    (store.folder(name) / "record.json").write_text('{"checksums": 3}')
    with pytest.raises(ValueError, match="^not a record with checksums$"):
        folders.read_record(store.folder(name))


def test_a_model_whose_source_has_changed_is_not_loaded(store):
    name = put(store, architecture="mlp", architecture_id="another")
    with pytest.raises(InputError) as caught:
        load.load_model(name, store)
    assert str(caught.value) == (
        f"architecture 'mlp' has changed since model {name} was trained; bring its source back, or "
        "train the model again"
    )


@pytest.mark.parametrize("change", ["no gpu", "source", "pool"])
def test_a_worker_that_cannot_train_what_it_is_sent_says_why(change, store, monkeypatch):
    monkeypatch.setattr(work, "has_cuda", lambda: False)
    monkeypatch.setattr(pools, "_opened", lambda path: POOL)
    monkeypatch.setattr(pools._opened, "cache_clear", lambda: None, raising=False)
    sent, said = {
        "no gpu": (
            replace(SPEC, device="cuda"),
            f"device='cuda', and a worker on {platform.node()} sees no GPU; start workers where "
            "there is one, or pass device='cpu'",
        ),
        "source": (
            replace(SPEC, architecture_id="another"),
            "architecture 'mlp' has another source in a worker than where the run began; give both "
            "the same files",
        ),
        "pool": (
            replace(SPEC, fingerprint="another"),
            "the pool at somewhere has changed since this run began; start it again",
        ),
    }[change]
    with pytest.raises(InputError) as caught:
        work.open_and_fit(sent, "somewhere", store.root, [], True)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "harm, reason",
    [
        ("logits", "model {name}: its logits are float64 (4, 2)"),
        ("classes", "model {name}: its logits are float32 (4, 2)"),
    ],
)
def test_a_model_of_another_form_is_named_when_it_is_imported(harm, reason, store, tmp_path):
    logits, classes = (LOGITS.astype(float), 2) if harm == "logits" else (LOGITS, 3)
    identity = {"number": 0}
    store.put(
        name := folders.digest(identity),
        {"identity": identity, "classes": classes, "config": {}},
        logits,
        {"w": np.ones(2, np.float32)},
    )
    transfer.export_models(store, path := tmp_path / "file", [name])
    there = Store(tmp_path / "there")
    with pytest.raises(InputError) as caught:
        transfer.import_models(there, path)
    assert str(caught.value) == (
        f"{path}: damaged, or not a file of `mia store export` ({reason.format(name=name)}); "
        "nothing was imported"
    )
    assert list(there.root.iterdir()) == []


def test_questions_that_cannot_be_asked_are_refused(store):
    rows = Pool.from_arrays("rows", np.ones((4, 3), np.float32), np.arange(4) % 2)
    known = '"flip", ("shift", dy, dx), ("noise", sigma) or a function of a batch'
    wrong = ["turn", ("shift", 8, 0), ("shift", 0, -8), ("shift", 1), ("noise", -1), ("flip", 1)]
    for transform in wrong:
        with pytest.raises(InputError) as caught:
            _named(transform, POOL, 0)
        assert str(caught.value) == f"transform is {transform!r}; expected {known}"
    for transform, name in (("flip", "flip"), (("shift", 0, 1), "shift")):
        with pytest.raises(InputError) as caught:
            _named(transform, rows, 0)
        assert str(caught.value) == (
            f"'{name}' needs images; pool 'rows' has feature rows of shape (3,): use "
            '("noise", sigma) or a function'
        )
    asked = oracle.Oracle(lambda records: np.zeros((len(records), 2)))
    with pytest.raises(InputError) as caught:
        asked.labels(RECORDS)
    assert str(caught.value) == (
        "the oracle answered float64 (4, 2) to 4 records; expected one integer label a record"
    )
    assert asked.queries == 0


# ---- what it does to records -------------------------------------------------------------------


def test_shifted_records_are_reflected_and_noise_is_added_by_seed_and_id():
    picture = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    pool = SimpleNamespace(is_image=True, shape=(3, 4, 1))
    moved = _named(("shift", 1, -2), pool, 0)
    found = moved(picture, np.array([0]))[0, :, :, 0]
    np.testing.assert_array_equal(found, [[6, 7, 6, 5], [2, 3, 2, 1], [6, 7, 6, 5]])
    rows, ids = np.full((2, 3), 0.5, np.float32), np.array([4, 9])
    drawn = [np.random.default_rng((7, i)).standard_normal(3, np.float32) for i in ids]
    noisy = _noise(rows, ids, 0.25, 7)
    np.testing.assert_array_equal(noisy, rows + np.float32(0.25) * np.stack(drawn))
    images = np.full((1, 2, 2, 1), 250, np.float32)
    drawn = np.random.default_rng((7, 4)).standard_normal((2, 2, 1), np.float32)
    noisy = _noise(images, ids[:1], 0.1, 7)
    np.testing.assert_array_equal(noisy[0], np.clip(250 + np.float32(25.5) * drawn, 0, 255))


def test_an_oracle_is_asked_in_batches_and_counts_records():
    sizes = []

    def answer(records):
        sizes.append(len(records))
        return records[:, 0].astype(int)

    asked = oracle.Oracle(answer)
    records = np.arange(1001, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(asked.labels(records), np.arange(1001))
    assert sizes == [500, 500, 1] and asked.queries == 1001
    assert asked.labels(records[:0]).shape == (0,) and asked.queries == 1001


# ---- what it hands on --------------------------------------------------------------------------


@pytest.fixture
def trained():
    return epochs.Trained({"w": torch.ones(2)}, LOGITS, [0.5, 0.25], 1.23456)


def test_a_training_is_told_everything_that_decides_the_model(store, trained, monkeypatch):
    told = {}

    def fit(*given, **options):
        told.update(
            zip(("records", "labels", "classes", "members", "of", "config"), given, strict=True)
        )
        told.update(options)
        return trained

    monkeypatch.setattr(loop, "fit", fit)
    soft = np.array([[0.1, 0.9]] * 4, np.float32)
    config = replace(SPEC.config, soft_labels=store.put_soft_labels(soft))
    asked = replace(SPEC, config=config, precision="bf16")
    one = object()
    work.fit_into_store(asked, POOL, store, True, one)
    np.testing.assert_array_equal(told.pop("soft_labels"), soft)
    np.testing.assert_array_equal(told.pop("members"), MEMBERS[0])
    assert told.pop("records") is POOL.records and told.pop("labels") is POOL.labels
    assert told == {
        "classes": 2,
        "of": "mlp",
        "config": config,
        "seed": asked.seed,
        "precision": "bf16",
        "device": "cpu",
        "checkpoint": store.checkpoint(asked.name),
        "worker": one,
    }
    record = store.record(asked.name)
    for key in ("checksum", "checksums"):
        record.pop(key)
    assert record == json.loads(
        json.dumps(
            {
                "architecture": "mlp",
                "architecture_id": "mlp",
                "base_seed": 3,
                "classes": 2,
                "config": vars(config),
                "device": "cpu",
                "fingerprint": POOL.fingerprint,
                "identity": asked.identity,
                "losses": [0.5, 0.25],
                "members": 2,
                "pool": "toy",
                "precision": "bf16",
                "processor": devices.describe("cpu"),
                "recipe": loop.RECIPE,
                "seconds": 1.235,
                "seed": asked.seed,
                "shape": [8, 8, 3],
                "versions": {
                    "numpy": np.__version__,
                    "python": platform.python_version(),
                    "torch": torch.__version__,
                },
            }
        )
    )


@pytest.mark.parametrize("fails", [False, True])
def test_the_machine_in_a_record_is_the_one_that_trained(fails, store, trained, monkeypatch):
    monkeypatch.setattr(devices, "describe", lambda device: f"that of {device}")
    gpu = replace(SPEC, device="cuda")
    trained.privacy = {"epsilon": 1.0}

    def fit():
        if fails:
            raise epochs.Diverged("loss NaN")
        return trained

    if fails:
        reason = f"loss NaN of model {gpu.name} (mlp, lr=0.5)"
        with pytest.raises(work.Diverged, match=re.escape(reason)):
            work.trained_into_store(gpu, store, True, fit, {})
        kept = store.failure(gpu.name)
        assert kept == {"reason": reason, **work.circumstances("cuda")}
    else:
        work.trained_into_store(gpu, store, True, fit, {"fact": 1})
        kept = store.record(gpu.name)
        assert kept["privacy"] == {"epsilon": 1.0} and kept["fact"] == 1
    assert kept["processor"] == "that of cuda"


def test_a_model_is_trained_by_a_worker_that_is_free_and_that_is_kept(store, monkeypatch):
    given = []
    monkeypatch.setattr(work, "fit_into_store", lambda *arguments: given.append(arguments))
    workers = worker.Workers("cpu", 1)
    work.fit_with_one_of(SPEC, POOL, store, False, workers)
    assert given == [(SPEC, POOL, store, False, workers._free.get_nowait())]
    one, again = work._own_worker("cpu"), work._own_worker("cpu")
    assert one is again and one.device == "cpu" and one._rows is work._shared_rows()
    monkeypatch.setattr(one, "device", "another")
    assert work._own_worker("cpu") is not one


@pytest.mark.parametrize("progress", [False, True])
@pytest.mark.parametrize(
    "device, jobs, said",
    [
        ("cpu", 2, "training"),
        ("cuda", 1, "training"),
        ("cuda", 2, "training, 2 at a time"),
        ("cuda", 9, "training, 3 at a time"),
    ],
)
def test_a_bar_counts_the_models_that_are_left(progress, device, jobs, said, store, monkeypatch):
    bars = []

    @contextmanager
    def bar(**options):
        bars.append(options)
        yield SimpleNamespace(update=lambda by: bars.append(by))

    monkeypatch.setattr("tqdm.tqdm", bar)
    specs = [replace(SPEC, seed=number, device=device) for number in range(4)]
    monkeypatch.setattr(schedule, "has_cuda", lambda: True)
    monkeypatch.setattr(schedule, "circumstances", lambda device: {})
    store.put_failure(specs[0].name, {"reason": "lost"})
    calls = []

    def run(left, wait):
        calls.append(([s.seed for s in left], wait))
        for index, asked in enumerate(left):
            if asked.seed == 1:
                yield index, InputError("one fails")
            elif asked.seed == 2 or wait:
                store.put(asked.name, {}, LOGITS, {"w": np.ones(1)})
                yield index, None
            else:
                yield index, None  # another process is at it

    with pytest.raises(InputError) as caught:
        schedule.run_into_store(specs, store, run, jobs=jobs, progress=progress)
    path = store.failure_path(specs[0].name)
    assert str(caught.value) == (
        f"lost (in an earlier call; remove {path} to try again); one fails; lower lr; "
        "2 of 4 models are stored"
    )
    assert calls == [([1, 2, 3], False), ([3], True)]
    assert bars == [
        {"total": 3, "desc": said, "unit": "model", "disable": not progress},
        True,
        True,
        False,
        True,
    ]


def test_lost_workers_are_told_with_what_is_stored_and_a_full_disk_ends_all(store):
    specs = [replace(SPEC, seed=number) for number in range(3)]
    store.put(specs[1].name, {}, LOGITS, {"w": np.ones(1)})

    def lost(left, wait):
        raise backend.LostWorkers("gone")
        yield

    def full(left, wait):
        yield 0, DiskError("full")
        raise AssertionError

    with pytest.raises(InputError) as caught:
        schedule.run_into_store(specs, store, lost, jobs=1, progress=False)
    assert str(caught.value) == (
        "gone; 1 of the 3 models are stored, the same call goes on with the rest"
    )
    with pytest.raises(DiskError, match="^full$"):
        schedule.run_into_store(specs, store, full, jobs=1, progress=False)


@pytest.mark.parametrize(
    "kind, device, jobs, where",
    [
        ("loky", "cpu", 1, ("in_turn", work.fit_with_one_of)),
        ("loky", "cuda", 1, ("in_turn", work.fit_with_one_of)),
        ("loky", "cuda", 3, ("in_threads", work.fit_with_one_of)),
        ("loky", "cpu", 3, ("in_processes", work.open_and_fit)),
        ("dask", "cpu", 1, ("on_cluster", work.open_and_fit)),
        ("dask", "cuda", 3, ("on_cluster", work.open_and_fit)),
    ],
)
def test_models_go_where_they_are_to_be_trained(kind, device, jobs, where, store, monkeypatch):
    went = []
    for name in ("in_turn", "in_threads", "in_processes", "on_cluster"):
        monkeypatch.setattr(schedule, name, lambda *given, name=name: went.append((name, *given)))
    monkeypatch.setattr(worker, "Workers", lambda *given: SimpleNamespace(given=given, stop=len))
    monkeypatch.setattr(schedule, "pool_path", lambda pool, store: "path")
    monkeypatch.setattr(sys, "path", ["", "/a"])
    specs = [replace(SPEC, device=device, seed=number) for number in range(2)]
    schedule._run(specs, POOL, store, jobs, kind, "tcp://a", True)
    ((name, function, tasks, *rest),) = went
    assert (name, function) == where
    if function is work.open_and_fit:
        folders_ = [os.getcwd(), "/a"]
        assert tasks == [(s, "path", store.root.absolute(), folders_, True) for s in specs]
        assert rest == (["tcp://a"] if kind == "dask" else [jobs])
    else:
        assert [task[:4] for task in tasks] == [(s, POOL, store, True) for s in specs]
        assert tasks[0][4] is tasks[1][4] and tasks[0][4].given == (device, jobs)
        assert rest == ([] if name == "in_turn" else [jobs, len])


def test_what_is_missing_is_asked_for_once_and_damage_is_told_to_the_caller(store, monkeypatch):
    specs = [replace(SPEC, seed=number) for number in (0, 1, 1, 2)]
    for asked in (specs[0], specs[1]):
        store.put(asked.name, {"identity": asked.identity}, LOGITS, {"w": np.ones(1)})
    (store.folder(specs[0].name) / "logits.npy").write_bytes(b"x")
    told = []
    monkeypatch.setattr(
        schedule.warnings, "warn", lambda text, stacklevel: told.append((text, stacklevel))
    )
    assert [asked.seed for asked in schedule.missing_models(specs, store)] == [0, 2]
    text = "logits.npy has changed since it was written; the model is trained anew"
    assert told == [(f"{store.folder(specs[0].name)}: {text}", 3)]  # of whoever calls `train`


def test_processes_of_a_call_that_nobody_listens_to_are_killed():
    began = time.monotonic()
    with closing(backend.in_processes(time.sleep, [(0.0,), (20.0,)], 2)) as running:
        assert next(running) == (0, None)
    assert time.monotonic() - began < 15 and 2 not in backend._pools


class Client:
    """A Dask client as far as the engine needs one; `tasks` run when they are submitted."""

    def __init__(self, *given, **options):
        self.told = [("made", given, options)]
        self.status = "running"

    def wait_for_workers(self, *given, **options):
        self.told.append(("waited", given, options))

    def submit(self, function, *given, **options):
        self.told.append(("submitted", given, options))
        future = Future()
        try:
            future.set_result(function(*given))
        except Exception as error:
            future.set_exception(error)
        future.status = "finished"
        return future

    def close(self, **options):
        self.told.append(("closed", (), options))


def test_a_cluster_is_asked_once_for_each_task_and_let_go(monkeypatch):
    distributed = pytest.importorskip("distributed")
    clients = []

    def made(*given, **options):
        clients.append(Client(*given, **options))
        return clients[-1]

    monkeypatch.setattr(distributed, "Client", made)
    found = dict(backend.on_cluster(lambda x: 1 / x, [(1,), (0,), (2,)], "tcp://a"))
    assert found[0] is found[2] is None and isinstance(found[1], ZeroDivisionError)
    assert clients[0].told == [
        ("made", ("tcp://a",), {"timeout": 10, "set_as_default": False}),
        ("waited", (1,), {"timeout": 60}),
        *[("submitted", (x,), {"pure": False}) for x in (1, 0, 2)],
        ("closed", (), {"timeout": 10}),
    ]


# ---- what it keeps -----------------------------------------------------------------------------


def test_a_model_is_listed_with_its_record_as_long_as_that_is_whole(store):
    name = put(store, pool="digits")
    record = store.folder(name) / "record.json"
    (store.folder(name) / "logits.npy").write_bytes(b"x")
    os.utime(record, (1000.0, 1000.0))
    (found,) = tidy.stored_models(store)
    assert found.record["pool"] == "digits" and found.written == 1000.0
    assert (found.name, found.kind, found.path) == (name, "model", store.folder(name))
    assert found.size == sum(file.stat().st_size for file in store.folder(name).iterdir())
    record.write_text("{}")
    (found,) = tidy.stored_models(store)
    assert found.record == {} and found.written > 1000.0


def test_a_process_is_asked_for_and_not_signalled(monkeypatch):
    asked = []
    monkeypatch.setattr(lease.os, "kill", lambda *given: asked.append(given))
    assert not lease._is_dead(f"{lease._machine()}|4242|x")
    assert not lease._is_dead("elsewhere|4242|x") and not lease._is_dead(f"{lease._machine()}|no|x")
    assert asked == [(4242, 0)]


def test_joined_logits_are_one_file_that_says_whose_they_are(store, monkeypatch):
    names = tuple(put(store, number) for number in range(3))
    assert isinstance(stacked.stacked_logits(store, names), np.ndarray)
    assert not (store.root / "outputs").exists()
    monkeypatch.setattr(stacked, "_MAPPED_FROM", 3 * LOGITS.nbytes)
    assert not isinstance(stacked.stacked_logits(store, names), np.memmap)
    monkeypatch.setattr(stacked, "_MAPPED_FROM", 3 * LOGITS.nbytes - 1)
    found = stacked.stacked_logits(store, names)
    assert isinstance(found, np.memmap) and found.mode == "r" and found.dtype == np.float32
    np.testing.assert_array_equal(found, np.stack([LOGITS] * 3))
    folder = store.root / "outputs" / folders.digest({"names": names})
    assert json.loads((folder / "record.json").read_text())["names"] == list(names)
    assert stacked.is_joined(store, names) and not stacked.is_joined(store, names[:2])


def test_a_models_own_seed_follows_from_the_seed_and_its_members():
    members = bytes([0b11000000])
    hashed = hashlib.sha256(b"3 " + members).digest()
    assert spec.own_seed(3, members, private=False) == int.from_bytes(hashed[:4], "big")
    assert spec.own_seed(3, members, private=True) == int.from_bytes(hashed[:8], "big")
    assert SPEC.seed == spec.own_seed(3, members, private=False)
    private = TrainConfig(dp=DPConfig(epsilon=1.0))
    (one,) = spec.specifications(
        POOL, MEMBERS, "mlp", private, seed=3, precision="fp32", device="cpu"
    )
    assert one.seed == spec.own_seed(3, members, private=True)


# ---- what it costs -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch, most", [(0.9, 2), (0.1, 16), (1e-4, 256)])
def test_a_speed_is_that_of_batches_beyond_the_first(batch, most, monkeypatch):
    """With a clock of the test's own: some start, then so many seconds for each batch."""
    now, seen = [0.0], []

    def fit(records, labels, classes, members, architecture, config, **options):
        seen.append((records, options))
        assert len(records) == len(labels) == members.sum() and config.epochs == 1
        assert (config.batch_size, architecture, classes) == (16, "mlp", 4)
        np.testing.assert_array_equal(labels[:6], [0, 1, 2, 3, 0, 1])
        now[0] += (0.01 + batch * len(records) / 16) * 4 / 3  # a third more for scoring

    monkeypatch.setattr(loop, "fit", fit)
    monkeypatch.setattr(plan.time, "perf_counter", lambda: now[0])
    config = TrainConfig(batch_size=16)
    speed = plan.calibrate("mlp", (6,), 4, config, precision="bf16", device="cpu")
    step = 3 * 16 * plan.training_flops("mlp", (6,), 4, replace(config, epochs=1), 1) / 3
    assert speed == pytest.approx(step / batch)
    sizes = [len(records) // 16 for records, _ in seen]
    assert sizes == [1, 1, *(2**n for n in range(1, 9) if 2**n <= most)]
    assert {tuple(options.items()) for _, options in seen} == {
        (("seed", 0), ("precision", "bf16"), ("device", "cpu"))
    }
    assert seen[0][0].dtype == np.float32 and 0 <= seen[0][0].min() < seen[0][0].max() < 1
    first = [records for records, _ in seen]
    seen.clear()
    plan.calibrate("mlp", (6,), 4, config, precision="bf16", device="cpu")
    np.testing.assert_array_equal(first[0], seen[0][0])


def test_what_is_written_as_text_has_a_key_a_line_in_order(store, tmp_path):
    name = put(store, zebra=1, apple=2)
    store.put_failure(name, {"reason": "x", "a": [1]})
    for path in (store.folder(name) / "record.json", store.failure_path(name)):
        text = path.read_text("utf-8")
        assert text == json.dumps(json.loads(text), indent=1, sort_keys=True)
    assert store.failure(name) == {"reason": "x", "a": [1]}
    transfer.export_models(store, tmp_path / "file", [name])
    with zipfile.ZipFile(tmp_path / "file") as archive:
        manifest = json.loads(text := archive.read("manifest.json").decode())
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert text == json.dumps(manifest, indent=1) and list(manifest) == ["format", "files"]
    assert manifest["format"] == "models of mia_utils, version 1"
    for inside, facts in manifest["files"].items():
        content = (store.root / inside).read_bytes()
        assert facts == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_lease_with_bytes_that_are_no_text_is_somebodys(tmp_path):
    path = tmp_path / "lease"
    path.write_bytes(b"\xff|\xfe")
    with lease.lease(path, lambda: False, "--store", wait=False) as ours:
        assert not ours
    assert path.exists()


# ---- processes, threads and clusters -----------------------------------------------------------


def test_a_pool_of_processes_is_made_with_one_thread_each_and_kept(monkeypatch):
    made = []

    class Pool:
        def __init__(self, *given, **options):
            made.append((given, options))

        def submit(self, function):
            future = Future()
            future.set_result(function())
            return future

    monkeypatch.setattr("joblib.externals.loky.ProcessPoolExecutor", Pool)
    monkeypatch.setattr(backend, "_pools", {})
    first = backend._processes(3)
    assert backend._processes(3) is first and backend._processes(2) is not first
    threads = "OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS VECLIB_MAXIMUM_THREADS"
    options = {
        "timeout": 60,
        "initializer": backend._begin,
        "initargs": (os.getpid(),),
        "env": dict.fromkeys([*threads.split(), "NUMEXPR_NUM_THREADS"], "1"),
    }
    assert made == [((3,), options), ((2,), options)]


def test_a_worker_ignores_ctrl_c_and_ends_with_its_parent(monkeypatch):
    seen = []
    monkeypatch.setattr(backend.signal, "signal", lambda *given: seen.append(given))
    monkeypatch.setattr(
        backend.threading,
        "Thread",
        lambda **options: SimpleNamespace(start=lambda: seen.append(options)),
    )
    backend._begin(77)
    assert seen == [
        (signal.SIGINT, signal.SIG_IGN),
        {"target": backend._end_with, "args": (77,), "daemon": True},
    ]
    parents, slept = iter([77, 77, 1]), []
    monkeypatch.setattr(backend.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(backend.time, "sleep", slept.append)
    monkeypatch.setattr(backend.os, "_exit", lambda code: slept.append(("exit", code)))
    backend._end_with(77)
    assert slept == [0.5, 0.5, ("exit", 1)]


def test_threads_are_stopped_only_where_nobody_listens_any_more():
    stopped = []
    found = backend.in_threads(lambda x: 1 / x, [(1,), (0,)], 2, lambda: stopped.append(True))
    outcomes = dict(found)
    assert outcomes[0] is None and isinstance(outcomes[1], ZeroDivisionError) and not stopped
    running = backend.in_threads(lambda x: x, [(1,), (2,)], 1, lambda: stopped.append(True))
    next(running)
    running.close()
    assert stopped == [True]


def test_no_more_tasks_are_handed_in_than_asked_for():
    handed = []

    class Pool:
        def submit(self, function, *given):
            handed.append(given)
            future = Future()
            future.set_result(None)
            return future

    tasks = backend._finished(Pool(), print, [(1,), (2,), (3,), (4,)], 2)
    next(tasks)
    assert handed == [(1,), (2,)]
    assert sorted(index for index, _ in tasks) != [] and handed == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize(
    "status, workers, after, said",
    [
        ("closed", {"a": 1}, 0, "the Dask scheduler at tcp://a is gone"),
        ("running", {}, 61, "the Dask cluster at tcp://a has had no worker for 60 seconds"),
    ],
)
def test_a_cluster_that_is_lost_is_told(status, workers, after, said, monkeypatch):
    clock = iter([0.0, 30.0, 60.0, 60.0 + after])
    monkeypatch.setattr(backend.time, "monotonic", lambda: next(clock))
    client = SimpleNamespace(status=status, scheduler_info=lambda: {"workers": workers})

    class Nothing(queue.Queue):
        def get(self, *, timeout):
            assert timeout == 1
            raise queue.Empty

    with pytest.raises(backend.LostWorkers) as caught:
        backend._next(client, Nothing(), "tcp://a")
    assert str(caught.value) == said


def test_a_cluster_is_told_apart_from_its_tasks(monkeypatch):
    distributed = pytest.importorskip("distributed")
    killed = distributed.scheduler.KilledWorker("task", None, 3)
    assert (
        str(backend._told(killed)) == "several workers died of one training; give them more memory"
    )
    assert backend._told(None) is None and backend._told(error := KeyError()) is error
    closed = []

    class Late(Client):
        def wait_for_workers(self, *given, **options):
            raise TimeoutError("nobody\n came")

        def close(self, **options):
            closed.append((options, logging.getLogger("distributed.client").level))

    monkeypatch.setattr(distributed, "Client", Late)
    log = logging.getLogger("distributed.client")
    monkeypatch.setattr(log, "level", logging.INFO)
    with pytest.raises(InputError) as caught:
        backend._client("tcp://a")
    assert str(caught.value) == "no Dask workers at scheduler='tcp://a': nobody came"
    assert closed == [({"timeout": 10}, logging.CRITICAL)] and log.level == logging.INFO
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError) as caught:
        backend._client("tcp://a")
    assert str(caught.value) == (
        "backend='dask' needs Dask; install it with: pip install 'mia-utils[cluster]'"
    )


# ---- plans -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, said",
    [
        ({"records": 0}, "records=0; expected at least 1"),
        ({"members": 0}, "members=0; expected at least 1"),
        ({"models": 0}, "models=0; expected at least 1"),
        ({"members": 101}, "members=101 of records=100; expected no more than there are"),
        ({"stored": 5}, "stored=5 of models=4; expected 0 to 4"),
        ({"stored": -1}, "stored=-1 of models=4; expected 0 to 4"),
        ({"flops_per_second": 0.0}, "flops_per_second=0.0; expected a positive number"),
    ],
)
def test_a_plan_that_makes_no_sense_is_told(change, said):
    given = {"records": 100, "members": 50, "models": 4, "flops_per_second": 1e9} | change
    with pytest.raises(InputError) as caught:
        plan.plan("mlp", (6,), 4, **given)
    assert str(caught.value) == said


def test_a_plan_by_hand_for_rows_and_for_images():
    config = TrainConfig(epochs=2, batch_size=10)
    found = plan.plan(
        "mlp", (6,), 4, records=100, members=100, models=1, config=config, flops_per_second=1e6
    )
    sizes = [6, 512, 256, 128, 64, 4]
    forward = sum(2 * a * b for a, b in itertools.pairwise(sizes))
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    numbers = 6 + 2 * sum(sizes[1:-1]) + sizes[-1]  # flattened, each hidden layer twice, logits
    assert found == plan.Plan(
        models=1,
        missing=1,
        hours=(3 * forward * 100 * 2 + forward * 100) / 1e6 / 3600,
        flops=3 * forward * 100 * 2,
        flops_per_second=1e6,
        memory=100 * 6 * 4 + 4 * 4 * parameters + 4 * 100 * 4 + 4 * 10 * numbers,
        disk=4 * (100 * 4 + parameters),
    )
    images = plan.plan(
        "mlp",
        (2, 3, 1),
        4,
        records=100,
        members=1,
        models=3,
        stored=3,
        config=config,
        flops_per_second=1e6,
    )
    assert images.memory == found.memory - 100 * 6 * 3
    assert (images.missing, images.hours, images.disk) == (0, 0, 0)


@pytest.mark.parametrize(
    "jobs, found", [(None, None), (-1, None), (1, 1), (np.int64(3), 3), (10, 10)]
)
def test_jobs_are_a_python_number_or_all(jobs, found):
    assert as_jobs(jobs) == found and type(as_jobs(jobs)) in (int, type(None))
    for wrong in (0, -2, True, 1.0, "2"):
        with pytest.raises(InputError) as caught:
            as_jobs(wrong)
        assert str(caught.value) == (
            f"jobs={wrong!r}; expected an integer >= 1, or -1 for all processors"
        )
