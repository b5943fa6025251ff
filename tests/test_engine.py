"""What names a model, which of its records may be judged, and how a worker gets its pool."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mia_utils import (
    DPConfig,
    InputError,
    Masks,
    Pool,
    Store,
    TrainConfig,
    balanced_masks,
    load_dataset,
    query,
    train,
)
from mia_utils.engine import pools
from mia_utils.engine.spec import specifications
from mia_utils.training.loop import fit, holdout

FAST = TrainConfig(epochs=1)


@pytest.fixture(scope="module")
def pool():
    return load_dataset("digits").subset(np.arange(200), "few")


@pytest.fixture(scope="module")
def masks():
    return balanced_masks(200, models=2, seed=0)


def names(pool, masks, architecture="mlp", config=FAST, **changes):
    options = {"seed": 0, "precision": "fp32", "device": "cpu", **changes}
    specs = specifications(pool, masks.members, architecture, config, **options)
    return [spec.name for spec in specs]


def trained(pool, masks, store, config=FAST, **options):
    return train(pool, masks, "mlp", config, store=store, jobs=1, progress=False, **options)


# ---- names ----

PUBLISHED = {
    ("mlp", 3, TrainConfig(epochs=2)): "4bd110301cfa5bc76e4bd27d726efa50",
    ("cnn", 3, TrainConfig(epochs=2, dropout=0.3, augmentation="crop_flip")): (
        "9c559f9e823bbf5cf7bb3205360c8032"
    ),
    ("mlp", 3, TrainConfig(epochs=2, mixup=1.0)): "e2a2e110bd3e32a29818cd9dff21098b",
}


@pytest.mark.parametrize("architecture, seed, config", PUBLISHED)
def test_names_of_models_that_stores_hold_stay(architecture, seed, config, pool, masks):
    found = names(pool, masks, architecture, config, seed=seed)
    assert found[0] == PUBLISHED[architecture, seed, config]


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "cnn"},
        {"config": TrainConfig(epochs=2)},
        {"seed": 1},
        {"precision": "bf16"},
        {"device": "cuda"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_thing_that_decides_a_model_is_in_its_name(change, pool, masks):
    assert not set(names(pool, masks)) & set(names(pool, masks, **change))


def test_members_records_and_their_order_are_in_the_name(pool, masks):
    first, second = names(pool, masks)
    assert first != second
    other = replace(pool, labels=np.roll(pool.labels, 1))
    assert not {first, second} & set(names(other, masks))
    assert names(replace(pool, name="another"), masks) == [first, second], (
        "what it is called is not"
    )


@pytest.mark.parametrize("module", ["loop", "accounting"])
def test_the_recipes_version_is_in_the_name(module, pool, masks, monkeypatch):
    plain, private = FAST, TrainConfig(epochs=1, dp=DPConfig(noise_multiplier=1.0))
    before = names(pool, masks), names(pool, masks, config=private)
    monkeypatch.setattr(f"mia_utils.training.{module}.RECIPE", 99)
    after = names(pool, masks, config=plain), names(pool, masks, config=private)
    assert (before[0] != after[0], before[1] != after[1]) == (
        module == "loop",
        module == "accounting",
    )


def test_every_model_has_a_seed_of_its_own(pool, masks):
    specs = specifications(pool, masks.members, "mlp", FAST, seed=0, precision="fp32", device="cpu")
    assert len({spec.seed for spec in specs}) == 2
    assert all(np.array_equal(s.mask(), row) for s, row in zip(specs, masks.members, strict=True))


def test_one_model_asked_for_twice_is_trained_once(pool, masks, tmp_path):
    twice = Masks(*(np.repeat(part[:1], 2, axis=0) for part in masks))
    outputs = trained(pool, twice, tmp_path)
    assert outputs.names[0] == outputs.names[1] and len(Store(tmp_path).names()) == 1
    np.testing.assert_array_equal(outputs.logits[0], outputs.logits[1])


# ---- which pairs may be judged ----


def test_what_early_stopping_held_out_is_neither_trained_on_nor_evaluated(pool, masks, tmp_path):
    """The same records in both places: those of the model's own seed."""
    config = TrainConfig(epochs=1, early_stopping=1)
    outputs = trained(pool, masks, tmp_path, config, seed=5)
    for name, mask, judged, logits in zip(
        outputs.names, masks.members, outputs.evaluated, outputs.logits, strict=True
    ):
        held = holdout(mask, config, Store(tmp_path).record(name)["seed"])
        assert held.sum() == mask.sum() // 10
        np.testing.assert_array_equal(judged, ~held)
        other = replace(pool, labels=np.where(held, (pool.labels + 1) % 10, pool.labels))
        seed = Store(tmp_path).record(name)["seed"]
        again = fit(other.records, other.labels, 10, mask, "mlp", config, seed=seed)
        np.testing.assert_array_equal(again.logits, logits, err_msg="a held-out label was learned")


def test_pairs_that_the_masks_leave_out_stay_out(pool, masks, tmp_path):
    part = Masks(masks.members, np.arange(200) % 3 > 0 * masks.evaluated)
    outputs = trained(pool, part, tmp_path)
    np.testing.assert_array_equal(outputs.evaluated, part.evaluated)
    np.testing.assert_array_equal(outputs.members, part.members)
    assert outputs.fingerprint == pool.fingerprint and (outputs.labels == pool.labels).all()


def test_the_callers_masks_are_left_as_they_were(pool, masks, tmp_path):
    before = masks.evaluated.copy()
    outputs = trained(pool, masks, tmp_path, TrainConfig(epochs=1, early_stopping=1))
    np.testing.assert_array_equal(masks.evaluated, before)
    assert not outputs.evaluated.all()


# ---- pools on their way to a worker ----


def test_a_pool_that_was_exchanged_under_way_is_refused(pool, tmp_path):
    store = Store(tmp_path)
    path = pools.pool_path(pool, store)
    assert pools.find_pool(path, pool.fingerprint).fingerprint == pool.fingerprint
    with pytest.raises(InputError, match=f"the pool at {path} has changed since this run began"):
        pools.find_pool(path, "another")


def test_a_worker_notices_that_a_file_holds_another_pool_now(pool, tmp_path):
    from mia_utils.data import write_archive

    first = write_archive(pool, tmp_path / "own.npz")
    pools.find_pool(first.path, pool.fingerprint)
    second = write_archive(pool.subset(np.arange(100)), tmp_path / "own.npz")
    assert len(pools.find_pool(second.path, second.fingerprint)) == 100


@pytest.mark.parametrize("classes", [("ä", "b\nc", "d, e"), ("0", "1", "2")])
def test_class_names_of_any_kind_reach_the_worker(classes, tmp_path):
    rows = np.random.default_rng(0).random((30, 4), np.float32)
    pool = Pool.from_arrays("own", rows, np.arange(30) % 3, classes)
    found = pools.find_pool(pools.pool_path(pool, Store(tmp_path)), pool.fingerprint)
    assert found.classes == pool.classes and isinstance(found.records, np.memmap)


def test_a_pool_of_the_package_is_not_copied(tmp_path):
    assert pools.pool_path(load_dataset("digits"), Store(tmp_path)) == "package:digits"
    assert not (tmp_path / "pools").exists()


# ---- checkpoints ----


def _interrupted(pool, masks, path, monkeypatch, **options):
    """A checkpoint after the first of three epochs."""
    from mia_utils.training import epochs

    original = epochs.save_checkpoint

    def once(*arguments):
        original(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(epochs, "save_checkpoint", once)
        with pytest.raises(KeyboardInterrupt):
            _fitted(pool, masks, path)


def _fitted(pool, masks, path=None):
    return fit(
        pool.records,
        pool.labels,
        10,
        masks.members[0],
        "mlp",
        TrainConfig(epochs=3),
        seed=1,
        checkpoint=path,
        checkpoint_every=0.0,
    )


@pytest.mark.parametrize("how", ["flipped", "cut short", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_training_begins_anew(
    how, pool, masks, tmp_path, monkeypatch
):
    path = tmp_path / "model.pt"
    _interrupted(pool, masks, path, monkeypatch)
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    else:
        del data[len(data) // 2 if how == "cut short" else 0 :]
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="model.pt: damaged, the training begins anew"):
        again = _fitted(pool, masks, path)
    np.testing.assert_array_equal(again.logits, _fitted(pool, masks).logits)


def test_a_checkpoint_that_does_not_fit_costs_only_itself(pool, masks, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="no checkpoint: .*cannot be written"):
        trained = _fitted(pool, masks, tmp_path / "file" / "model.pt")
    np.testing.assert_array_equal(trained.logits, _fitted(pool, masks).logits)


def test_the_engine_resumes_from_checkpoints_and_a_stored_model_leaves_none(
    pool, masks, tmp_path, monkeypatch
):
    store = Store(tmp_path)
    for name in names(pool, masks):
        store.checkpoint(name).parent.mkdir(parents=True, exist_ok=True)
        store.checkpoint(name).write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged, the training begins anew"):
        trained(pool, masks, store)  # it was looked at
    assert list((tmp_path / "checkpoints").iterdir()) == []


# ---- stored models ----


@pytest.mark.filterwarnings("ignore:.*GroupNorm takes its place")
def test_a_private_model_with_norms_is_loaded_as_it_was_trained(pool, masks, tmp_path, monkeypatch):
    """Its BatchNorm gave way to GroupNorm before it was trained."""
    (tmp_path / "normed_net.py").write_text(
        "from torch import nn\n"
        "def net(shape, classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Flatten(),\n"
        "                         nn.Linear(288, classes))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = TrainConfig(epochs=1, dp=DPConfig(noise_multiplier=1.0))
    outputs = train(pool, masks, "normed_net:net", config, store=tmp_path, jobs=1, progress=False)
    again = query(outputs, pool, lambda records: records, store=tmp_path)
    np.testing.assert_allclose(again.logits, outputs.logits, atol=1e-5)


def test_a_bar_shows_how_far_the_models_are_unless_nobody_wants_it(pool, masks, tmp_path, capsys):
    train(pool, masks, "mlp", FAST, store=tmp_path / "a", jobs=1)
    assert "2/2" in capsys.readouterr().err
    train(pool, masks, "mlp", FAST, store=tmp_path / "b", jobs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_what_is_no_pool_is_told_what_one_is(masks, tmp_path):
    with pytest.raises(InputError, match="^pool is 'digits'; expected a Pool, as load_dataset "):
        train("digits", masks, "mlp", FAST, store=tmp_path)
