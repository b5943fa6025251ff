"""Models, the training loop, the store and the engine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mia_utils import (
    InputError,
    Pool,
    Store,
    TrainConfig,
    balanced_masks,
    load_dataset,
    load_model,
    train,
)
from mia_utils.data import Masks
from mia_utils.training import device
from mia_utils.training.augment import crop_flip
from mia_utils.training.batches import Loader
from mia_utils.training.checkpoint import load_checkpoint
from mia_utils.training.generators import Generators
from mia_utils.training.loop import fit
from mia_utils.training.mixup import Mixup, mixup
from mia_utils.training.models import architecture_id, build

FAST = TrainConfig(epochs=2, batch_size=16)


@pytest.fixture(scope="module")
def pool() -> Pool:
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    return Pool.from_arrays("toy", records, np.arange(64) % 4)


@pytest.fixture(scope="module")
def masks(pool) -> Masks:
    return balanced_masks(len(pool), models=4, seed=0)


@pytest.mark.parametrize(
    "name, shape, classes, widths",
    [
        ("mlp", (28, 28, 1), 10, [512, 256, 128, 64, 10]),
        ("mlp", (32, 32, 3), 10, [2048, 2048, 1024, 512, 64, 10]),
        ("mlp", (32, 32, 3), 100, [2048, 2048, 1024, 512, 256, 100]),
        ("mlp", (64, 64, 3), 1000, [2048, 2048, 1024, 1000]),
    ],
)
def test_mlp_has_the_reports_widths(name, shape, classes, widths):
    layers = [m for m in build(name, shape, classes) if isinstance(m, torch.nn.Linear)]
    assert [layer.out_features for layer in layers] == widths


@pytest.mark.parametrize(
    "name, shape",
    [
        ("cnn", (8, 8, 1)),
        ("alexnet", (28, 28, 1)),
        ("alexnet", (18, 18, 3)),
        ("resnet", (28, 28, 1)),
        ("efficientnet", (32, 32, 1)),
        ("mlp", (20,)),
    ],
)
def test_architectures_take_other_sizes(name, shape):
    model = build(name, shape, 7).eval()
    x = torch.zeros(2, *shape) if len(shape) == 1 else torch.zeros(2, shape[2], *shape[:2])
    assert model(x).shape == (2, 7)


@pytest.mark.parametrize(
    "name, shape, word",
    [
        ("cnn", (4, 4, 1), "at least 8x8"),
        ("cnn", (20,), "needs images"),
        ("vgg", (32, 32, 3), "unknown architecture"),
        ("nowhere:net", (32, 32, 3), "cannot be imported"),
    ],
)
def test_an_architecture_that_does_not_fit_says_why(name, shape, word):
    with pytest.raises(InputError, match=word):
        build(name, shape, 10)


def test_a_factory_of_the_readers_own_carries_its_source(tmp_path, monkeypatch):
    source = "from torch import nn\ndef net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))\n"
    (tmp_path / "own_factory.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    first = architecture_id("own_factory:net")
    (tmp_path / "own_factory.py").write_text(source + "# changed\n")
    assert first.startswith("own_factory:net@") and architecture_id("own_factory:net") != first


def test_loader_normalises_as_written(pool):
    batch = Loader(pool.records, pool.labels, "cpu")(torch.tensor([3, 5]))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (pool.records[[3, 5]] / 255 - mean) / std
    np.testing.assert_allclose(batch.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_one_epoch_equals_a_plain_loop(pool, masks):
    """The loop against NCHW, unfused Adam and batches written out."""
    members, config = masks.members[0], TrainConfig(epochs=1, batch_size=16, weight_decay=0.01)
    torch.manual_seed(5)
    trained = fit(pool.records, pool.labels, 4, members, "cnn", config, seed=5)
    torch.manual_seed(5)
    model = build("cnn", pool.shape, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=0.01)
    x = Loader(pool.records, pool.labels, "cpu")(torch.arange(64)).contiguous()
    y = torch.from_numpy(pool.labels)
    order = np.random.default_rng([5, 0, 0]).permutation(np.flatnonzero(members))
    for start in range(0, len(order), 16):
        batch = order[start : start + 16]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    np.testing.assert_allclose(trained.logits, model(x).detach().numpy(), atol=1e-3)


def test_bits_do_not_depend_on_processes_or_order(pool, masks, tmp_path):
    one = train(pool, masks, "cnn", FAST, store=tmp_path / "a", jobs=1, progress=False)
    two = train(pool, masks, "cnn", FAST, store=tmp_path / "b", jobs=2, progress=False)
    back = Masks(masks.members[::-1], masks.evaluated[::-1])
    third = train(pool, back, "cnn", FAST, store=tmp_path / "c", jobs=1, progress=False)
    np.testing.assert_array_equal(one.logits, two.logits)
    np.testing.assert_array_equal(one.logits, third.logits[::-1])
    assert len(set(one.names)) == 4


def test_the_callers_generator_and_threads_are_left_alone(pool, masks, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(pool, masks, "cnn", FAST, store=tmp_path, jobs=1, progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_numbers_too_small_to_matter_count_as_zero_and_change_no_bit(
    pool, masks, tmp_path, monkeypatch
):
    tiny = torch.tensor(1e-30)
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush denormal numbers")
    config = TrainConfig(epochs=60, batch_size=2, lr=3e-3)  # long enough for moments to get there
    arguments = (pool.records, pool.labels, len(pool.classes), masks.members[0], "mlp", config)

    def trained(path):
        with device.alone(5):
            return float(tiny * 1e-10) == 0, fit(
                *arguments, seed=5, checkpoint=path, checkpoint_every=0
            )

    with monkeypatch.context() as patch:
        flushes, ours = trained(tmp_path / "ours")
        assert float(tiny * 1e-10) > 0, "given back to the caller"
        patch.setattr(torch, "set_flush_denormal", lambda mode: None)
        keeps, exact = trained(tmp_path / "exact")
    assert (flushes, keeps) == (True, False)

    def denormal(path):
        states = load_checkpoint(path, "cpu")["optimizer"]["state"].values()
        moments = torch.cat([state["exp_avg"].abs().flatten() for state in states])
        return int(((moments > 0) & (moments < torch.finfo(torch.float32).tiny)).sum())

    assert denormal(tmp_path / "exact") > 0 == denormal(tmp_path / "ours")
    assert np.array_equal(ours.logits, exact.logits)
    assert all(torch.equal(value, exact.weights[key]) for key, value in ours.weights.items())


def test_everything_that_decides_a_model_is_in_its_name(pool, masks, tmp_path):
    one = Masks(masks.members[:1], masks.evaluated[:1])
    names = [
        train(
            pool,
            one,
            architecture,
            config,
            seed=seed,
            precision=precision,
            store=tmp_path,
            jobs=1,
            progress=False,
        ).names[0]
        for architecture, config, seed, precision in [
            ("cnn", FAST, 0, "fp32"),
            ("mlp", FAST, 0, "fp32"),
            ("cnn", TrainConfig(epochs=3, batch_size=16), 0, "fp32"),
            ("cnn", FAST, 1, "fp32"),
            ("cnn", FAST, 0, "bf16"),
        ]
    ]
    assert len(set(names)) == len(names)


def test_a_stored_model_gives_its_stored_logits(pool, masks, tmp_path):
    outputs = train(pool, masks, "cnn", FAST, store=tmp_path, jobs=1, progress=False)
    model, record = load_model(outputs.names[1], tmp_path)
    x = Loader(pool.records, pool.labels, "cpu")(torch.arange(64))
    np.testing.assert_allclose(model(x).detach().numpy(), outputs.logits[1], atol=1e-4)
    assert record["members"] == masks.members[1].sum() and len(record["losses"]) == 2


def test_a_checkpoint_goes_on_with_the_same_bits(pool, masks, tmp_path, monkeypatch):
    config = TrainConfig(epochs=4, batch_size=16, dropout=0.3, augmentation="crop_flip")
    whole = fit(pool.records, pool.labels, 4, masks.members[0], "cnn", config, seed=3)
    path = tmp_path / "model.pt"

    class Killed(Exception):
        pass

    import mia_utils.training.epochs as training

    saves = []
    original = training.save_checkpoint

    def dies_after_the_second(*arguments):
        original(*arguments)
        saves.append(arguments)
        if len(saves) == 2:
            raise Killed

    monkeypatch.setattr(training, "save_checkpoint", dies_after_the_second)
    options = {"seed": 3, "checkpoint": path, "checkpoint_every": 0.0}
    with pytest.raises(Killed):
        fit(pool.records, pool.labels, 4, masks.members[0], "cnn", config, **options)
    monkeypatch.setattr(training, "save_checkpoint", original)
    resumed = fit(pool.records, pool.labels, 4, masks.members[0], "cnn", config, **options)
    np.testing.assert_array_equal(whole.logits, resumed.logits)
    assert whole.losses == resumed.losses


def test_early_stopping_holds_a_tenth_out(pool, masks, tmp_path):
    config = TrainConfig(epochs=3, batch_size=16, early_stopping=1)
    outputs = train(pool, masks, "cnn", config, store=tmp_path, jobs=1, progress=False)
    held = ~outputs.evaluated
    assert (held.sum(axis=1) == masks.members.sum(axis=1) // 10).all()
    assert not (held & ~masks.members).any()


def drawn(seed: int) -> Generators:
    generator = torch.Generator().manual_seed(seed)
    return Generators(generator, generator)


def test_mixup_blends_records_and_their_losses_with_the_same_weights():
    x, y = torch.rand(6, 3, 4, 4), torch.arange(6)
    mixed, partner, weight = mixup(x, y, 0.3, drawn(0))
    assert sorted(partner.tolist()) == list(range(6)) and 0 < weight < 1 and weight != 0.5
    torch.testing.assert_close(mixed, weight * x + (1 - weight) * x[partner])
    change = Mixup(TrainConfig(mixup=0.3))
    seen, target = change.batch(x, y, drawn(0))
    assert torch.equal(seen, mixed)
    logits = torch.randn(6, 6)
    blended = change.loss(torch.nn.functional.cross_entropy)(logits, target)
    label = torch.eye(6)[y] * weight + torch.eye(6)[partner] * (1 - weight)
    torch.testing.assert_close(blended, torch.nn.functional.cross_entropy(logits, label))


def test_crop_flip_moves_pixels_and_keeps_shape():
    x = torch.rand(8, 3, 8, 8)
    out = crop_flip(x, torch.Generator().manual_seed(0))
    assert out.shape == x.shape and not torch.equal(out, x)
    still = [torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(out, x, strict=True)]
    assert not all(still)
    assert set(out[0].unique().tolist()) <= set(x[0].unique().tolist())


SCRIPT = """
import numpy as np
from mia_utils import Pool, TrainConfig, balanced_masks, train
pool = Pool.from_arrays("toy", np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8), np.arange(64) % 4)
train(pool, balanced_masks(64, models=4, seed=0), "cnn", TrainConfig(epochs={epochs}, batch_size=4), store={store!r}, jobs=1, progress=False)
"""


def test_killed_it_trains_only_what_was_missing(tmp_path):
    script = SCRIPT.format(store=str(tmp_path), epochs=20)
    process = subprocess.Popen([sys.executable, "-c", script])
    store = Store(tmp_path)
    deadline = time.monotonic() + 120
    while not store.names() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {name: store.folder(name).stat().st_mtime_ns for name in store.names()}
    assert 1 <= len(before) < 4
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert len(store.names()) == 4
    assert {name: store.folder(name).stat().st_mtime_ns for name in before} == before


def test_storing_twice_changes_nothing_and_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path)
    logits = np.zeros((2, 2), np.float32)
    store.put("a", {"seed": 1}, logits, {"w": np.ones(2)})
    store.put("a", {"seed": 2}, logits, {"w": np.ones(2)})
    assert store.record("a")["seed"] == 1
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["a"]
    assert set(json.loads((store.folder("a") / "record.json").read_text())["checksums"]) == {
        "logits.npy",
        "weights.safetensors",
    }


@pytest.mark.parametrize(
    "change, word",
    [
        ({"epochs": 0}, "epochs"),
        ({"lr": -1}, "lr"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"augmentation": "cutout"}, "augmentation"),
        ({"mixup": -1.0}, "mixup"),
        ({"dropout": 1.0}, "dropout"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"early_stopping": -1}, "early_stopping"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr_drop": 0}, "lr_drop"),
    ],
)
def test_settings_out_of_range(change, word):
    with pytest.raises(InputError, match=word):
        TrainConfig(**change)


def test_masks_of_another_pool(pool, tmp_path):
    with pytest.raises(InputError, match="masks are bool"):
        train(pool, balanced_masks(10, models=2, seed=0), "cnn", FAST, store=tmp_path)
    empty = np.zeros((1, len(pool)), bool)
    with pytest.raises(InputError, match="no member"):
        train(pool, Masks(empty, ~empty), "cnn", FAST, store=tmp_path)
    with pytest.raises(InputError, match="precision"):
        train(
            pool, balanced_masks(64, models=2, seed=0), "cnn", FAST, precision="fp8", store=tmp_path
        )


# ---- pools beyond memory, and of features ----


def test_a_mapped_pool_trains_to_the_same_bits(pool, masks, tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    np.save(folder / "images.npy", pool.records)
    np.save(folder / "labels.npy", pool.labels)
    mapped = load_dataset("toy", tmp_path)
    assert isinstance(mapped.records, np.memmap) and mapped.fingerprint == pool.fingerprint
    options = {"progress": False, "jobs": 1}
    here = train(pool, masks, "cnn", FAST, store=tmp_path / "a", **options)
    there = train(mapped, masks, "cnn", FAST, store=tmp_path / "b", **options)
    assert here.names == there.names
    np.testing.assert_array_equal(here.logits, there.logits)


def test_features_in_memory_reach_the_workers(tmp_path):
    rng = np.random.default_rng(0)
    pool = Pool.from_arrays("table", rng.random((60, 12), np.float32), np.arange(60) % 3)
    masks = balanced_masks(len(pool), models=2, seed=0)
    options = {"progress": False, "store": tmp_path}
    two = train(pool, masks, "mlp", FAST, jobs=2, **options)
    one = train(pool, masks, "mlp", FAST, jobs=1, progress=False, store=tmp_path / "alone")
    np.testing.assert_array_equal(two.logits, one.logits)
