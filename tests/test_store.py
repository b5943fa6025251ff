"""The store: whole models, checksums that are compared, damage that is named, disks that refuse."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from conftest import no_file_beyond

from mia_utils import (
    InputError,
    Store,
    TrainConfig,
    balanced_masks,
    load_dataset,
    load_model,
    train,
)
from mia_utils.engine import folders, stacked
from mia_utils.engine import store as store_module
from mia_utils.engine.spec import specifications
from mia_utils.engine.weights import read_weights
from mia_utils.engine.work import open_and_fit
from mia_utils.errors import DiskError

FAST = TrainConfig(epochs=1)
LOGITS = np.arange(8, dtype=np.float32).reshape(4, 2)
WEIGHTS = {"w": np.ones((3, 2), np.float32), "count": np.array(5)}
NAME = "a" * 32


@pytest.fixture(scope="module")
def pool():
    return load_dataset("digits").subset(np.arange(120), "few")


@pytest.fixture(scope="module")
def masks():
    return balanced_masks(120, models=2, seed=0)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    store.put(NAME, {"seed": 1, "epsilon": (1, 2)}, LOGITS, WEIGHTS)
    return store


def damage(path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[-5] ^= 1
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)


def trained(pool, masks, store, **options):
    return train(pool, masks, "mlp", FAST, store=store, **{"jobs": 1, "progress": False, **options})


# ---- what is stored ----


def test_a_model_comes_back_as_it_was_put(store):
    np.testing.assert_array_equal(store.logits(NAME), LOGITS)
    found = store.weights(NAME)
    assert found.keys() == WEIGHTS.keys()
    for key, value in WEIGHTS.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)
    assert store.record(NAME)["seed"] == 1
    files = {path.name for path in store.folder(NAME).iterdir()}
    assert files == {"logits.npy", "weights.safetensors", "record.json"}


def test_weights_of_older_stores_are_read_and_machines_without_safetensors_write_them(
    store, monkeypatch
):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    store.put("b" * 32, {}, LOGITS, WEIGHTS)
    assert (store.folder("b" * 32) / "weights.npz").exists() and store.damage("b" * 32) is None
    with pytest.raises(InputError, match="pip install safetensors"):
        store.weights(NAME)
    monkeypatch.undo()
    np.testing.assert_array_equal(store.weights("b" * 32)["w"], WEIGHTS["w"])


def test_bfloat16_weights_are_stored(tmp_path, monkeypatch, pool, masks):
    (tmp_path / "half_net.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Half(nn.Sequential):\n"
        "    def forward(self, x): return super().forward(x.bfloat16()).float()\n"
        "def net(shape, classes):\n"
        "    return Half(nn.Flatten(), nn.Linear(64, classes).bfloat16())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    outputs = train(pool, masks, "half_net:net", FAST, store=tmp_path, jobs=1, progress=False)
    model, _ = load_model(outputs.names[0], tmp_path)
    assert str(model[1].weight.dtype) == "torch.bfloat16"


def test_a_models_record_repeats_what_named_it(pool, masks, tmp_path):
    outputs = trained(pool, masks, tmp_path)
    (spec, _) = specifications(
        pool, masks.members, "mlp", FAST, seed=0, precision="fp32", device="cpu"
    )
    record = Store(tmp_path).record(outputs.names[0])
    assert spec.name == outputs.names[0] and record["identity"] == spec.identity
    assert record["pool"] == "few" and record["base_seed"] == 0 and record["seed"] == spec.seed
    assert record["versions"] == {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


# ---- damage ----


@pytest.mark.parametrize("how", ["flipped", "cut short", "missing"])
@pytest.mark.parametrize("file", ["logits.npy", "weights.safetensors", "record.json"])
def test_damage_is_named_when_the_model_is_read(store, file, how):
    path = store.folder(NAME) / file
    path.unlink() if how == "missing" else damage(path, how)
    read = {"logits.npy": store.logits, "weights.safetensors": store.weights}
    with pytest.raises(InputError, match=f"model {NAME} is damaged: {file} .*mia store verify"):
        read.get(file, store.record)(NAME)


def test_a_damaged_file_spoils_what_is_in_it_alone(store):
    (store.folder(NAME) / "weights.safetensors").write_bytes(b"no weights")
    np.testing.assert_array_equal(store.logits(NAME), LOGITS)
    assert store.record(NAME)["seed"] == 1
    with pytest.raises(InputError, match="is damaged: weights.safetensors"):
        store.weights(NAME)
    (store.folder(NAME) / "logits.npy").unlink()
    assert store.record(NAME)["seed"] == 1


def test_weights_that_cannot_be_read_are_called_by_their_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=str(path)):
        read_weights(path)


def test_a_record_that_was_edited_is_noticed(store):
    path = store.folder(NAME) / "record.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    assert store.damage(NAME) == "record.json has changed since it was written"


def test_a_model_under_another_name_is_noticed(pool, masks, tmp_path):
    store, (one, two) = Store(tmp_path), trained(pool, masks, tmp_path).names
    store.discard(one)
    store.folder(two).rename(store.folder(one))
    assert store.damage(one) == "record.json is another model's"


@pytest.mark.parametrize("how", ["flipped", "cut short", "missing"])
@pytest.mark.parametrize("file", ["logits.npy", "record.json"])
def test_a_damaged_model_is_trained_anew_with_a_warning(file, how, pool, masks, tmp_path):
    before = trained(pool, masks, tmp_path)
    path = Store(tmp_path).folder(before.names[1]) / file
    path.unlink() if how == "missing" else damage(path, how)
    with pytest.warns(UserWarning, match=f"{before.names[1]}: {file} .*trained anew"):
        again = trained(pool, masks, tmp_path)
    np.testing.assert_array_equal(again.logits, before.logits)
    assert Store(tmp_path).damage(before.names[1]) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(pool, masks, tmp_path)


def test_a_checksum_is_computed_once_for_as_long_as_the_file_stays(store, monkeypatch):
    store.logits(NAME)
    import hashlib

    def again(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(hashlib, "file_digest", again)
    np.testing.assert_array_equal(store.logits(NAME), LOGITS)


def test_joined_outputs_are_made_anew_when_damaged(pool, masks, tmp_path, monkeypatch):
    monkeypatch.setattr(stacked, "_MAPPED_FROM", 0)
    first = np.array(trained(pool, masks, tmp_path).logits)
    (file,) = (tmp_path / "outputs").glob("*/logits.npy")
    written = file.stat().st_mtime_ns
    read = []
    original = folders.file_sha256
    with monkeypatch.context() as patch:
        patch.setattr(folders, "file_sha256", lambda path: read.append(path) or original(path))
        trained(pool, masks, tmp_path)
    assert len({path for path in read if "models" in path.parts}) == 1, "one says their shape"
    assert file.stat().st_mtime_ns == written, "not made twice"
    damage(file, "flipped")
    again = trained(pool, masks, tmp_path).logits
    assert isinstance(again, np.memmap) or isinstance(again.base, np.memmap), "not in memory"
    np.testing.assert_array_equal(again, first)


def test_a_copy_of_a_pool_is_made_anew_when_damaged(pool, masks, tmp_path):
    trained(pool, masks, tmp_path, jobs=2)
    (file,) = (tmp_path / "pools").glob("*/images.npy")
    damage(file, "flipped")
    from mia_utils.engine import pools

    pools._holds.cache_clear()  # as in the next process
    trained(pool, masks, tmp_path, jobs=2, seed=1)
    assert len(Store(tmp_path).names()) == 4


def test_soft_labels_are_compared_with_their_name(tmp_path):
    store = Store(tmp_path)
    labels = np.full((4, 2), 0.5, np.float32)
    name = store.put_soft_labels(labels)
    damage(store.soft_labels_path(name), "flipped")
    with pytest.raises(InputError, match=f"{name}.npy has changed since it was written"):
        store.soft_labels(name)
    assert store.put_soft_labels(labels) == name
    np.testing.assert_array_equal(store.soft_labels(name), labels)


def test_an_architecture_that_was_edited_does_not_load_an_older_model(
    pool, masks, tmp_path, monkeypatch
):
    source = "from torch import nn\ndef net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    (tmp_path / "edited_net.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    name = train(pool, masks, "edited_net:net", FAST, store=tmp_path, jobs=1, progress=False).names[
        0
    ]
    load_model(name, tmp_path)
    (tmp_path / "edited_net.py").write_text(source + "# edited\n")
    with pytest.raises(InputError, match="'edited_net:net' has changed since model"):
        load_model(name, tmp_path)


# ---- disks ----


def test_everything_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    flushed, renamed = [], []
    original = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(
        os, "rename", lambda a, b: (renamed.append(len(flushed)), original[1](a, b))
    )
    Store(tmp_path).put(NAME, {}, LOGITS, WEIGHTS)
    assert renamed == [4] and {path.rpartition("/")[2] for path in flushed} >= {
        "logits.npy",
        "weights.safetensors",
        "record.json",
    }


@pytest.mark.parametrize("most", [0, 3000, 100_000], ids=["lease", "logits", "weights"])
def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing(most, pool, masks, tmp_path):
    with pytest.raises(DiskError, match="MIA_STORE") as raised, no_file_beyond(most):
        trained(pool, masks, tmp_path)
    assert len(str(raised.value).splitlines()) == 1
    assert list(tmp_path.glob("*/*")) == []


def test_a_store_that_cannot_be_written_still_serves_what_it_has(pool, masks, tmp_path):
    """Read-only in a way that holds for root, too: a file is where folders would be made."""
    store = Store(tmp_path)
    trained(pool, masks, store)
    (tmp_path / "leases").rmdir()
    (tmp_path / "leases").write_text("")
    assert len(trained(pool, masks, store)) == 2
    with pytest.raises(DiskError, match="cannot be written .*MIA_STORE"):
        trained(pool, masks, store, seed=1)


def test_a_store_that_cannot_be_made_is_known_before_any_training(
    pool, masks, tmp_path, monkeypatch
):
    monkeypatch.setattr("mia_utils.training.loop.fit", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="file/store: cannot be written .*MIA_STORE"):
        trained(pool, masks, tmp_path / "file" / "store")


def test_records_are_strict_json(tmp_path):
    """What other readers of JSON refuse is not written."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        Store(tmp_path).put(NAME, {"epsilon": float("inf")}, LOGITS, WEIGHTS)
    assert list(tmp_path.glob("models/*")) == []


def test_what_a_kill_left_of_storing_a_model_goes_when_it_is_trained(pool, masks, tmp_path):
    (spec, _) = specifications(
        pool, masks.members, "mlp", FAST, seed=0, precision="fp32", device="cpu"
    )
    partial = tmp_path / "models" / f".{'0' * 32}.{spec.name}"
    partial.mkdir(parents=True)
    (partial / "logits.npy").write_text("half")
    trained(pool, masks, tmp_path)
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == Store(tmp_path).names()


# ---- trainings that fail ----

WILD = TrainConfig(epochs=2, lr=5e30)


def _run(pool, masks, store, config, jobs=1):
    return train(pool, masks, "mlp", config, store=store, jobs=jobs, progress=False)


def test_a_training_that_diverges_is_named_and_remembered(pool, masks, tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=r"^loss NaN from epoch [12] of model \w+ \(mlp, lr=5e\+30.*; lower lr$"
    ):
        _run(pool, masks, tmp_path, WILD)
    from mia_utils.engine import schedule

    def again(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(schedule, "fit_with_one_of", again)
    with pytest.raises(InputError, match="loss NaN .*in an earlier call; remove .*failed"):
        _run(pool, masks, tmp_path, WILD)


def test_a_failure_of_other_versions_is_tried_again(pool, masks, tmp_path):
    with pytest.raises(InputError):
        _run(pool, masks, tmp_path, WILD)
    for path in (tmp_path / "failed").iterdir():
        record = json.loads(path.read_text())
        record["versions"]["torch"] = "0.1"
        path.write_text(json.dumps(record))
    with pytest.raises(InputError) as raised:
        _run(pool, masks, tmp_path, WILD)
    assert "earlier call" not in str(raised.value)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_others_finish_when_one_diverges(jobs, pool, masks, tmp_path, monkeypatch):
    """A failure known from before: one of the two is not trained, and said at the end."""
    from mia_utils.engine.work import circumstances

    (bad, good) = specifications(
        pool, masks.members, "mlp", FAST, seed=0, precision="fp32", device="cpu"
    )
    Store(tmp_path).put_failure(bad.name, {"reason": "loss NaN", **circumstances("cpu")})
    with pytest.raises(InputError, match="^loss NaN .*; lower lr; 1 of 2 models are stored$"):
        _run(pool, masks, tmp_path, FAST, jobs)
    assert Store(tmp_path).names() == [good.name]


def test_an_error_of_one_training_does_not_stop_the_others(pool, masks, tmp_path, monkeypatch):
    from mia_utils.engine import schedule

    original, calls = schedule.fit_with_one_of, []

    def first_fails(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise ZeroDivisionError("one")
        original(*arguments)

    monkeypatch.setattr(schedule, "fit_with_one_of", first_fails)
    with pytest.raises(ZeroDivisionError) as raised:
        trained(pool, masks, tmp_path)
    assert raised.value.__notes__ == ["1 of 2 models are stored"]
    assert len(Store(tmp_path).names()) == 1


def test_a_model_that_another_process_trains_is_left_for_last(pool, masks, tmp_path, monkeypatch):
    from mia_utils.engine import schedule

    specs = specifications(pool, masks.members, "mlp", FAST, seed=0, precision="fp32", device="cpu")
    store, order = Store(tmp_path), []
    original = schedule.fit_with_one_of

    def watched(spec, pool, store, wait, workers):
        order.append((spec.name, wait))
        if wait:
            held.__exit__(None, None, None)
        original(spec, pool, store, wait, workers)

    monkeypatch.setattr(schedule, "fit_with_one_of", watched)
    held = store.lease(specs[0].name)
    held.__enter__()
    trained(pool, masks, store)
    assert order == [(specs[0].name, False), (specs[1].name, False), (specs[0].name, True)]


# ---- where ----


def test_models_of_a_gpu_are_served_where_there_is_none(pool, masks, tmp_path, monkeypatch):
    """Renamed as if trained on one: what a store imported from a GPU machine looks like."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    store, outputs = Store(tmp_path), trained(pool, masks, tmp_path)
    specs = specifications(
        pool, masks.members, "mlp", FAST, seed=0, precision="fp32", device="cuda"
    )
    with pytest.raises(InputError, match="2 models are missing .*torch sees no GPU"):
        trained(pool, masks, store, device="cuda")
    for name, spec in zip(outputs.names, specs, strict=True):
        record = {**store.record(name), "identity": spec.identity, "device": "cuda"}
        del record["checksum"], record["checksums"]
        store.put(spec.name, record, store.logits(name), store.weights(name))
    found = trained(pool, masks, store, device="cuda")
    assert found.names == tuple(spec.name for spec in specs)
    monkeypatch.setenv("MIA_DEVICE", "cuda")
    assert trained(pool, masks, store).names == found.names
    assert trained(pool, masks, store, device="cpu").names == outputs.names
    assert load_model(found.names[0], store)[1]["device"] == "cuda"
    monkeypatch.setenv("MIA_DEVICE", "tpu")
    with pytest.raises(InputError, match="MIA_DEVICE='tpu'"):
        trained(pool, masks, store)


def test_a_worker_without_a_gpu_says_so(pool, masks, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (spec, _) = specifications(
        pool, masks.members, "mlp", FAST, seed=0, precision="fp32", device="cuda"
    )
    with pytest.raises(InputError, match="a worker on .* sees no GPU"):
        open_and_fit(spec, "package:digits", tmp_path, [], True)


@pytest.mark.parametrize("jobs", [0, -2, 1.5, "two", True])
def test_jobs_that_make_no_sense(jobs, pool, masks, tmp_path):
    with pytest.raises(InputError, match="jobs=.*expected an integer >= 1"):
        trained(pool, masks, tmp_path, jobs=jobs)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, None])
def test_seeds_that_make_no_sense(seed, pool, masks, tmp_path):
    with pytest.raises(InputError, match="seed=.*expected an integer >= 0"):
        trained(pool, masks, tmp_path, seed=seed)


def test_masks_that_are_no_masks(pool, masks, tmp_path):
    members, evaluated = masks
    for wrong, word in (
        (members, r"Masks\(members, np.ones_like\(members\)\)"),
        ((members, evaluated[:1]), "2 rows of members and 1 of evaluated"),
        ((members.astype(int), evaluated), "int64 .*needs bool"),
        ((members[:0], evaluated[:0]), "no row"),
    ):
        with pytest.raises(InputError, match=word):
            trained(pool, wrong, tmp_path)


def test_the_stores_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MIA_STORE", str(tmp_path / "there"))
    assert Store().root == tmp_path / "there" and Store(tmp_path).root == tmp_path
    monkeypatch.delenv("MIA_STORE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store().root == tmp_path / ".cache/mia/store"
    assert Store("~/models").root == tmp_path / "models"
    assert store_module.Store.of(None).root == Store().root


def test_soft_labels_exchanged_under_the_same_size_and_time_are_noticed(tmp_path):
    store = Store(tmp_path)
    name = store.put_soft_labels(np.array([[0.5, 0.5], [1, 0]], np.float32))
    path = store.soft_labels_path(name)
    store.soft_labels(name)
    times = path.stat()
    data = path.read_bytes()
    time.sleep(0.02)  # the time of a change is as coarse as the system's clock ticks
    path.write_bytes(data[:-4] + b"\0\0\x80?")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(InputError, match="has changed since it was written"):
        store.soft_labels(name)
